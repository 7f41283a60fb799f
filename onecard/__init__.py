"""Onecard: GRPO on one consumer GPU. Every process of ours imports this before it imports torch."""

import os

# While OpenMP's threads wait for each other they spin: in libgomp 300,000 turns, which is 8 to 16
# ms. With a thread for each core and any other busy process, a small matrix product then takes a
# hundred times as long: that is a laptop with a browser open. Threads that sleep at once
# (OMP_WAIT_POLICY=PASSIVE) do not mind the other process, and cost 1.1 to 1.6 times a step where
# there is none. 3,000 turns lie in between (LOG.md). `python -m bench.beside` measures it. The
# user's own values win.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

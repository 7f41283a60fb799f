"""Onecard: GRPO on one consumer GPU. Every process of ours imports this before it imports torch."""

import os

# While OpenMP's threads wait for each other they spin: in libgomp 300,000 turns, which is 8 to 16
# ms. With a thread for each core and any other busy process, a small matrix product then takes a
# hundred times as long: that is a laptop with a browser open. Threads that sleep at once
# (OMP_WAIT_POLICY=PASSIVE) do not mind the other process, and make a step 1.6 times as long where
# there is none. With 3,000 turns it is as fast alone as with 300,000. `python -m bench.beside`
# measures it. The user's own values win.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

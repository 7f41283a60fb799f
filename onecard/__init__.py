"""Onecard: GRPO on one consumer GPU. Every process of ours imports this before it imports torch."""

import logging
import os

# While OpenMP's threads wait for each other they spin: in libgomp 300,000 turns, which is 8 to 16
# ms. With a thread for each core and any other busy process, a small matrix product then takes a
# hundred times as long: that is a laptop with a browser open. Threads that spin for 3,000 turns
# mind it half as much, and alone they cost next to nothing: `python -m bench.beside` measures both
# (docs/beside.md). The user's own values win.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# It asks for kernels of its own where there is no card: nothing that a user could do about.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

"""Onecard: GRPO on one consumer GPU. Every process of ours imports this before it imports torch."""

import os

# While OpenMP's threads wait for each other they spin, by default. With a thread for each core and
# any other busy process, a small matrix product then takes a hundred times as long: that is a
# laptop with a browser open. `python -m bench.beside` measures it. The user's own value wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

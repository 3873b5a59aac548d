"""Tests and notebooks compute on one thread: with ``-n`` one of them runs on each processor."""

import os

# Kernels and child processes inherit both.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # who takes more waits without spinning

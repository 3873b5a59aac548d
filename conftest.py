"""Tests and notebooks compute on one thread: with ``-n`` there is one of them for each processor."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # kernels and child processes inherit it

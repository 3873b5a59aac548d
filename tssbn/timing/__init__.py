"""Measurements of time and memory of T tasks, relative to T steps of the plain backbone."""

import tssbn.bars  # noqa: F401

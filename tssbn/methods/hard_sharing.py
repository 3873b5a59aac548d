"""HPS, hard parameter sharing: one trunk for all tasks (Caruana, Machine Learning 28, 1997)."""

from collections.abc import Mapping

from tssbn.methods import Method, Network, heads
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """One trunk, whose features every head reads."""
    return MultiTask(network.trunk(), heads(network, outputs))


METHOD = Method("HPS", build, color="orange")

"""One row of gates for all tasks: does TSσBN gain from task-specific gates, or from any gates?

The norm layers are σBN (arXiv 2512.20420, eq. 2): gates that start half open, no bias, a learning
rate of their own, as in TSσBN; but all tasks share them and the statistics. So it is HPS with
another norm layer, and costs what HPS costs: one pass.
"""

from collections.abc import Mapping

from tssbn.convert import sigmoid
from tssbn.methods import Method, Network, heads, task_norm
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """One trunk of σ layers, whose features every head reads."""
    return MultiTask(sigmoid(network.trunk()), heads(network, outputs))


METHOD = Method("shared gates", build, task_norm.groups)

"""One row of gates for all tasks, to measure whether TSσBN gains from task-specific gates.

The norm layers are σBN (arXiv 2512.20420, eq. 2). As in TSσBN their gates start half open, have no
bias and a higher learning rate, but all tasks share gates and statistics. This is HPS with another
norm layer, and costs one pass as HPS does.
"""

from collections.abc import Mapping

from tssbn.convert import sigmoid
from tssbn.methods import Method, Network, heads, task_norm
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """Build one trunk of σBN layers, whose features all heads read.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> build(network, {"seg": 2, "depth": 1}).trunk.weight  # σ(γ), of all tasks
        tensor([0.5000, 0.5000, 0.5000], grad_fn=<SigmoidBackward0>)
    """
    return MultiTask(sigmoid(network.trunk()), heads(network, outputs))


METHOD = Method("shared gates", build, task_norm.groups)

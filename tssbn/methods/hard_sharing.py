"""HPS, hard parameter sharing: one trunk for all tasks (Caruana, Machine Learning 28, 1997)."""

from collections.abc import Mapping

from tssbn.methods import Method, Network, heads
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """Build one trunk, whose features all heads read.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 4)).items()}
        {'seg': (2, 3), 'depth': (2, 1)}
    """
    return MultiTask(network.trunk(), heads(network, outputs))


METHOD = Method("HPS", build, color="orange")

"""TSσBN and TSBN: one trunk with norm layers for each task.

(Suteu and Serban, arXiv 2512.20420: TSσBN is eq. 3, TSBN the baseline with ordinary BatchNorm.)
According to the paper's text TSBN has one common learning rate, but the TSBN row for NYUv2 in its
table 1 is the entry for a multiplier of 100 in its ablation of multipliers; both are here.
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from tssbn.convert import Norm, task_specific
from tssbn.methods import Method, Network, heads
from tssbn.multitask import MultiTask
from tssbn.optim import param_groups

__all__ = ["build", "groups"]


def build(network: Network, outputs: Mapping[str, int], norm: Norm = "sigmoid") -> MultiTask:
    """Build a trunk with task-specific norm layers, and heads without any change.

    The part of the trunk before ``network.stem`` runs once for all tasks.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        norm: the kind of task-specific layer, as in :func:`tssbn.task_specific`.

    Example:
        >>> import torch
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> build(network, {"seg": 2, "depth": 1}).trunk.gamma
        Parameter containing:
        tensor([[0., 0., 0.],
                [0., 0., 0.]], requires_grad=True)
    """
    return assembled(task_specific(network.trunk(), outputs, norm), network, outputs)


def assembled(trunk: nn.Module, network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """Join a converted trunk and its heads; the stem runs once for all tasks."""
    return MultiTask(trunk, heads(network, outputs), stem=network.stem)


def groups(net: nn.Module, lr: float, multiplier: float = 100.0) -> list[dict]:
    """Make the parameter groups, with a higher rate and without weight decay for the gates.

    Args:
        net: the network.
        lr: the learning rate of all other parameters.
        multiplier: the learning rate of the gates, or of the tasks' scales and biases, over `lr`.

    Example:
        >>> import torch
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> [group["lr"] for group in groups(build(network, {"seg": 2}), lr=0.1)]
        [0.1, 10.0]
    """
    return param_groups(net, lr, multiplier)


TSBN = Method(
    "TSBN",
    partial(build, norm="plain"),
    partial(groups, multiplier=1.0),
    "One trunk; each task has its own BatchNorm layers, with scale γ and bias β.",
    color="green",
)
TSBN_X100 = Method(
    "TSBN ×100",
    partial(build, norm="plain"),
    groups,
    "TSBN whose scales and biases have the learning rate of TSσBN's gates.",
    color="red",
)
TSSBN = Method(
    "TSσBN",
    build,
    groups,
    "One trunk; each task multiplies the channels by its own gates σ(γ), without a bias.",
    color="blue",
)

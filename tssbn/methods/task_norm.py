"""TSσBN and TSBN: one trunk, in which each task has norm layers of its own.

(Suteu and Serban, arXiv 2512.20420: TSσBN is eq. 3, TSBN the baseline with ordinary BatchNorm.)
The paper gives TSBN no learning rate of its own, but on NYUv2 the TSBN row of its table 1 is that
which its table of multipliers has at 100; both are here.
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
    """A trunk whose norm layers are the task's own; the heads stay as they are.

    What comes before the place where the network's tasks part runs once for all of them.

    Args:
        norm: what a task owns in each layer, as in :func:`tssbn.task_specific`.
    """
    return assembled(task_specific(network.trunk(), outputs, norm), network, outputs)


def assembled(trunk: nn.Module, network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """A converted trunk with its heads, whose stem runs once for all tasks."""
    return MultiTask(trunk, heads(network, outputs), stem=network.stem)


def groups(net: nn.Module, lr: float, multiplier: float = 100.0) -> list[dict]:
    """The gates, or the tasks' scales and biases, at ``multiplier * lr`` without weight decay."""
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

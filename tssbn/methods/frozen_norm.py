"""Task-specific norm layers in a frozen trunk, alone or with LoRA.

These are the rows of TSσBN in table 4 of arXiv 2512.20420. The filters of a pretrained trunk are
frozen, each task has gates in every norm layer (TSσLN in a transformer), and the parameters that
:attr:`tssbn.methods.Network.trains` selects are trained as well. Where the norm layers are
pretrained, the trunk's output at the start is unchanged: ``y = s·σ(γ_t)·x̂ + β_t`` with s = 2w,
where w is the layer's weight, and γ and β are trained. The paper does not say which of these
vectors it trains.

The control of TSσBN, shared-gates-frozen, has one row of gates for all tasks.
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from tssbn.convert import sigmoid, task_specific
from tssbn.methods import Method, Network, task_norm
from tssbn.methods.freeze import frozen
from tssbn.methods.low_rank import add_updates
from tssbn.multitask import MultiTask

__all__ = ["build", "build_low_rank", "build_shared"]


def build(
    network: Network, outputs: Mapping[str, int], norm: str = "sigmoid", affine: str = "auto"
) -> MultiTask:
    """Build a frozen trunk with norm layers of each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        norm: ``"sigmoid"`` for gates, or ``"plain"`` for scales and biases of each task.
        affine: how gates treat scale and bias of the trunk, as in :func:`tssbn.task_specific`.

    Example:
        >>> import torch
        >>> def trunk():
        ...     return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        >>> network = Network(trunk, lambda n: nn.Linear(3, n), torch.zeros(2, 3))
        >>> net = build(network, {"seg": 2, "depth": 1}, affine="paper")
        >>> [name for name, p in net.trunk.named_parameters() if p.requires_grad]
        ['1.gamma']
    """
    trunk, readers = frozen(network, outputs, norms=True)
    task_specific(trunk, outputs, norm, affine)
    return MultiTask(trunk, readers, stem=network.stem)


def build_shared(network: Network, outputs: Mapping[str, int], affine: str = "auto") -> MultiTask:
    """Build a frozen trunk with one row of gates for all tasks, which makes one pass.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        affine: as for :func:`build`.

    Example:
        >>> import torch
        >>> def trunk():
        ...     return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        >>> network = Network(trunk, lambda n: nn.Linear(3, n), torch.zeros(2, 3))
        >>> build_shared(network, {"seg": 2, "depth": 1}).trunk[1].gamma.shape
        torch.Size([3])
    """
    trunk, readers = frozen(network, outputs, norms=True)
    return MultiTask(sigmoid(trunk, affine), readers)


def build_low_rank(
    network: Network,
    outputs: Mapping[str, int],
    affine: str = "auto",
    rank: int = 16,
    scale: float = 4.0,
    drop: float = 0.05,
    biases: bool = True,
) -> MultiTask:
    """Build a frozen trunk with gates of each task, and low-rank updates that all tasks share.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        affine: as for :func:`build`.
        rank: rank of the updates.
        scale: factor of the updates.
        drop: dropout rate of the input of the updates.
        biases: whether the biases of all linear layers of the blocks are trained as well. The two
            rows of TSσBN in the paper's table differ by the numbers of parameters of both.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
    """
    trunk, readers = frozen(network, outputs, norms=True)
    add_updates(trunk, rank, scale, drop, biases)
    task_specific(trunk, outputs, affine=affine)
    return MultiTask(trunk, readers, stem=network.stem)


def groups(net: nn.Module, lr: float, multiplier: float = 100.0, whole: bool = False) -> list[dict]:
    """Make the parameter groups, with a higher rate and without weight decay for the gates.

    Args:
        net: the network.
        lr: the learning rate of all other parameters.
        multiplier: the learning rate of the gates, or of the tasks' scales and biases, over `lr`.
        whole: whether all trained parameters of the trunk have the rate of the gates, as in the
            other methods with a frozen trunk; this includes biases of gated layers and low-rank
            updates.

    Example:
        >>> import torch
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> [group["lr"] for group in groups(build(network, {"seg": 2}), lr=0.1)]
        [0.1, 10.0]
    """
    shared, gates = task_norm.groups(net, lr, multiplier)
    if not whole:
        return [shared, gates]
    in_trunk = {id(p) for p in net.trunk.parameters()}
    trunk = [p for p in shared["params"] if id(p) in in_trunk]
    rest = [p for p in shared["params"] if id(p) not in in_trunk]
    return [
        {**shared, "params": rest},
        gates,
        {"name": "trunk", "params": trunk, "lr": multiplier * lr},
    ]


TSSBN = Method(
    "TSσBN, frozen",
    build,
    groups,
    "A frozen trunk; each task multiplies the channels by its own gates σ(γ).",
)
TSBN = Method(
    "TSBN, frozen",
    partial(build, norm="plain"),
    partial(groups, multiplier=1.0),
    "A frozen trunk; each task has its own normalisation layers.",
)
SHARED = Method(
    "shared gates, frozen",
    build_shared,
    groups,
    "A frozen trunk; all tasks share one row of gates σ(γ).",
)
LOW_RANK = Method(
    "TSσBN + LoRA",
    build_low_rank,
    groups,
    "A frozen transformer; each task has its own gates, and all tasks share low-rank updates.",
)

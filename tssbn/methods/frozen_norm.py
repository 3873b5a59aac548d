"""Task-specific norm layers in a frozen trunk: its gates alone are trained, or with LoRA.

What arXiv 2512.20420 puts into its table 4: the filters of a pretrained trunk stay, each task has
gates of its own in every norm layer (TSσLN in a transformer), and beside them is trained what
:attr:`tssbn.methods.Network.trains` names. A trunk with pretrained norm layers starts as it was:
``y = s·σ(γ_t)·x̂ + β_t`` with s = 2w, of which γ and β are trained. Which of these vectors the
paper trains it does not say. The control of TSσBN has gates, too, but one row for all tasks.
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
    """A frozen trunk with norm layers of each task.

    Args:
        norm: ``"sigmoid"`` or ``"plain"``, what a task owns in each.
        affine: how gates treat scale and bias of the trunk, as in :func:`tssbn.task_specific`.
    """
    trunk, readers = frozen(network, outputs, norms=True)
    task_specific(trunk, outputs, norm, affine)
    return MultiTask(trunk, readers, stem=network.stem)


def build_shared(network: Network, outputs: Mapping[str, int], affine: str = "auto") -> MultiTask:
    """A frozen trunk with one row of gates for all tasks, and one pass.

    Args:
        affine: as of :func:`build`.
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
    """A frozen trunk with gates of each task, and low-rank updates that all tasks share.

    Args:
        affine: as of :func:`build`.
        rank: of the updates.
        scale: what they are multiplied with.
        drop: the probability with which a value that they read is dropped.
        biases: whether the biases of all linear layers of the blocks are trained, too. By these
            and the updates the two rows of TSσBN in the paper's table differ.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
    """
    trunk, readers = frozen(network, outputs, norms=True)
    add_updates(trunk, rank, scale, drop, biases)
    task_specific(trunk, outputs, affine=affine)
    return MultiTask(trunk, readers, stem=network.stem)


def groups(net: nn.Module, lr: float, multiplier: float = 100.0, whole: bool = False) -> list[dict]:
    """The gates, or the tasks' scales and biases, at ``multiplier * lr`` without weight decay.

    Args:
        whole: whether all that is trained in the trunk has this rate, as in the other methods that
            freeze it: the biases of gated layers and low-rank updates, too.
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

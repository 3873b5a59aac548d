"""LoRA in a frozen transformer: low-rank updates of its linear layers, of each task or of all.

(Hu et al., arXiv 2106.09685.) Table 4 of arXiv 2512.20420 does not say which layers have updates,
nor whether tasks share them. By default every task has updates of rank 4 of the fused query, key
and value; with the biases of all linear layers trained in common that meets the table's number of
parameters, as some other settings do. The shared form has rank 16 on all four layers of a block, as
the updates that all tasks share in MTLoRA (Agiza et al., arXiv 2403.20320).
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from tssbn.methods import Method, Network, insertion
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask
from tssbn.networks.blocks import blocks
from tssbn.peft import updated
from tssbn.tasks import Tasks

__all__ = ["add_updates", "build", "build_shared"]


def add_updates(
    trunk: nn.Module,
    rank: int,
    scale: float,
    drop: float,
    biases: bool,
    tasks: Tasks | None = None,
    places: tuple[str, ...] = insertion.LINEAR,
) -> None:
    """Put low-rank updates beside layers of every block of a trunk, in place.

    Args:
        rank: of the updates.
        scale: what they are multiplied with.
        drop: the probability with which a value that they read is dropped.
        biases: whether the biases of all linear layers of the blocks are trained, in common.
        tasks: those of which each has updates; without, all share them.
        places: the layers that have one.
    """

    for block in blocks(trunk).values() if biases else ():
        for place in insertion.LINEAR:
            block.get_submodule(place).bias.requires_grad_(True)
    beside = partial(updated, rank=rank, scale=scale, dropout=drop, tasks=tasks)
    insertion.insert(trunk, places, beside)


def build(
    network: Network,
    outputs: Mapping[str, int],
    rank: int = 4,
    scale: float = 4.0,
    drop: float = 0.0,
    biases: bool = False,
) -> MultiTask:
    """A frozen trunk with low-rank updates of each task, of query, key and value.

    Args:
        rank: of the updates.
        scale: what they are multiplied with.
        drop: the probability with which a value that they read is dropped.
        biases: whether the biases of all linear layers of the blocks are trained, in common.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
    """
    trunk, readers = frozen(network, outputs)
    tasks = insertion.tasks_of_blocks(outputs)
    add_updates(trunk, rank, scale, drop, biases, tasks, places=("attn.qkv",))
    return MultiTask(trunk, readers, stem=network.stem)


def build_shared(
    network: Network,
    outputs: Mapping[str, int],
    rank: int = 16,
    scale: float = 4.0,
    drop: float = 0.05,
    biases: bool = False,
) -> MultiTask:
    """A frozen trunk with low-rank updates that all tasks share, of all linear layers of a block.

    Args:
        rank: of the updates.
        scale: what they are multiplied with.
        drop: the probability with which a value that they read is dropped.
        biases: whether the biases of all linear layers of the blocks are trained.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
    """
    trunk, readers = frozen(network, outputs)
    add_updates(trunk, rank, scale, drop, biases)
    return MultiTask(trunk, readers)


LORA = Method(
    "LoRA",
    build,
    groups,
    "A frozen transformer; each task has its own low-rank updates of query, key and value.",
)
SHARED = Method(
    "LoRA, shared",
    build_shared,
    groups,
    "A frozen transformer; all tasks share low-rank updates of its linear layers.",
)

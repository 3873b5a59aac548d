"""LoRA in a frozen transformer, with low-rank updates for each task or for all tasks.

(Hu et al., arXiv 2106.09685.) Table 4 of arXiv 2512.20420 does not describe which layers have
updates, or whether tasks share them. By default every task has updates of rank 4 of the fused
query, key and value matrix. With the biases of all linear layers trained as well, shared by all
tasks, the number of parameters agrees with the table; some other settings also agree. The shared
form has updates of rank 16 of all four linear layers of a block, like the shared updates of MTLoRA
(Agiza et al., arXiv 2403.20320).
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
    """Add low-rank updates to layers of every block of a trunk, in place.

    Args:
        trunk: a ViT or Swin transformer.
        rank: rank of the updates.
        scale: factor of the updates.
        drop: dropout rate of the input of the updates.
        biases: whether the biases of all linear layers of the blocks are trained, shared by all
            tasks.
        tasks: tasks that each have updates; None makes updates that all tasks share.
        places: names of the layers within a block that get an update.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.

    Example:
        >>> from tssbn.networks.vit import ViT
        >>> trunk = ViT(image=(32, 32), width=24, depth=2, heads=2, taps=(2,))
        >>> add_updates(trunk, rank=2, scale=4.0, drop=0.0, biases=False, places=("attn.qkv",))
        >>> trunk.blocks[0].attn.qkv.update.matrix().shape
        torch.Size([72, 24])
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
    """Build a frozen trunk with low-rank updates of query, key and value for each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        rank: rank of the updates.
        scale: factor of the updates.
        drop: dropout rate of the input of the updates.
        biases: whether the biases of all linear layers of the blocks are trained, shared by all
            tasks.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.

    Example:
        >>> import torch
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> sum(p.numel() for p in net.trunk.parameters() if p.requires_grad)  # 2·2·4·(24 + 72)
        1536
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
    """Build a frozen trunk with low-rank updates of all linear layers that all tasks share.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        rank: rank of the updates.
        scale: factor of the updates.
        drop: dropout rate of the input of the updates.
        biases: whether the biases of all linear layers of the blocks are trained.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
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

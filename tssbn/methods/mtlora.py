"""MTLoRA: a Swin transformer with low-rank updates for all tasks and for each task.

(Agiza, Neseem and Reda, arXiv 2403.20320, as in the code of its authors.) The linear layers of all
blocks are frozen and have a low-rank update that all tasks share. The last block of each stage also
has updates of each task. There a stream of each task branches off from the shared one, goes through
the patch merging and is the task's output for this stage, see :mod:`tssbn.peft.branches`. Only the
shared stream enters the next stage, so that the trunk runs once for all tasks. The other parameters
that the benchmark's network selects are trained: the patch convolution, the LayerNorm layers, the
relative-position tables, and the matrices of the patch mergings.

MTLoRA+ freezes these matrices as well and adds shared updates to them. In its published setting the
updates of each task have the rank of the shared ones, 8; in that of MTLoRA their rank is 4.
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from tssbn.methods import Method, Network
from tssbn.methods.freeze import frozen, groups
from tssbn.methods.insertion import LINEAR
from tssbn.multitask import MultiTask
from tssbn.networks.blocks import blocks
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.peft.branches import BranchedSwin
from tssbn.peft.low_rank import updated
from tssbn.tasks import Tasks

__all__ = ["MTLoRA", "build"]


class MTLoRA(MultiTask):
    """A network whose trunk is a :class:`~tssbn.peft.branches.BranchedSwin`.

    All tasks share the pass of the shared stream, so ``tasks_per_pass`` stays None.

    No output depends on the shared update of the very last linear layer, because nothing reads the
    shared stream after it. It is kept because the authors' code has it and counts it.
    """

    tasks_per_pass = property(lambda self: None, lambda self, value: None)

    def shared(self) -> list[nn.Parameter]:
        """List the parameters that several tasks' losses depend on, without the last update."""
        last = self.trunk.swin.layers[-1].blocks[-1].fc2.update
        idle = {id(parameter) for parameter in last.parameters()}
        return [parameter for parameter in super().shared() if id(parameter) not in idle]


def build(
    network: Network,
    outputs: Mapping[str, int],
    rank: int = 16,
    own_rank: int = 4,
    scale: float = 4.0,
    drop: float = 0.05,
    merging: bool = False,
) -> MTLoRA:
    """Build a Swin transformer with shared updates and branches of the tasks, and the heads.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        rank: rank of the shared updates.
        own_rank: rank of the updates of each task; 0 leaves them out, and all tasks have the same
            features.
        scale: factor of the updates.
        drop: dropout rate of the input of the updates.
        merging: whether the matrices of the patch mergings are frozen and have shared updates.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no :class:`tssbn.networks.swin.Swin`.

    Example:
        >>> import torch
        >>> from tssbn.networks.swin import Swin, SwinHead
        >>> def trunk():
        ...     return Swin((32, 32), width=8, depths=(1, 1), heads=(1, 2), window=4)
        >>> def head(n):
        ...     return SwinHead(n, image=(32, 32), inputs=(16, 16), widths=(2, 3))
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> net = build(Network(trunk, head, images), {"seg": 3, "depth": 1}, rank=2, own_rank=1)
        >>> {task: tuple(y.shape) for task, y in net(images).items()}
        {'seg': (2, 3, 32, 32), 'depth': (2, 1, 32, 32)}
    """
    from tssbn.networks.swin import Swin  # and with it timm

    swin, readers = frozen(network, outputs)
    if not isinstance(swin, Swin):
        raise UnsuitableTrunk(
            f"MTLoRA was designed for Swin transformers, tssbn.networks.swin.Swin, not for "
            f"{type(swin).__name__}"
        )

    beside = partial(updated, rank=rank, scale=scale, dropout=drop)
    branching = {id(stage.blocks[-1]) for stage in swin.layers}
    for block in blocks(swin).values():
        for place in LINEAR[:1] if id(block) in branching else LINEAR:
            block.set_submodule(place, beside(block.get_submodule(place)))
    if merging:
        for stage in swin.layers[1:]:
            stage.downsample.reduction.requires_grad_(False)
            stage.downsample.reduction = beside(stage.downsample.reduction)
    options = {"rank": rank, "own_rank": own_rank, "scale": scale, "dropout": drop}
    return MTLoRA(BranchedSwin(swin, Tasks(outputs), **options), readers)


MTLORA = Method(
    "MTLoRA",
    build,
    groups,
    "A Swin transformer with shared low-rank updates; at the ends of stages each task has its own.",
)
MTLORA_PLUS = Method(
    "MTLoRA+",
    partial(build, rank=8, own_rank=8, merging=True),
    groups,
    "MTLoRA with low-rank updates also in the patch mergings.",
)

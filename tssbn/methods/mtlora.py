"""MTLoRA: a Swin transformer with low-rank updates for all tasks, and for each task.

(Agiza, Neseem and Reda, arXiv 2403.20320, as in the code of its authors.) The linear layers of all
blocks are frozen and have a low-rank update that the tasks share. The last block of each stage has
updates of each task as well: there a stream of each task leaves the shared one, goes through the
patch merging and is the task's tap, see :mod:`tssbn.peft.branches`. Only the shared stream goes on
to the next stage, so that the trunk runs once for all tasks. All else in the trunk is trained, as
the benchmark's network says: the patch convolution, the LayerNorm layers, the tables of relative
positions, and the matrices of the patch mergings.

MTLoRA+ freezes these matrices, too, and gives them shared updates. In the published setting its
tasks' updates have the rank of the shared ones; in that of MTLoRA they have a fixed one, 4.
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

    All tasks share the pass of the shared stream, whatever a trainer sets as ``tasks_per_pass``.

    Its last shared update reaches no task: nobody reads the shared stream behind it. It is there
    because it is in the authors' code, and counts.
    """

    tasks_per_pass = property(lambda self: None, lambda self, value: None)

    def shared(self) -> list[nn.Parameter]:
        """The parameters that more than one task's loss reaches: not the last shared update."""
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
    """A Swin transformer with shared updates and branches of the tasks, and the heads.

    Args:
        rank: of the shared updates.
        own_rank: of the tasks'; with 0 all tasks have the same taps.
        scale: what an update is multiplied with.
        drop: the probability with which a value that an update reads is dropped.
        merging: whether the matrices of the patch mergings are frozen and have shared updates.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no :class:`tssbn.networks.swin.Swin`.
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

"""MTLoRA's Swin transformer, with one shared stream and a short stream for each task.

The shared stream runs through the whole trunk once. In the last block of each stage a stream of
each task branches off; after the patch merging it is the task's output for this stage. A task thus
costs three low-rank branches and a merging in each stage (Agiza et al., arXiv 2403.20320).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from tssbn.peft.low_rank import LowRank
from tssbn.stacking import stack
from tssbn.tasks import Tasks, TaskSpecific

if TYPE_CHECKING:
    from tssbn.networks.swin import Swin

__all__ = ["BranchedBlock", "BranchedLinear", "BranchedSwin"]


class BranchedLinear(nn.Module):
    """A frozen linear layer with low-rank updates for the shared stream and for each task's stream.

        y = W x + s·L D(x),    y_t = W x + s·L_t x_t

    W, with its bias, is applied to the shared stream only, for y_t as well; D is dropout. Where the
    tasks' streams begin, x_t is D(x), with the same draw as for y (Agiza et al., arXiv 2403.20320,
    as in the public code).

    Args:
        host: the linear layer W.
        tasks: the tasks of the network.
        rank: rank of L.
        own_rank: rank of L_t; 0 leaves L_t out.
        scale: the factor s.
        dropout: the probability with which D drops a value.

    Shape: x (B, ..., inputs), the number t of tasks, and the tasks' x_t (B·t, ..., inputs) or None
    -> y (B, ..., outputs) and y_t (B·t, ..., outputs).

    Example:
        >>> import torch
        >>> layer = BranchedLinear(nn.Linear(4, 3), Tasks(("depth",)), rank=2, own_rank=1)
        >>> shared, own = layer(torch.rand(5, 4), count=1)
        >>> bool((shared == own).all())  # the updates start at 0
        True
    """

    def __init__(
        self,
        host: nn.Linear,
        tasks: Tasks,
        rank: int,
        own_rank: int,
        scale: float = 4.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.host, self.dropout = host, nn.Dropout(dropout)
        shape = host.in_features, host.out_features
        self.update = LowRank(*shape, rank, scale)
        self.own_update = LowRank(*shape, own_rank, scale, tasks=tasks) if own_rank else None

    def forward(self, x: Tensor, count: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, dropped = self.host(x), self.dropout(x)
        own_y = stack(y, count)
        if self.own_update is not None:
            own_y = own_y + self.own_update(stack(dropped, count) if own is None else own)
        return y + self.update(dropped), own_y


class BranchedBlock(nn.Module):
    """A block of a Swin transformer in which the tasks' streams branch off from the shared one.

    The attention is shared. The projection after it and the two layers of the MLP become
    :class:`BranchedLinear`. Drop path is drawn anew for each residual branch of each stream.

    Args:
        block: timm's block. It is taken apart and must not be used afterwards.
        tasks: the tasks of the network.
        options: of :class:`BranchedLinear`, such as the ranks.

    Shape: (B, H, W, C) and the number t of tasks -> the shared stream, (B, H, W, C), and the tasks'
    streams, (B·t, H, W, C).

    Example:
        >>> import torch
        >>> from tssbn.networks.swin import Swin
        >>> swin = Swin((32, 32), width=8, depths=(1, 1), heads=(1, 2), window=4)
        >>> block = BranchedBlock(swin.layers[0].blocks[0], Tasks(("depth",)), rank=2, own_rank=1)
        >>> [tuple(x.shape) for x in block(torch.rand(3, 8, 8, 8), count=1)]
        [(3, 8, 8, 8), (3, 8, 8, 8)]
    """

    def __init__(self, block: nn.Module, tasks: Tasks, **options: float):
        super().__init__()
        self.proj, self.fc1, self.fc2 = (
            BranchedLinear(host, tasks, **options)
            for host in (block.attn.proj, block.mlp.fc1, block.mlp.fc2)
        )
        self.norm, self.act = block.norm2, block.mlp.act
        self.drop_path1, self.drop_path2 = block.drop_path1, block.drop_path2
        # What is left of the block is its attention without the projection. The projection acts on
        # every token separately, so it can run after the windows are put together again.
        block.attn.proj, block.norm2, block.mlp = nn.Identity(), nn.Identity(), nn.Identity()
        block.drop_path1, block.drop_path2 = nn.Identity(), nn.Identity()
        self.block = block

    def forward(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        block = self.block
        y, own_y = self.proj(block._attn(block.norm1(x)), count)
        own = stack(x, count) + self.drop_path1(own_y)
        x = x + self.drop_path1(y)
        h, own_h = self.fc1(self.norm(x), count, self.norm(own))
        m, own_m = self.fc2(self.act(h), count, self.act(own_h))
        return x + self.drop_path2(m), own + self.drop_path2(own_m)


class BranchedSwin(TaskSpecific):
    """A Swin transformer with one shared stream that outputs features of each task.

    The last block of each stage becomes a :class:`BranchedBlock`; the others stay as they are.

    Args:
        swin: the trunk. Its blocks are changed in place.
        tasks: the tasks of the network.
        options: of :class:`BranchedLinear`, such as the ranks.

    Shape: (B·t, 3, H, W) -> a list of (B·t, C, h, w), as :class:`~tssbn.networks.swin.Swin` outputs
    them.

    Example:
        >>> import torch
        >>> from tssbn.networks.swin import Swin
        >>> swin = Swin((32, 32), width=8, depths=(1, 1), heads=(1, 2), window=4)
        >>> branched = BranchedSwin(swin, Tasks(("depth",)), rank=2, own_rank=1)
        >>> [tuple(x.shape) for x in branched(torch.rand(3, 3, 32, 32))]
        [(3, 16, 4, 4), (3, 16, 4, 4)]
    """

    def __init__(self, swin: Swin, tasks: Tasks, **options: float):
        super().__init__()
        self.tasks, self.swin = tasks, swin
        for stage in swin.layers:
            stage.blocks[-1] = BranchedBlock(stage.blocks[-1], tasks, **options)

    def forward(self, images: Tensor) -> list[Tensor]:
        count = self.tasks.now.count
        x = self.swin.patch_embed(images[::count])  # the rows of an image are equal: take one
        taps, own = [], None
        for stage in self.swin.layers:
            x = stage.downsample(x)
            if own is not None:
                taps.append(stage.downsample(own))
            *early, last = stage.blocks
            for block in early:
                x = block(x)
            x, own = last(x, count)
        return [tap.permute(0, 3, 1, 2) for tap in (*taps, own)]

    def no_weight_decay(self) -> set[str]:
        """List the parameters without weight decay, the same as in timm."""
        return {f"swin.{name}" for name in self.swin.no_weight_decay()}

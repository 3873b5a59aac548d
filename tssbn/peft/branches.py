"""MTLoRA's Swin transformer, with one shared stream and short streams for each task.

The shared stream runs through the whole trunk once. The last block of each stage gives a stream of
each task besides, which goes through the patch merging and is that task's tap: so a task costs
three thin branches and a merging in each stage.
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

    W, with its bias, sees the shared stream alone, also on a task's behalf; D is dropout. Where the
    tasks have no streams yet, x_t is D(x), with the same draw.

    Args:
        host: W.
        tasks: of the network.
        rank: of L.
        own_rank: of L_t; with 0 there is none.
        scale: s.
        dropout: the probability with which D drops a value.

    Shape: (B, ..., inputs), t, and of the tasks (B·t, ..., inputs) -> the same with outputs.

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
    """A block of a Swin transformer in which the tasks' streams leave the shared one.

    The attention is shared. What follows it, the projection and the two layers of the MLP, are
    :class:`BranchedLinear`. Each residual branch of each stream has a drop path of its own draw.

    Args:
        block: timm's, taken apart.
        tasks: of the network.
        options: the ranks and what else :class:`BranchedLinear` takes.

    Shape: (B, H, W, C), t -> the shared stream, of the same shape, and the tasks', (B·t, H, W, C).
    """

    def __init__(self, block: nn.Module, tasks: Tasks, **options: float):
        super().__init__()
        self.proj, self.fc1, self.fc2 = (
            BranchedLinear(host, tasks, **options)
            for host in (block.attn.proj, block.mlp.fc1, block.mlp.fc2)
        )
        self.norm, self.act = block.norm2, block.mlp.act
        self.drop_path1, self.drop_path2 = block.drop_path1, block.drop_path2
        # The rest of the block is its attention up to the projection, which treats every token by
        # itself, so that windows need not be known behind it.
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
    """A Swin transformer with a shared stream, and taps of each task.

    The blocks but the last of each stage are left as they are.

    Args:
        swin: the trunk, taken apart.
        tasks: of the network.
        options: the ranks and what else :class:`BranchedLinear` takes.

    Shape: (B·t, 3, H, W) -> a list of (B·t, C, h, w), as of :class:`~tssbn.networks.swin.Swin`.
    """

    def __init__(self, swin: Swin, tasks: Tasks, **options: float):
        super().__init__()
        self.tasks, self.swin = tasks, swin
        for stage in swin.layers:
            stage.blocks[-1] = BranchedBlock(stage.blocks[-1], tasks, **options)

    def forward(self, images: Tensor) -> list[Tensor]:
        count = self.tasks.now.count
        x = self.swin.patch_embed(images[::count])  # one row an image
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
        """Names of the parameters that weight decay would spoil, as timm has them."""
        return {f"swin.{name}" for name in self.swin.no_weight_decay()}

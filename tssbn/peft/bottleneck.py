"""Adapters: a bottleneck behind a layer, past which its output goes unchanged."""

from torch import Tensor, nn
from torch.nn import functional as F

from tssbn.peft.linear import linear
from tssbn.tasks import Tasks

__all__ = ["Adapter", "bottleneck"]


class Adapter(nn.Module):
    """An adapter, ``x + up(GELU(down(x)))``.

    Args:
        down: maps the channels of x to fewer.
        up: maps these to the channels of x.

    Shape: that of x stays.

    Example:
        >>> import torch
        >>> Adapter(nn.Linear(4, 2), nn.Linear(2, 4))(torch.rand(5, 4)).shape
        torch.Size([5, 4])
    """

    def __init__(self, down: nn.Module, up: nn.Module):
        super().__init__()
        self.down = down
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(F.gelu(self.down(x)))


def bottleneck(width: int, inner: int, tasks: Tasks | None = None) -> Adapter:
    """Make an adapter of linear layers, which is the identity at first: ``up`` starts with zeros.

    ``down`` does not; were both zero, GELU(0) = 0 would let no gradient through, but to the last
    bias. (Houlsby et al., arXiv 1902.00751.)

    Args:
        width: channels of what the adapter reads and gives.
        inner: channels inside.
        tasks: those of which each has an adapter; without, there is one for all.

    Example:
        >>> adapter = bottleneck(8, 2)
        >>> sum(p.numel() for p in adapter.parameters())
        42
    """
    adapter = Adapter(linear(width, inner, tasks), linear(inner, width, tasks))
    for value in adapter.up.parameters():
        nn.init.zeros_(value)
    return adapter

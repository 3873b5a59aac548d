"""Bottleneck adapters, which are inserted after a layer."""

from torch import Tensor, nn
from torch.nn import functional as F

from tssbn.peft.linear import linear
from tssbn.tasks import Tasks

__all__ = ["Adapter", "bottleneck"]


class Adapter(nn.Module):
    """An adapter, ``x + up(GELU(down(x)))`` (Houlsby et al., arXiv 1902.00751).

    Args:
        down: maps the channels of x to fewer channels.
        up: maps these back to the channels of x.

    Shape: (..., channels) -> the same.

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
    """Make an adapter of linear layers that starts as the identity, because ``up`` starts at zero.

    ``down`` starts as a linear layer of PyTorch. If both were zero, only the bias of ``up`` would
    ever get a gradient, because GELU(0) = 0.

    Args:
        width: channels of the adapter's input and output.
        inner: channels between the two layers.
        tasks: tasks that each get an adapter; None makes one adapter for all tasks.

    Example:
        >>> adapter = bottleneck(8, 2)
        >>> sum(p.numel() for p in adapter.parameters())
        42
    """
    adapter = Adapter(linear(width, inner, tasks), linear(inner, width, tasks))
    for value in adapter.up.parameters():
        nn.init.zeros_(value)
    return adapter

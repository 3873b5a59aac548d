"""Low-rank updates of linear layers, as in LoRA."""

from typing import Any

from torch import Tensor, nn

from tssbn.peft.linear import linear
from tssbn.tasks import Tasks

__all__ = ["LowRank", "Parallel", "updated"]


class LowRank(nn.Module):
    """LoRA's low-rank update of a linear layer, ``s · B A D(x)``, where D is dropout.

    A is drawn as a linear layer's weights are and B starts at zero, so the update starts at 0 (Hu
    et al., arXiv 2106.09685). The factor is s, as in the code of MTLoRA, and not α/r.

    Args:
        inputs: channels of x.
        outputs: channels of the update.
        rank: the rank r of the update.
        scale: the factor s.
        dropout: the probability with which D drops a value.
        tasks: tasks that each have an A and a B; None makes one pair for all tasks.

    Shape: (..., inputs) -> (..., outputs), with B·t rows where there are tasks.

    Raises:
        ValueError: `rank` is less than 1.

    Example:
        >>> import torch
        >>> update = LowRank(4, 3, rank=2)
        >>> update(torch.rand(1, 4))
        tensor([[0., 0., 0.]], grad_fn=<MulBackward0>)
        >>> sum(p.numel() for p in update.parameters())
        14
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rank: int = 4,
        scale: float = 4.0,
        dropout: float = 0.0,
        tasks: Tasks | None = None,
    ):
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank={rank} must be 1 or more")
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        self.down = linear(inputs, rank, tasks, bias=False)
        self.up = linear(rank, outputs, tasks, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.up(self.down(self.dropout(x)))

    def matrix(self) -> Tensor:
        """Compute the update s · B A of the weight, (T, outputs, inputs) or (outputs, inputs)."""
        return self.scale * self.up.weight @ self.down.weight

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class Parallel(nn.Module):
    """A layer and a second module on the same input, whose outputs are added.

    Args:
        host: the layer.
        update: the second module, such as a :class:`LowRank`.

    Shape: that of the layer.

    Example:
        >>> layer = nn.Linear(4, 3)
        >>> Parallel(layer, LowRank(4, 3, rank=2)).host is layer
        True
    """

    def __init__(self, host: nn.Module, update: nn.Module):
        super().__init__()
        self.host = host
        self.update = update

    def forward(self, x: Tensor) -> Tensor:
        return self.host(x) + self.update(x)


def updated(layer: nn.Linear, **options: Any) -> Parallel:
    """Put a low-rank update beside a linear layer.

    Args:
        layer: the linear layer.
        options: of the update, as for :class:`LowRank`, without its sizes.

    Example:
        >>> updated(nn.Linear(4, 3), rank=2).update.matrix().shape
        torch.Size([3, 4])
    """
    return Parallel(layer, LowRank(layer.in_features, layer.out_features, **options))

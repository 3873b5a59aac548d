"""Biases of each task, as BitFit trains them."""

import torch
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskBias"]


class TaskBias(TaskSpecific):
    """A bias for each task, ``x + δ_t``, which starts at zero (Ben Zaken et al., arXiv 2106.10199).

    Args:
        channels: channels of x.
        tasks: the tasks of the network.
        dim: the dimension of the channels in x: -1, or 1 as after a convolution.

    Shape: (B·t, ..., channels), or (B·t, channels, ...) with ``dim=1``, -> the same; δ is
    (T, channels).

    Raises:
        ValueError: `dim` is neither -1 nor 1.

    Example:
        >>> import tssbn
        >>> layer = nn.Sequential(nn.Linear(4, 3), TaskBias(3, tssbn.Tasks(("seg", "depth"))))
        >>> with tssbn.select(layer, "seg"):
        ...     layer(torch.rand(5, 4)).shape
        torch.Size([5, 3])
    """

    per_task = ("delta",)

    def __init__(self, channels: int, tasks: Tasks, dim: int = -1):
        super().__init__()
        if dim not in (1, -1):
            raise ValueError(f"dim={dim} must be -1, the last dimension, or 1")
        self.tasks = tasks
        self.dim = dim
        self.delta = nn.Parameter(torch.zeros(len(tasks.names), channels))

    def forward(self, x: Tensor) -> Tensor:
        x, delta = self.unstack(x), self.rows(self.delta)  # (B, t, ...) and (t, C)
        others = [1] * (x.ndim - 3)
        before, after = ([], others) if self.dim == 1 else (others, [])
        return self.stack(x + delta.reshape(delta.shape[0], *before, -1, *after))

    def extra_repr(self) -> str:
        return f"{self.delta.shape[1]}, dim={self.dim}, {super().extra_repr()}"

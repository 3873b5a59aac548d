"""A convolution for each task."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskConv2d"]


class TaskConv2d(TaskSpecific):
    """A convolution for each task that keeps the size of the map, initialised as in PyTorch.

    Args:
        inputs: channels that it reads.
        outputs: channels that it outputs.
        side: side of the kernel, odd.
        tasks: the tasks of the network.

    Shape: (B·t, inputs, h, w) -> (B·t, outputs, h, w); ``weight`` is (T, outputs, inputs, side,
    side), ``bias`` (T, outputs).

    Example:
        >>> import tssbn
        >>> layer = TaskConv2d(4, 3, 3, tssbn.Tasks(("seg", "depth")))
        >>> with tssbn.select(layer, "depth"):
        ...     layer(torch.rand(5, 4, 6, 7)).shape
        torch.Size([5, 3, 6, 7])
    """

    per_task = ("weight", "bias")

    def __init__(self, inputs: int, outputs: int, side: int, tasks: Tasks):
        super().__init__()
        self.tasks = tasks
        count, bound = len(tasks.names), (inputs * side * side) ** -0.5
        weight = torch.empty(count, outputs, inputs, side, side).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(count, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        x, weight = self.unstack(x), self.rows(self.weight)
        bias = self.rows(self.bias).flatten()
        padding = weight.shape[-1] // 2
        y = F.conv2d(
            x.flatten(1, 2), weight.flatten(0, 1), bias, padding=padding, groups=len(weight)
        )
        return self.stack(y.unflatten(1, (len(weight), -1)))

    def extra_repr(self) -> str:
        _, outputs, inputs, side, _ = self.weight.shape
        return f"{inputs}, {outputs}, {side}, {super().extra_repr()}"

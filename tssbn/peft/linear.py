"""A linear layer for each task."""

import math

import torch
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskLinear", "linear"]


class TaskLinear(TaskSpecific):
    """A linear layer for each task, ``y = W_t x + b_t``, which starts as PyTorch's does.

    Args:
        inputs: channels of x, its last dimension.
        outputs: channels of y.
        tasks: the tasks of the network.
        bias: whether there is a bias b.

    Shape: (B·t, ..., inputs) -> (B·t, ..., outputs); W is (T, outputs, inputs), b (T, outputs).

    Example:
        >>> import tssbn
        >>> layer = TaskLinear(4, 3, tssbn.Tasks(("seg", "depth")))
        >>> with tssbn.select(layer, "depth"):
        ...     layer(torch.rand(5, 7, 4)).shape
        torch.Size([5, 7, 3])
    """

    per_task = ("weight", "bias")

    def __init__(self, inputs: int, outputs: int, tasks: Tasks, bias: bool = True):
        super().__init__()
        self.tasks = tasks
        count = len(tasks.names)
        self.weight = nn.Parameter(torch.empty(count, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(count, outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew, uniform within ±1/√inputs."""
        bound = 1 / math.sqrt(self.weight.shape[2])
        for value in self.parameters():
            nn.init.uniform_(value, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("bt...i,toi->bt...o", self.unstack(x), self.rows(self.weight))
        if self.bias is not None:
            bias = self.rows(self.bias)
            y = y + bias.reshape(bias.shape[0], *[1] * (y.ndim - 3), -1)
        return self.stack(y)

    def extra_repr(self) -> str:
        _, outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, bias={self.bias is not None}, {super().extra_repr()}"


def linear(inputs: int, outputs: int, tasks: Tasks | None = None, bias: bool = True) -> nn.Module:
    """Make a linear layer for each of these tasks, or one for all tasks.

    Args:
        inputs: channels that it reads.
        outputs: channels that it outputs.
        tasks: the tasks, or None for one layer for all.
        bias: whether there is a bias.

    Example:
        >>> linear(4, 3)
        Linear(in_features=4, out_features=3, bias=True)
    """
    if tasks is None:
        return nn.Linear(inputs, outputs, bias=bias)
    return TaskLinear(inputs, outputs, tasks, bias)

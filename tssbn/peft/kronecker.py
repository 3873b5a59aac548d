"""Compacter: adapters whose matrices are sums of Kronecker products."""

import math

import torch
from torch import Tensor, nn

from tssbn.peft.bottleneck import Adapter
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskKronecker", "kronecker"]


class TaskKronecker(TaskSpecific):
    """A linear layer of each task whose matrix is a sum of n Kronecker products.

    ``y = x W_t + b_t`` with ``W_t = Σ_i A_i ⊗ (s_i t_i)``, all of them the task's own: A_i (n, n),
    s_i (inputs/n, r), t_i (r, outputs/n). W is never built: x is seen as n pieces, to which s_i and
    t_i are applied, and A_i mixes the pieces. A starts from a normal distribution of width 0.01, s
    and t as Glorot's with gain √2, b with zeros. (Karimi Mahabadi et al., arXiv 2106.04647.)

    Args:
        inputs: channels of x, a multiple of n.
        outputs: channels of y, a multiple of n.
        tasks: those of the network.
        n: number of products, and side of A_i.
        rank: r, of s_i t_i.

    Shape: (B·t, ..., inputs) -> (B·t, ..., outputs).

    Raises:
        ValueError: The channels are no multiples of n.

    Example:
        >>> import tssbn
        >>> layer = TaskKronecker(8, 4, tssbn.Tasks(("seg", "depth")), n=2)
        >>> layer.matrix().shape
        torch.Size([2, 8, 4])
    """

    per_task = ("mix", "left", "right", "bias")

    def __init__(self, inputs: int, outputs: int, tasks: Tasks, n: int = 8, rank: int = 1):
        super().__init__()
        if n < 1 or inputs % n or outputs % n:
            raise ValueError(f"n={n} must divide the channels, {inputs} and {outputs}")
        self.tasks = tasks
        count = len(tasks.names)
        self.mix = nn.Parameter(torch.empty(count, n, n, n))
        self.left = nn.Parameter(torch.empty(count, n, inputs // n, rank))
        self.right = nn.Parameter(torch.empty(count, n, rank, outputs // n))
        self.bias = nn.Parameter(torch.zeros(count, outputs))
        nn.init.normal_(self.mix, std=0.01)
        for factor in self.left, self.right:
            bound = math.sqrt(2 * 6 / sum(factor.shape[2:]))
            nn.init.uniform_(factor, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        mix, left, right, bias = map(self.rows, (self.mix, self.left, self.right, self.bias))
        pieces = self.unstack(x).unflatten(-1, (mix.shape[1], -1))
        y = torch.einsum("bt...pq,tiqr->bt...pir", pieces, left)
        y = torch.einsum("bt...pir,tipo->bt...oir", y, mix)
        y = torch.einsum("bt...oir,tirk->bt...ok", y, right).flatten(-2)
        return self.stack(y + bias.reshape(bias.shape[0], *[1] * (y.ndim - 3), -1))

    def matrix(self) -> Tensor:
        """The matrices W, (T, inputs, outputs)."""
        products = torch.einsum("tipo,tiqr,tirk->tpqok", self.mix, self.left, self.right)
        return products.flatten(3).flatten(1, 2)

    def extra_repr(self) -> str:
        _, n, inputs, rank = self.left.shape
        shape = f"{n * inputs}, {self.bias.shape[1]}, n={n}, rank={rank}"
        return f"{shape}, {super().extra_repr()}"


def kronecker(width: int, inner: int, tasks: Tasks, n: int = 8, rank: int = 1) -> Adapter:
    """Make an adapter of Kronecker products for each task, which is the identity at first.

    The factor t of its ``up`` starts with zeros.

    Args:
        width: channels of what the adapter reads and gives.
        inner: channels inside.
        tasks: those of the network.
        n: number of products, divides both numbers of channels.
        rank: of the second factor of each.

    Example:
        >>> import tssbn
        >>> adapter = kronecker(96, 24, tssbn.Tasks(("seg",)))
        >>> sum(p.numel() for p in adapter.parameters())  # 3 (96 + 24) + 2 · 8³
        1384
    """
    adapter = Adapter(
        TaskKronecker(width, inner, tasks, n, rank), TaskKronecker(inner, width, tasks, n, rank)
    )
    nn.init.zeros_(adapter.up.right)
    return adapter

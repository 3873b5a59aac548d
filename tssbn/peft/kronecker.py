"""Adapters whose matrices are sums of Kronecker products, as in Compacter."""

import math

import torch
from torch import Tensor, nn

from tssbn.peft.bottleneck import Adapter
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskKronecker", "kronecker"]


class TaskKronecker(TaskSpecific):
    """A linear layer for each task whose matrix is a sum of n Kronecker products.

    ``y = x W + b`` with ``W = Σ_i A_i ⊗ (s_i t_i)``, where A_i is (n, n), s_i (inputs/n, r) and t_i
    (r, outputs/n), and every task has all of them (Karimi Mahabadi et al., arXiv 2106.04647). W is
    never built: x is split into n pieces, s_i and t_i are applied to each piece, and A_i mixes the
    pieces. A is drawn from N(0, 0.01²), s and t Glorot-uniform with gain √2, and b starts at zero.

    Args:
        inputs: channels of x, a multiple of n.
        outputs: channels of y, a multiple of n.
        tasks: the tasks of the network.
        n: number of products, and side of A_i.
        rank: the rank r of s_i t_i.

    Shape: (B·t, ..., inputs) -> (B·t, ..., outputs).

    Raises:
        ValueError: `n` is not positive or does not divide the channels.

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
        """Compute the matrices W of all tasks, (T, inputs, outputs)."""
        products = torch.einsum("tipo,tiqr,tirk->tpqok", self.mix, self.left, self.right)
        return products.flatten(3).flatten(1, 2)

    def extra_repr(self) -> str:
        _, n, inputs, rank = self.left.shape
        shape = f"{n * inputs}, {self.bias.shape[1]}, n={n}, rank={rank}"
        return f"{shape}, {super().extra_repr()}"


def kronecker(width: int, inner: int, tasks: Tasks, n: int = 8, rank: int = 1) -> Adapter:
    """Make an adapter of Kronecker products for each task that starts as the identity.

    The factors t of its ``up`` start at zero.

    Args:
        width: channels of the adapter's input and output.
        inner: channels between the two layers.
        tasks: the tasks of the network.
        n: number of products, a divisor of both numbers of channels.
        rank: rank of the second factor of each product.

    Raises:
        ValueError: `n` is not positive or does not divide the channels.

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

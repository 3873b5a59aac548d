"""Balancings that combine the tasks' gradients of the shared parameters into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing, refuse_float16
from tssbn.training.processes import all_reduce_mean

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Row", "Rows", "gramian", "weighted_sum"]

Row = list[Tensor | None]  # a task's gradient, by shared parameter; None where there is none


class Rows(Balancing):
    """Combine the tasks' gradients g_t = ∂L_t/∂θ at shared parameters θ; the base class adds them.

    Heads, gates and other task-specific parameters get the gradient of the plain sum. Each task
    has its own backward pass. The rows g_t are averaged over processes before the combination.

    Args:
        net: the network.

    Raises:
        ValueError: the tasks share no parameter.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import tssbn
        >>> heads = {"a": torch.nn.ReLU(), "b": torch.nn.ReLU()}
        >>> net = tssbn.MultiTask(torch.nn.Linear(2, 1, bias=False), heads)
        >>> class Largest(Rows):
        ...     def combine(self, rows, products):
        ...         return list(rows.values())[products.diagonal().argmax()]
        >>> largest, fabric = Largest(net), Fabric(accelerator="cpu", devices=1)
        >>> y = net.trunk(torch.tensor([[1.0, 3.0]]))
        >>> largest.backward(net, {"a": 2 * y.sum(), "b": 5 * y.sum()}, fabric)
        >>> largest.finish(net, fabric)
        >>> net.trunk.weight.grad
        tensor([[ 5., 15.]])
    """

    one_task_per_pass = True

    def __init__(self, net: MultiTaskNetwork):
        super().__init__()
        self.shared = net.shared()
        if not self.shared:
            raise ValueError(
                f"the tasks of {type(net).__name__} share no parameter, so that there are no "
                "gradients to weigh against one another: train it by the plain sum"
            )
        self.rows: dict[str, Row] = {}

    def check(self, precision: str, compile: bool) -> None:
        """Raise an error for float16, whose scaled gradients may overflow for one task alone.

        Args:
            precision, compile: see :func:`~tssbn.training.loop.train`.

        Raises:
            ValueError: the precision is ``"16"``.
        """
        why = "scales the losses until a gradient overflows, which must not enter the weights"
        refuse_float16(precision, why)

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Store the gradients of the shared parameters, one row per task."""
        *_, last = losses
        for task, loss in losses.items():
            fabric.backward(loss, retain_graph=task != last)
            self.rows[task] = [p.grad for p in self.shared]
            for p in self.shared:
                p.grad = None

    @torch.no_grad()
    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """Combine the rows.

        Raises:
            FloatingPointError: a task's gradient is NaN or infinite; the message names the task.
        """
        super().finish(net, fabric)  # only parameters of single tasks have a gradient so far
        rows, self.rows = self.rows, {}
        all_reduce_mean(fabric, (g for row in rows.values() for g in row if g is not None))
        products = gramian(list(rows.values()))
        for task, square in zip(rows, products.diagonal(), strict=True):
            if not square.isfinite():
                raise FloatingPointError(f"the gradient of {task!r} is not finite in a step")
        for p, gradient in zip(self.shared, self.combine(rows, products), strict=True):
            p.grad = gradient

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """Compute one gradient of the shared parameters; None where no loss depends on them.

        Args:
            rows: the tasks' gradients, by shared parameter.
            products: their scalar products, (T, T), see `gramian` of this module.
        """
        return weighted_sum(rows.values(), [1.0] * len(rows))


def weighted_sum(rows: Iterable[Row], weights: Iterable[float]) -> Row:
    """Compute Σ_t w_t g_t, by parameter.

    Args:
        rows: the gradient g_t of each task.
        weights: the weight w_t of each task.

    Example:
        >>> weighted_sum([[torch.ones(2), None], [torch.ones(2), torch.ones(1)]], [2.0, 0.5])
        [tensor([2.5000, 2.5000]), tensor([0.5000])]
    """
    rows, weights = list(rows), list(weights)
    found = []
    for column in zip(*rows, strict=True):
        parts = [w * g for w, g in zip(weights, column, strict=True) if g is not None]
        found.append(sum(parts) if parts else None)
    return found


def gramian(rows: Sequence[Row]) -> Tensor:
    """Compute the scalar products g_s·g_t of the tasks' gradients, one parameter at a time.

    Sums are in float64, because sums of millions of products lose digits in float32.

    Args:
        rows: the gradient of each task; a missing part counts as zero.

    Returns:
        (T, T), float64 on the CPU.

    Example:
        >>> gramian([[torch.tensor([3.0, 4.0]), None], [torch.tensor([1.0, 0.0]), torch.ones(2)]])
        tensor([[25.,  3.],
                [ 3.,  3.]], dtype=torch.float64)
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for column in zip(*rows, strict=True):
        known = [g for g in column if g is not None]
        if known:
            zero = torch.zeros_like(known[0])
            stacked = torch.stack([zero if g is None else g for g in column]).flatten(1)
            if stacked.device.type == "mps":  # has no float64
                stacked = stacked.cpu()
            stacked = stacked.double()
            total = total.to(stacked.device) + stacked @ stacked.T
    return total.cpu()

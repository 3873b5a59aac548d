"""Experts, each of which processes the tokens of all tasks that were routed to it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.mixtures.routing import Router

__all__ = ["MLPExperts", "Mixture", "dispatch", "uniform"]


def dispatch(
    rows: Tensor, places: Tensor, experts: int, compute: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Apply to each row each of the experts to which it was routed.

    The rows of an expert are computed together; one that got none computes no row. (On the meta
    device, where places have no values, each expert gets as many as any other.)

    Args:
        rows: (M, d), or (M, k, d) where a row goes to its k experts in different forms.
        places: (M, k), the experts of each row.
        experts: how many there are.
        compute: ``compute(e, rows)`` is expert e, from (m, d) to (m, d').

    Returns:
        (M, k, d').

    Example:
        >>> x, places = torch.tensor([[1.0], [2.0]]), torch.tensor([[0, 2], [2, 1]])
        >>> dispatch(x, places, 3, lambda e, rows: 10**e * rows).squeeze(2)
        tensor([[  1., 100.],
                [200.,  20.]])
    """
    k = places.shape[1]
    order = places.flatten().argsort(stable=True)
    sent = rows[order // k] if rows.ndim == 2 else rows.flatten(0, 1)[order]
    parts = sent.split(_sizes(places, experts))
    given = torch.cat([compute(e, part) for e, part in enumerate(parts)])
    return given[order.argsort()].unflatten(0, places.shape)


def _sizes(places: Tensor, experts: int) -> list[int]:
    """How many rows each expert gets."""
    if places.is_meta:
        each, more = divmod(places.numel(), experts)
        return [each + (e < more) for e in range(experts)]
    return places.flatten().bincount(minlength=experts).tolist()


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """Make a parameter, drawn uniformly from ±bound."""
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class MLPExperts(nn.Module):
    """Experts that are multilayer perceptrons with one hidden layer; a sum of those chosen.

    y = Σ_e w_e (W2_e act(W1_e x + b1_e) + b2_e). Weights and biases start uniform within ±1/inputs
    of their layer.

    Args:
        experts: how many.
        width: channels of a token.
        hidden: channels inside of an expert.
        act: the activation, GELU by default.

    Shape: tokens (..., width), weights and places (..., k) with as many tokens -> (..., width).

    Example:
        >>> experts = MLPExperts(3, width=8, hidden=4)
        >>> places = torch.tensor([[0, 2]]).expand(5, 2)
        >>> experts(torch.rand(5, 8), torch.ones(5, 2), places).shape
        torch.Size([5, 8])
    """

    def __init__(self, experts: int, width: int, hidden: int, act: nn.Module | None = None):
        super().__init__()
        self.act = nn.GELU() if act is None else act
        self.weight1 = uniform(experts, hidden, width, bound=1 / width)
        self.bias1 = uniform(experts, hidden, bound=1 / width)
        self.weight2 = uniform(experts, width, hidden, bound=1 / hidden)
        self.bias2 = uniform(experts, width, bound=1 / hidden)

    @classmethod
    def sliced(cls, mlp: nn.Module, experts: int, slices: int) -> "MLPExperts":
        """Cut a dense perceptron into slices of its hidden layer, and deal these out in turn.

        With all slices once, each of weight 1, the experts compute what the perceptron does: each
        has its share of the output's bias. Here outputs are larger by the number of experts, whose
        uniform weight is the inverse of it.

        Args:
            mlp: has ``fc1``, ``act`` and ``fc2``.
            experts: how many; the slice of expert e is e modulo their number.
            slices: a divisor of the hidden channels.

        Raises:
            ValueError: The hidden channels cannot be cut into so many slices.
        """
        inside, width = mlp.fc1.weight.shape
        if inside % slices:
            raise ValueError(f"{inside} hidden channels cannot be cut into {slices} equal slices")
        made = cls(experts, width, inside // slices, mlp.act)
        dealt = torch.arange(experts) % slices
        with torch.no_grad():
            made.weight1.copy_(mlp.fc1.weight.unflatten(0, (slices, -1))[dealt])
            made.bias1.copy_(mlp.fc1.bias.unflatten(0, (slices, -1))[dealt])
            columns = mlp.fc2.weight.unflatten(1, (slices, -1)).transpose(0, 1)
            made.weight2.copy_(experts * columns[dealt])
            made.bias2.copy_(experts * mlp.fc2.bias / slices)
        return made.to(mlp.fc1.weight)

    def forward(self, x: Tensor, weights: Tensor, places: Tensor) -> Tensor:
        places = places.flatten(0, -2)
        each = dispatch(x.flatten(0, -2), places, len(self.weight1), self._expert)
        return (weights.reshape(*places.shape, 1).to(each) * each).sum(1).view_as(x)

    def _expert(self, e: int, rows: Tensor) -> Tensor:
        hidden = self.act(F.linear(rows, self.weight1[e], self.bias1[e]))
        return F.linear(hidden, self.weight2[e], self.bias2[e])

    def extra_repr(self) -> str:
        experts, hidden, width = self.weight1.shape
        return f"{width}, hidden={hidden}, experts={experts}"


class Mixture(nn.Module):
    """Replace the MLP of a transformer block by a router and experts.

    Args:
        router: of each task.
        experts: of all tasks.

    Shape: (B·t, ..., width) -> the same.
    """

    def __init__(self, router: Router, experts: MLPExperts):
        super().__init__()
        self.router, self.experts = router, experts

    def forward(self, x: Tensor) -> Tensor:
        return self.experts(x, *self.router(x))

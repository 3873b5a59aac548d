"""Experts, which process the tokens of all tasks that were routed to them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.mixtures.routing import Router

__all__ = ["MLPExperts", "Mixture", "dispatch", "uniform"]


def dispatch(
    rows: Tensor, places: Tensor, experts: int, compute: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Apply to each row the experts to which it was routed.

    All rows of an expert are computed in one call. On the meta device, where `places` has no
    values, the rows are divided evenly among the experts.

    Args:
        rows: (M, d), or (M, k, d) with a different row for each of the k experts.
        places: (M, k), the numbers of the experts of each row.
        experts: number of experts.
        compute: ``compute(e, rows)`` applies expert e to rows (m, d) and returns (m, d'); m may be
            0.

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
    """Count the rows of each expert."""
    if places.is_meta:
        each, more = divmod(places.numel(), experts)
        return [each + (e < more) for e in range(experts)]
    return places.flatten().bincount(minlength=experts).tolist()


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """Make a parameter whose entries are drawn uniformly from ±`bound`.

    Args:
        shape: of the parameter.
        bound: the largest absolute value.

    Example:
        >>> uniform(2, 3, bound=0.1).abs().max() <= 0.1
        tensor(True)
    """
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class MLPExperts(nn.Module):
    """Perceptrons with one hidden layer, of which the chosen ones are summed with weights.

        y = Σ_e w_e (W2_e act(W1_e x + b1_e) + b2_e)

    Weights and biases are drawn uniformly from ±1/n, where n is the number of inputs of the layer.

    Args:
        experts: number of experts.
        width: channels of a token.
        hidden: hidden channels of an expert.
        act: the activation, GELU by default.

    Shape: tokens x (..., width), their weights w and the numbers of their experts, (..., k) each,
    -> (..., width).

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
        """Cut a trained perceptron into slices of its hidden layer, and make an expert of each.

        The sum of all slices is the perceptron, where each has an equal share of the output bias.
        Expert e gets slice e modulo `slices`, and its output is multiplied by the number of
        experts, because a uniform router weighs it with the inverse.

        Args:
            mlp: the perceptron, with ``fc1``, ``act`` and ``fc2``.
            experts: number of experts.
            slices: number of slices, a divisor of the hidden channels.

        Raises:
            ValueError: the hidden channels cannot be cut into so many equal slices.

        Example:
            >>> mlp = nn.Module()
            >>> mlp.fc1, mlp.act, mlp.fc2 = nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8)
            >>> experts = MLPExperts.sliced(mlp, experts=3, slices=3)
            >>> x, places = torch.rand(5, 8), torch.arange(3).expand(5, 3)
            >>> y = experts(x, torch.full((5, 3), 1 / 3), places)
            >>> torch.allclose(y, mlp.fc2(mlp.act(mlp.fc1(x))), atol=1e-6)
            True
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
    """A router and its experts, in place of the MLP of a transformer block.

    Args:
        router: the router of each task.
        experts: the experts, which all tasks share.

    Shape: (B·t, ..., width) -> the same.

    Example:
        >>> import tssbn
        >>> router = Router(8, experts=4, top=2, tasks=tssbn.Tasks(("seg",)))
        >>> Mixture(router, MLPExperts(4, width=8, hidden=6))(torch.rand(3, 7, 8)).shape
        torch.Size([3, 7, 8])
    """

    def __init__(self, router: Router, experts: MLPExperts):
        super().__init__()
        self.router, self.experts = router, experts

    def forward(self, x: Tensor) -> Tensor:
        return self.experts(x, *self.router(x))

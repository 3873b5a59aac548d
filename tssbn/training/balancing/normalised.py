"""Weightings of a Gramian that is scaled to trace 1, whatever the length of the gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Normalised", "Present", "root"]


class Normalised(nn.Module):
    """Compute weights (tr M)^power · weighting(M / tr M) for a Gramian M of gradients.

    Absolute tolerances of solvers then work for gradients of any size. If all gradients are zero,
    so are the weights.

    Args:
        weighting: maps a Gramian (T, T) to weights (T,).
        power: the p with w(cM) = c^p w(M); 0 for weights that only depend on ratios of gradients.

    Example:
        >>> inverse = Normalised(lambda gramian: 1 / gramian.diagonal(), power=-1)
        >>> inverse(torch.diag(torch.tensor([2.0, 8.0])))
        tensor([0.5000, 0.1250])
    """

    def __init__(self, weighting: Callable[[Tensor], Tensor], power: float = 0.0):
        super().__init__()
        self.weighting, self.power = weighting, power

    def forward(self, gramian: Tensor) -> Tensor:
        trace = gramian.trace()
        if trace == 0:
            return torch.zeros(len(gramian), dtype=gramian.dtype)
        return trace**self.power * self.weighting(gramian / trace)


class Present(nn.Module):
    """Apply a weighting only to the tasks whose gradient is not zero.

    The gradient of a task is zero if the batch has no labels for it.

    Args:
        weighting: maps the Gramian of the tasks with a gradient to weights.
        mean: whether to multiply the weights by the number of these tasks, for weightings that
            define a mean. The step then equals that of the plain sum if the gradients are equal.

    Example:
        >>> halves = Present(lambda gramian: torch.ones(len(gramian)) / len(gramian), mean=True)
        >>> halves(torch.diag(torch.tensor([2.0, 0.0, 3.0])))
        tensor([1., 0., 1.])
    """

    def __init__(self, weighting: Callable[[Tensor], Tensor], mean: bool = False):
        super().__init__()
        self.weighting, self.mean = weighting, mean

    def forward(self, gramian: Tensor) -> Tensor:
        there = gramian.diagonal() > 0
        weights = torch.zeros(len(gramian), dtype=gramian.dtype)
        if there.any():
            factor = int(there.sum()) if self.mean else 1
            weights[there] = factor * self.weighting(gramian[there][:, there])
        return weights


def root(gramian: Tensor) -> Tensor:
    """Compute a matrix R with RᵀR = M, even if M is singular.

    Args:
        gramian: M, (T, T), positive semidefinite.

    Example:
        >>> r = root(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        >>> r.T @ r
        tensor([[4., 0.],
                [0., 0.]])
    """
    values, vectors = torch.linalg.eigh(gramian)
    return values.clamp(min=0).sqrt()[:, None] * vectors.T

"""Solve for weights on a Gramian whose trace is 1, whatever the size of the gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Normalised", "root"]


class Normalised(nn.Module):
    """w = factor · (tr M)^power · weighting(M / tr M), for a Gramian M of gradients.

    Tolerances and small constants of solvers, which are absolute, then suit gradients of every
    size. If all gradients are zero, so are the weights.

    Args:
        weighting: Maps a Gramian (T, T) to weights (T,).
        factor: Such as T, for weights that add up to 1.
        power: The degree of homogeneity of the weights in M; 0 for those that depend on ratios of
            gradients alone.

    Example:
        >>> inverse = Normalised(lambda gramian: 1 / gramian.diagonal(), power=-1)
        >>> inverse(torch.diag(torch.tensor([2.0, 8.0])))
        tensor([0.5000, 0.1250])
    """

    def __init__(
        self, weighting: Callable[[Tensor], Tensor], factor: float = 1.0, power: float = 0.0
    ):
        super().__init__()
        self.weighting, self.factor, self.power = weighting, factor, power

    def forward(self, gramian: Tensor) -> Tensor:
        trace = gramian.trace()
        if trace == 0:
            return torch.zeros(len(gramian), dtype=gramian.dtype)
        return self.factor * trace**self.power * self.weighting(gramian / trace)


def root(gramian: Tensor) -> Tensor:
    """A matrix R with RᵀR = M, also where M is singular.

    Example:
        >>> r = root(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        >>> r.T @ r
        tensor([[4., 0.],
                [0., 0.]])
    """
    values, vectors = torch.linalg.eigh(gramian)
    return values.clamp(min=0).sqrt()[:, None] * vectors.T

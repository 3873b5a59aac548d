"""Vectors as lists of tensors, one for each axis; the order of every sum is fixed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tssbn.data.synthetic.same import sqrt

__all__ = ["dot", "sum_of_squares", "unit"]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Compute a₀b₀ + a₁b₁ + a₂b₂, in this order."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def sum_of_squares(vector: Sequence[Tensor]) -> Tensor:
    """Sum the squares of the components, in their order."""
    total = vector[0] * vector[0]
    for v in vector[1:]:
        total = total + v * v
    return total


def unit(vector: Sequence[Tensor]) -> list[Tensor]:
    """Divide a vector by its length; the zero vector stays."""
    inverse = 1 / (sqrt(sum_of_squares(vector)) + 1e-12)
    return [v * inverse for v in vector]

"""Computes where straight lines enter and leave boxes, balls and cylinders, and their extents."""

from __future__ import annotations

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

from .solids import BOX, CYLINDER, ELLIPSOID
from .vectors import dot, sum_of_squares

__all__ = ["extent", "span"]


def extent(shape: Tensor, reach: list[Tensor]) -> Tensor:
    """Compute how far solids extend from their centres in a direction.

    ``reach`` has the lengths of their three half axes, projected on the direction.
    """
    u, v, w = reach
    of_box = u.abs() + v.abs() + w.abs()
    of_tube = sqrt(u * u + w * w) + v.abs()
    of_ball = sqrt(dot(reach, reach))
    return torch.where(shape == BOX, of_box, torch.where(shape == CYLINDER, of_tube, of_ball))


def span(
    shape: int, way: list[Tensor], direction: list[Tensor], half: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Compute where lines enter (near) and leave (far) a solid; near > far if a line misses it."""
    if shape == BOX:
        (a, b), (c, d), (e, f) = map(_slab, way, direction, half)
        return torch.maximum(torch.maximum(a, c), e), torch.minimum(torch.minimum(b, d), f)
    scale = [1 / h for h in half]
    way = [w * s for w, s in zip(way, scale, strict=True)]
    direction = [d * s for d, s in zip(direction, scale, strict=True)]
    if shape == ELLIPSOID:
        return _ball(way, direction)
    near, far = _ball(way[::2], direction[::2])
    low, high = _slab(way[1], direction[1], torch.ones_like(half[1]))
    return torch.maximum(near, low), torch.minimum(far, high)


def _slab(way: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1 / (direction + 1e-20)  # parallel: 1/0 would make 0 * infinity, which is no number
    middle, reach = way * inverse, half * inverse.abs()
    return middle - reach, middle + reach


def _ball(way: list[Tensor], direction: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The unit ball, in two dimensions or three, by the point of the line closest to its centre:
    the textbook's discriminant loses its digits on small things far away."""
    along = way[0] * direction[0]
    for w, d in zip(way[1:], direction[1:], strict=True):
        along = along + w * d
    inverse = 1 / (sum_of_squares(direction) + 1e-12)
    middle = along * inverse
    height = 1 - sum_of_squares([middle * d - w for w, d in zip(way, direction, strict=True)])
    reach = sqrt(height.clamp(min=0) * inverse)
    return middle - reach + height.clamp(max=0) * -1e30, middle + reach

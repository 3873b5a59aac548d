"""Flat shapes as signed distances, and waves without trigonometry.

A shape is a function of the pixels' coordinates ``x`` and ``y`` that is negative inside; its
absolute value is, near the edge, the distance to the edge. ``torch.maximum`` of two shapes is
their intersection, ``torch.minimum`` their union.

Only operations that every processor rounds in the same way are used: + - * /, comparisons, and the
root of ``tssbn.data.synthetic.same``.
"""

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

__all__ = ["box", "disc", "ellipse", "segment", "smooth", "wave"]


def length(x: Tensor, y: Tensor) -> Tensor:
    return sqrt(x * x + y * y)


def disc(x: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    """Return the signed distance to a disc around the origin."""
    return length(x, y) - radius


def ellipse(x: Tensor, y: Tensor, rx: Tensor | float, ry: Tensor | float) -> Tensor:
    """Return the signed distance to an ellipse around the origin; exact on the shorter axis."""
    one = torch.ones_like(y[..., :1, :1])
    rx, ry = one * rx, one * ry
    return (length(x * (1 / rx), y * (1 / ry)) - 1) * torch.minimum(rx, ry)


def box(x: Tensor, y: Tensor, hx: Tensor | float, hy: Tensor | float, round: float = 0) -> Tensor:
    """Return the signed distance to a box around the origin, with half sides ``hx`` and ``hy``.

    ``round`` is the radius of its corners.
    """
    dx, dy = x.abs() - hx + round, y.abs() - hy + round
    return length(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0) - round


def segment(x: Tensor, y: Tensor, a: tuple[float, float], b: tuple[float, float]) -> Tensor:
    """Return the distance to the straight line from ``a`` to ``b``."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = ((x - a[0]) * dx + (y - a[1]) * dy) * (1 / (dx * dx + dy * dy))
    along = along.clamp(0, 1)
    return length(x - a[0] - along * dx, y - a[1] - along * dy)


def smooth(x: Tensor) -> Tensor:
    """Rise smoothly from 0 at x <= 0 to 1 at x >= 1."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def wave(x: Tensor) -> Tensor:
    """Return a wave between -1 and 1 with period 1, made of parabolas."""
    x = (x - x.floor()) * 2
    half = x.floor()
    x = x - half
    return 4 * x * (1 - x) * (1 - 2 * half)

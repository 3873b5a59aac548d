"""Computes shadows: the length of solid matter between a surface and a light."""

from __future__ import annotations

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

from .caster import FAR, Hits
from .lines import extent, span
from .table import COLUMNS, Solids
from .tiles import AT_ONCE, Rays, pick, place, plan
from .vectors import dot, sum_of_squares

__all__ = ["shadow"]

LIFT = 0.01  # metres of a shadow ray that are not looked at: a face does not shade itself


def shadow(solids: Solids, view: Rays, hits: Hits, light: Tensor) -> Tensor:
    """Compute how much matter is between the points that the rays hit and a light.

    Args:
        light: (4, B): the position in camera coordinates and 1. For a distant light: a vector in
            its direction, as long as a shadow can be, and 0.

    Returns:
        (h, w, N): how many metres of the straight line to the light are inside solids.
    """
    thick = torch.zeros_like(hits.depth)
    lamp = light[:, view.scene]  # (4, N)
    way = [target - lamp[3] * p for target, p in zip(lamp[:3], hits.point, strict=True)]
    length = sqrt(sum_of_squares(way))
    pairs = AT_ONCE // length[..., 0].numel()
    between = _in_the_way(solids, view, hits, light)
    for shape, tiles, blocks in plan(solids, between, view.scene, pairs):
        total = pick(thick, tiles)
        for block in blocks:
            here = tiles[block.place]
            centre, half, *axes = solids.bodies(block.solid)
            target, gap = lamp[:, here], pick(length, here)
            offset = [c - pick(p, here) for p, c in zip(hits.point, centre, strict=True)]
            rest = [t - target[3] * c for t, c in zip(target[:3], centre, strict=True)]
            way = [dot(axis, offset) for axis in axes]
            direction = [dot(axis, rest) + target[3] * w for axis, w in zip(axes, way, strict=True)]
            near, far = span(shape, way, direction, half)
            inside = (far.clamp_(max=1) * gap - (near * gap).clamp_(min=LIFT)).clamp_(min=0)
            for some, row in block.rows():
                total[..., some] += inside[..., row]
        place(thick, tiles, total)
    return thick


def _in_the_way(solids: Solids, view: Rays, hits: Hits, light: Tensor) -> Tensor:
    """(N, P): whether the solid may throw a shadow on a tile.

    A ball around all that the tile shows is swept to the light. A solid is clear of it if it lies
    beyond a plane at right angles to the shortest way from it to the path of the ball's centre.
    """
    count = view.grid[0]
    seen = hits.depth < FAR
    low = [torch.where(seen, p, FAR).amin((0, 1)) for p in hits.point]
    high = [torch.where(seen, p, -FAR).amax((0, 1)) for p in hits.point]
    radius = sqrt(sum_of_squares([(b - a) * 0.5 for a, b in zip(low, high, strict=True)]))
    # from here on (B, tiles of the scene, P)
    middle = [((a + b) * 0.5).view(count, -1, 1) for a, b in zip(low, high, strict=True)]
    lamp = light[:, :, None, None]
    way = [goal - lamp[3] * m for goal, m in zip(lamp[:3], middle, strict=True)]
    offset = [c[:, None] - m for c, m in zip(solids.all("centre"), middle, strict=True)]
    along = (dot(offset, way) * (1 / (sum_of_squares(way) + 1e-12))).clamp_(0, 1)
    apart = [o - along * w for o, w in zip(offset, way, strict=True)]
    reach = []
    for half, name in zip(solids.all("half"), "uvw", strict=True):
        reach.append(dot([(half * axis)[:, None] for axis in solids.all(name)], apart))
    square = sum_of_squares(apart)
    # distance - extent / distance > radius, times the distance
    gap = (radius.view(count, -1, 1) + 1e-3) * sqrt(square) + extent(solids.shape[:, None], reach)
    casts = (solids.shape >= 0) & (solids.table[COLUMNS.index("casts")].view_as(solids.shape) > 0)
    blocks = (square <= gap) & casts[:, None] & seen.any(0).any(0).view(count, -1, 1)
    return blocks.flatten(0, 1)

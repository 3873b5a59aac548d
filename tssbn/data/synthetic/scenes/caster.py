"""The ray caster, which finds what each ray of a picture meets first.

The pictures must be the same bits on every processor. So this code only uses operations that IEEE
754 rounds correctly (+ - * /, comparisons, integers, the root of ``synthetic.same``), one at a
time. It uses no fused multiply-add, no matrix product and no sum whose order a library may choose.
It divides by no Python number but a power of two, since a library may multiply by the rounded
reciprocal instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .lines import extent, span
from .solids import BOX, CYLINDER, ELLIPSOID
from .table import Solids
from .tiles import AT_ONCE, Rays, pick, place, plan
from .vectors import dot, unit

__all__ = ["FAR", "Hits", "cast", "surface"]

FAR = 1e9  # the depth of a ray that meets nothing
NEAR = 0.05  # metres before the camera where the picture begins


@dataclass(frozen=True)
class Hits:
    """The points where the rays first meet a solid.

    Attributes:
        depth: (h, w, N) z in metres; ``FAR`` if the ray meets nothing.
        solid: (h, w, N) int64, the column of the solid in the table of :class:`Solids`; 0 if the
            ray meets nothing.
        point: x, y and z, each (h, w, N): the point in camera coordinates.
        local: x, y and z, each (h, w, N): the point relative to the solid's centre, along its axes.
        facing: x, y and z, each (h, w, N): the unit normal along the solid's axes; 0 if the ray
            meets nothing.
    """

    depth: Tensor
    solid: Tensor
    point: list[Tensor]
    local: list[Tensor]
    facing: list[Tensor]


def cast(solids: Solids, view: Rays) -> tuple[Tensor, Tensor]:
    """Find the first solid on each ray.

    Returns:
        The depth (h, w, N), ``FAR`` if the ray meets nothing, and the solid (h, w, N) int64, a
        column of the table, 0 if the ray meets nothing.
    """
    h, w, n = view.y.shape[0], view.x.shape[1], view.x.shape[2]
    depth = view.x.new_full((h, w, n), FAR)
    winner = torch.zeros_like(depth)  # a column of the table; a float holds it exactly
    seen = _in_tiles(solids, view)
    for shape, tiles, blocks in plan(solids, seen, view.scene, AT_ONCE // (h * w)):
        x, y, best, who = (pick(v, tiles) for v in (view.x, view.y, depth, winner))
        for block in blocks:
            x_here, y_here = pick(x, block.place), pick(y, block.place)
            near, far = span(shape, *_from_eye(solids, block.solid, x_here, y_here))
            miss = torch.maximum(near - far, NEAR - near).clamp_(min=0)
            near = near + miss * 1e30
            for here, row in block.rows():
                closer = (best[..., here] - near[..., row]).mul_(1e30).clamp_(0, 1)  # 0 or 1
                who[..., here] += closer * (block.solid[row].to(who.dtype) - who[..., here])
                best[..., here] = torch.minimum(best[..., here], near[..., row])
        place(depth, tiles, best)
        place(winner, tiles, who)
    return depth, winner.long()


def _in_tiles(solids: Solids, view: Rays) -> Tensor:
    """(N, P): whether the solid may be seen in the tile, by the four planes of its pyramid."""
    b, rows, columns = view.grid

    def outside(axis: int, slope: Tensor, side: int) -> Tensor:
        """(B, P, strips): wholly beyond the plane through the eye with this slope (B, strips)."""
        slope = slope[:, None, :]

        def across(name: str) -> Tensor:
            vector = solids.all(name)
            return (vector[axis][:, :, None] - vector[2][:, :, None] * slope) * side

        reach = [h[:, :, None] * across(n) for h, n in zip(solids.all("half"), "uvw", strict=True)]
        return across("centre") > extent(solids.shape[:, :, None], reach) + 1e-4

    x = view.x.view(-1, b, rows, columns)[:, :, 0]
    y = view.y.view(-1, b, rows, columns)[..., 0]
    column = outside(0, x[-1], 1) | outside(0, x[0], -1)
    row = outside(1, y[-1], 1) | outside(1, y[0], -1)
    seen = ~(row[:, :, :, None] | column[:, :, None, :]) & (solids.shape >= 0)[:, :, None, None]
    return seen.permute(0, 2, 3, 1).flatten(0, 2)


def _from_eye(solids: Solids, these: Tensor, x: Tensor, y: Tensor) -> tuple[list[Tensor], ...]:
    """For rays from the eye and one solid per tile: the way to its centre and the direction of the
    rays, both along its axes, and its half sizes."""
    centre, half, *axes = solids.bodies(these)
    way = [dot(axis, centre) for axis in axes]
    direction = [(axis[0] * x + axis[2]) + axis[1] * y for axis in axes]
    return way, direction, half


def surface(solids: Solids, view: Rays, depth: Tensor, solid: Tensor) -> Hits:
    """Compute the points and normals of the surfaces that ``cast`` found."""
    hit = (depth < FAR).to(depth.dtype)
    centre, half = solids.vectors("centre", solid), solids.vectors("half", solid)
    point = [depth * view.x, depth * view.y, depth]
    offset = [p - c for p, c in zip(point, centre, strict=True)]
    local = [dot(solids.vectors(name, solid), offset) * hit for name in "uvw"]

    ratio = [p / h for p, h in zip(local, half, strict=True)]
    u, v, w = (r.abs() for r in ratio)
    # The face of a box is that of the largest ratio, of equal ones the first; a cylinder has its
    # round side and its flat ends.
    largest = torch.maximum(torch.maximum(u, v), w)
    on_u = (u == largest).to(depth.dtype)
    on_v = (v == largest).to(depth.dtype) * (1 - on_u)
    face = [on_u, on_v, 1 - on_u - on_v]
    end = (v * v >= u * u + w * w).to(depth.dtype)
    side = 1 - end
    shape = solids.shape.flatten().index_select(0, solid.flatten()).view_as(solid)
    is_box, is_ball, is_tube = ((shape == s).to(depth.dtype) for s in (BOX, ELLIPSOID, CYLINDER))
    facing = [
        r * (is_box * on_face + is_ball / h + is_tube * on_tube)
        for r, h, on_face, on_tube in zip(ratio, half, face, (side, end, side), strict=True)
    ]
    return Hits(depth, solid, point, local, unit(facing))

"""The ray caster: what every ray of a picture meets first, and what shades it.

The pictures are the same bits on every CPU and GPU. So tensors meet only operations that IEEE 754
rounds correctly (+ - * /, comparisons, integers, the root of ``synthetic.same``), one at a time:
no fused multiply-add, no matrix product, no sum whose order a library may choose, no division by a
Python number other than a power of two (CUDA multiplies by the rounded reciprocal instead).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

from .solids import BOX, CYLINDER, ELLIPSOID, Axes, Camera, Scene, Solid, rotation

__all__ = ["FAR", "Hits", "Rays", "Solids", "cast", "pack", "rays", "shadow", "surface"]

FAR = 1e9  # the depth of a ray that meets nothing
NEAR = 0.05  # metres before the camera where the picture begins
LIFT = 0.01  # metres of a shadow ray that are not looked at: a face does not shade itself
AT_ONCE = 2**16  # rays times solids, so that a few such tensors fit into the cache of a processor


@dataclass(frozen=True)
class Solids:
    """The solids of B scenes as tensors, in camera coordinates, padded to P per scene.

    Attributes:
        shape: (B, P) int64; -1 for padding.
        table: (F, B*P) float32, one row for each of ``COLUMNS``.
        labels: (4, B*P) int32: label, part, instance, seed.
    """

    shape: Tensor
    table: Tensor
    labels: Tensor

    def value(self, name: str, solid: Tensor) -> Tensor:
        """One column of the table, for each entry of ``solid`` (any shape)."""
        column = self.table[COLUMNS.index(name)]
        return column.index_select(0, solid.flatten()).view_as(solid)

    def vectors(self, name: str, solid: Tensor) -> list[Tensor]:
        """The three columns of a vector, for each entry of ``solid``."""
        return [self.value(f"{name}.{axis}", solid) for axis in "xyz"]

    def seed(self, solid: Tensor) -> Tensor:
        """The seed of the texture, for each entry of ``solid``."""
        return self.labels[3].index_select(0, solid.flatten()).view_as(solid)

    def bodies(self, solid: Tensor) -> list[list[Tensor]]:
        """Centre, half sizes and the three axes, for each of the M entries of ``solid`` (M,)."""
        columns = self.table[:15].index_select(1, solid).unbind()
        return [list(columns[i : i + 3]) for i in range(0, 15, 3)]

    def all(self, name: str) -> list[Tensor]:
        """The three columns of a vector, each (B, P)."""
        first = COLUMNS.index(f"{name}.x")
        return list(self.table[first : first + 3].view(3, *self.shape.shape))


COLUMNS = (
    *(f"{name}.{axis}" for name in ("centre", "half", "u", "v", "w", "colour") for axis in "xyz"),
    *("glow", "gloss", "casts"),
    *("second.x", "second.y", "second.z", "rate.u", "rate.v", "shift", "joint", "checks"),
    *("variety", "hues", "grain.u", "grain.v", "rough"),
)


def pack(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> Solids:
    """The solids of several scenes as tensors, each seen from its own camera."""
    most = max(len(scene.solids) for scene in scenes)
    shape = torch.full((len(scenes), most), -1)
    numbers = torch.zeros(len(scenes), most, len(COLUMNS))
    labels = torch.zeros(len(scenes), most, 4, dtype=torch.int32)
    for b, scene in enumerate(scenes):
        n = len(scene.solids)
        shape[b, :n] = torch.tensor([solid.shape for solid in scene.solids])
        numbers[b, :n] = torch.tensor([_numbers(solid) for solid in scene.solids])
        labels[b, :n] = torch.tensor(
            [(s.label, s.part, s.instance, s.seed) for s in scene.solids], dtype=torch.int32
        )
    table = numbers.movedim(2, 0).contiguous()  # (F, B, P)
    eye = torch.tensor([scene.camera.eye for scene in scenes]).unbind(1)
    view = torch.tensor([basis(scene.camera) for scene in scenes])  # (B, 3, 3)
    centre = [table[a] - eye[a][:, None] for a in range(3)]
    table[0:3] = torch.stack(to_camera(view, centre))
    for first in (6, 9, 12):
        table[first : first + 3] = torch.stack(to_camera(view, list(table[first : first + 3])))
    return Solids(
        shape.to(device),
        table.flatten(1).to(device),
        labels.movedim(2, 0).flatten(1).contiguous().to(device),
    )


def _numbers(solid: Solid) -> tuple[float, ...]:
    """In the order of ``COLUMNS``; cells and grains by how many of them a metre holds."""
    u, v, w = solid.axes
    t = solid.texture
    rates = [1 / size if size else 0.0 for size in (*t.cell, *t.grain)]
    return (
        *(*solid.centre, *solid.half, *u, *v, *w, *solid.colour),
        *(solid.glow, solid.gloss, solid.casts),
        *(*t.second, *rates[:2], t.shift, t.joint, t.checks),
        *(t.variety, t.hues, *rates[2:], t.rough),
    )


def basis(camera: Camera) -> Axes:
    """The camera's axes (right, down, forward) in world coordinates."""
    right, up, forward = rotation(camera.yaw, camera.pitch)
    return right, (-up[0], -up[1], -up[2]), forward


def to_camera(view: Tensor, vector: Sequence[Tensor]) -> list[Tensor]:
    """World vectors, three tensors (B, P), along the camera axes ``view`` (B, 3, 3)."""
    rows = view[..., None].unbind(1)  # three of (B, 3, 1)
    return [dot(row.unbind(1), vector) for row in rows]


@dataclass(frozen=True)
class Rays:
    """The rays of B pictures, cut into N = B*R*C tiles of h x w neighbouring rays.

    The tiles come last in all that is computed for rays: what is one number per tile, (N,), meets
    (h, w, N) without further ado, and the memory is walked through in long straight lines.

    Attributes:
        x, y: (1, w, N) and (h, 1, N): a ray has the direction (x, y, 1) in camera coordinates, so
            that its parameter is the depth z.
        scene: (N,) which picture.
        grid: (B, R, C)
    """

    x: Tensor
    y: Tensor
    scene: Tensor
    grid: tuple[int, int, int]

    def tiles(self, chosen: slice) -> Rays:
        """Some of the tiles, no longer whole pictures."""
        x, y, scene = self.x[..., chosen], self.y[..., chosen], self.scene[chosen]
        return Rays(x, y, scene, (1, 1, len(scene)))


def rays(x: Tensor, y: Tensor, tile: tuple[int, int]) -> Rays:
    """The rays through the columns ``x`` (B, W) and the rows ``y`` (B, H), in tiles."""
    b, rows, columns = len(x), y.shape[1] // tile[0], x.shape[1] // tile[1]
    x = x.view(b, 1, columns, tile[1]).expand(-1, rows, -1, -1).flatten(0, 2)
    y = y.view(b, rows, 1, tile[0]).expand(-1, -1, columns, -1).flatten(0, 2)
    scene = torch.arange(b, device=x.device).repeat_interleave(rows * columns)
    return Rays(x.T.contiguous()[None], y.T.contiguous()[:, None], scene, (b, rows, columns))


def untile(values: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """(h, w, N) tiles to (B, H, W) pictures."""
    h, w, _ = values.shape
    b, rows, columns = grid
    pictures = values.view(h, w, b, rows, columns).permute(2, 3, 0, 4, 1)
    return pictures.reshape(b, rows * h, columns * w)


@dataclass(frozen=True)
class Hits:
    """What the rays meet first.

    Attributes:
        depth: (h, w, N) z in metres; ``FAR`` where a ray meets nothing.
        solid: (h, w, N) int64 column of the table of :class:`Solids`; 0 where there is none.
        point: three (h, w, N): where, in camera coordinates.
        local: three (h, w, N): the same along the solid's own axes, from its centre.
        facing: three (h, w, N): the unit normal along the solid's axes; 0 where there is nothing.
    """

    depth: Tensor
    solid: Tensor
    point: list[Tensor]
    local: list[Tensor]
    facing: list[Tensor]


def cast(solids: Solids, view: Rays) -> tuple[Tensor, Tensor]:
    """The first solid on each ray.

    Returns:
        depth (h, w, N), ``FAR`` where a ray meets nothing, and the solid (h, w, N) int64, a column
        of the table, 0 where there is none.
    """
    h, w, n = view.y.shape[0], view.x.shape[1], view.x.shape[2]
    depth = view.x.new_full((h, w, n), FAR)
    winner = torch.zeros_like(depth)  # a column of the table; a float holds it exactly
    seen = _in_tiles(solids, view)
    for shape, tiles, blocks in _plan(solids, seen, view.scene, AT_ONCE // (h * w)):
        x, y, best, who = (_pick(v, tiles) for v in (view.x, view.y, depth, winner))
        for block in blocks:
            x_here, y_here = _pick(x, block.place), _pick(y, block.place)
            near, far = _span(shape, *_from_eye(solids, block.solid, x_here, y_here))
            miss = torch.maximum(near - far, NEAR - near).clamp_(min=0)
            near = near + miss * 1e30
            for here, row in block.rows():
                closer = (best[..., here] - near[..., row]).mul_(1e30).clamp_(0, 1)  # 0 or 1
                who[..., here] += closer * (block.solid[row].to(who.dtype) - who[..., here])
                best[..., here] = torch.minimum(best[..., here], near[..., row])
        _place(depth, tiles, best)
        _place(winner, tiles, who)
    return depth, winner.long()


def _pick(values: Tensor, tiles: Tensor) -> Tensor:
    """``values[..., tiles]``, which is several times slower."""
    rows = values.flatten(0, -2).index_select(1, tiles)
    return rows.view(*values.shape[:-1], len(tiles))


def _place(values: Tensor, tiles: Tensor, new: Tensor) -> None:
    """``values[..., tiles] = new``"""
    values.flatten(0, -2).index_copy_(1, tiles, new.flatten(0, -2))


class Block(NamedTuple):
    """Pairs of a tile and a solid that are computed together: rows, each with another solid for
    the first so many tiles.

    Attributes:
        place: (M,) index into the tiles.
        solid: (M,) column of the table.
        counts: lengths of the rows, which add up to M.
    """

    place: Tensor
    solid: Tensor
    counts: list[int]

    def rows(self) -> Iterator[tuple[slice, slice]]:
        """For every row, the tiles and the pairs that it is."""
        start = 0
        for count in self.counts:
            yield slice(count), slice(start, start + count)
            start += count


def _plan(
    solids: Solids, mask: Tensor, scene: Tensor, pairs: int
) -> Iterator[tuple[int, Tensor, list[Block]]]:
    """What to try where, from a mask (N, P) of the solids that a tile may meet: for every shape
    the tiles with any solid of it, those with many first, and blocks of about so many pairs."""
    p = solids.shape.shape[1]
    for shape in (BOX, ELLIPSOID, CYLINDER):
        tile, solid = (mask & (solids.shape == shape)[scene]).nonzero(as_tuple=True)
        if not len(tile):
            continue
        count = torch.bincount(tile, minlength=len(mask))
        rank = torch.arange(len(tile), device=tile.device) - (count.cumsum(0) - count)[tile]
        order = count.sort(descending=True, stable=True).indices
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        place = place[tile]
        row_by_row = (rank * len(mask) + place).argsort()
        place, solid = place[row_by_row], (solid + scene[tile] * p)[row_by_row]
        counts = torch.bincount(rank).tolist()
        blocks, start = [], 0
        while counts:
            rows = [counts.pop(0)]
            while counts and sum(rows) + counts[0] <= pairs:
                rows.append(counts.pop(0))
            stop = start + sum(rows)
            blocks.append(Block(place[start:stop], solid[start:stop], rows))
            start = stop
        yield shape, order[: int((count > 0).sum())], blocks


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
        return across("centre") > _extent(solids.shape[:, :, None], reach) + 1e-4

    x = view.x.view(-1, b, rows, columns)[:, :, 0]
    y = view.y.view(-1, b, rows, columns)[..., 0]
    column = outside(0, x[-1], 1) | outside(0, x[0], -1)
    row = outside(1, y[-1], 1) | outside(1, y[0], -1)
    seen = ~(row[:, :, :, None] | column[:, :, None, :]) & (solids.shape >= 0)[:, :, None, None]
    return seen.permute(0, 2, 3, 1).flatten(0, 2)


def _extent(shape: Tensor, reach: list[Tensor]) -> Tensor:
    """How far solids extend from their centres in a direction, on which their half axes have the
    lengths ``reach``."""
    u, v, w = reach
    of_box = u.abs() + v.abs() + w.abs()
    of_tube = sqrt(u * u + w * w) + v.abs()
    of_ball = sqrt(dot(reach, reach))
    return torch.where(shape == BOX, of_box, torch.where(shape == CYLINDER, of_tube, of_ball))


def _from_eye(solids: Solids, these: Tensor, x: Tensor, y: Tensor) -> tuple[list[Tensor], ...]:
    """For rays from the eye and one solid per tile: the way to its centre and the direction of the
    rays, both along its axes, and its half sizes."""
    centre, half, *axes = solids.bodies(these)
    way = [dot(axis, centre) for axis in axes]
    direction = [(axis[0] * x + axis[2]) + axis[1] * y for axis in axes]
    return way, direction, half


def _span(
    shape: int, way: list[Tensor], direction: list[Tensor], half: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Where lines enter and leave a solid; near > far on those that miss it."""
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


def surface(solids: Solids, view: Rays, depth: Tensor, solid: Tensor) -> Hits:
    """Place and normal of what :func:`cast` found."""
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


def shadow(solids: Solids, view: Rays, hits: Hits, light: Tensor) -> Tensor:
    """How much matter stands between the hits and a light.

    Args:
        light: (4, B): the position in camera coordinates and 1; of a distant light the way to it
            (as long as a shadow may be) and 0.

    Returns:
        (h, w, N): the length of the straight way to the light that lies inside solids, in metres.
    """
    thick = torch.zeros_like(hits.depth)
    lamp = light[:, view.scene]  # (4, N)
    way = [target - lamp[3] * p for target, p in zip(lamp[:3], hits.point, strict=True)]
    length = sqrt(sum_of_squares(way))
    pairs = AT_ONCE // length[..., 0].numel()
    between = _in_the_way(solids, view, hits, light)
    for shape, tiles, blocks in _plan(solids, between, view.scene, pairs):
        total = _pick(thick, tiles)
        for block in blocks:
            here = tiles[block.place]
            centre, half, *axes = solids.bodies(block.solid)
            target, gap = lamp[:, here], _pick(length, here)
            offset = [c - _pick(p, here) for p, c in zip(hits.point, centre, strict=True)]
            rest = [t - target[3] * c for t, c in zip(target[:3], centre, strict=True)]
            way = [dot(axis, offset) for axis in axes]
            direction = [dot(axis, rest) + target[3] * w for axis, w in zip(axes, way, strict=True)]
            near, far = _span(shape, way, direction, half)
            inside = (far.clamp_(max=1) * gap - (near * gap).clamp_(min=LIFT)).clamp_(min=0)
            for place, row in block.rows():
                total[..., place] += inside[..., row]
        _place(thick, tiles, total)
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
    gap = (radius.view(count, -1, 1) + 1e-3) * sqrt(square) + _extent(solids.shape[:, None], reach)
    casts = (solids.shape >= 0) & (solids.table[COLUMNS.index("casts")].view_as(solids.shape) > 0)
    blocks = (square <= gap) & casts[:, None] & seen.any(0).any(0).view(count, -1, 1)
    return blocks.flatten(0, 1)


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """a₀b₀ + a₁b₁ + a₂b₂, in this order."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def sum_of_squares(vector: Sequence[Tensor]) -> Tensor:
    total = vector[0] * vector[0]
    for v in vector[1:]:
        total = total + v * v
    return total


def unit(vector: Sequence[Tensor]) -> list[Tensor]:
    """The vector divided by its length; the zero vector stays."""
    inverse = 1 / (sqrt(sum_of_squares(vector)) + 1e-12)
    return [v * inverse for v in vector]

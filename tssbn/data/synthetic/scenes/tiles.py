"""Rays in tiles, and which solids to try in which of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .solids import BOX, CYLINDER, ELLIPSOID
from .table import Solids

__all__ = ["AT_ONCE", "Block", "Rays", "pick", "place", "plan", "rays", "untile"]

AT_ONCE = 2**16  # rays times solids, so that a few such tensors fit into the cache of a processor


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
    scene = torch.arange(b).repeat_interleave(rows * columns)
    return Rays(x.T.contiguous()[None], y.T.contiguous()[:, None], scene, (b, rows, columns))


def untile(values: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """(h, w, N) tiles to (B, H, W) pictures."""
    h, w, _ = values.shape
    b, rows, columns = grid
    pictures = values.view(h, w, b, rows, columns).permute(2, 3, 0, 4, 1)
    return pictures.reshape(b, rows * h, columns * w)


def pick(values: Tensor, tiles: Tensor) -> Tensor:
    """``values[..., tiles]``, which is several times slower."""
    rows = values.flatten(0, -2).index_select(1, tiles)
    return rows.view(*values.shape[:-1], len(tiles))


def place(values: Tensor, tiles: Tensor, new: Tensor) -> None:
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


def plan(
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
        rank = torch.arange(len(tile)) - (count.cumsum(0) - count)[tile]
        order = count.sort(descending=True, stable=True).indices
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
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

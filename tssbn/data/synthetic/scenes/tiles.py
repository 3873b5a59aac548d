"""Groups the rays of pictures in tiles, and plans which solids to test against which tiles."""

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

    All tensors of rays are (h, w, N), with the tiles last. So one number per tile, (N,), broadcasts
    to them, and the memory is read in order.

    Attributes:
        x, y: (1, w, N) and (h, 1, N). A ray has the direction (x, y, 1) in camera coordinates, so
            its parameter is the depth z.
        scene: (N,), the number of the picture that a tile belongs to.
        grid: (B, R, C): pictures, and rows and columns of tiles in each.
    """

    x: Tensor
    y: Tensor
    scene: Tensor
    grid: tuple[int, int, int]

    def tiles(self, chosen: slice) -> Rays:
        """Select some of the tiles; they need not make whole pictures."""
        x, y, scene = self.x[..., chosen], self.y[..., chosen], self.scene[chosen]
        return Rays(x, y, scene, (1, 1, len(scene)))


def rays(x: Tensor, y: Tensor, tile: tuple[int, int]) -> Rays:
    """Make the rays through the columns ``x`` (B, W) and the rows ``y`` (B, H), in tiles."""
    b, rows, columns = len(x), y.shape[1] // tile[0], x.shape[1] // tile[1]
    x = x.view(b, 1, columns, tile[1]).expand(-1, rows, -1, -1).flatten(0, 2)
    y = y.view(b, rows, 1, tile[0]).expand(-1, -1, columns, -1).flatten(0, 2)
    scene = torch.arange(b).repeat_interleave(rows * columns)
    return Rays(x.T.contiguous()[None], y.T.contiguous()[:, None], scene, (b, rows, columns))


def untile(values: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Join tiles (h, w, N) to pictures (B, H, W)."""
    h, w, _ = values.shape
    b, rows, columns = grid
    pictures = values.view(h, w, b, rows, columns).permute(2, 3, 0, 4, 1)
    return pictures.reshape(b, rows * h, columns * w)


def pick(values: Tensor, tiles: Tensor) -> Tensor:
    """Return ``values[..., tiles]``, several times faster than indexing."""
    rows = values.flatten(0, -2).index_select(1, tiles)
    return rows.view(*values.shape[:-1], len(tiles))


def place(values: Tensor, tiles: Tensor, new: Tensor) -> None:
    """Do ``values[..., tiles] = new``."""
    values.flatten(0, -2).index_copy_(1, tiles, new.flatten(0, -2))


class Block(NamedTuple):
    """M pairs of a tile and a solid that are computed together, arranged in rows.

    Each row pairs every tile at the beginning of the list with one more of its solids. Rows get
    shorter, because the tiles with most solids come first.

    Attributes:
        place: (M,), the place of the tile in that list.
        solid: (M,), the column of the solid in the table.
        counts: the lengths of the rows, which add up to M.
    """

    place: Tensor
    solid: Tensor
    counts: list[int]

    def rows(self) -> Iterator[tuple[slice, slice]]:
        """Yield the tiles and the pairs of each row."""
        start = 0
        for count in self.counts:
            yield slice(count), slice(start, start + count)
            start += count


def plan(
    solids: Solids, mask: Tensor, scene: Tensor, pairs: int
) -> Iterator[tuple[int, Tensor, list[Block]]]:
    """Plan which solids to test against which tiles.

    ``mask`` (N, P) marks the solids that the rays of a tile may meet. For each shape, the plan has
    the tiles with at least one such solid, those with most solids first, and blocks of about
    ``pairs`` pairs.
    """
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

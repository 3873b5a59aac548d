"""Collects the solids of several scenes in one table of numbers, in camera coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .solids import Axes, Camera, Scene, Solid, rotation
from .vectors import dot

__all__ = ["COLUMNS", "Solids", "basis", "pack", "to_camera"]


@dataclass(frozen=True)
class Solids:
    """The solids of B scenes as tensors, in camera coordinates, padded to P solids per scene.

    Attributes:
        shape: (B, P) int64, the shape of each solid; -1 for padding.
        table: (F, B*P) float32, one row for each of the F names in ``COLUMNS``.
        labels: (4, B*P) int32, the label, part, instance and seed of each solid.
    """

    shape: Tensor
    table: Tensor
    labels: Tensor

    def value(self, name: str, solid: Tensor) -> Tensor:
        """Look up one number of each solid; ``solid`` has their columns, in any shape."""
        column = self.table[COLUMNS.index(name)]
        return column.index_select(0, solid.flatten()).view_as(solid)

    def vectors(self, name: str, solid: Tensor) -> list[Tensor]:
        """Look up the three components of a vector of each solid."""
        return [self.value(f"{name}.{axis}", solid) for axis in "xyz"]

    def seed(self, solid: Tensor) -> Tensor:
        """Look up the seed of the texture of each solid."""
        return self.labels[3].index_select(0, solid.flatten()).view_as(solid)

    def bodies(self, solid: Tensor) -> list[list[Tensor]]:
        """Look up centre, half sizes and the three axes of M solids; ``solid`` is (M,)."""
        columns = self.table[:15].index_select(1, solid).unbind()
        return [list(columns[i : i + 3]) for i in range(0, 15, 3)]

    def all(self, name: str) -> list[Tensor]:
        """Return the three components of a vector of all solids, each (B, P)."""
        first = COLUMNS.index(f"{name}.x")
        return list(self.table[first : first + 3].view(3, *self.shape.shape))


COLUMNS = (
    *(f"{name}.{axis}" for name in ("centre", "half", "u", "v", "w", "colour") for axis in "xyz"),
    *("glow", "gloss", "casts"),
    *("second.x", "second.y", "second.z", "rate.u", "rate.v", "shift", "joint", "checks"),
    *("variety", "hues", "grain.u", "grain.v", "rough"),
)


def pack(scenes: Sequence[Scene]) -> Solids:
    """Convert the solids of several scenes to tensors, each in coordinates of its camera."""
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
    return Solids(shape, table.flatten(1), labels.movedim(2, 0).flatten(1).contiguous())


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
    """Compute the axes of a camera (right, down, forward) in world coordinates."""
    right, up, forward = rotation(camera.yaw, camera.pitch)
    return right, (-up[0], -up[1], -up[2]), forward


def to_camera(view: Tensor, vector: Sequence[Tensor]) -> list[Tensor]:
    """Convert vectors, three tensors (B, P), from world to camera axes; ``view`` is (B, 3, 3)."""
    rows = view[..., None].unbind(1)  # three of (B, 3, 1)
    return [dot(row.unbind(1), vector) for row in rows]

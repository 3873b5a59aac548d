"""Textures, and the colours of the surfaces that the rays met."""

from __future__ import annotations

import torch
from torch import Tensor

from .caster import Hits
from .solids import Texture, Vector
from .table import Solids

__all__ = ["bricks", "checks", "cloth", "foliage", "planks", "stripes", "tiles", "wood"]


def wood(size: float = 0.25) -> Texture:
    """One piece of wood with a long grain."""
    return Texture(grain=(size, size * 0.12), rough=0.2)


def planks(width: float = 0.14, length: float = 1.4) -> Texture:
    """Boards along u, each in a tone of its own."""
    dark = (0.06, 0.04, 0.03)
    return Texture(
        cell=(length, width), shift=0.37, joint=0.008, second=dark, variety=0.2,
        grain=(length * 0.3, width * 0.25), rough=0.2,
    )  # fmt: skip


def tiles(size: float, joint_colour: Vector, joint: float = 0.015) -> Texture:
    """Square tiles."""
    return Texture(cell=(size, size), joint=joint, second=joint_colour, variety=0.08,
                   grain=(0.3, 0.3), rough=0.1)  # fmt: skip


def bricks(mortar: Vector = (0.55, 0.53, 0.5)) -> Texture:
    """Brickwork."""
    return Texture(cell=(0.24, 0.08), shift=0.5, joint=0.014, second=mortar, variety=0.3, hues=0.1,
                   grain=(0.05, 0.05), rough=0.2)  # fmt: skip


def checks(size: float, second: Vector) -> Texture:
    """A chequered pattern."""
    return Texture(cell=(size, size), second=second, checks=True, grain=(0.05, 0.05), rough=0.08)


def stripes(width: float, second: Vector, upright: bool = True) -> Texture:
    """Stripes of two colours."""
    cell = (width, 0.0) if upright else (0.0, width)
    return Texture(cell=cell, second=second, checks=True, grain=(0.06, 0.06), rough=0.08)


def cloth(size: float = 0.05, rough: float = 0.18) -> Texture:
    """A soft irregular surface: fabric, plaster, carpet, leaves, by its size and strength."""
    return Texture(grain=(size, size), rough=rough)


def foliage() -> Texture:
    """Leaves: small patches of light and dark green."""
    return Texture(
        cell=(0.09, 0.07), shift=0.43, variety=0.5, hues=0.12, grain=(0.3, 0.3), rough=0.5
    )


def unwrap(hits: Hits) -> tuple[Tensor, Tensor]:
    """Compute texture coordinates (u, v) in metres.

    They depend on the local axis that the surface faces most: (z, y) for x, (x, z) for y, and
    (x, y) for z."""
    x, y, z = (f.abs() for f in hits.facing)
    on_y = ((y > x) & (y >= z)).to(x.dtype)
    on_x = ((x >= z) & (x >= y)).to(x.dtype)
    side, upright = 1 - on_x, 1 - on_y
    u = hits.local[2] * on_x + hits.local[0] * side
    v = hits.local[2] * on_y + hits.local[1] * upright
    return u, v


def albedo(solids: Solids, hits: Hits, step: Tensor) -> list[Tensor]:
    """Compute red, green and blue of the surfaces.

    ``step`` is the size of a pixel on the surface in metres.
    """
    place_u, place_v = unwrap(hits)
    colour, seed = solids.vectors("colour", hits.solid), solids.seed(hits.solid)

    def value(name: str) -> Tensor:
        return solids.value(name, hits.solid)

    rate_u, rate_v = value("rate.u"), value("rate.v")
    v = place_v * rate_v + 0.5
    row = v.floor()
    u = place_u * rate_u + 0.5 + row * value("shift")
    column = u.floor()
    checked = value("checks")
    i, j = column.to(torch.int32), row.to(torch.int32)
    joint = value("joint")
    gap = torch.maximum(
        _line(u - column, joint * rate_u, step * rate_u),
        _line(v - row, joint * rate_v, step * rate_v),
    )
    other = gap + checked * (((i + j) & 1) - gap)

    cell = scramble(seed + i * 0x27D4EB2D + j * 0x165667B1)
    shade = value("variety") * spread(cell)
    rate_u, rate_v = value("grain.u"), value("grain.v")
    fine = (1 / (step * torch.maximum(rate_u, rate_v) * 2 + 1e-6)).clamp(max=1)
    grain = smooth_noise(place_u * rate_u, place_v * rate_v, seed)
    twice = smooth_noise(place_u * rate_u * 2 + 0.5, place_v * rate_v * 2 + 0.5, seed + 1)
    shade = shade + value("rough") * fine * (grain + twice * 0.5)
    shade = shade + 1

    hues = value("hues")
    second = solids.vectors("second", hits.solid)
    painted = []
    for k in range(3):
        tone = hues * spread(scramble(cell + (k + 1) * 0x3C6EF35F)) + shade
        base = colour[k] + (second[k] - colour[k]) * other
        painted.append((base * tone).clamp(min=0))
    return painted


def _line(place: Tensor, width: Tensor, step: Tensor) -> Tensor:
    """How much of a pixel of size ``step`` the joint covers; all in cells, place in [0, 1)."""
    from_border = 0.5 - (place - 0.5).abs()
    sharp = ((width * 0.5 - from_border) / (step + 1e-6) + 0.5).clamp(0, 1)
    return sharp * (width / (step + 1e-6)).clamp(max=1)


def scramble(x: Tensor) -> Tensor:
    """Hash int32 numbers; the high bits are the best. Products wrap around on every machine."""
    x = (x ^ (x >> 15)) * 0x2C1B3C6D
    return (x ^ (x >> 12)) * 0x297A2D39


def spread(x: Tensor) -> Tensor:
    """Convert int32 numbers to numbers in [-1, 1)."""
    return (x >> 7).to(torch.float32) * 2.0**-24


def smooth_noise(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    """Return noise in [-1, 1]: random values at integer (u, v), with smooth transitions."""
    i, j = u.floor(), v.floor()
    a, b = u - i, v - j
    a, b = a * a * (3 - a * 2), b * b * (3 - b * 2)
    left = seed + i.to(torch.int32) * 0x27D4EB2D
    low = j.to(torch.int32) * 0x165667B1
    right, high = left + 0x27D4EB2D, low + 0x165667B1
    p, q = spread(scramble(left + low)), spread(scramble(right + low))
    r, s = spread(scramble(left + high)), spread(scramble(right + high))
    p, r = p + (q - p) * a, r + (s - r) * a
    return p + (r - p) * b

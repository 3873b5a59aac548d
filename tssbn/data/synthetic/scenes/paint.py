"""Textures and light: the colour of what the rays met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .caster import FAR, Hits, Rays, Solids, basis, dot, sum_of_squares, to_camera, unit
from .dice import Dice
from .solids import Scene, Solid, Texture, Vector

__all__ = ["bricks", "checks", "cloth", "foliage", "planks", "stripes", "tiles", "wood"]

SUN = 60.0  # metres: how long the shadows of a distant light may be

# ---------------------------------------------------------------------------------------- textures


def wood(size: float = 0.25) -> Texture:
    """The long grain of one piece of wood."""
    return Texture(grain=(size, size * 0.12), rough=0.2)


def planks(width: float = 0.14, length: float = 1.4) -> Texture:
    """Boards along u, each of another tone."""
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


COMMON = ((0.55, 0.45, 0.33), (0.2, 0.13, 0.09), (0.6, 0.6, 0.58), (0.3, 0.33, 0.36))


def alike(solid: Solid, dice: Dice, share: float) -> Solid:
    """With the probability ``share`` the solid in one of the four colours and textures that have
    nothing to do with what it is. What glows keeps its colour."""
    swap, k = dice.chance(share), dice.integer(0, 3)
    if solid.glow or not swap:
        return solid
    texture = (cloth(0.08), wood(), checks(0.12, (0.4, 0.4, 0.38)), stripes(0.1, (0.45, 0.42, 0.4)))
    return solid._replace(colour=COMMON[k], texture=texture[k])


@dataclass(frozen=True)
class Surface:
    """Texture coordinates of the hits: (u, v) in metres, and which local axes they follow."""

    u: Tensor
    v: Tensor
    along_u: list[Tensor]
    along_v: list[Tensor]


def unwrap(hits: Hits) -> Surface:
    """Project along the local axis that the surface faces most: x faces show (z, y), y faces
    (x, z), z faces (x, y)."""
    x, y, z = (f.abs() for f in hits.facing)
    on_y = ((y > x) & (y >= z)).to(x.dtype)
    on_x = ((x >= z) & (x >= y)).to(x.dtype)
    side, upright = 1 - on_x, 1 - on_y
    u = hits.local[2] * on_x + hits.local[0] * side
    v = hits.local[2] * on_y + hits.local[1] * upright
    zero = torch.zeros_like(u)
    return Surface(u, v, [side, zero, on_x], [zero, upright, on_y])


def albedo(
    solids: Solids, hits: Hits, surface: Surface, step: Tensor, contrast: float
) -> list[Tensor]:
    """Red, green and blue of the surfaces; ``step`` is the size of a pixel on them in metres."""
    colour = solids.vectors("colour", hits.solid)
    if not contrast:
        return colour
    seed = solids.seed(hits.solid)

    def value(name: str) -> Tensor:
        return solids.value(name, hits.solid)

    rate_u, rate_v = value("rate.u"), value("rate.v")
    v = surface.v * rate_v + 0.5
    row = v.floor()
    u = surface.u * rate_u + 0.5 + row * value("shift")
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
    grain = smooth_noise(surface.u * rate_u, surface.v * rate_v, seed)
    twice = smooth_noise(surface.u * rate_u * 2 + 0.5, surface.v * rate_v * 2 + 0.5, seed + 1)
    shade = shade + value("rough") * fine * (grain + twice * 0.5)
    shade = shade * contrast + 1

    hues = value("hues") * contrast
    second = solids.vectors("second", hits.solid)
    painted = []
    for k in range(3):
        tone = hues * spread(scramble(cell + (k + 1) * 0x3C6EF35F)) + shade
        base = colour[k] + (second[k] - colour[k]) * (other * min(contrast, 1.0))
        painted.append((base * tone).clamp(min=0))
    return painted


def _line(place: Tensor, width: Tensor, step: Tensor) -> Tensor:
    """How much of a pixel of size ``step`` the joint covers; all in cells, place in [0, 1)."""
    from_border = 0.5 - (place - 0.5).abs()
    sharp = ((width * 0.5 - from_border) / (step + 1e-6) + 0.5).clamp(0, 1)
    return sharp * (width / (step + 1e-6)).clamp(max=1)


def scramble(x: Tensor) -> Tensor:
    """A hash of int32, best in its high bits; products wrap around, on every machine alike."""
    x = (x ^ (x >> 15)) * 0x2C1B3C6D
    return (x ^ (x >> 12)) * 0x297A2D39


def spread(x: Tensor) -> Tensor:
    """int32 to numbers in [-1, 1)."""
    return (x >> 7).to(torch.float32) * 2.0**-24


def smooth_noise(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    """Values in [-1, 1] given at the integers and joined smoothly between them."""
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


# ------------------------------------------------------------------------------------------- light


@dataclass(frozen=True)
class Lamps:
    """The lights of B scenes in camera coordinates, as many for each.

    Attributes:
        place: (L, 4, B): position and 1, or the way to a distant light and 0.
        colour: (L, 3, B)
        reach: (L, B)
        ambient: (2, 3, B): on what looks up, and down.
        up: (3, B): the world's upright direction.
        sky: (2, 3, B): zenith and horizon.
        haze: (B,)
    """

    place: Tensor
    colour: Tensor
    reach: Tensor
    ambient: Tensor
    up: Tensor
    sky: Tensor
    haze: Tensor


def lamps(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> Lamps:
    """The lights of several scenes as tensors; missing ones are dark."""
    most = max(len(scene.lights) for scene in scenes)
    place = torch.zeros(most, 4, len(scenes))
    place[:, 3] = 1
    colour, reach = torch.zeros(most, 3, len(scenes)), torch.ones(most, len(scenes))
    for b, scene in enumerate(scenes):
        for k, light in enumerate(scene.lights):
            x, y, z = light.position
            if light.distant:
                scale = SUN / math.sqrt(x * x + y * y + z * z)
                position = (x * scale, y * scale, z * scale)
            else:
                eye = scene.camera.eye
                position = (x - eye[0], y - eye[1], z - eye[2])
            place[k, :3, b] = torch.tensor(position)
            place[k, 3, b] = 0.0 if light.distant else 1.0
            colour[k, :, b] = torch.tensor(light.colour)
            reach[k, b] = light.reach
    view = torch.tensor([basis(scene.camera) for scene in scenes])
    for k in range(most):
        turned = to_camera(view, [p[:, None] for p in place[k, :3]])
        place[k, :3] = torch.stack(turned)[:, :, 0]
    up = view[:, :, 1].T  # world (0, 1, 0) along right, down, forward
    ambient = torch.tensor([scene.ambient for scene in scenes]).permute(1, 2, 0)
    sky = torch.tensor([scene.sky for scene in scenes]).permute(1, 2, 0)
    haze = torch.tensor([scene.haze for scene in scenes])
    tensors = (place, colour, reach, ambient, up, sky, haze)
    return Lamps(*(tensor.contiguous().to(device) for tensor in tensors))


def normals(solids: Solids, hits: Hits, surface: Surface, relief: float) -> list[Tensor]:
    """The normals in camera coordinates, with ``relief`` tilted at random by waves of about 20 cm,
    but never away from the camera; 0 where there is nothing."""
    axes = [solids.vectors(name, hits.solid) for name in "uvw"]

    def in_camera(vector: list[Tensor]) -> list[Tensor]:
        return [dot([axis[k] for axis in axes], vector) for k in range(3)]

    plain = in_camera(hits.facing)
    if not relief:
        return plain
    seed = solids.seed(hits.solid)
    u, v = surface.u * 5.0, surface.v * 5.0
    a = smooth_noise(u, v, seed + 0x51ED270B) * relief
    b = smooth_noise(u, v, seed + 0x2545F491) * relief
    along = zip(hits.facing, surface.along_u, surface.along_v, strict=True)
    tilted = in_camera(unit([n + a * p + b * q for n, p, q in along]))
    visible = ((dot(tilted, hits.point) < 0) & (hits.depth < FAR)).to(a.dtype)
    return [n + (t - n) * visible for n, t in zip(plain, tilted, strict=True)]


def light(
    solids: Solids, lit: Lamps, view: Rays, hits: Hits, normal: list[Tensor],
    albedo: list[Tensor], reaches: Tensor,
) -> list[Tensor]:  # fmt: skip
    """Red, green and blue that the camera sees, linear.

    Args:
        normal: in camera coordinates.
        reaches: (L, h, w, N) share of each light that arrives.
    """
    scene = view.scene
    away = unit(hits.point)
    up = dot(lit.up[:, scene].unbind(), normal) * 0.5 + 0.5
    light_up, light_down = lit.ambient[..., scene]
    total = [low + (high - low) * up for high, low in zip(light_up, light_down, strict=True)]
    shine = [torch.zeros_like(up) for _ in range(3)]
    for k in range(len(lit.place)):
        place, reach = lit.place[k][:, scene], lit.reach[k][scene]
        way = [target - place[3] * p for target, p in zip(place[:3], hits.point, strict=True)]
        square = sum_of_squares(way) * place[3]
        reach = reach * reach
        way = unit(way)
        strength = reaches[k] * (reach / (reach + square))
        facing = dot(way, normal).clamp(min=0) * strength
        middle = unit([w - a for w, a in zip(way, away, strict=True)])
        glance = dot(middle, normal).clamp(min=0)
        for _ in range(4):
            glance = glance * glance
        glance = glance * strength
        for c in range(3):
            total[c] = total[c] + lit.colour[k, c][scene] * facing
            shine[c] = shine[c] + lit.colour[k, c][scene] * glance
    glow, gloss = solids.value("glow", hits.solid), solids.value("gloss", hits.solid)
    colour = []
    for c in range(3):
        seen = albedo[c] * (total[c] + (1 - total[c]) * glow)
        colour.append(seen + shine[c] * gloss)
    return _air(lit, view, hits, colour)


def _air(lit: Lamps, view: Rays, hits: Hits, colour: list[Tensor]) -> list[Tensor]:
    """Haze before what is far, and the sky behind all."""
    scene = view.scene
    if not bool((hits.depth == FAR).any() | (lit.haze > 0).any()):
        return colour
    ray = unit([view.x + view.y * 0, view.y + view.x * 0, torch.ones_like(hits.depth)])
    height = dot(lit.up[:, scene].unbind(), ray).clamp(0, 1)
    share = height * (2 - height)
    mist = hits.depth * lit.haze[scene]
    mist = mist / (1 + mist)
    open_sky = (hits.depth == FAR).to(mist.dtype)
    mixed = []
    for c in range(3):
        zenith, horizon = lit.sky[0, c][scene], lit.sky[1, c][scene]
        sky = horizon + (zenith - horizon) * share
        seen = colour[c] + (horizon - colour[c]) * mist
        mixed.append(seen + (sky - seen) * open_sky)
    return mixed

"""Computes the colours that the camera sees, under lamps, sun, haze and sky."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .caster import FAR, Hits
from .solids import Scene
from .table import Solids, basis, to_camera
from .tiles import Rays
from .vectors import dot, sum_of_squares, unit

__all__ = ["Lamps", "lamps", "light", "normals"]

SUN = 60.0  # metres: how long the shadows of a distant light may be


@dataclass(frozen=True)
class Lamps:
    """The lights of B scenes in camera coordinates, L in each scene.

    Attributes:
        place: (L, 4, B): the position and 1, or the direction to a distant light and 0.
        colour: (L, 3, B), as in ``solids.Light``.
        reach: (L, B), as there.
        ambient: (2, 3, B): the light without direction on faces that look up, and down.
        up: (3, B): the upward direction of the world.
        sky: (2, 3, B): the colours at the zenith and at the horizon.
        haze: (B,), as in ``solids.Scene``.
    """

    place: Tensor
    colour: Tensor
    reach: Tensor
    ambient: Tensor
    up: Tensor
    sky: Tensor
    haze: Tensor


def lamps(scenes: Sequence[Scene]) -> Lamps:
    """Collect the lights of several scenes in tensors; scenes with fewer lights get dark ones."""
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
    return Lamps(*(tensor.contiguous() for tensor in tensors))


def normals(solids: Solids, hits: Hits) -> list[Tensor]:
    """Compute the normals in camera coordinates; 0 if the ray meets nothing."""
    axes = [solids.vectors(name, hits.solid) for name in "uvw"]
    return [dot([axis[k] for axis in axes], hits.facing) for k in range(3)]


def light(
    solids: Solids, lit: Lamps, view: Rays, hits: Hits, normal: list[Tensor],
    albedo: list[Tensor], reaches: Tensor,
) -> list[Tensor]:  # fmt: skip
    """Compute the linear red, green and blue that the camera sees.

    Args:
        normal: the normals in camera coordinates.
        reaches: (L, h, w, N), the share of each light that arrives at the surface.
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

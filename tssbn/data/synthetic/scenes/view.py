"""Renders what the camera sees: the picture, and depth, normal and labels of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

from .caster import FAR, cast, surface
from .light import Lamps, lamps, light, normals
from .paint import albedo
from .shadow import shadow
from .solids import Scene
from .table import Solids, pack
from .tiles import Rays, rays, untile
from .vectors import dot, sum_of_squares

__all__ = ["View", "look"]

TILE = (16, 16)  # of rays
TILES = 128  # coloured at once
BLUR = 0.03  # metres of matter that stop a light: less of it at an edge lets some through


@dataclass(frozen=True)
class View:
    """B pictures, and what is seen at the centres of their pixels.

    Attributes:
        image: (B, 3, H, W) uint8.
        depth: (B, H, W) float32 metres along the optical axis; infinite for the sky.
        normal: (B, 3, H, W) float32 unit vectors, x right, y down, z forward; 0 for the sky.
        label, part, instance: (B, H, W) int32, those of the solid.
        focal: (B,), the focal length in pixels.
        chance: (B, H, W) uniform random numbers in [0, 1), which make holes in the labels.
    """

    image: Tensor
    depth: Tensor
    normal: Tensor
    label: Tensor
    part: Tensor
    instance: Tensor
    focal: Tensor
    chance: Tensor


def look(
    scenes: Sequence[Scene],
    height: int,
    width: int,
    noise: Tensor,
) -> View:
    """Render scenes.

    Rays go through the centres of the pixels and halfway between these. The ray through the centre
    decides all labels of the pixel. The colour is the mean of the 3 x 3 rays around the centre,
    with the weights 1-2-1 along both axes.

    Args:
        noise: (B, 7, H, W) uniform random numbers in [0, 1): six for the noise of the sensor, one
            for ``View.chance``.
    """
    solids, lit = pack(scenes), lamps(scenes)
    focal = torch.tensor([scene.camera.focal for scene in scenes]) * width
    step = (0.5 / focal)[:, None]
    x = (torch.arange(2 * width) + (1 - width)) * step
    y = (torch.arange(2 * height) + (1 - height)) * step
    fine = rays(x, y, TILE)
    depth, solid = cast(solids, fine)

    centres = Rays(fine.x[:, ::2], fine.y[::2], fine.scene, fine.grid)
    depth_at, solid_at = depth[::2, ::2].contiguous(), solid[::2, ::2].contiguous()
    hits = surface(solids, centres, depth_at, solid_at)
    normal = normals(solids, hits)
    reaches = torch.stack([shadow(solids, centres, hits, place) for place in lit.place])
    reaches = (1 - reaches * (1 / BLUR)).clamp(min=0)

    colour = []
    for start in range(0, len(fine.scene), TILES):
        some = slice(start, start + TILES)
        colour.append(
            _shade(
                solids, lit, fine.tiles(some), depth[..., some], solid[..., some],
                reaches[..., some], step,
            )
        )  # fmt: skip
    colour = [torch.cat(c, -1) for c in zip(*colour, strict=True)]
    colour = torch.stack([_blur(untile(c, fine.grid)) for c in colour], 1)

    def picture(values: Tensor) -> Tensor:
        return untile(values, fine.grid)

    depth = picture(depth_at)
    point = torch.stack([picture(p) for p in hits.point], 1)
    normal = torch.stack([picture(n) for n in normal], 1)
    solid = picture(solid_at).flatten()
    nothing = depth >= FAR
    sky = torch.tensor([[scene.sky_label, 0, 0, 0] for scene in scenes]).int()
    labels = [
        torch.where(nothing, sky[:, i, None, None], row.index_select(0, solid).view_as(depth))
        for i, row in enumerate(solids.labels)
    ]
    colour = colour * _corners(point, normal, nothing)[:, None]
    exposure = torch.tensor([scene.exposure for scene in scenes])
    return View(
        _develop(colour, exposure, noise[:, :6]),
        depth.masked_fill(nothing, torch.inf),
        normal,
        *labels[:3],
        focal,
        noise[:, 6],
    )


def _shade(
    solids: Solids, lit: Lamps, fine: Rays, depth: Tensor, solid: Tensor, reaches: Tensor,
    step: Tensor,
) -> list[Tensor]:  # fmt: skip
    """Red, green and blue of the rays of some tiles; the shadows are those of their pixels."""
    hits = surface(solids, fine, depth, solid)
    normal = normals(solids, hits)
    colours = albedo(solids, hits, hits.depth * step[fine.scene, 0])
    reaches = reaches.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return light(solids, lit, fine, hits, normal, colours, reaches)


def _blur(fine: Tensor) -> Tensor:
    """(B, 2H, 2W) rays to (B, H, W) pixels; beyond the border counts what is at the border."""
    for dim in (1, 2):
        even, odd = fine.unflatten(dim, (-1, 2)).unbind(dim + 1)
        n = even.shape[dim]
        between = odd.narrow(dim, 0, n - 1)
        before = torch.cat([even.narrow(dim, 0, 1), between], dim)
        after = torch.cat([between, even.narrow(dim, n - 1, 1)], dim)
        fine = (even * 2 + (before + after)) * 0.25
    return fine


def _corners(point: Tensor, normal: Tensor, nothing: Tensor) -> Tensor:
    """(B, H, W) how open the surroundings are: the share of light that corners and creases get,
    from the neighbours in the picture that rise above the surface."""
    h, w = nothing.shape[1:]
    reach = max(w // 24, 1)
    rows = torch.arange(-reach, h + reach).clamp(0, h - 1)
    columns = torch.arange(-reach, w + reach).clamp(0, w - 1)
    wide = point.index_select(2, rows).index_select(3, columns)
    closed = torch.zeros_like(point[:, 0])
    near = max(reach // 2, 1)
    offsets = [(0, reach), (reach, 0), (near, near), (near, -near)]
    offsets += [(-dy, -dx) for dy, dx in offsets]
    for dy, dx in offsets:
        other = wide[:, :, reach + dy : reach + dy + h, reach + dx : reach + dx + w]
        way = (other - point).unbind(1)
        square = sum_of_squares(way)
        rise = dot(way, normal.unbind(1)) / (sqrt(square) + 1e-6) - 0.1
        closed = closed + rise.clamp(min=0) * (0.1 / (0.1 + square))
    return (1 - closed * (1.1 / len(offsets))).clamp(min=0.25) * ~nothing + nothing


def _develop(colour: Tensor, exposure: Tensor, noise: Tensor) -> Tensor:
    """Linear light (B, 3, H, W) to the 8-bit picture: automatic exposure, darker corners, a
    shoulder for the highlights, the square root as gamma, sensor noise."""
    _, _, h, w = colour.shape
    # The mean is taken over integers: their sum is the same in every order.
    brightness = (colour.amax(1).clamp(max=4) * 1024 + 1).long().sum((1, 2)).float()
    gain = exposure * exposure * (h * w * 1024) / brightness
    y = (torch.arange(h) * 2 + (1 - h)).float()[:, None]
    x = (torch.arange(w) * 2 + (1 - w)).float()
    corner = 1 / (x * x + y * y + (w * w) * 4.0) * ((w * w) * 4.0)
    seen = colour * gain[:, None, None, None] * corner
    seen = seen * (1 + seen * 0.4) / (1 + seen * 0.5)
    grain = (noise[:, :3] + noise[:, 3:] - 1) * 0.03
    shown = sqrt(seen) * 1.1 + grain
    return (shown.clamp(0, 1) * 255 + 0.5).to(torch.uint8)

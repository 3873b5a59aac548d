"""Pictures that are painted with shapes and random traits, a batch at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

__all__ = ["Canvas", "Color"]

Color = tuple[float, float, float]


class Canvas:
    """A batch of pictures, each in coordinates of its own that are shifted, tilted and scaled.

    ``x`` and ``y`` are (B, size, size): to the right and down, (0, 0) near the middle, the edges
    of the picture near ±1. ``u`` is ``x`` along the front of a head that is turned to a side, a
    cylinder of radius 0.56; ``m`` is its absolute value, for what comes in pairs.

    Args:
        size: side of a picture in pixels.
        traits: (B, K) uniform in [0, 1), used one after another: the first for the pose.
        grain: (B, 4, size, size) uniform in [0, 1): noise of the three channels, and a texture.
    """

    def __init__(self, size: int, traits: Tensor, grain: Tensor) -> None:
        self.grain = grain
        self._traits: Iterator[Tensor] = iter(traits[..., None, None].unbind(1))

        at = (2 * torch.arange(size).to(traits.dtype) + 1) * (1 / size) - 1
        scale = self.between(0.94, 1.06)
        self.zoom = scale * (size / 2)  # pixels per unit
        x = (at.view(1, 1, -1) - self.between(-0.08, 0.08)) / scale
        y = (at.view(1, -1, 1) - self.between(-0.07, 0.03)) / scale
        cos, sin = self._angle(0.07)
        self.x, self.y = cos * x + sin * y, cos * y - sin * x
        cos, sin = self._angle(0.11)
        depth = sqrt((0.56 * 0.56 - self.x * self.x).clamp(min=0))
        self.u = cos * self.x - sin * depth
        self.m = self.u.abs()

    def _angle(self, most: float) -> tuple[Tensor, Tensor]:
        """Cosine and sine of a random angle; ``most`` is the tangent of its half."""
        half = self.between(-most, most)
        square = half * half
        return (1 - square) / (1 + square), 2 * half / (1 + square)

    def between(self, low: float, high: float) -> Tensor:
        """The next trait, (B, 1, 1)."""
        return low + (high - low) * next(self._traits)

    def tone(self, *rgb: float) -> Tensor:
        """A fixed colour, (3, 1, 1) or, of one number, the gray (1, 1, 1)."""
        return self.x.new_tensor(rgb).view(-1, 1, 1)

    def color(self, stops: tuple[Color, ...], brighter: float = 0.0) -> Tensor:
        """A random colour (B, 3, 1, 1) on the way along a list of colours."""
        at = self.between(0, len(stops) - 1).unsqueeze(1)
        color = sum((1 - (at - i).abs()).clamp(min=0) * self.tone(*c) for i, c in enumerate(stops))
        return color * self.between(1 - brighter, 1 + brighter).unsqueeze(1)

    def any_color(self, low: float, high: float, muted: float = 0.0) -> Tensor:
        """Any colour (B, 3, 1, 1); ``muted`` takes it towards the gray of its green."""
        color = torch.stack([self.between(low, high) for _ in range(3)], 1)
        return color + muted * (color[:, 1:2] - color)

    def cover(self, shape: Tensor, soft: float = 0.001) -> Tensor:
        """How much of each pixel a shape covers; its edge is ``soft`` wide, or one pixel."""
        return (0.5 - shape * self.zoom.clamp(max=1 / soft)).clamp(0, 1)

    def fill(self, where: Tensor, color: Tensor) -> None:
        """Paint a colour, (B, 3, H, W) or what expands to it, with an opacity (B, H, W)."""
        self.image = self.image + where.unsqueeze(1) * (color - self.image)

    def develop(self, light: Tensor, grain: float) -> Tensor:
        """The finished pictures, (B, 3, size, size) uint8: light, exposure, tint and grain."""
        falloff = 1 + 0.16 * (light * self.x - self.between(-0.3, 1) * self.y)
        exposed = (self.image * (falloff * self.between(0.7, 1.05)).unsqueeze(1)).clamp(0, 1)
        exposed = exposed + self.between(-0.15, 0.35).unsqueeze(1) * (sqrt(exposed) - exposed)
        red, green, blue = self.between(0.9, 1.1), self.between(0.95, 1.05), self.between(0.85, 1.1)
        noise = (grain * self.between(0.2, 1)).unsqueeze(1) * (self.grain[:, :3] - 0.5)
        image = exposed * torch.stack([red, green, blue], 1) + noise
        return (image.clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)

"""The canvas on which a batch of pictures is painted, with shapes and random traits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tssbn.data.synthetic.same import sqrt

__all__ = ["Canvas", "Color"]

Color = tuple[float, float, float]


class Canvas:
    """A batch of pictures to paint on; each has coordinates that are shifted, tilted and scaled.

    ``x`` and ``y`` (B, size, size) are the coordinates of the pixels, to the right and down. (0, 0)
    is near the middle, and the edges of the picture are near ±1. ``u`` is ``x`` on the front of a
    head that is turned to a side, where the head is a cylinder of radius 0.56. ``m`` is the
    absolute value of ``u``, for parts that come in pairs, such as eyes.

    Args:
        size: the side of a picture in pixels.
        traits: (B, K) uniform random numbers in [0, 1). Each call takes the next ones; the first
            are for the pose.
        grain: (B, 4, size, size) uniform random numbers in [0, 1): the noise of the three channels,
            and a texture.
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
        """Return the next trait, scaled to the range from ``low`` to ``high``, (B, 1, 1)."""
        return low + (high - low) * next(self._traits)

    def tone(self, *rgb: float) -> Tensor:
        """Return a fixed colour: (3, 1, 1) of three numbers, or a gray (1, 1, 1) of one."""
        return self.x.new_tensor(rgb).view(-1, 1, 1)

    def color(self, stops: tuple[Color, ...], brighter: float = 0.0) -> Tensor:
        """Return a random colour (B, 3, 1, 1), mixed from two neighbours in a list of colours."""
        at = self.between(0, len(stops) - 1).unsqueeze(1)
        color = sum((1 - (at - i).abs()).clamp(min=0) * self.tone(*c) for i, c in enumerate(stops))
        return color * self.between(1 - brighter, 1 + brighter).unsqueeze(1)

    def any_color(self, low: float, high: float, muted: float = 0.0) -> Tensor:
        """Return any random colour (B, 3, 1, 1); ``muted`` mixes in the gray of its green."""
        color = torch.stack([self.between(low, high) for _ in range(3)], 1)
        return color + muted * (color[:, 1:2] - color)

    def cover(self, shape: Tensor, soft: float = 0.001) -> Tensor:
        """Compute how much of each pixel a shape covers; its edge is ``soft`` or a pixel wide."""
        return (0.5 - shape * self.zoom.clamp(max=1 / soft)).clamp(0, 1)

    def fill(self, where: Tensor, color: Tensor) -> None:
        """Paint with a colour, which expands to (B, 3, H, W), and an opacity (B, H, W)."""
        self.image = self.image + where.unsqueeze(1) * (color - self.image)

    def develop(self, light: Tensor, grain: float) -> Tensor:
        """Add light, exposure, tint and noise; return the pictures, (B, 3, size, size) uint8."""
        falloff = 1 + 0.16 * (light * self.x - self.between(-0.3, 1) * self.y)
        exposed = (self.image * (falloff * self.between(0.7, 1.05)).unsqueeze(1)).clamp(0, 1)
        exposed = exposed + self.between(-0.15, 0.35).unsqueeze(1) * (sqrt(exposed) - exposed)
        red, green, blue = self.between(0.9, 1.1), self.between(0.95, 1.05), self.between(0.85, 1.1)
        noise = (grain * self.between(0.2, 1)).unsqueeze(1) * (self.grain[:, :3] - 0.5)
        image = exposed * torch.stack([red, green, blue], 1) + noise
        return (image.clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)

"""The faces before anything is painted: skin, hair and light, and how strongly attributes show."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .canvas import Canvas

__all__ = ["BEARD", "Face"]

SKIN = (
    (0.98, 0.86, 0.77),
    (0.90, 0.68, 0.52),
    (0.78, 0.55, 0.39),
    (0.60, 0.40, 0.27),
    (0.42, 0.27, 0.19),
)
PALE = (1.00, 0.94, 0.90)
HAIR = {
    "Black_Hair": (0.08, 0.07, 0.09),
    "Brown_Hair": (0.36, 0.22, 0.13),
    "Blond_Hair": (0.90, 0.76, 0.46),
    "Gray_Hair": (0.70, 0.71, 0.73),
}
RED = (0.60, 0.25, 0.12)  # hair of no other colour
BEARD = ((0.10, 0.08, 0.07), (0.30, 0.18, 0.10), (0.52, 0.37, 0.22))


class Face(Canvas):
    """A batch of faces before anything is painted: their colours, and how attributes show.

    Args:
        size, traits, grain: as in :class:`~tssbn.data.synthetic.faces.canvas.Canvas`, with
            ``TRAITS`` traits.
        shown: attribute → how strongly it shows, (B,), from 0 (absent) to 1 (present).
    """

    def __init__(
        self, size: int, traits: Tensor, grain: Tensor, shown: Mapping[str, Tensor]
    ) -> None:
        super().__init__(size, traits, grain)
        self.shown = {name: value.view(-1, 1, 1) for name, value in shown.items()}
        self.light = self.between(-1, 1)  # from the left to the right

        skin = self.color(SKIN, 0.04)
        self.skin = skin + self.strong("Pale_Skin").unsqueeze(1) * (self.tone(*PALE) - skin)
        hair = self.tone(*RED) + sum(
            self.shown[name].unsqueeze(1) * (self.tone(*color) - self.tone(*RED))
            for name, color in HAIR.items()
        )
        self.hair = hair * self.between(0.7, 1.2).unsqueeze(1)
        self.wavy = self.shown["Wavy_Hair"]
        self.loose = torch.maximum(self.wavy, self.shown["Straight_Hair"])  # else cropped
        self.haired = 1 - self.shown["Bald"]
        self.phase, self.strands = self.between(0, 1), self.between(5, 7)
        rough = (0.85 + 0.4 * (grain[:, 3] - 0.5)).unsqueeze(1)
        self.beard = self.color(BEARD, 0.1) * rough

    def strong(self, name: str, least: float = 0.7) -> Tensor:
        """Return how strongly an attribute shows: 0 if absent, else from ``least`` to 1."""
        return self.shown[name] * self.between(least, 1)

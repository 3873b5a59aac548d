"""Random choices of a layout, from numbers that were drawn before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")

__all__ = ["DRAWS", "Dice"]

DRAWS = 2048  # for one scene


class Dice:
    """Uniform numbers, handed out one after another.

    Every scene gets as many numbers, whatever it uses, so that it is the same scene in a data set
    of any size.

    Args:
        generator: of the data set; ``DRAWS`` numbers are taken from it.

    Example:
        >>> dice = Dice(torch.Generator().manual_seed(0))
        >>> dice.choice(["oak", "pine", "ash"]) in ("oak", "pine", "ash"), 2 <= dice.uniform(2, 3)
        (True, True)
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._rest = torch.rand(DRAWS, generator=generator).tolist()

    def _next(self) -> float:
        if not self._rest:
            raise RuntimeError(f"a scene takes more than DRAWS = {DRAWS} random numbers")
        return self._rest.pop()

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._next()

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int((high - low + 1) * self._next())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._next() < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in random order."""
        rest = list(options)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in options]

    def seed(self) -> int:
        """Of a texture."""
        return self.integer(0, 2**20 - 1)

"""Random choices for a layout, made from random numbers that were drawn in advance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")

__all__ = ["DRAWS", "Dice"]

DRAWS = 2048  # for one scene


class Dice:
    """Makes random choices from uniform numbers that are drawn in advance.

    Each scene draws the same number of them, however many it uses. So it is the same scene in a
    data set of any size.

    Args:
        generator: the random generator of the scene, which draws ``DRAWS`` numbers.

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
        """Return a number in [low, high)."""
        return low + (high - low) * self._next()

    def integer(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return low + int((high - low + 1) * self._next())

    def chance(self, probability: float) -> bool:
        """Return ``True`` with this probability."""
        return self._next() < probability

    def choice(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.integer(0, len(options) - 1)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """Return the options in random order."""
        rest = list(options)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in options]

    def seed(self) -> int:
        """Return a seed for a texture."""
        return self.integer(0, 2**20 - 1)

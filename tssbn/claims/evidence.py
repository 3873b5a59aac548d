"""What claims are asked of: the saved runs of a benchmark, numbers of runs, and counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tssbn.claims.bed import Bed
from tssbn.claims.sample import above
from tssbn.claims.verdict import Effect

if TYPE_CHECKING:
    from tssbn.records import SavedRuns

__all__ = ["BedOfRuns", "Counted", "Measured"]

BASELINES = "STL", "HPS"


@dataclass(frozen=True, eq=False)
class BedOfRuns:
    """The saved runs of all arms on a benchmark, those that there are; they are read when asked.

    Effects are differences of Δm, :class:`tssbn.claims.Bed`, over the arm ``"STL"``, or ``"HPS"``
    where there are not two runs of it. An arm with a score that is not a number has no mean, and
    is not run.

    Args:
        title: in words.
        benchmark: its name.
        arms: by the name of the arm, the name of the method and its settings.
        seeds: of the runs.

    Example:
        >>> rooms = BedOfRuns("rooms", "rooms", {"STL": ("stl", {}), "HPS": ("hps", {})})
        >>> rooms.against("HPS", "STL")  # doctest: +SKIP
    """

    title: str
    benchmark: str
    arms: Mapping[str, tuple[str, Mapping[str, Any]]] = field(repr=False)
    seeds: Iterable[int] = range(20)

    @cached_property
    def runs(self) -> Mapping[str, SavedRuns]:
        """By arm."""
        from tssbn import records

        return {
            arm: records.of(self.benchmark, method, self.seeds, settings)
            for arm, (method, settings) in self.arms.items()
        }

    @cached_property
    def bed(self) -> Bed | None:
        """The arms with their scores; None where no run is saved."""
        finite = {
            arm: runs
            for arm, runs in self.runs.items()
            if all(map(math.isfinite, (v for run in runs for v in run.scores().values())))
        }
        if not any(map(len, finite.values())):
            return None
        enough = (arm for arm in BASELINES if len(finite.get(arm, ())) > 1)
        return Bed.of(finite, baseline=next(enough, next(iter(finite))))

    def against(self, arm: str, *others: str) -> dict[str, Effect | None]:
        """Give what an arm is better by than each of several others, :meth:`Bed.against`.

        Raises:
            ValueError: not two arms of the bed.
        """
        for name in (arm, *others):
            if name not in self.arms:
                raise ValueError(f"{name} is no arm of {self.title}; arms: {', '.join(self.arms)}")
        known = self.bed.scores if self.bed else {}
        if arm not in known:
            return dict.fromkeys(others)
        found = self.bed.against(arm, *(other for other in others if other in known))
        return {other: found.get(other) for other in others}


@dataclass(frozen=True, eq=False)
class Measured:
    """A number of each run of some arms, such as one that is computed of its gates.

    Args:
        title: in words.
        values: by arm, a number for each run; an arm may be a null.
        unit: of the numbers.
        paired: whether the numbers of two arms are of the same runs in the same order, as those of
            a network's gates and of the same gates shuffled are.

    Raises:
        ValueError: paired arms of different lengths.

    Example:
        >>> runs = {"gates": [3.0, 5.0, 7.0], "shuffled": [2.0, 4.0, 5.5]}
        >>> Measured("toys", runs, paired=True).against("gates", "shuffled", 2.5)
        {'shuffled': +1.2 [+0.4, +1.9], 2.5: +2.5 [-2.5, +7.5]}
    """

    title: str
    values: Mapping[str, Sequence[float]] = field(repr=False)
    unit: str = ""
    paired: bool = False

    def __post_init__(self) -> None:
        lengths = {len(of) for of in self.values.values()}
        if self.paired and len(lengths) > 1:
            raise ValueError(f"{self.title}: paired arms have {sorted(lengths)} values")

    def against(self, arm: str, *others: str | float) -> dict[str | float, Effect | None]:
        """Give what the mean of an arm lies above that of other arms, or above known numbers.

        Raises:
            ValueError: an unknown arm.
        """
        for name in (arm, *others):
            if isinstance(name, str) and name not in self.values:
                raise ValueError(
                    f"{name} is no arm of {self.title}; arms: {', '.join(self.values)}"
                )
        return {other: self._one(arm, other) for other in others}

    def _one(self, arm: str, other: str | float) -> Effect | None:
        own = self.values[arm]
        if not isinstance(other, str):
            return above(own, other, self.unit)
        if self.paired:
            pairs = zip(own, self.values[other], strict=True)
            return above([a - b for a, b in pairs], unit=self.unit)
        effect = Bed(self.values).compare(arm, other)
        return effect and Effect(**{**vars(effect), "unit": self.unit})


@dataclass(frozen=True, eq=False)
class Counted:
    """A number of each arm that has no error, such as one of parameters.

    Args:
        title: in words.
        values: by arm.
        unit: of the numbers.

    Example:
        >>> Counted("a toy", {"STL": 100.0, "TSσBN": 0.1}, "%").against("STL", "TSσBN")
        {'TSσBN': +99.9 [+99.9, +99.9] of %}
    """

    title: str
    values: Mapping[str, float] = field(repr=False)
    unit: str = ""

    def against(self, arm: str, *others: str) -> dict[str, Effect | None]:
        """Give the differences."""
        return {
            other: Effect(self.values[arm] - self.values[other], 0.0, math.inf, 0.0, (), self.unit)
            for other in others
        }

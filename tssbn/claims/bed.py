"""The runs of all arms on one bed, and what one arm is better than another by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tssbn.claims.intervals import alike, choose, critical_value, pool
from tssbn.claims.verdict import Effect

if TYPE_CHECKING:
    from tssbn.records import SavedRuns

__all__ = ["Bed"]


@dataclass(frozen=True, eq=False)
class Bed:
    """The scores of all arms that were run on the same data with the same network and recipe.

    With a baseline, effects are differences of Δm in percent, the mean relative gain of the tasks
    over the baseline's mean. The mean of a few baseline runs has an error of its own; it is in
    every interval, by the delta method:

        Δm(a) - Δm(b) = 100/T · Σ_t s_t (M_t(a) - M_t(b)) / B_t

    has the gradient ± 100 s_t / (T · B_t) in the means of the two arms, and in B_t, the baseline's,
    -100 s_t (M_t(a) - M_t(b)) / (T · B_t²). The last is small between two arms, and of the same
    size as the first where b is the baseline. Without a baseline, effects are differences of the
    scores themselves.

    Args:
        scores: by arm, a row for each run and a column for each task, or one value for each run.
        up: whether higher is better, by task.
        baseline: the arm that gains are relative to.
        average: whether the gain is that of the mean of the tasks, not the mean of their gains.
        separate: arms with a network for each task; their tasks err independently.

    Raises:
        ValueError: other tasks in an arm, a score that is not finite, a baseline that is not an
            arm or not above 0, or several tasks without a baseline.

    Example:
        >>> bed = Bed(
        ...     {
        ...         "stl": [[50.0, 0.52], [51.0, 0.50], [49.0, 0.48]],
        ...         "hps": [[49.0, 0.52], [50.0, 0.50], [51.0, 0.51]],
        ...         "tssbn": [[53.0, 0.48], [54.0, 0.49], [55.0, 0.47]],
        ...     },
        ...     up=(True, False),
        ...     baseline="stl",
        ...     separate=("stl",),
        ... )
        >>> bed.compare("tssbn", "hps")
        +7.0 [+3.2, +10.8] of Δm
        >>> bed.compare("tssbn", "stl")
        +6.0 [+2.2, +9.8] of Δm
        >>> round(bed.band(), 1)
        2.7
    """

    scores: Mapping[str, ArrayLike]
    up: tuple[bool, ...] = (True,)
    baseline: str | None = None
    average: bool = False
    separate: tuple[str, ...] = ()

    def __post_init__(self):
        tasks, scores = len(self.up), {}
        for arm, values in self.scores.items():
            rows = np.asarray(values, dtype=float)
            rows = rows.reshape(-1, tasks) if rows.ndim == 1 and tasks == 1 else rows
            rows = rows.reshape(0, tasks) if rows.size == 0 else rows
            if rows.ndim != 2 or rows.shape[1] != tasks:
                raise ValueError(f"{arm}: scores of shape {rows.shape}, up names {tasks} tasks")
            if not np.isfinite(rows).all():
                raise ValueError(f"{arm}: a score is not a finite number, it has no mean")
            scores[arm] = rows
        object.__setattr__(self, "scores", scores)
        if unknown := {*self.separate, *filter(None, [self.baseline])} - scores.keys():
            raise ValueError(f"{', '.join(sorted(unknown))} is no arm; arms: {', '.join(scores)}")
        if self.baseline is None:
            if tasks > 1:
                raise ValueError(f"{tasks} tasks have no common unit without a baseline")
        elif len(rows := scores[self.baseline]) and not (self._base(rows) > 0).all():
            raise ValueError(f"baseline: {self.baseline} has a mean score of 0 or less")

    @classmethod
    def of(cls, runs: Mapping[str, SavedRuns], baseline: str = "stl") -> Bed:
        """Take the arms from saved runs.

        Single-task networks are ``separate``. Arms without runs stay, and are not run.

        Args:
            runs: by arm, as :func:`tssbn.records.of` gives them.
            baseline: the arm that gains are relative to.

        Raises:
            ValueError: no run at all, runs of two benchmarks or with other tasks, or as above.

        Example:
            >>> from tssbn import records
            >>> arms = {"stl": {}, "hps": {}, "tssbn": {"multiplier": 10}}
            >>> runs = {arm: records.of("rooms", arm, **s) for arm, s in arms.items()}
            ... # doctest: +SKIP
            >>> Bed.of(runs).compare("tssbn", "hps")  # doctest: +SKIP
        """
        every = [run for found in runs.values() for run in found]
        if not every:
            raise ValueError(f"there is no saved run of {', '.join(runs)}")
        first = every[0]
        for field in ("benchmark", "metric", "directions"):
            if other := next((run for run in every if run[field] != first[field]), None):
                raise ValueError(f"{other.name} and {first.name} differ in their {field}")
        return cls(
            {arm: [[run.scores()[t] for t in first.tasks] for run in runs[arm]] for arm in runs},
            up=tuple(first["directions"][task] for task in first.tasks),
            baseline=baseline,
            average=any(found.average for found in runs.values()),
            separate=tuple(arm for arm in runs if {run.method for run in runs[arm]} == {"stl"}),
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that can be judged, those with two runs or more."""
        return tuple(arm for arm, rows in self.scores.items() if len(rows) > 1)

    @property
    def sd(self) -> float:
        """The standard deviation of one run, pooled over the arms."""
        return float(np.sqrt(pool(self._variances(self._weights()), self._n())))

    @property
    def one_spread(self) -> bool:
        """Whether all arms may have one standard deviation, by Bartlett's test at 20 %.

        Intervals are then of the pooled one; otherwise Welch's, where that is wider.
        """
        weights = self._weights()
        free = np.array([self._free(arm, weights) for arm in self.arms])
        return bool(alike(self._variances(weights), free))

    def compare(self, arm: str, other: str) -> Effect | None:
        """Give what an arm is better by than another, None where one has fewer than two runs.

        Raises:
            ValueError: not two arms of the bed.
        """
        return self.against(arm, other)[other]

    def against(self, arm: str, *others: str) -> dict[str, Effect | None]:
        """Give what an arm is better by than each of several others, by Dunnett's intervals.

        All intervals together cover in 95 % of cases. ``-effect`` is the same effect the other way
        round, where several arms are compared with a baseline.

        Raises:
            ValueError: not two arms of the bed.

        Example:
            >>> arms = {"a": [1, 2, 3], "b": [2, 3, 4], "c": [4, 5, 6, 5], "d": []}
            >>> for other, effect in Bed(arms).against("a", "b", "c", "d").items():
            ...     print(other, effect)
            b -1.0 [-3.1, +1.1]
            c -3.0 [-4.9, -1.1]
            d None
        """
        for name in (arm, *others):
            if name not in self.scores:
                raise ValueError(f"{name} is no arm; arms: {', '.join(self.scores)}")
        if arm in others:
            raise ValueError(f"{arm} cannot be compared with itself")
        needed = {arm, self.baseline} - {None}
        family = [other for other in others if {other, *needed} <= set(self.arms)]
        df, runs = self._df(), tuple(len(self.scores[other]) for other in family)
        critical = critical_value(df, len(self.scores[arm]), runs) if family else 0.0
        return {
            other: self._effect(arm, other, critical, len(family)) if other in family else None
            for other in others
        }

    def band(self) -> float:
        """Give the half width of the 95 % interval of the baseline's own Δm, which is 0.

        Every Δm of the bed is off by the same unknown amount within ± this.

        Raises:
            ValueError: no baseline with two runs or more.
        """
        if self.baseline not in self.arms:
            raise ValueError("the bed has no baseline with two runs or more")
        student = critical_value(self._df(), 1, (1,))
        error, _, critical = self._error({self.baseline: self._weights()}, student, 1)
        return error * critical

    def _effect(self, arm: str, other: str, critical: float, family: int) -> Effect:
        weights = self._weights()
        apart = self.scores[arm].mean(0) - self.scores[other].mean(0)
        gradients = {arm: weights, other: -weights}
        if self.baseline:
            change = np.full_like(apart, apart.mean()) if self.average else apart
            off = -weights * change / self._base(self.scores[self.baseline])
            gradients[self.baseline] = gradients.get(self.baseline, 0) + off
        error, df, critical = self._error(gradients, critical, family)
        n = len(self.scores[arm]), len(self.scores[other])
        unit = "Δm" if self.baseline else ""
        return Effect(float(weights @ apart), error, df, critical, n, unit)

    def _error(
        self, gradients: Mapping[str, np.ndarray], critical: float, family: int
    ) -> tuple[float, float, float]:
        """Standard error, degrees of freedom and critical value of a sum over arms."""
        n = {arm: len(self.scores[arm]) for arm in gradients}
        own = [self._variance(arm, gradients[arm]) / n[arm] for arm in gradients]
        free = [self._free(arm, gradients[arm]) for arm in gradients]
        shared = [pool(self._variances(gradients[arm]), self._n()) / n[arm] for arm in gradients]
        bed = np.sum(shared), self._df(), critical, self.one_spread, family
        return tuple(float(value) for value in choose(np.array(own), np.array(free), *bed))

    def _weights(self) -> np.ndarray:
        """What a score of each task counts, (T,): the gradient of the effect in an arm's mean."""
        signs = np.where(self.up, 1.0, -1.0)
        if self.baseline is None:
            return signs
        return 100 * signs / len(signs) / self._base(self.scores[self.baseline])

    def _base(self, rows: np.ndarray) -> np.ndarray:
        """What the gain in each task is relative to, (T,)."""
        return np.full(len(self.up), rows.mean()) if self.average else rows.mean(0)

    def _variance(self, arm: str, gradient: np.ndarray) -> float:
        """The variance of one run's scores, each times its part of the gradient, summed."""
        rows = self.scores[arm]
        if arm in self.separate:
            return float((gradient**2 * rows.var(0, ddof=1)).sum())
        return float((rows @ gradient).var(ddof=1))

    def _free(self, arm: str, gradient: np.ndarray) -> float:
        """The degrees of freedom of that variance; of separate tasks, Satterthwaite's."""
        free = len(self.scores[arm]) - 1
        if arm in self.separate and (total := self._variance(arm, gradient)) > 0:
            parts = gradient**2 * self.scores[arm].var(0, ddof=1)
            return float(free * total**2 / (parts**2).sum())
        return free

    def _variances(self, gradient: np.ndarray) -> np.ndarray:
        return np.array([self._variance(arm, gradient) for arm in self.arms])

    def _n(self) -> np.ndarray:
        return np.array([len(self.scores[arm]) for arm in self.arms])

    def _df(self) -> int:
        return int((self._n() - 1).sum())

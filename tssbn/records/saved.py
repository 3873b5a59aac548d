"""Saved runs as objects: what a method reached on a benchmark, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor

from tssbn.gates import Importance
from tssbn.records.packing import unpack_gates, unpack_logits
from tssbn.records.scores import constant, delta, reported

if TYPE_CHECKING:
    import pandas

__all__ = ["SavedRun", "SavedRuns"]


@dataclass(frozen=True, eq=False)
class SavedRun(Mapping[str, Any]):
    """A run as it was saved: a mapping of what the file holds, and what is asked of it most.

    Args:
        name: ``<benchmark>/<method>-<seed>``, and the settings.
        record: the contents of the file.

    Example:
        >>> record = {
        ...     "seed": 4,
        ...     "metric": {"depth": "absolute"},
        ...     "directions": {"depth": False},
        ...     "recipe": {"report": "last"},
        ...     "epochs": [{"epoch": 1, "test": {"depth": {"absolute": 0.5}}}],
        ... }
        >>> run = SavedRun("rooms/hps-4", record)
        >>> run, run.tasks, run.scores(), run["seed"]
        (SavedRun(name='rooms/hps-4'), ('depth',), {'depth': 0.5}, 4)
    """

    name: str
    record: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.record[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.record)

    def __len__(self) -> int:
        return len(self.record)

    @property
    def method(self) -> str:
        """The name of the method."""
        return self["method"]

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self["seed"]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the order of the benchmark."""
        return tuple(self["metric"])

    @property
    def gate_epochs(self) -> tuple[int, ...]:
        """The epochs after which the gates were saved; none for methods without gates."""
        return tuple(int(epoch) for epoch in self.get("gates", {"epochs": ()})["epochs"])

    def scores(self, split: str = "test") -> dict[str, float]:
        """Give what the run reports, by the rule of its recipe.

        Args:
            split: ``"test"``, or ``"val"`` where the run was scored on validation images.

        Returns:
            The first metric of each task, in its own unit; NaN for what was not a number.

        Raises:
            ValueError: the run was not scored on the split.
        """
        scores = reported(self, split)
        return {task: math.nan if value is None else value for task, value in scores.items()}

    def constant(self) -> dict[str, float]:
        """Give the scores of the best answer that ignores the image, on the test images.

        Returns:
            The first metric of each task, in its own unit, see :mod:`tssbn.benchmarks.constant`.

        Raises:
            ValueError: the run was saved without them, as older ones are.
        """
        scores = constant(self)
        if not scores:
            raise ValueError(f"{self.name} was saved without scores of a constant answer")
        return scores

    def gates(self, epoch: int = -1) -> Importance:
        """Give the gates after an epoch, to 1/255.

        Args:
            epoch: one of ``gate_epochs``, counted from 1; -1 for the last of them.

        Raises:
            ValueError: no gates were saved, or none of that epoch.
        """
        if not self.gate_epochs:
            raise ValueError(f"{self.name} has no gates: {self.method} is a method without them")
        if epoch == -1:
            epoch = self.gate_epochs[-1]
        if epoch not in self.gate_epochs:
            known = ", ".join(map(str, self.gate_epochs))
            raise ValueError(f"epoch={epoch}: {self.name} has the gates of the epochs {known}")
        packed = self["gates"]
        return unpack_gates({**packed, "epochs": {epoch: packed["epochs"][str(epoch)]}})[epoch]

    def logits(self, split: str = "test") -> dict[str, Tensor]:
        """Give the logits (N,) of each attribute after the last epoch, in the order of the images.

        Of tasks that are judged by F1, of data sets that are not too large for a file.

        They are rounded to 256 levels, :func:`tssbn.records.pack_logits`. With the labels of the
        data set, which no run holds, :func:`tssbn.records.f1_at_validation_thresholds` and the
        metrics score them anew.

        Args:
            split: ``"test"``, or ``"val"`` where the run was scored on validation images.

        Raises:
            ValueError: no logits of the split were saved.
        """
        if split not in self.get("logits", {}):
            known = ", ".join(key for key in self.get("logits", {}) if key != "epoch") or "no split"
            raise ValueError(f"split={split!r}: {self.name} has the logits of {known}")
        return unpack_logits(self["logits"][split])

    def f1_at_validation_thresholds(self) -> dict[str, float]:
        """Give F1 on the test images after the last epoch, with thresholds chosen on validation.

        As :func:`tssbn.records.f1_at_validation_thresholds` gives them; the run holds what its
        logits gave before they were rounded.

        Raises:
            ValueError: the run has no attributes, was saved without them as older ones are, or was
                not scored on validation images.
        """
        if "thresholds" not in self:
            raise ValueError(
                f"{self.name} was saved without thresholds chosen on validation images"
            )
        values = {task: entry["f1"] for task, entry in self["thresholds"].items()}
        return {task: math.nan if value is None else value for task, value in values.items()}


@dataclass(frozen=True, eq=False)
class SavedRuns(Sequence[SavedRun]):
    """Saved runs of one method on one benchmark that differ in their seeds alone.

    A sequence in the order of the seeds that were asked for; those without a saved run are left
    out. What is computed of no run at all raises ``FileNotFoundError``.

    Args:
        runs: those that there are.
        missing: the names of those that there are not.
        average: whether the benchmark is judged by the mean of its tasks, as CelebA is.
    """

    runs: tuple[SavedRun, ...]
    missing: tuple[str, ...] = ()
    average: bool = False

    @overload
    def __getitem__(self, index: int) -> SavedRun: ...

    @overload
    def __getitem__(self, index: slice) -> SavedRuns: ...

    def __getitem__(self, index: int | slice) -> SavedRun | SavedRuns:
        if isinstance(index, slice):
            return replace(self, runs=self.runs[index])
        return self._some()[index]

    def __iter__(self) -> Iterator[SavedRun]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs that there are."""
        return tuple(run.seed for run in self.runs)

    def scores(self, split: str = "test") -> pandas.DataFrame:
        """Give what each run reports: a row for each seed, a column for each task.

        ``.mean()`` of it is the score of each task, ``.mean(axis=1)`` the mean over the tasks of
        each seed. Values are in the units of the metrics; NaN for what was not a number.

        Args:
            split: ``"test"``, or ``"val"`` where the runs were scored on validation images.

        Raises:
            FileNotFoundError: there is no run.
            ValueError: a run was not scored on the split.
        """
        return _frame(self._some(), [run.scores(split) for run in self.runs])

    def gates(self, epoch: int = -1) -> list[Importance]:
        """Give the gates of each run after an epoch, :meth:`SavedRun.gates`.

        Raises:
            FileNotFoundError: there is no run.
            ValueError: a run has no gates of that epoch.
        """
        return [run.gates(epoch) for run in self._some()]

    def gains(self, against: SavedRuns) -> pandas.DataFrame:
        """Give what each run gains in each task, in percent; above 0 is better.

        Args:
            against: runs of another method, such as single-task networks; the mean of their scores
                over seeds is 100 %.

        Returns:
            A row for each seed, a column for each task; NaN where :meth:`delta` would be.

        Raises:
            FileNotFoundError: there is no run on either side.
            ValueError: the tasks of the two differ.
        """
        base, rows = self._baseline(against), []
        for run in self._some():
            scores, up = run.scores(), run["directions"]
            rows.append({t: delta({t: scores[t]}, {t: base[t]}, {t: up[t]}) for t in scores})
        return _frame(self.runs, rows)

    def delta(self, against: SavedRuns) -> pandas.Series:
        """Give Δm of each run, in percent.

        Δm is the mean gain over the tasks; for benchmarks that are judged by the mean of their
        tasks, as CelebA and faces are, it is the gain of that mean.

        The baseline is the mean of a few runs and has an error of its own, which every Δm against
        it shares: ``against.delta(against).sem()`` estimates it, in the same percent.

        Args:
            against: runs of another method, such as single-task networks; the mean of their scores
                over seeds is 100 %.

        Returns:
            A value for each seed; NaN where a score is not a number or the baseline not above 0.

        Raises:
            FileNotFoundError: there is no run on either side.
            ValueError: the tasks of the two differ.

        Example:
            >>> from tssbn import records
            >>> single = records.of("rooms", "stl")  # doctest: +SKIP
            >>> records.of("rooms", "tssbn", multiplier=10).delta(single).mean()  # doctest: +SKIP
        """
        base = self._baseline(against)
        values = [
            {"Δm": delta(run.scores(), base, run["directions"], self.average)}
            for run in self._some()
        ]
        return _frame(self.runs, values)["Δm"]

    def _some(self) -> tuple[SavedRun, ...]:
        if not self.runs:
            raise FileNotFoundError(f"none of {', '.join(self.missing) or 'these runs'} is saved")
        return self.runs

    def _baseline(self, against: SavedRuns) -> dict[str, float]:
        """The mean over the seeds of each task."""
        ours, theirs = self._some()[0].tasks, against._some()[0].tasks
        if ours != theirs:
            raise ValueError(f"against: its tasks are {theirs}, those of the runs are {ours}")
        rows = [run.scores() for run in against.runs]
        return {task: fmean(row[task] for row in rows) for task in ours}


def _frame(runs: Sequence[SavedRun], rows: Sequence[Mapping[str, float]]) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(list(rows), index=pandas.Index([run.seed for run in runs], name="seed"))

"""Saved runs as objects with scores, gates and gains, seed by seed."""

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
    """A saved run, a mapping of the entries of its file with methods for the common questions.

    Args:
        name: ``<benchmark>/<method>-<seed>``, followed by the settings.
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
        """Return the scores of the run, for the epochs that its recipe reports.

        Args:
            split: ``"test"``, or ``"val"`` where the run was scored on validation images.

        Returns:
            The first metric of each task, in the unit of the metric; NaN for a missing value.

        Raises:
            ValueError: the run was not scored on the split.
        """
        scores = reported(self, split)
        return {task: math.nan if value is None else value for task, value in scores.items()}

    def constant(self) -> dict[str, float]:
        """Return the scores of the constant baseline on the test images.

        Returns:
            The first metric of each task, in the unit of the metric; see
            :mod:`tssbn.benchmarks.constant`.

        Raises:
            ValueError: the run was saved without these scores, as older runs were.
        """
        scores = constant(self)
        if not scores:
            raise ValueError(f"{self.name} was saved without scores of a constant answer")
        return scores

    def gates(self, epoch: int = -1) -> Importance:
        """Return the gates after an epoch, rounded to k/255.

        Args:
            epoch: one of ``gate_epochs``, counted from 1; -1 for the last of them.

        Raises:
            ValueError: no gates were saved, or none after this epoch.
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
        """Return the logits (N,) of each attribute after the last epoch, in image order.

        They are saved for tasks whose metric is F1, where the data set is not too large for a file,
        and rounded to 256 levels (:func:`tssbn.records.pack_logits`). Together with the labels of
        the data set they can be scored again, by the metrics or by
        :func:`tssbn.records.f1_at_validation_thresholds`.

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
        """Return F1 on the test images after the last epoch, at thresholds chosen on validation.

        These are the values of :func:`tssbn.records.f1_at_validation_thresholds` for the logits
        before they were rounded.

        Raises:
            ValueError: the run has no attributes, was not scored on validation images, or was saved
                without these values, as older runs were.
        """
        if "thresholds" not in self:
            raise ValueError(
                f"{self.name} was saved without thresholds chosen on validation images"
            )
        values = {task: entry["f1"] for task, entry in self["thresholds"].items()}
        return {task: math.nan if value is None else value for task, value in values.items()}


@dataclass(frozen=True, eq=False)
class SavedRuns(Sequence[SavedRun]):
    """Saved runs of one method on one benchmark that only differ in their seeds.

    It is a sequence in the order of the requested seeds; seeds without a saved run are left out.
    Where no run is saved at all, its methods raise ``FileNotFoundError``.

    Args:
        runs: the saved runs.
        missing: the names of the runs that are not saved.
        average: whether Δm is the gain of the mean over the tasks, as for CelebA.

    Example:
        >>> runs = SavedRuns((SavedRun("rooms/hps-4", {"seed": 4}),), missing=("rooms/hps-5",))
        >>> len(runs), runs.seeds, runs.missing
        (1, (4,), ('rooms/hps-5',))
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
        """Return the scores of each run, with a row for each seed and a column for each task.

        Their ``.mean()`` is the score of each task, and their ``.mean(axis=1)`` the mean over the
        tasks for each seed. Values are in the units of the metrics; NaN for missing values.

        Args:
            split: ``"test"``, or ``"val"`` where the runs were scored on validation images.

        Raises:
            FileNotFoundError: there is no run.
            ValueError: a run was not scored on the split.
        """
        return _frame(self._some(), [run.scores(split) for run in self.runs])

    def gates(self, epoch: int = -1) -> list[Importance]:
        """Return the gates of each run after an epoch.

        Args:
            epoch: as for :meth:`SavedRun.gates`.

        Raises:
            FileNotFoundError: there is no run.
            ValueError: a run has no gates of that epoch.
        """
        return [run.gates(epoch) for run in self._some()]

    def gains(self, against: SavedRuns) -> pandas.DataFrame:
        """Compute the gain of each run in each task, in percent; positive gains are better.

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
        """Compute Δm of each run, in percent.

        Δm is the mean gain over the tasks. For benchmarks with ``average``, such as CelebA and
        faces, it is the gain of the mean over the tasks.

        The baseline is the mean of a few runs. Its sampling error is common to every Δm against it;
        ``against.delta(against).sem()`` estimates this error, in percent as well.

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
        """Average the scores of each task over the seeds."""
        ours, theirs = self._some()[0].tasks, against._some()[0].tasks
        if ours != theirs:
            raise ValueError(f"against: its tasks are {theirs}, those of the runs are {ours}")
        rows = [run.scores() for run in against.runs]
        return {task: fmean(row[task] for row in rows) for task in ours}


def _frame(runs: Sequence[SavedRun], rows: Sequence[Mapping[str, float]]) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(list(rows), index=pandas.Index([run.seed for run in runs], name="seed"))

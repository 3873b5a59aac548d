"""The form of tables of methods: their columns and rows, and how they are printed."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tssbn.columns import columns

if TYPE_CHECKING:
    import pandas

__all__ = ["COUNTS", "Column", "MeanStd", "Row", "Table"]

COUNTS = ("parameters", "macs")
WIDTH = 100


class MeanStd(NamedTuple):
    """A mean over seeds and their standard deviation, None for a single seed.

    Example:
        >>> MeanStd(1.5, 0.5).mean
        1.5
    """

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> MeanStd:
        """Compute mean and standard deviation of some values.

        Args:
            values: one for each seed, at least one.

        Example:
            >>> MeanStd.of([1.0, 3.0]).mean, MeanStd.of([2.0])
            (2.0, MeanStd(mean=2.0, std=None))
        """
        if len(values) < 2:
            return cls(values[0], None)
        std = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
        return cls(math.fsum(values) / len(values), std)


class Column(NamedTuple):
    """The metric of a column, its direction and its unit; the metric is "" without saved runs.

    Example:
        >>> Column("miou", higher_is_better=True, unit="%").unit
        '%'
    """

    metric: str
    higher_is_better: bool
    unit: str = ""

    @property
    def sign(self) -> str:
        """The unit, and an arrow in the direction of better scores."""
        return " ".join(filter(None, [self.unit, "↑" if self.higher_is_better else "↓"]))


@dataclass(frozen=True)
class Row:
    """A row of a table, one method with one balancing.

    Attributes:
        method: name of the method.
        title: title of the method, with the balancing where it is not the sum.
        balance: ``"sum"``, or the name of a balancing.
        seeds: seeds of the saved runs.
        values: scores by task, in the units of the table; empty without saved runs.
        delta: Δm of each seed against the mean of the benchmark's baseline over its seeds, in
            percent; None without saved runs of one of the two.
        parameters, macs: ratios to the baseline; the numbers themselves where the baseline has no
            saved run, or the benchmark is ``absolute``; None without saved runs.
        paper: the paper's numbers, as in :attr:`tssbn.benchmarks.Benchmark.paper`.
    """

    method: str
    title: str
    balance: str
    seeds: tuple[int, ...]
    values: Mapping[str, MeanStd]
    delta: MeanStd | None
    parameters: float | None
    macs: float | None
    paper: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """The methods on a benchmark, to be printed as text, with lines of up to 100 characters.

    Tables of four tasks and more may be wider. A method without saved runs is printed with the
    paper's row only.

    Attributes:
        title: title of the benchmark.
        caption: a description of data, settings and epochs.
        tasks: the metric of each task's column.
        rows: the methods.
        constant: the constant baseline, which is printed first, see
            :mod:`tssbn.benchmarks.constant`; None where the runs were saved without it.
    """

    title: str
    caption: str
    tasks: Mapping[str, Column]
    rows: Sequence[Row]
    constant: Row | None = None

    def frame(self) -> pandas.DataFrame:
        """Convert to a pandas frame with a row for each method; ``±`` marks standard deviations."""
        import pandas

        lines = []
        for row in self._all():
            line: dict[str, Any] = {"method": row.title, "seeds": len(row.seeds)}
            for column, figure in (*row.values.items(), ("Δm", row.delta)):
                line[column] = figure and figure.mean
                line[f"{column} ±"] = figure and figure.std
                line[f"{column} paper"] = row.paper.get("delta" if column == "Δm" else column)
            lines.append(line | {"#P": row.parameters, "#F": row.macs})
        scores = [f"{name}{kind}" for name in (*self.tasks, "Δm") for kind in ("", " ±", " paper")]
        frame = pandas.DataFrame(lines, columns=["method", "seeds", *scores, "#P", "#F"])
        return frame.set_index("method")

    def __str__(self) -> str:
        head = ["", "seeds", *self.tasks, "Δm", "#P", "#F"]
        below = ["", ""]
        for column in self.tasks.values():
            below.append(f"{column.metric} {column.sign}" if column.metric else "")
        lines = [head, [*below, "% ↑", "", ""]]
        for row in self._all():
            if row.values:
                scores = [self.cell(task, row.values.get(task)) for task in self.tasks]
                counts = _size(row.parameters), _size(row.macs)
                seeds = str(len(row.seeds)) if row.seeds else ""
                lines.append([row.title, seeds, *scores, _signed(row.delta), *counts])
            if row.paper:
                title = "  the paper" if row.values else f"{row.title}, the paper"
                printed = [self.number(task, row.paper.get(task)) for task in self.tasks]
                delta = row.paper.get("delta")
                delta = "" if delta is None else f"{delta:+.2f}"
                counts = [_size(row.paper.get(key), 2, "") for key in COUNTS]
                lines.append([title, "", *printed, delta, *counts])
        caption = textwrap.wrap(self.caption, WIDTH)
        if len(lines) == 2:  # the head alone
            return "\n".join([self.title, *caption])
        return "\n".join([self.title, *caption, "", *columns(lines, head=2)])

    def _all(self) -> list[Row]:
        return [*filter(None, [self.constant]), *self.rows]

    def number(self, task: str, value: float | None) -> str:
        """Format a score of a task with the digits of its column.

        Args:
            task: the task.
            value: the score, or None.
        """
        if value is None:
            return ""
        small = self.tasks[task].unit != "%" and abs(value) < 10
        return f"{value:.3f}" if small else f"{value:.2f}"

    def cell(self, task: str, figure: MeanStd | None) -> str:
        """Format the mean of a task's scores and their standard deviation.

        Args:
            task: the task.
            figure: mean and standard deviation, or None.
        """
        if figure is None:
            return "-"
        spread = "" if figure.std is None else f" ± {self.number(task, figure.std)}"
        # The standard deviation gets the digits of the mean.
        if spread and self.tasks[task].unit != "%" and abs(figure.mean) >= 10:
            spread = f" ± {figure.std:.2f}"
        return self.number(task, figure.mean) + spread


def _signed(figure: MeanStd | None) -> str:
    if figure is None:
        return "-"
    return f"{round(figure.mean, 2) + 0.0:+.2f}" + (
        "" if figure.std is None else f" ± {figure.std:.2f}"
    )


def _size(value: float | None, digits: int = 1, missing: str = "-") -> str:
    """Format a ratio, or a number of parameters or MACs."""
    if value is None:
        return missing
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.{digits}f}{sign}"
    return f"{value:.2f}"

"""Tables of methods from saved runs, in the form of the paper's table 1 (arXiv 2512.20420)."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tssbn.benchmarks import Benchmark, find_benchmark
from tssbn.methods import METHODS, find_method
from tssbn.records.caption import caption
from tssbn.records.comparable import balance_of, check_comparable
from tssbn.records.scores import constant, delta, summary
from tssbn.records.units import display_unit

if TYPE_CHECKING:
    import pandas

__all__ = ["TABLES", "Column", "MeanStd", "Row", "Table", "table"]

TABLES = {
    "1": (
        *("nyuv2", "nyuv2_short", "nyuv2_lite", "cityscapes"),
        *("celeba", "celeba_small", "celeba_10k"),
    ),
    "2": ("nyuv2_libmtl", "cityscapes_libmtl"),
    "3": ("pascal5",),
    "4": ("pascal4",),
}
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
    """The methods on a benchmark, to be printed as text of at most 100 columns.

    A method without saved runs is printed with the paper's row only.

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
        columns = [f"{name}{kind}" for name in (*self.tasks, "Δm") for kind in ("", " ±", " paper")]
        frame = pandas.DataFrame(lines, columns=["method", "seeds", *columns, "#P", "#F"])
        return frame.set_index("method")

    def __str__(self) -> str:
        head = ["", "seeds", *self.tasks, "Δm", "#P", "#F"]
        below = ["", ""]
        for metric, up, unit in self.tasks.values():
            below.append(
                " ".join(filter(None, [metric, unit, "↑" if up else "↓"])) if metric else ""
            )
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
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        texts.insert(2, "-" * max(map(len, texts)))
        return "\n".join([self.title, *textwrap.wrap(self.caption, WIDTH), "", *texts])

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


def table(
    benchmark: str | Benchmark, records: Iterable[Mapping[str, Any]], best: bool = False
) -> Table:
    """Make the table of the methods on a benchmark, from finished runs.

    The scores of a run are those that its recipe reports, see :func:`tssbn.records.summary`;
    fractions are printed in percent. Δm of a seed is computed against the mean of the baseline's
    runs here over their seeds; for benchmarks with ``average``, such as CelebA, it is the gain of
    the mean over all tasks. A method has a row for each balancing of its losses, and all rows are
    compared with the baseline that was trained with the plain sum. The first row is the constant
    baseline (:mod:`tssbn.benchmarks.constant`), where the runs have it.

    Args:
        benchmark: name of the benchmark, or the benchmark itself where it is none of
            :data:`tssbn.benchmarks.BENCHMARKS`.
        records: saved runs of this benchmark, which must be comparable:
            :func:`tssbn.records.comparable.check_comparable`.
        best: whether to use the best epoch on the test images instead.

    Raises:
        ValueError: the benchmark is unknown, or the runs cannot be compared.

    Example:
        >>> print(table("rooms", []))  # doctest: +ELLIPSIS
        rooms
        no saved runs
        ...
    """
    records = list(records)
    known = find_benchmark(benchmark)() if isinstance(benchmark, str) else benchmark
    check_comparable(known.name, records)
    named = {*known.paper, *(record["method"] for record in records)}
    rows: dict[tuple[str, str], list[Mapping]] = {(m, "sum"): [] for m in METHODS if m in named}
    for record in sorted(records, key=lambda record: record["seed"]):
        rows.setdefault((record["method"], balance_of(record)), []).append(record)

    tasks, single = _tasks(known, records), rows.get((known.baseline, "sum"), [])
    baseline = [_values(record, known.average, best) for record in single]
    base = {task: _mean([run[task] for run in baseline]) for task in tasks}
    up = {task: column.higher_is_better for task, column in tasks.items()}
    made = []
    for (method, balance), runs in rows.items():
        values = [_values(record, known.average, best) for record in runs]
        known_to_us = method in METHODS  # else of a file of the user's
        title = find_method(method).title if known_to_us else runs[0].get("title", method)
        made.append(
            Row(
                method,
                title if balance == "sum" else f"{title} + {balance}",
                balance,
                tuple(record["seed"] for record in runs),
                {task: MeanStd.of([run[task] for run in values]) for task in tasks if runs},
                MeanStd.of([delta(run, base, up) for run in values]) if runs and single else None,
                *(_ratio(key, runs, [] if known.absolute else single) for key in COUNTS),
                known.paper.get(method, {}) if balance == "sum" else {},
            )
        )
    scored = next((values for record in records if (values := _constant(record, known))), None)
    blind = None
    if scored:
        values = {task: MeanStd.of([value]) for task, value in scored.items()}
        gain = MeanStd.of([delta(scored, base, up)]) if single else None
        blind = Row("constant", "constant baseline", "sum", (), values, gain, None, None, {})
    said = caption(records, best, known.baseline)
    return Table(known.title, said, tasks, _in_order(made), blind)


def _constant(record: Mapping, benchmark: Benchmark) -> dict[str, float]:
    """Return the constant baseline by task, in the units of the table; {} for older runs."""
    scores = {task: v * _unit(record, task)[0] for task, v in constant(record).items()}
    return {"mean": _mean(list(scores.values()))} if scores and benchmark.average else scores


def _in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort rows: the package's methods in their order, then others, each with its balancings."""
    methods = dict.fromkeys([*METHODS, *(row.method for row in rows)])
    ranks = {method: rank for rank, method in enumerate(methods)}
    return sorted(rows, key=lambda row: ranks[row.method])


def _values(record: Mapping, average: bool, best: bool) -> dict[str, float]:
    """Return the scores of a run by task, in the units of the table; NaN for missing values."""
    scores = summary(record)["best" if best else "test"]
    shown = {
        task: math.nan if value is None else value * _unit(record, task)[0]
        for task, value in scores.items()
    }
    return {"mean": _mean(list(shown.values()))} if average else shown


def _unit(record: Mapping, task: str) -> tuple[float, str]:
    return display_unit(record["metric"][task], record.get("units", {}).get(task))


def _tasks(benchmark: Benchmark, records: Sequence[Mapping]) -> dict[str, Column]:
    if not records:
        columns = dict.fromkeys(column for row in benchmark.paper.values() for column in row)
        return {c: Column("", True) for c in columns if c not in ("delta", *COUNTS)}
    first = records[0]
    tasks = {
        task: Column(metric, first["directions"][task], _unit(first, task)[1])
        for task, metric in first["metric"].items()
    }
    return {"mean": next(iter(tasks.values()))} if benchmark.average else tasks


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _ratio(key: str, runs: Sequence[Mapping], single: Sequence[Mapping]) -> float | None:
    if not runs:
        return None
    return runs[0][key] / single[0][key] if single else float(runs[0][key])


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

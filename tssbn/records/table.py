"""Tables of methods from records, in the form of table 1 of the paper (arXiv 2512.20420)."""

from __future__ import annotations

import itertools
import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tssbn.benchmarks import Benchmark, find_benchmark
from tssbn.cost import delta_m
from tssbn.methods import METHODS, find_method
from tssbn.records.store import read, summary, unit

if TYPE_CHECKING:
    import pandas

__all__ = ["TABLES", "Figure", "Row", "Table", "recorded", "table"]

TABLES = {"1": ("nyuv2", "nyuv2_short", "cityscapes", "celeba", "celeba_small")}
BASELINE = "stl"
WIDTH = 100


class Figure(NamedTuple):
    """A mean over seeds, and their standard deviation (None for a single one)."""

    mean: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The figure of these values.

        Example:
            >>> Figure.of([1.0, 3.0]).mean, Figure.of([2.0])
            (2.0, Figure(mean=2.0, spread=None))
        """
        spread = statistics.stdev(values) if len(values) > 1 else None
        return cls(math.fsum(values) / len(values), spread)


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes:
        method: its name, and ``title``, as in tables.
        seeds: of the records.
        values: by task, in the units of the table; empty without records.
        delta: Δm of each seed against the mean of the single-task networks over their seeds, in
            percent; None without records of one of the two.
        parameters, macs: as a ratio to the single-task networks; where these have no record, the
            numbers themselves; None without records.
        paper: the paper's numbers, by task and as ``"delta"``.
    """

    method: str
    title: str
    seeds: tuple[int, ...]
    values: Mapping[str, Figure]
    delta: Figure | None
    parameters: float | None
    macs: float | None
    paper: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """The methods on a benchmark; printed, it is a table of at most 100 columns.

    Attributes:
        title: of the benchmark.
        caption: what the numbers are, and of which data.
        tasks: for each column, the metric's name (none without records) and whether higher is
            better.
        rows: the methods.
    """

    title: str
    caption: str
    tasks: Mapping[str, tuple[str, bool]]
    rows: Sequence[Row]

    def frame(self) -> pandas.DataFrame:
        """As a pandas frame: a row for each method; ``±`` is the standard deviation over seeds."""
        import pandas

        lines = []
        for row in self.rows:
            line: dict[str, Any] = {"method": row.title, "seeds": len(row.seeds)}
            for column, figure in (*row.values.items(), ("Δm", row.delta)):
                line[column] = figure and figure.mean
                line[f"{column} ±"] = figure and figure.spread
                line[f"{column} paper"] = row.paper.get("delta" if column == "Δm" else column)
            lines.append(line | {"#P": row.parameters, "#F": row.macs})
        columns = [f"{name}{kind}" for name in (*self.tasks, "Δm") for kind in ("", " ±", " paper")]
        frame = pandas.DataFrame(lines, columns=["method", "seeds", *columns, "#P", "#F"])
        return frame.set_index("method")

    def __str__(self) -> str:
        head = ["", "seeds", *self.tasks, "Δm", "#P", "#F"]
        below = ["", ""]
        for metric, up in self.tasks.values():
            arrow = "↑" if up else "↓"
            below.append(" ".join(filter(None, [metric, unit(metric)[1], arrow])) if metric else "")
        lines = [head, [*below, "% ↑", "", ""]]
        for row in self.rows:
            lines.append(
                [
                    row.title,
                    str(len(row.seeds)) if row.seeds else "",
                    *(self._cell(task, row.values.get(task)) for task in self.tasks),
                    _signed(row.delta),
                    _size(row.parameters),
                    _size(row.macs),
                ]
            )
            if row.paper:
                printed = [self._number(task, row.paper.get(task)) for task in self.tasks]
                delta = row.paper.get("delta")
                delta = "" if delta is None else f"{delta:+.2f}"
                lines.append(["  the paper", "", *printed, delta, "", ""])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        texts.insert(2, "-" * max(map(len, texts)))
        return "\n".join([self.title, *textwrap.wrap(self.caption, WIDTH), "", *texts])

    def _number(self, task: str, value: float | None) -> str:
        if value is None:
            return ""
        small = unit(self.tasks[task][0])[1] == "" and abs(value) < 10
        return f"{value:.3f}" if small else f"{value:.2f}"

    def _cell(self, task: str, figure: Figure | None) -> str:
        if figure is None:
            return "-"
        spread = "" if figure.spread is None else f" ± {self._number(task, figure.spread)}"
        # The spread has the digits of the mean, whatever its own size.
        if spread and unit(self.tasks[task][0])[1] == "" and abs(figure.mean) >= 10:
            spread = f" ± {figure.spread:.2f}"
        return self._number(task, figure.mean) + spread


def table(
    benchmark: str | Benchmark, records: Iterable[Mapping[str, Any]], best: bool = False
) -> Table:
    """The methods on a benchmark, from records of finished runs.

    A run is worth what its recipe selects, see :func:`tssbn.records.store.summary`; fractions
    come in percent. Δm is that of each seed against the mean of our own single-task networks over
    their seeds; for benchmarks with ``average``, such as CelebA, it is the gain of the mean of all
    tasks.

    Args:
        benchmark: its name, or itself where it is none of
            :data:`tssbn.benchmarks.BENCHMARKS`.
        records: of this benchmark alone. They must agree in everything but method, seed and
            machine: settings, recipe (``tasks_per_pass`` may differ, it changes no result), metrics
            and the content of the data. Of made data, sizes and labels must agree; the rest may
            differ in bits, which the caption says. Options of a method, such as ``multiplier``,
            must agree among its own records.
        best: the best epoch on the test images instead.

    Raises:
        ValueError: an unknown benchmark, or records that do not belong in one table; says why.

    Example:
        >>> print(table("rooms", []))  # doctest: +ELLIPSIS
        rooms
        no records
        ...
    """
    records = list(records)
    known = find_benchmark(benchmark)() if isinstance(benchmark, str) else benchmark
    _check(known.name, records)
    named = {*known.paper, *(record["method"] for record in records)}
    by_method: dict[str, list[Mapping]] = {name: [] for name in METHODS if name in named}
    for record in sorted(records, key=lambda record: record["seed"]):
        by_method.setdefault(record["method"], []).append(record)

    values = {
        method: [_values(record, known.average, best) for record in runs]
        for method, runs in by_method.items()
    }
    tasks = _tasks(known, records)
    singles = by_method.get(BASELINE, [])
    single = {task: _mean([run[task] for run in values.get(BASELINE, [])]) for task in tasks}
    rows = []
    for method, runs in by_method.items():
        deltas = [_delta(run, single, tasks) for run in values[method]]
        rows.append(
            Row(
                method,
                find_method(method).title if method in METHODS else method,
                tuple(record["seed"] for record in runs),
                {task: Figure.of([run[task] for run in values[method]]) for task in tasks if runs},
                Figure.of(deltas) if runs and singles else None,
                _ratio("parameters", runs, singles),
                _ratio("macs", runs, singles),
                known.paper.get(method, {}),
            )
        )
    return Table(known.title, _caption(records, best), tasks, rows)


def recorded(benchmark: str, seeds: Iterable[int] = range(3)) -> list[dict[str, Any]]:
    """The records of all methods on a benchmark as it is, without settings; those that there are.

    As :func:`tssbn.records.store.read`, here or at the repository.

    Example:
        >>> recorded("a benchmark that nobody ran", seeds=())
        []
    """
    found = []
    for method, seed in itertools.product(METHODS, seeds):
        with suppress(FileNotFoundError):
            found.append(read(f"{benchmark}/{method}-{seed}.json"))
    return found


def _check(benchmark: str, records: Sequence[Mapping]) -> None:
    """Refuse what cannot be compared."""
    seen: dict[tuple, str] = {}
    options: dict[str, Mapping] = {}
    labels: dict[str, tuple[str, str]] = {}
    reference = min(records, key=lambda record: len(_protocol(record)), default=None)
    for record in records:
        name = f"{record['benchmark']}/{record['method']}-{record['seed']}"
        if record["benchmark"] != benchmark:
            raise ValueError(f"{name} is a record of {record['benchmark']}, not of {benchmark}")
        if not record["finished"]:
            raise ValueError(f"{name} is not finished")
        key = record["method"], record["seed"]
        if key in seen:
            raise ValueError(f"there are two records of {name}")
        seen[key] = name
        of_method = options.setdefault(record["method"], record["options"])
        if of_method != record["options"]:
            raise ValueError(
                f"{name} cannot stand in a row with others of {record['method']}: its options are "
                f"{dict(record['options'])}, theirs {dict(of_method)}"
            )
        for field in ("settings", "recipe", "data", "metric", "directions"):
            first, this = _compared(reference, field), _compared(record, field)
            own = {*_protocol(reference), *_protocol(record)} if field == "recipe" else ()
            differ = [p for p in {**first, **this} if first.get(p) != this.get(p) and p not in own]
            if differ:
                part = differ[0]
                raise ValueError(
                    f"{name} cannot stand beside {next(iter(seen.values()))}: {part!r} of "
                    f"{field} is {this.get(part)} and {first.get(part)}"
                )
        for split, part in record["data"]["splits"].items():
            if "labels" in part:  # which older records do not say
                first, other = labels.setdefault(split, (part["labels"], name))
                if part["labels"] != first:
                    raise ValueError(
                        f"{name} cannot stand beside {other}: the sha256 of the labels of {split} "
                        f"is {part['labels']} and {first}"
                    )


def _protocol(record: Mapping) -> Mapping:
    """What the method's own protocol changes in the recipe; older records do not say it."""
    return record.get("protocol", {})


def _compared(record: Mapping, field: str) -> Mapping:
    value = record[field]
    if field == "settings":  # those of the benchmark; a method may have options of its own
        return {key: entry for key, entry in value.items() if key not in record["options"]}
    if field == "recipe":  # of older records: without what was added since
        return {
            key: entry for key, entry in value.items() if key != "tasks_per_pass" and entry != {}
        }
    if field == "data":
        # Made data may be other bits of the same pictures, see `_bits`.
        same = "samples" if value.get("made") else "sha256"
        return {split: part[same] for split, part in value["splits"].items()}
    return value


def _values(record: Mapping, average: bool, best: bool) -> dict[str, float]:
    """Of one run, by task, in the units of the table; NaN for what the record has no number for."""
    chosen = summary(record)["best" if best else "test"]
    shown = {
        task: math.nan if value is None else value * unit(record["metric"][task])[0]
        for task, value in chosen.items()
    }
    return {"mean": _mean(list(shown.values()))} if average else shown


def _tasks(benchmark: Benchmark, records: Sequence[Mapping]) -> dict[str, tuple[str, bool]]:
    if not records:
        columns = dict.fromkeys(column for row in benchmark.paper.values() for column in row)
        return {column: ("", True) for column in columns if column != "delta"}
    metric, up = records[0]["metric"], records[0]["directions"]
    tasks = {task: (name, up[task]) for task, name in metric.items()}
    return {"mean": next(iter(tasks.values()))} if benchmark.average else tasks


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _delta(values: Mapping, single: Mapping, tasks: Mapping) -> float:
    """NaN where a value is, or a baseline of 0."""
    if not all(math.isfinite(values[t]) and 0 < single[t] < math.inf for t in tasks):
        return math.nan
    return delta_m(values, single, {task: up for task, (_, up) in tasks.items()})


def _ratio(key: str, runs: Sequence[Mapping], single: Sequence[Mapping]) -> float | None:
    if not runs:
        return None
    return runs[0][key] / single[0][key] if single else float(runs[0][key])


def _caption(records: Sequence[Mapping], best: bool) -> str:
    if not records:
        return "no records"
    first = records[0]
    images = ", ".join(
        f"{part['samples']:,} {split}"
        + (f" of {part['official']:,}" if part["official"] not in (None, part["samples"]) else "")
        for split, part in first["data"]["splits"].items()
    )
    epochs = first["recipe"]["epochs"]
    chosen = {
        "last": f"the last of {epochs} epochs",
        "last-10": f"the mean of the last 10 of {epochs} epochs",
        "val": f"the epoch of {epochs} that is best on the validation images",
    }[first["recipe"]["select"]]
    if best:
        chosen = f"the epoch of {epochs} that is best on the test images"
    where = " and ".join(sorted({f"{r['precision']} on {r['device']}" for r in records}))
    notes = sorted({record.get("note", "") for record in records} - {""})
    settings = {key: value for record in records for key, value in record["settings"].items()}
    settings = ", ".join(f"{key}={value}" for key, value in settings.items())
    said = [
        f"{first['data']['kind']} data ({images})",
        _bits(records),
        *notes,
        settings,
        chosen,
        "± is the standard deviation over seeds",
        "Δm against the mean of our STL",
        where,
    ]
    return "; ".join(filter(None, said))


def _bits(records: Sequence[Mapping]) -> str:
    """What is to be said of made data that are not the same bits in all records."""
    splits = [record["data"]["splits"] for record in records]
    bits = [{name: part["sha256"] for name, part in parts.items()} for parts in splits]
    if all(those == bits[0] for those in bits):
        return ""
    known = all("labels" in part for parts in splits for part in parts.values())
    said = "the labels agree" if known else "older runs do not say whether the labels agree"
    return f"the data of the runs differ in bits ({said})"


def _signed(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{round(figure.mean, 2) + 0.0:+.2f}" + (
        "" if figure.spread is None else f" ± {figure.spread:.2f}"
    )


def _size(value: float | None) -> str:
    """A ratio, or a number of parameters or MACs."""
    if value is None:
        return "-"
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.1f}{sign}"
    return f"{value:.2f}"

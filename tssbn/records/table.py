"""Tables of methods from saved runs, in the form of the paper's table 1 (arXiv 2512.20420)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tssbn.benchmarks import Benchmark, find_benchmark
from tssbn.methods import METHODS, find_method
from tssbn.records.caption import caption
from tssbn.records.comparable import balance_of, check_comparable
from tssbn.records.form import COUNTS, Column, MeanStd, Row, Table
from tssbn.records.scores import constant, delta, summary
from tssbn.records.units import display_unit

__all__ = ["TABLES", "table"]

TABLES = {
    "1": (
        *("nyuv2", "nyuv2_short", "cityscapes"),
        *("celeba", "celeba_small", "celeba_10k"),
    ),
    "2": ("nyuv2_libmtl", "nyuv2_lite", "cityscapes_libmtl"),
    "3": ("pascal5",),
    "4": ("pascal4",),
}


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
        >>> print(table("rooms", []))
        rooms
        no saved runs with these settings
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
    said = caption(records, best, known.baseline if single else None)
    if records:
        said += "; #P: trained parameters, #F: MACs of a sample for all tasks"
    if single and not known.absolute:
        said += f", both as ratios to those of {find_method(known.baseline).title}"
    elif records and not single:
        said += f"; no Δm, as there is no saved run of {find_method(known.baseline).title}"
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

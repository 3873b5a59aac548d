"""The reader of saved runs by benchmark, method, seeds and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tssbn.records.saved import SavedRun, SavedRuns
from tssbn.records.store import load

if TYPE_CHECKING:
    from tssbn.benchmarks import Benchmark
    from tssbn.methods import Method

__all__ = ["load_default", "of"]


def of(
    benchmark: str | Path | Benchmark,
    method: str | Path | Method,
    seeds: Iterable[int] = range(3),
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> SavedRuns:
    """Load the saved runs of a method on a benchmark, for the seeds that are saved.

    Args:
        benchmark: a name, the path of a file, or the benchmark itself, as for
            :class:`tssbn.training.run.Run`.
        method: a name, the path of a file, or the method itself.
        seeds: the seeds of the runs.
        settings: differences from the defaults of benchmark and method, such as
            ``{"weight.depth": 2.0}``.
        more: settings whose names can be keywords.

    Returns:
        The runs in the order of the seeds; ``missing`` lists those that are not saved.

    Raises:
        ValueError: a name or setting is unknown, or a setting is given twice.

    Example:
        >>> runs = of("faces", "tssbn", seeds=range(7), multiplier=10)  # doctest: +SKIP
        >>> runs.seeds, runs.scores().mean(axis=1).max()  # doctest: +SKIP
        >>> runs.gates()[0].tasks  # of the last epoch  # doctest: +SKIP
        >>> of("rooms", "hps", [0], {"weight.depth": 2.0}, n=400)  # doctest: +SKIP
    """
    from tssbn.training.run import Run

    settings = dict(settings or {})
    if twice := settings.keys() & more.keys():
        raise ValueError(f"settings are given twice: {', '.join(sorted(twice))}")
    wanted = Run(benchmark, method, settings=settings | more)  # of each seed the name alone
    runs, missing = [], []
    for name in map(wanted.name_of, seeds):
        try:
            runs.append(SavedRun(name, load(name)))
        except FileNotFoundError:
            missing.append(name)
    return SavedRuns(tuple(runs), tuple(missing), wanted.benchmark.average)


def load_default(benchmark: str, seeds: Iterable[int] = range(3)) -> list[SavedRun]:
    """Load the saved runs of all methods on a benchmark without settings.

    Args:
        benchmark: name of the benchmark.
        seeds: the seeds of the runs.

    Returns:
        The runs that are saved, in the order of the tables, as for
        :func:`tssbn.records.table.table`.

    Raises:
        ValueError: the benchmark is unknown.

    Example:
        >>> [run.name for run in load_default("rooms", seeds=[0])]  # doctest: +SKIP
        ['rooms/stl-0', 'rooms/hps-0', ...]
    """
    from tssbn.methods import METHODS

    seeds = list(seeds)
    return [run for method in METHODS for run in of(benchmark, method, seeds)]

"""Saved runs by gate rate: how fast gates, or scales and biases, learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tssbn.records.reader import of
from tssbn.records.saved import SavedRuns

if TYPE_CHECKING:
    from pathlib import Path

    from tssbn.benchmarks import Benchmark
    from tssbn.methods import Method
    from tssbn.training.run import Run

__all__ = ["by_gate_rate", "gate_rate"]


def gate_rate(run: Run) -> float | None:
    """Give the gate rate of a run, its base rate times its multiplier; None without a multiplier.

    Example:
        >>> from tssbn.training.run import Run
        >>> gate_rate(Run("faces", "tssbn", settings={"lr": 1e-3, "multiplier": 10}))
        0.01
    """
    from tssbn.training.settings import options_of

    options = options_of(*run.method.functions) | run.options
    if "multiplier" not in options:
        return None
    return round(run.benchmark.recipe.lr * options["multiplier"], 6)


def by_gate_rate(
    benchmark: str | Path | Benchmark,
    method: str | Path | Method,
    seeds: Iterable[int] = range(3),
    multipliers: Iterable[float] = (1, 3, 10, 30, 100),
) -> dict[float, SavedRuns]:
    """Load the saved runs of a method as it is, and with other multipliers.

    Args:
        benchmark, method, seeds: as :func:`of` takes them.
        multipliers: those that are looked for besides the method's own on the benchmark.

    Returns:
        By gate rate, from the slowest, the runs that there are; rates without runs are left out.

    Raises:
        ValueError: an unknown name, or a method without a multiplier.

    Example:
        >>> for rate, runs in by_gate_rate("faces", "tssbn").items():  # doctest: +SKIP
        ...     print(rate, len(runs))
    """
    from tssbn.training.run import Run

    seeds = list(seeds)
    settings = [{}, *({"multiplier": multiplier} for multiplier in multipliers)]
    found = {
        gate_rate(Run(benchmark, method, 0, changed)): of(benchmark, method, seeds, changed)
        for changed in settings
    }
    return {rate: found[rate] for rate in sorted(found) if found[rate]}

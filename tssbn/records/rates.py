"""Saved runs by gate rate, the learning rate of gates or of the tasks' scales and biases."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tssbn.records.reader import of
from tssbn.records.saved import SavedRuns
from tssbn.records.store import folders

if TYPE_CHECKING:
    from pathlib import Path

    from tssbn.benchmarks import Benchmark
    from tssbn.methods import Method
    from tssbn.training.run import Run

__all__ = ["by_gate_rate", "gate_rate"]


def gate_rate(run: Run) -> float | None:
    """Compute the gate rate of a run, the base rate times the multiplier.

    Args:
        run: the run.

    Returns:
        The rate; None where the method has no multiplier.

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
    benchmark: str | Path | Benchmark, method: str | Path | Method, seeds: Iterable[int] = range(3)
) -> dict[float, SavedRuns]:
    """Load the saved runs of a method at all its gate rates.

    These are the runs without settings, and those whose only setting is a multiplier.

    Args:
        benchmark, method, seeds: as for :func:`of`.

    Returns:
        The runs by gate rate, in rising order.

    Raises:
        ValueError: a name is unknown, or the method has no gate rate.

    Example:
        >>> for rate, runs in by_gate_rate("faces", "tssbn").items():  # doctest: +SKIP
        ...     print(rate, len(runs))
    """
    from tssbn.training.run import Run

    seeds, run = list(seeds), Run(benchmark, method)
    if gate_rate(run) is None:
        raise ValueError(f"method={run.method.name} has no gate rate: it has no multiplier")
    name = re.compile(rf"{re.escape(run.method.name)}-\d+-multiplier=(\d+(\.\d+)?)\.json")
    files = [path.name for folder in folders() for path in (folder / run.benchmark.name).glob("*")]
    others = {float(found[1]) for found in map(name.fullmatch, files) if found}
    settings = [{}, *({"multiplier": multiplier} for multiplier in others)]
    found = {
        gate_rate(Run(benchmark, method, 0, changed)): of(benchmark, method, seeds, changed)
        for changed in settings
    }
    return {rate: found[rate] for rate in sorted(found) if found[rate]}

"""Numbers of the runs that the scripts in ``book/studies`` saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tssbn import records
from tssbn.gates import Importance

__all__ = ["by_knob", "by_value", "hurt_most", "removals", "runs"]


def runs(name: str) -> list[Mapping[str, Any]]:
    """Give the runs of a study; none where its file is not here.

    Example:
        >>> runs("no/such study")
        []
    """
    try:
        return records.load(name)["runs"]
    except FileNotFoundError:
        return []


def by_knob(knob: str, measure: Callable[[Importance], float]) -> list[float]:
    """Give the rank correlation of a measure of gates with the knob of a task.

    Of ``book/studies/capacity.py`` at the multiplier that the study reads. A number for each seed;
    0 where the measure is the same at all values of the knob.

    Args:
        knob: what was turned, the name of a file in ``capacity``.
        measure: of the gates.
    """
    from scipy.stats import rankdata

    _, measured = by_value(knob, measure)
    numbers = []
    for of_seed in measured.T:
        ranks = rankdata(of_seed)
        alike = np.ptp(ranks) == 0
        numbers.append(0.0 if alike else float(np.corrcoef(np.arange(len(ranks)), ranks)[0, 1]))
    return numbers


def by_value(knob: str, measure: Callable[[Importance], float]) -> tuple[list, np.ndarray]:
    """Give a measure of gates at each value of a knob, of the same study.

    Args:
        knob: what was turned, the name of a file in ``capacity``.
        measure: of the gates.

    Returns:
        The values of the knob, in their order, and the measure (values, seeds).
    """
    found = [run for run in runs(f"capacity/{knob}") if run["multiplier"] in (5, 10)]
    values = list(dict.fromkeys(run["value"] for run in found))
    seeds = sorted({run["seed"] for run in found})
    measured = {
        (run["value"], run["seed"]): measure(records.unpack_gates(run["gates"])[1]) for run in found
    }
    return values, np.array([[measured[value, seed] for seed in seeds] for value in values])


def removals(benchmark: str, kind: str = "own", seeds: Iterable[int] = range(20)) -> list[float]:
    """Give :func:`hurt_most` of the seeds that ``book/studies/removal.py`` has saved."""
    numbers = []
    for seed in seeds:
        try:
            record = records.load(f"removal/{benchmark}-{seed}")
        except FileNotFoundError:
            continue
        numbers.append(hurt_most(record, kind))
    return numbers


def hurt_most(record: Mapping[str, Any], kind: str = "own") -> float:
    """Give the share of tasks that lose more by their filters' removal than any other task does.

    In percent. Losses are in the tasks' own metrics, so these must have one unit, as the F1 of
    attributes.

    Args:
        record: of ``book/studies/removal.py``.
        kind: which filters were removed: the task's ``"own"``, or a control.

    Example:
        >>> record = {
        ...     "directions": {"a": True, "b": True},
        ...     "base": [0.9, 0.9],
        ...     "without": {"own": [[[0.2, 0.8], [0.3, 0.4]]]},  # a loses more without b's filters
        ... }
        >>> hurt_most(record)
        50.0
    """
    up = np.where([*record["directions"].values()], 1, -1)
    lost = up * (np.array(record["base"]) - np.mean(record["without"][kind], axis=0))
    own = lost.diagonal().copy()
    np.fill_diagonal(lost, -np.inf)
    return float(100 * (own > lost.max(1)).mean())

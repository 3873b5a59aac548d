"""Numbers of the runs that the scripts in ``book/studies`` saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tssbn import records
from tssbn.cost import delta_m
from tssbn.gates import Importance

__all__ = ["by_knob", "hurt_most", "removals", "runs", "tree_change"]


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

    found = [run for run in runs(f"capacity/{knob}") if run["multiplier"] in (5, 10)]
    numbers = []
    for seed in sorted({run["seed"] for run in found}):  # the runs are in the order of the values
        of_seed = [run["gates"] for run in found if run["seed"] == seed]
        ranks = rankdata([measure(records.unpack_gates(packed)[1]) for packed in of_seed])
        alike = np.ptp(ranks) == 0
        numbers.append(0.0 if alike else float(np.corrcoef(np.arange(len(ranks)), ranks)[0, 1]))
    return numbers


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


def tree_change(
    record: Mapping[str, Any], chooser: str, share: float | None = None, stage: str = "tuned"
) -> float | None:
    """Give how much a tree of tasks scores above a pass for each task, in percent.

    Both were treated alike: merged, with statistics estimated anew, or trained on as long. It is Δm
    over the metrics of the tasks; where all are F1, the gain of their mean. None where there is no
    such tree.

    Args:
        record: of ``book/studies/branches.py``.
        chooser: who chose the tree: ``"loss"``, ``"gates"``, ``"random"``, ``"together"``; or
            ``"trunk"``, the tree without branches.
        share: of the cost of all passes, as the study was asked for.
        stage: ``"merged"``, ``"statistics"`` or ``"tuned"``.

    Example:
        >>> record = {
        ...     "metric": {"a": "f1", "b": "f1"},
        ...     "points": [
        ...         {"chooser": "apart", "share": None, "scores": {"tuned": [0.4, 0.6]}},
        ...         {"chooser": "loss", "share": 0.5, "scores": {"tuned": [0.5, 0.4]}},
        ...     ],
        ... }
        >>> round(tree_change(record, "loss", 0.5), 1)
        -10.0
    """
    scores = {
        (point["chooser"], point["share"]): point["scores"].get(stage) for point in record["points"]
    }
    passes, tree = scores["apart", None], scores.get((chooser, share))
    if passes is None or tree is None:
        return None
    if set(record["metric"].values()) == {"f1"}:
        return 100 * (sum(tree) / sum(passes) - 1)
    named = (dict(zip(record["metric"], values, strict=True)) for values in (tree, passes))
    return delta_m(*named, record["directions"])

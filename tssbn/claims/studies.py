"""Numbers of the runs that the scripts in ``book/studies`` saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tssbn import records
from tssbn.claims.sample import above
from tssbn.claims.verdict import Effect
from tssbn.cost import delta_m
from tssbn.gates import Importance

__all__ = [
    "by_knob",
    "by_value",
    "gains_on_names",
    "hurt_most",
    "losses",
    "lost",
    "removal_runs",
    "removals",
    "runs",
    "tree_change",
    "tree_effect",
]

NAMED = {
    "hps": "HPS",
    "tsln": "TSLN",
    "tssln": "TSσLN",
    "tssln-preserve": "TSσLN, scale and β kept",
}


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


def gains_on_names() -> dict[str, dict[str, list[float]]]:
    """Give Δm of F1 over single-task networks of ``book/studies/beyond_vision.py``, in percent.

    Returns:
        By method and multiplier, such as ``"TSσLN ×10"``, and by what was done to the gates, Δm of
        each run. ``""`` stands for nothing, ``"shuffled"`` for gates that changed places within a
        layer, ``"swapped"`` for those of another task. Empty where the study is not here.
    """
    found = runs("beyond_vision/names")
    tasks = [*found[0]["test"]] if found else []

    def f1(scored: Mapping[str, Any]) -> np.ndarray:
        return np.array([scored[task]["f1"] for task in tasks])

    alone = [f1(run["test"]) for run in found if run["method"] == "stl"]
    rows: dict[str, dict[str, list[float]]] = {}
    for run in found:
        if run["method"] not in NAMED:
            continue
        times = f" ×{run['multiplier']}" if run["method"] != "hps" else ""
        row = rows.setdefault(NAMED[run["method"]] + times, {})
        for part, gates in ("test", ""), ("shuffled", "shuffled"), ("swapped", "swapped"):
            if part in run:
                gain = 100 * (f1(run[part]) / np.mean(alone, 0) - 1).mean()
                row.setdefault(gates, []).append(float(gain))
    return rows


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


def removal_runs(benchmark: str, seeds: Iterable[int] = range(20)) -> list[Mapping[str, Any]]:
    """Give the networks that ``book/studies/removal.py`` removed filters from and saved.

    Example:
        >>> removal_runs("no such benchmark")
        []
    """
    found = []
    for seed in seeds:
        try:
            found.append(records.load(f"removal/{benchmark}-{seed}"))
        except FileNotFoundError:
            continue
    return found


def lost(record: Mapping[str, Any], scores: Any) -> np.ndarray:
    """Give what tasks lose when their scores become those given, in percent of what they were.

    Where all metrics are F1, which may be near 0 of a rare attribute, it is in points.

    Args:
        record: of ``book/studies/removal.py``.
        scores: (..., T), in the order of its tasks.

    Example:
        >>> record = {
        ...     "metric": {"seg": "miou", "depth": "absolute"},
        ...     "directions": {"seg": True, "depth": False},
        ...     "base": [0.8, 0.5],
        ... }
        >>> lost(record, [0.6, 0.6]).round(1)  # an error that grows is a loss
        array([25., 20.])
    """
    up = np.where([*record["directions"].values()], 1, -1)
    base = np.array(record["base"])
    difference = 100 * up * (base - np.array(scores))
    return difference if {*record["metric"].values()} == {"f1"} else difference / base


def losses(record: Mapping[str, Any], kind: str = "own") -> np.ndarray:
    """Give what each task loses without the filters that were chosen for each, (T, T).

    Row s has the losses of all tasks without the filters of task s, :func:`lost`; the mean of
    several draws.

    Args:
        record: of ``book/studies/removal.py``.
        kind: how filters were chosen, one of the names in its docstring.
    """
    return lost(record, record["without"][kind]).mean(axis=0)


def removals(benchmark: str, kind: str = "own", seeds: Iterable[int] = range(20)) -> list[float]:
    """Give :func:`hurt_most` of the seeds that ``book/studies/removal.py`` has saved."""
    return [hurt_most(record, kind) for record in removal_runs(benchmark, seeds)]


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


def tree_effect(
    found: Iterable[Mapping[str, Any]],
    chooser: str,
    stage: str,
    share: float = 0.5,
    over: str | None = None,
) -> Effect | None:
    """Give the mean of :func:`tree_change` over runs with its interval, runs without it left out.

    Args:
        found: records of ``book/studies/branches.py``.
        chooser: who chose the tree.
        stage: ``"merged"``, ``"statistics"`` or ``"tuned"``.
        share: of the cost of all passes.
        over: another chooser, whose change is subtracted run by run.

    Returns:
        The effect, None with fewer than two runs.
    """
    choosers = [chooser] if over is None else [chooser, over]
    changes = [[tree_change(run, each, share, stage) for each in choosers] for run in found]
    return above([row[0] - sum(row[1:]) for row in changes if None not in row])

"""The scores that a saved run reports, according to its recipe, and Δm."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from tssbn.cost import delta_m

__all__ = ["constant", "delta", "reported", "summary"]

#: The metrics by which LibMTL chooses an epoch, and whether higher is better.
LIBMTL = {
    **dict.fromkeys(("miou", "accuracy", "within_11.25", "within_22.5", "within_30"), True),
    **dict.fromkeys(("absolute", "relative", "mean", "median"), False),
}


def reported(record: Mapping[str, Any], split: str = "test") -> dict[str, float | None]:
    """Compute the first metric of each task in the epochs that the recipe reports.

    ``report`` of the recipe chooses the epochs: ``"last"``; ``"last-10"`` for the mean of the last
    ten, or of all where there are fewer; ``"val"`` for the best epoch on the validation images, see
    :func:`summary`; ``"libmtl"`` for LibMTL's choice, which uses the test images: the epoch with
    the largest gain over the first epoch. The gain is the mean over the tasks of the mean relative
    gain of their metrics (mIoU and accuracy; absolute and relative error; mean and median angle,
    and the shares within three angles).

    Args:
        record: a saved run.
        split: ``"test"``, or ``"val"`` where the run was scored on validation images.

    Returns:
        The values by task, in the units of the metrics; None where one of them is null.

    Raises:
        ValueError: there is no epoch, ``report`` is unknown, or the run was not scored on the
            split.

    Example:
        >>> record = {
        ...     "recipe": {"report": "last-10"},
        ...     "metric": {"depth": "absolute"},
        ...     "epochs": [
        ...         {"epoch": e, "test": {"depth": {"absolute": float(e)}}} for e in range(1, 13)
        ...     ],
        ... }
        >>> reported(record)  # epochs 3 to 12
        {'depth': 7.5}
    """
    return _mean([_values(record, epoch, split) for epoch in _counted(record)], record["metric"])


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the reported scores of a run, and those of its best epoch on the test images.

    The best epoch has the highest mean over the tasks, where higher is better for all of them.
    Otherwise each value is first divided by its mean over the epochs, and negated if lower is
    better. The first of equal epochs is chosen; epochs with a null are left out. Choosing an epoch
    by the test images makes its scores too good.

    Args:
        record: a saved run.

    Returns:
        ``"test"``, the values of :func:`reported`; ``"epochs"``, the numbers of the epochs that
        they average; ``"best"``, the values of the best epoch; and ``"best_epoch"``, its number,
        or None if every epoch has a null.

    Raises:
        ValueError: there is no epoch, or ``report`` is unknown.

    Example:
        >>> record = {
        ...     "recipe": {"report": "last"},
        ...     "metric": {"depth": "absolute"},
        ...     "directions": {"depth": False},
        ...     "epochs": [
        ...         {"epoch": e, "test": {"depth": {"absolute": 0.5 + 0.1 * (e - 2) ** 2}}}
        ...         for e in (1, 2, 3)
        ...     ],
        ... }
        >>> summary(record)
        {'test': {'depth': 0.6}, 'epochs': [3], 'best': {'depth': 0.5}, 'best_epoch': 2}
    """
    counted, best = _counted(record), _best(record, "test")
    return {
        "test": reported(record),
        "epochs": [entry["epoch"] for entry in counted],
        "best": _mean([_values(record, entry, "test") for entry in best], record["metric"]),
        "best_epoch": best[0]["epoch"] if best else None,
    }


def constant(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of the constant baseline, by task.

    Args:
        record: a saved run.

    Returns:
        The first metric of each task, NaN for null; {} for a run that was saved without these
        scores, or without those of a task.

    Example:
        >>> record = {"metric": {"smile": "f1"}, "constant": {"smile": {"f1": 0.4, "auc": 0.5}}}
        >>> constant(record), constant({"metric": {"smile": "f1"}})
        ({'smile': 0.4}, {})
    """
    scores, metric = record.get("constant", {}), record["metric"]
    if scores.keys() < metric.keys():
        return {}
    values = {task: scores[task][name] for task, name in metric.items()}
    return {task: math.nan if value is None else value for task, value in values.items()}


def _counted(record: Mapping) -> Sequence[Mapping]:
    """Select the epochs that the reported scores average."""
    epochs, report = record["epochs"], record["recipe"]["report"]
    if not epochs:
        raise ValueError("the saved run has no epoch")
    if report == "val":
        return _best(record, "val")
    if report == "libmtl":
        return [max(epochs, key=partial(_gain, epochs[0]))]
    if report not in ("last", "last-10"):
        raise ValueError(
            f"report={report!r} of the recipe must be 'last', 'last-10', 'val' or 'libmtl'"
        )
    return epochs[-10:] if report == "last-10" else epochs[-1:]


def _gain(first: Mapping, entry: Mapping) -> float:
    """Compute LibMTL's gain of an epoch over the first one; -∞ where a value is missing."""
    gains = []
    for task, scores in entry["test"].items():
        own = []
        for name in LIBMTL.keys() & scores.keys():
            value, start = scores[name], first["test"][task][name]
            if value is None or not start:
                return -math.inf
            own.append((1 if LIBMTL[name] else -1) * (value - start) / start)
        gains.append(math.fsum(own) / len(own) if own else 0.0)
    return math.fsum(gains) / len(gains)


def _values(record: Mapping, entry: Mapping, split: str) -> dict[str, float | None]:
    if split not in entry:
        known = ", ".join(key for key in ("test", "val") if key in entry)
        raise ValueError(f"split={split!r}: the run was scored on {known}")
    return {task: entry[split][task][name] for task, name in record["metric"].items()}


def _mean(rows: Sequence[Mapping], tasks: Mapping) -> dict[str, float | None]:
    columns = {task: [row[task] for row in rows] for task in tasks}
    return {
        task: None if None in column or not column else math.fsum(column) / len(column)
        for task, column in columns.items()
    }


def _best(record: Mapping, split: str) -> list[Mapping]:
    """Return a list with the best epoch; an empty list if every epoch has a null."""
    rows = [(_values(record, entry, split), entry) for entry in record["epochs"]]
    rows = [(values, entry) for values, entry in rows if None not in values.values()]
    if not rows:
        return []
    up = record["directions"]
    weights = dict.fromkeys(up, 1.0)
    if not all(up.values()):
        mean = _mean([values for values, _ in rows], up)
        weights = {task: (1 if up[task] else -1) / (mean[task] or 1) for task in up}
    return [max(rows, key=lambda row: math.fsum(weights[t] * row[0][t] for t in up))[1]]


def delta(
    values: Mapping[str, float],
    baseline: Mapping[str, float],
    directions: Mapping[str, bool],
    average: bool = False,
) -> float:
    """Compute Δm in percent with :func:`tssbn.cost.delta_m`, or NaN where it is not defined.

    It is not defined where a value or a baseline is not finite, or a baseline is not above 0.

    Args:
        values: scores by task.
        baseline: scores of the baseline, for the same tasks.
        directions: whether higher is better, by task.
        average: the gain of the mean of the tasks instead; their directions are the same.

    Example:
        >>> delta({"depth": 0.75}, {"depth": 0.5}, {"depth": False})
        -50.0
        >>> delta({"depth": 0.5}, {"depth": 0.0}, {"depth": False})
        nan
    """
    if average:
        values, baseline = ({"mean": fmean(scores.values())} for scores in (values, baseline))
        directions = {"mean": next(iter(directions.values()))}
    if not all(math.isfinite(values[t]) and 0 < baseline[t] < math.inf for t in directions):
        return math.nan
    return delta_m(values, baseline, directions)

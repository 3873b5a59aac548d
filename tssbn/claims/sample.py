"""Effects of numbers that each run has one of: against a known number, and of pairs of runs."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from tssbn.claims.intervals import LEVEL
from tssbn.claims.verdict import Effect

__all__ = ["above", "pseudo_values"]

Item = TypeVar("Item")


def above(values: ArrayLike, level: float = 0.0, unit: str = "") -> Effect | None:
    """Give what the mean of some runs lies above a known number, with Student's interval.

    Of differences within runs, such as a network's own gates less the same gates shuffled, it is
    the paired interval. None with fewer than two runs.

    Args:
        values: a number for each run.
        level: the known number.
        unit: of both.

    Raises:
        ValueError: a value is not finite.

    Example:
        >>> above([1.0, 2.0, 3.0], level=0.5)
        +1.5 [-1.0, +4.0]
        >>> above([1.0]) is None
        True
    """
    values = np.asarray(values, dtype=float).ravel()
    if not np.isfinite(values).all():
        raise ValueError("a value is not a finite number, it has no mean")
    if len(values) < 2:
        return None
    n = len(values)
    error, critical = values.std(ddof=1) / np.sqrt(n), t.ppf(0.5 + LEVEL / 2, n - 1)
    return Effect(float(values.mean() - level), float(error), n - 1, float(critical), (n,), unit)


def pseudo_values(
    items: Sequence[Item], statistic: Callable[[Sequence[Item]], float]
) -> list[float]:
    """Give the jackknife's pseudo-values: a number for each run where a statistic is of several.

    Such as the mean agreement of all pairs of runs, of which those with a run in common are not
    independent. Their mean estimates the statistic, and their spread its error (Tukey 1958).

    Args:
        items: one of each run.
        statistic: of two of them or more.

    Returns:
        Nothing with fewer than three items.

    Example:
        Of a mean they are the values themselves:

        >>> pseudo_values([1.0, 2.0, 6.0], np.mean)
        [1.0, 2.0, 6.0]
    """
    n = len(items)
    if n < 3:
        return []
    whole = statistic(items)
    parts = [statistic([*items[:i], *items[i + 1 :]]) for i in range(n)]
    return [float(n * whole - (n - 1) * part) for part in parts]

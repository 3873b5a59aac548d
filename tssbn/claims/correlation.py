"""Correlations of two numbers of the same items, with their 95 % intervals."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from tssbn.claims.intervals import LEVEL

__all__ = ["correlation", "rank_correlation"]


def correlation(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
    """Give Pearson's correlation and its 95 % interval, by Fisher's transformation.

    Args:
        x: a number for each of n items.
        y: another.

    Returns:
        The correlation, the lower and the upper end; NaN where one of the two numbers is constant.

    Raises:
        ValueError: other items than those, or fewer than four.

    Example:
        >>> [round(r, 2) for r in correlation([1, 2, 3, 4, 5], [1, 2, 3, 5, 4])]
        [0.9, 0.09, 0.99]
    """
    return _fisher(x, y, variance=1.0)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
    """Give Spearman's correlation and its 95 % interval, by Fisher's transformation.

    Ties have the mean of their ranks. The variance 1.06/(n - 3) is that of Fieller, Hartley and
    Pearson, "Tests for rank correlation coefficients", Biometrika 44 (1957).

    Args:
        x, y: as for :func:`correlation`, with the same result and errors.

    Example:
        >>> [round(r, 2) for r in rank_correlation(range(8), [1, 0, 2, 3, 4, 5, 6, 7])]
        [0.98, 0.86, 1.0]
    """
    return _fisher(rankdata(x), rankdata(y), variance=1.06)


def _fisher(x: ArrayLike, y: ArrayLike, variance: float) -> tuple[float, float, float]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 4:
        raise ValueError(
            f"x of shape {x.shape} and y of shape {y.shape} must be of the same items, four or more"
        )
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan, math.nan
    r = float(np.corrcoef(x, y)[0, 1])
    half = norm.ppf(0.5 + LEVEL / 2) * math.sqrt(variance / (len(x) - 3))
    with np.errstate(divide="ignore"):  # a perfect correlation is its own interval
        low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return r, float(low), float(high)

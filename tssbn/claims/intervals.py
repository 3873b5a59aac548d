"""95 % intervals of a difference of means: one pooled spread, or Welch's where it is not one."""

from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import f, multivariate_t, t

__all__ = ["LEVEL", "choose", "critical_value", "pool"]

LEVEL = 0.95
NOISY = 0.2  # of the F test; at 5 % it misses an arm that is twice as noisy as the others


def pool(variances: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Pool the variances of arms, (..., K), of n runs each, (K,).

    Example:
        >>> float(pool(np.array([1.0, 4.0]), np.array([2, 5])))  # (1 · 1 + 4 · 4) / 5
        3.4
    """
    return (variances * (n - 1)).sum(-1) / (n - 1).sum()


@cache
def critical_value(df: float, n: int, others: tuple[int, ...]) -> float:
    """Give Dunnett's two-sided critical value; for one other arm it is Student's.

    Args:
        df: the degrees of freedom of the pooled spread.
        n: the runs of the arm that is compared with the others.
        others: the runs of each of those.

    Example:
        >>> round(critical_value(16, 5, (5,)), 3), round(critical_value(16, 5, (5, 5, 5)), 2)
        (2.12, 2.59)
    """
    least = t.ppf(0.5 + LEVEL / 2, df)
    if len(others) == 1:
        return float(least)
    loading = np.sqrt(np.array(others) / (n + np.array(others)))
    shape = np.outer(loading, loading)
    np.fill_diagonal(shape, 1)

    def lacking(x: float) -> float:
        ends = np.full(len(others), x)
        inside = multivariate_t.cdf(ends, df=df, shape=shape, lower_limit=-ends, random_state=0)
        return inside - LEVEL

    most = 1.05 * bonferroni(df, len(others))
    return float(brentq(lacking, least, most, xtol=1e-4))


def bonferroni(df: np.ndarray | float, family: int) -> np.ndarray:
    """Give Student's two-sided critical value for one of a family of comparisons."""
    return t.ppf(1 - (1 - LEVEL) / (2 * family), df)


def choose(
    own: np.ndarray,
    free: np.ndarray,
    shared: np.ndarray,
    df: float,
    critical: float,
    family: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give standard error, degrees of freedom and critical value of differences of means.

    They are those of the pooled spread; or Welch's, where those make a wider interval and the arms
    are noisier than the bed by an F test at 20 %. Several comparisons of Welch's: by Bonferroni.

    Args:
        own: the variances of the M means by the spread of each arm itself, (..., M).
        free: their degrees of freedom, (M,).
        shared: the variance of the difference by the pooled spread, (...).
        df: the degrees of freedom of that.
        critical: for the pooled spread, :func:`critical_value`.
        family: how many comparisons are made together.

    Example:
        >>> for own in ([0.2, 0.8], [0.2, 1.8]):
        ...     found = choose(np.array(own), np.array([4, 4]), 1.0, 16, 2.12)
        ...     print(*(round(float(x), 2) for x in found))
        1.0 16.0 2.12
        1.41 4.88 2.59
    """
    sums = own.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        welch_df = np.where(sums > 0, sums**2 / (own**2 / free).sum(-1), df)
        noisy = (sums > shared) & (f.sf(sums / shared, welch_df, df) < NOISY)
    welch = bonferroni(welch_df, family)
    wider = noisy & (welch * np.sqrt(sums) > critical * np.sqrt(shared))
    return (
        np.where(wider, np.sqrt(sums), np.sqrt(shared)),
        np.where(wider, welch_df, df),
        np.where(wider, welch, critical),
    )

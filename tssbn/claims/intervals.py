"""95 % intervals of a difference of means: one pooled spread, or Welch's where it is not one."""

from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, multivariate_t, t

__all__ = ["LEVEL", "alike", "choose", "critical_value", "pool"]

LEVEL = 0.95
UNLIKE = 0.2  # of Bartlett's test; at 5 % it misses an arm that is twice as noisy as the others


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


def alike(variances: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Say whether the arms of a bed may have one spread, by Bartlett's test at 20 %.

    Args:
        variances: of one run of each arm, (..., K).
        free: their degrees of freedom, (K,).

    Example:
        >>> free = np.array([4, 4, 4])
        >>> alike(np.array([[1.0, 1.5, 0.8], [1.0, 9.0, 0.8]]), free).tolist()
        [True, False]
    """
    arms, total = variances.shape[-1], free.sum()
    if arms < 2:
        return np.ones(variances.shape[:-1], dtype=bool)
    pooled = (variances * free).sum(-1, keepdims=True) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (free * np.log(pooled / variances)).sum(-1)
    scale = 1 + ((1 / free).sum() - 1 / total) / (3 * (arms - 1))
    return ~(chi2.sf(apart / scale, arms - 1) < UNLIKE)  # no spread at all is one


def choose(
    own: np.ndarray,
    free: np.ndarray,
    shared: np.ndarray,
    df: float,
    critical: float,
    one_spread: np.ndarray | bool,
    family: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give standard error, degrees of freedom and critical value of differences of means.

    They are those of the pooled spread; or Welch's, where those make a wider interval and the arms
    of the bed have not one spread. Several comparisons of Welch's: by Bonferroni.

    Args:
        own: the variances of the M means by the spread of each arm itself, (..., M).
        free: their degrees of freedom, (M,).
        shared: the variance of the difference by the pooled spread, (...).
        df: the degrees of freedom of that.
        critical: for the pooled spread, :func:`critical_value`.
        one_spread: of the bed, :func:`alike`; the same for all its comparisons.
        family: how many comparisons are made together.

    Example:
        >>> for one_spread in (True, False):
        ...     found = choose(np.array([0.2, 1.8]), np.array([4, 4]), 1.0, 16, 2.12, one_spread)
        ...     print(*(round(float(x), 2) for x in found))
        1.0 16.0 2.12
        1.41 4.88 2.59
    """
    sums = own.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        welch_df = np.where(sums > 0, sums**2 / (own**2 / free).sum(-1), df)
    welch = bonferroni(welch_df, family)
    wider = ~np.asarray(one_spread) & (welch * np.sqrt(sums) > critical * np.sqrt(shared))
    return (
        np.where(wider, np.sqrt(sums), np.sqrt(shared)),
        np.where(wider, welch_df, df),
        np.where(wider, welch, critical),
    )

"""Correlations are scipy's, with ties too, and a perfect one is its own interval."""

import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from tssbn.claims.correlation import correlation, rank_correlation

RNG = np.random.default_rng(0)
X = RNG.normal(size=40)
Y = X + RNG.normal(size=40)


def test_pearsons_interval_is_scipys():
    expected = stats.pearsonr(X, Y)
    assert correlation(X, Y) == pytest.approx(
        (expected.statistic, *expected.confidence_interval()), abs=1e-12
    )


@pytest.mark.parametrize("y", [Y, Y.round()])
def test_ranks_are_scipys_with_ties_or_without(y):
    r, low, high = rank_correlation(X.round(1), y)
    assert r == pytest.approx(stats.spearmanr(X.round(1), y).statistic, abs=1e-12)
    half = (np.arctanh(high) - np.arctanh(low)) / 2
    assert half == pytest.approx(1.959964 * math.sqrt(1.06 / 37), rel=1e-6)
    assert rank_correlation(np.exp(X.round(1)), y) == pytest.approx((r, low, high), abs=1e-12)


@pytest.mark.parametrize("function", [correlation, rank_correlation])
def test_the_ends_of_the_scale(function):
    assert function([1, 2, 3, 4], [2, 4, 6, 8]) == pytest.approx((1, 1, 1))
    assert function([1, 2, 3, 4], [8, 6, 4, 2]) == pytest.approx((-1, -1, -1))
    assert all(map(math.isnan, function([1, 2, 3, 4], [5, 5, 5, 5])))
    for x, y in (([1, 2, 3], [1, 3, 2]), ([1, 2, 3, 4], [1, 2, 3, 4, 5])):
        with pytest.raises(ValueError, match="must be of the same items, four or more"):
            function(x, y)

"""Numbers of runs against a known number, and of pairs of runs."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from tssbn.claims import above, judge, pseudo_values


def test_above_is_students_test_of_one_sample():
    values = np.random.default_rng(0).normal(1, 2, 9)
    effect, expected = above(values, 0.4, "x"), stats.ttest_1samp(values, 0.4)
    interval = expected.confidence_interval(0.95)
    assert (effect.low + 0.4, effect.high + 0.4) == pytest.approx((interval.low, interval.high))
    assert (effect.n, effect.df, effect.unit) == ((9,), 8, "x")
    assert "n = 9;" in repr(judge(effect))


def test_one_run_or_none_tells_nothing_and_nan_is_refused():
    assert above([]) is None and above([3.0]) is None
    with pytest.raises(ValueError, match="not a finite number"):
        above([1.0, np.nan, 2.0])


def test_pseudo_values_of_a_mean_are_the_values():
    values = [1.0, 5.0, 2.5, 7.0]
    assert pseudo_values(values, np.mean) == pytest.approx(values)
    assert pseudo_values(values[:2], np.mean) == [] == pseudo_values([], np.mean)


def pair_mean(items):
    """A mean over pairs, which share their runs."""
    return np.mean([a * b for i, a in enumerate(items) for b in items[:i]])


def test_pseudo_values_estimate_without_bias_a_mean_over_pairs():
    items = list(np.random.default_rng(1).normal(1, 1, 6))
    assert np.mean(pseudo_values(items, pair_mean)) == pytest.approx(pair_mean(items))


def test_their_interval_covers_the_truth_where_pairs_as_if_independent_do_not():
    rng, inside, naive, cases = np.random.default_rng(2), 0, 0, 1000
    for _ in range(cases):
        items = list(rng.normal(2, 0.5, 7))
        effect = above(pseudo_values(items, pair_mean))
        inside += effect.low < 4 < effect.high
        pairs = above([a * b for i, a in enumerate(items) for b in items[:i]])
        naive += pairs.low < 4 < pairs.high
    assert 0.92 < inside / cases < 0.98 and naive / cases < 0.8

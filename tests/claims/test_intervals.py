"""Critical values and standard errors, against scipy and published tables."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from tssbn.claims.intervals import alike, bonferroni, choose, critical_value, pool


def test_pooling_weighs_by_degrees_of_freedom():
    rng = np.random.default_rng(0)
    arms = [rng.normal(size=n) for n in (2, 5, 9)]
    variances, n = np.array([arm.var(ddof=1) for arm in arms]), np.array([2, 5, 9])
    within = np.concatenate([arm - arm.mean() for arm in arms])
    assert pool(variances, n) == pytest.approx((within**2).sum() / 13)


@pytest.mark.parametrize(
    ("df", "arms", "printed"),
    [(10, 2, 2.57), (10, 3, 2.76), (20, 2, 2.38), (20, 3, 2.54), (20, 4, 2.65)],
)
def test_dunnetts_printed_table(df, arms, printed):
    """Dunnett 1964, two-sided, 5 %, equal sizes."""
    assert critical_value(df, 4, (4,) * arms) == pytest.approx(printed, abs=0.006)


@pytest.mark.parametrize("sizes", [(5, 5, 5), (7, 3, 3, 5), (3, 10, 4)])
def test_dunnett_of_scipy_at_any_sizes(sizes):
    rng = np.random.default_rng(1)
    control, *arms = (rng.normal(size=n) for n in sizes)
    found = stats.dunnett(*arms, control=control).confidence_interval(0.95)
    variances = np.array([arm.var(ddof=1) for arm in (control, *arms)])
    pooled = pool(variances, np.array(sizes))
    for arm, low, high in zip(arms, found.low, found.high, strict=True):
        error = np.sqrt(pooled * (1 / len(arm) + 1 / sizes[0]))
        half = error * critical_value(sum(sizes) - len(sizes), sizes[0], sizes[1:])
        assert (high - low) / 2 == pytest.approx(half, rel=0.01)


def test_the_value_of_one_comparison_is_students_and_of_more_between_it_and_bonferronis():
    assert critical_value(8, 5, (5,)) == pytest.approx(stats.t.ppf(0.975, 8))
    for family in (2, 4, 6):
        assert stats.t.ppf(0.975, 12) < critical_value(12, 3, (3,) * family)
        assert critical_value(12, 3, (3,) * family) < bonferroni(12, family)


def two(sd):
    rng = np.random.default_rng(2)
    return rng.normal(0, 1, 4), rng.normal(0, sd, 6)


def chosen(a, b, shared, df, one_spread=False, family=1):
    own = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    free = np.array([len(a) - 1, len(b) - 1])
    return choose(own, free, shared, df, stats.t.ppf(0.975, df), one_spread, family)


def test_where_the_bed_has_not_one_spread_the_interval_is_welchs():
    a, b = two(5)
    error, df, critical = chosen(a, b, shared=0.1, df=30)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert error * critical == pytest.approx((expected.high - expected.low) / 2)
    assert df == pytest.approx(stats.ttest_ind(a, b, equal_var=False).df)
    assert chosen(a, b, 0.1, 30, family=3)[2] == pytest.approx(stats.t.ppf(1 - 0.05 / 6, df))


def test_where_it_has_one_the_interval_is_of_the_pooled_spread():
    error, df, critical = chosen(*two(5), shared=0.1, df=30, one_spread=True)
    assert (error**2, df, critical) == pytest.approx((0.1, 30, stats.t.ppf(0.975, 30)))


def test_a_spread_that_is_small_by_luck_narrows_nothing():
    a, b = two(1)
    error, df, critical = chosen(a / 100, b / 100, shared=0.5, df=30)
    assert (error**2, df, critical) == pytest.approx((0.5, 30, stats.t.ppf(0.975, 30)))
    none = choose(np.zeros(2), np.array([2, 2]), np.float64(0), 8, 2.3, True)
    assert [float(value) for value in none] == [0, 8, 2.3]


def test_many_are_chosen_as_each():
    rng = np.random.default_rng(3)
    own, shared = rng.chisquare(2, (50, 2)), rng.chisquare(20, 50) / 10
    free, one_spread = np.array([2, 4]), rng.random(50) < 0.5
    many = np.stack(choose(own, free, shared, 20, 2.1, one_spread, 2))
    each = [choose(own[i], free, shared[i], 20, 2.1, one_spread[i], 2) for i in range(50)]
    assert np.array_equal(many, np.array(each).T)
    assert 0 < (many[2] > 2.1).sum() < 50


@pytest.mark.parametrize("sizes", [(3, 3), (5, 3, 8), (4, 4, 4, 9)])
def test_one_spread_is_asked_by_bartletts_test(sizes):
    rng, found = np.random.default_rng(4), []
    for scale in (1.0, 1.5, 4.0) * 10:
        arms = [rng.normal(0, scale if i == 0 else 1, n) for i, n in enumerate(sizes)]
        variances = np.array([arm.var(ddof=1) for arm in arms])
        found.append(bool(alike(variances, np.array(sizes) - 1)))
        assert found[-1] == (stats.bartlett(*arms).pvalue >= 0.2)
    assert len(set(found)) == 2


def test_no_spread_at_all_and_a_single_arm_are_one_spread():
    assert alike(np.zeros(3), np.array([2, 2, 2])) and alike(np.ones(1), np.array([2]))
    assert not alike(np.array([0.0, 1.0]), np.array([2, 2]))

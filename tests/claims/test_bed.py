"""Effects on a bed: against scipy, Δm of saved runs, numerical gradients, and drawn runs."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from tssbn.claims import Bed, judge
from tssbn.claims.intervals import critical_value

UP = (True, False, False)
LEVELS = {"stl": (41.0, 0.56, 35.0), "hps": (40.0, 0.57, 37.0), "gated": (62.0, 0.41, 26.0)}


def drawn(rng, n=5, noise=0.04, levels=LEVELS):
    """Runs of three tasks; their noise is relative to the level of the single networks."""
    scale = noise * np.array(LEVELS["stl"])
    return {arm: level + scale * rng.normal(size=(n, 3)) for arm, level in levels.items()}


def test_without_a_baseline_two_arms_are_students_pooled_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 5), rng.normal(0, 1, 7)
    found = Bed({"a": a, "b": b}).compare("a", "b")
    expected = stats.ttest_ind(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.df, found.unit) == ((5, 7), 10, "")


def test_all_arms_tell_the_spread():
    a, b, c = [0.0, 1, 2, 3], [5.0, 6, 7, 8], [0.0, 4, 8, 12]
    alone, more = Bed({"a": a, "b": b}), Bed({"a": a, "b": b, "c": c, "d": [3.0]})
    assert alone.sd == pytest.approx(np.std(a, ddof=1))
    assert more.sd == pytest.approx(np.sqrt((2 * np.var(a, ddof=1) + np.var(c, ddof=1)) / 3))
    assert more.compare("a", "b").df == 9  # a single run tells nothing of the spread
    assert Bed({"a": a, "b": b}, up=(False,)).compare("a", "b").value == 5


def test_several_arms_have_dunnetts_intervals():
    rng = np.random.default_rng(1)
    arms = {"a": rng.normal(size=7), "b": rng.normal(size=4), "c": rng.normal(size=5)}
    bed = Bed({**arms, "none": []})
    both, one = bed.against("a", "b", "c", "none"), bed.compare("a", "b")
    assert both["none"] is None and bed.arms == ("a", "b", "c")
    assert both["b"].critical == critical_value(13, 7, (4, 5)) > one.critical
    assert (both["b"].value, both["b"].error) == (one.value, one.error)


def test_effects_are_differences_of_delta():
    rng = np.random.default_rng(2)
    arms = drawn(rng)
    bed, base = Bed(arms, UP, "stl"), arms["stl"].mean(0)
    signs = np.array([1, -1, -1])
    delta = {arm: (100 * signs * (rows / base - 1)).mean() for arm, rows in arms.items()}
    assert bed.compare("gated", "stl").value == pytest.approx(delta["gated"])
    assert bed.compare("gated", "hps").value == pytest.approx(delta["gated"] - delta["hps"])
    assert bed.compare("stl", "hps").value == pytest.approx(-delta["hps"])
    assert bed.compare("gated", "hps").unit == "Δm"


def delta_of(means, arm, other, average):
    signs, base = np.array([1, -1, -1]), means["stl"]
    if average:
        return 100 * (means[arm].mean() - means[other].mean()) / base.mean()
    return (100 * signs * (means[arm] - means[other]) / base).mean()


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(
    ("arm", "other"), [("gated", "stl"), ("gated", "hps"), ("stl", "gated"), ("hps", "stl")]
)
def test_the_error_is_that_of_numerical_gradients(arm, other, average):
    """Every mean that the effect depends on, the baseline's too, moved by a little."""
    arms = drawn(np.random.default_rng(9), n=6)
    bed = Bed(arms, (True,) * 3 if average else UP, "stl", average=average)
    assert bed.one_spread
    means, step, variance = {a: rows.mean(0) for a, rows in arms.items()}, 1e-6, 0.0
    for moved in arms:
        gradient = np.zeros(3)
        for task in range(3):
            ends = []
            for sign in (1, -1):
                other_means = {a: mean.copy() for a, mean in means.items()}
                other_means[moved][task] += sign * step
                ends.append(delta_of(other_means, arm, other, average))
            gradient[task] = (ends[0] - ends[1]) / (2 * step)
        pooled = np.mean([(rows @ gradient).var(ddof=1) for rows in arms.values()])
        variance += pooled / 6
    assert bed.compare(arm, other).error ** 2 == pytest.approx(variance, rel=1e-4)


def truth(arm, other):
    levels = {name: np.array(level) for name, level in LEVELS.items()}
    return delta_of(levels, arm, other, False)


@pytest.mark.parametrize(("arm", "other"), [("gated", "stl"), ("hps", "stl"), ("gated", "hps")])
def test_intervals_cover_the_truth_with_the_baselines_error_in_them(arm, other):
    """The gated arm is 30 points above the baseline: its error is stretched as much."""
    rng, inside, cases = np.random.default_rng(4), 0, 1500
    for _ in range(cases):
        bed = Bed(drawn(rng), UP, "stl", separate=("stl",))
        effect = bed.compare(arm, other)
        inside += effect.low < truth(arm, other) < effect.high
    assert 0.935 < inside / cases < 0.975  # 0.95 ± 2.6 standard errors, and Welch's is wider


def test_the_mean_of_the_baseline_is_no_known_constant():
    """Two baseline runs that differ by 4 %; three others hardly differ, by luck."""
    faces = {"stl": [44.7, 46.5], "hps": [44.5, 45.5, 47.1], "gated": [47.9, 47.97, 48.04]}
    effect = Bed(faces, baseline="stl").compare("gated", "stl")
    constant = stats.ttest_1samp(100 * (np.array(faces["gated"]) / 45.6 - 1), 0)
    assert constant.pvalue < 0.001
    assert judge(effect).word == "undecided" and effect.low < 0 < effect.value


def test_tasks_of_separate_networks_err_independently():
    """Errors of the tasks that cancelled by chance are not counted as cancelled."""
    stl = np.array([[41.0, 0.57, 35.0], [42.0, 0.58, 35.0], [40.0, 0.56, 35.0]])
    arms = {"stl": stl, "hps": stl + 1}
    joint, apart = (Bed(arms, UP, "stl", separate=s) for s in ((), ("stl", "hps")))
    weights = 100 / 3 * np.array([1, -1, -1]) / stl.mean(0)
    assert joint.sd == pytest.approx((stl @ weights).std(ddof=1))
    assert apart.sd == pytest.approx(np.sqrt((weights**2 * stl.var(0, ddof=1)).sum()))
    assert joint.sd < 0.3 * apart.sd


def test_separate_tasks_tell_more_of_their_spread_the_more_alike_they_are():
    """Four tasks of three runs: from 2 degrees of freedom, one task only, to 8, all alike."""
    runs = np.array([-1.0, 0.0, 1.0])[:, None]
    quiet = {"hps": 50 + 0.01 * runs * np.ones(4), "tsbn": 50 + 0.01 * runs * np.ones(4)}
    for noise, df in (((4.0, 0, 0, 0), 2), ((4.0, 4, 0, 0), 4), ((4.0, 4, 4, 4), 8)):
        arms = {"stl": 50 + runs * np.array(noise), **quiet}
        bed = Bed(arms, (True,) * 4, "stl", separate=("stl",))
        own = 2 * np.sqrt((np.array(noise) ** 2).sum() / 16 / 3)
        assert bed.band() == pytest.approx(stats.t.ppf(0.975, df) * own, rel=1e-3)


def test_the_band_is_the_interval_of_the_baselines_own_mean():
    rng = np.random.default_rng(7)
    arms = drawn(rng)
    bed = Bed(arms, UP, "stl")
    assert bed.one_spread
    assert bed.band() == pytest.approx(stats.t.ppf(0.975, 12) * bed.sd / np.sqrt(5))
    noisy = Bed(
        {**arms, "stl": arms["stl"].mean(0) + 6 * (arms["stl"] - arms["stl"].mean(0))}, UP, "stl"
    )
    own = (noisy.scores["stl"] @ noisy._weights()).std(ddof=1)
    assert noisy.band() == pytest.approx(stats.t.ppf(0.975, 4) * own / np.sqrt(5))
    with pytest.raises(ValueError, match="no baseline"):
        Bed({"a": [1, 2]}).band()


def test_one_test_decides_for_all_pairs_of_a_bed():
    """Two noisy arms among quiet ones: no pair with one of them has the pooled interval."""
    runs = np.array([-1.0, 0.0, 1.0])
    bed = Bed({"a": runs, "b": 2 * runs, "c": runs / 9, "d": 2 + runs / 9})
    assert not bed.one_spread
    for one, other, pair in (("a", "b", (1, 4)), ("a", "d", (1, 1 / 81))):
        welch = bed.compare(one, other)
        assert welch.error**2 == pytest.approx(sum(pair) / 3) and welch.df < 5
    assert bed.compare("c", "d").error == pytest.approx(bed.sd * np.sqrt(2 / 3))  # the wider one
    alike = Bed({"a": runs, "b": 2 * runs, "c": runs})
    assert alike.one_spread and alike.compare("a", "b").df == 6


def test_one_run_is_not_run():
    bed = Bed({"stl": [[40.0, 0.5]], "hps": [[41.0, 0.5], [42.0, 0.4]]}, (True, False), "stl")
    assert bed.compare("hps", "stl") is None and judge(bed.compare("hps", "stl")).word == "not run"
    none = Bed({"stl": [], "hps": [], "tsbn": []}, (True, False), "stl")
    assert none.compare("hps", "tsbn") is None


def test_dead_tasks_of_the_baseline_are_none_where_the_mean_of_the_tasks_counts():
    scores = {"stl": [[0.0, 0.8], [0.0, 0.6]], "hps": [[0.4, 0.6], [0.2, 0.5]]}
    found = Bed(scores, (True, True), "stl", average=True).compare("hps", "stl")
    assert found.value == pytest.approx(100 * (0.425 - 0.35) / 0.35)
    with pytest.raises(ValueError, match="stl has a mean score of 0 or less"):
        Bed(scores, (True, True), "stl")


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"a: scores of shape \(2, 2\), up names 1 tasks"):
        Bed({"a": [[1, 2], [3, 4]]})
    with pytest.raises(ValueError, match="2 tasks have no common unit without a baseline"):
        Bed({"a": [[1, 2], [3, 4]]}, (True, True))
    with pytest.raises(ValueError, match="a: a score is not a finite number"):
        Bed({"a": [1.0, np.nan]})
    with pytest.raises(ValueError, match="stl is no arm; arms: a"):
        Bed({"a": [1, 2]}, baseline="stl")
    bed = Bed({"a": [1, 2], "b": [2, 3]})
    with pytest.raises(ValueError, match="c is no arm; arms: a, b"):
        bed.compare("a", "c")
    with pytest.raises(ValueError, match="a cannot be compared with itself"):
        bed.compare("a", "a")

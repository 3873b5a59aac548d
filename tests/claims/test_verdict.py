"""The rule in every region, what a verdict says, and the smallest visible effect."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.stats import t

from tssbn.claims import Effect, judge, words


def effect(low, high, n=(5, 5), unit=""):
    """An effect with this interval."""
    return Effect((low + high) / 2, (high - low) / 4, df=20, critical=2.0, n=n, unit=unit)


# claimed 6, so that half of it is 3
REGIONS = {
    "all below zero": (-4, -1, "contradicted", True),
    "around zero, below half": (-1, 2.9, "contradicted", True),
    "around zero, just half": (-1, 3, "undecided", False),
    "around zero and half": (-1, 5, "undecided", False),
    "around everything": (-9, 9, "undecided", False),
    "from zero on": (0, 9, "undecided", False),
    "from zero to below half": (0, 1, "contradicted", True),
    "small but sure": (0.5, 2.9, "supported", True),
    "sure, up to half": (0.5, 3, "supported", False),
    "sure, around half": (1, 5, "supported", False),
    "sure, below what is claimed": (3.5, 5, "supported", False),
    "around what is claimed": (4, 8, "supported", False),
    "above what is claimed": (7, 9, "supported", False),
}


@pytest.mark.parametrize(("low", "high", "word", "smaller"), REGIONS.values(), ids=REGIONS)
def test_every_region_has_its_word(low, high, word, smaller):
    verdict = judge(effect(low, high), claimed=6)
    assert (verdict.word, verdict.smaller) == (word, smaller)
    turned = judge(-effect(low, high), claimed=-6)  # a claim of a loss is judged alike
    assert (turned.word, turned.smaller) == (word, smaller)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(1, 2, "supported"), (-1, 2, "undecided"), (-1, 0, "undecided"), (-2, -1, "contradicted")],
)
def test_without_a_claimed_size_only_the_direction_counts(low, high, word):
    assert judge(effect(low, high)).word == word


def test_the_words_of_many_intervals_are_those_of_each():
    grid = np.linspace(-5, 8, 27)
    low, high = (ends.ravel() for ends in np.meshgrid(grid, grid))
    low, high = low[low < high], high[low < high]
    each = [judge(effect(a, b), claimed=6).word for a, b in zip(low, high, strict=True)]
    assert words(low, high, claimed=6).tolist() == each
    assert set(each) == {"supported", "contradicted", "undecided"}


def test_a_verdict_says_all_in_a_line():
    assert repr(judge(effect(0.4, 2.8, unit="Δm"), claimed=4.5)) == (
        "supported: +1.6 [+0.4, +2.8] of Δm (n = 5, 5; claimed +4.5; visible from 1.7)"
    )
    assert repr(judge(effect(0.4, 2.8, n=(7, 3)), claimed=5.9)).startswith(
        "supported, smaller than claimed: +1.6 [+0.4, +2.8] (n = 7, 3; claimed +5.9; "
    )
    assert repr(judge(effect(-1.0, 2.0))).startswith("undecided: +0.5 [-1.0, +2.0] (n = 5, 5; vis")
    assert repr(judge(effect(-3, -1), 5.9)).startswith("contradicted: -2.0 [-3.0, -1.0] (n = 5, 5")


def test_what_was_not_run_has_no_effect():
    verdict = judge(None, claimed=5.9)
    assert (verdict.word, verdict.effect, verdict.smaller) == ("not run", None, False)
    assert repr(verdict) == "not run (claimed +5.9)" and repr(judge(None)) == "not run"


def test_the_control_is_judged_by_the_same_claim():
    verdict = judge(effect(4, 8), claimed=6, control=effect(-1, 2))
    assert verdict.word == "supported" and verdict.control == judge(effect(-1, 2), claimed=6)
    assert verdict.control.word == "contradicted"
    unknown = judge(effect(4, 8), claimed=6, control=judge(None, claimed=6))
    assert unknown.control.word == "not run"
    assert judge(effect(4, 8), claimed=6).control is None


def test_turned_round_the_interval_is_the_negative_one():
    one = effect(0.5, 3, n=(7, 3))
    assert ((-one).low, (-one).high, (-one).n) == (-3, -0.5, (3, 7))
    assert (-one).visible == one.visible and (-one).half_width == one.half_width == 1.25


@pytest.mark.parametrize(("size", "needed"), [(1.0, 17), (0.5, 64)])
def test_the_textbooks_sample_sizes_are_those_that_see_the_effect(size, needed):
    """Two samples, two-sided 5 %, power 80 %, effects in standard deviations."""
    visible = {}
    for n in (needed - 1, needed):
        df = 2 * n - 2
        visible[n] = Effect(0, (2 / n) ** 0.5, df, t.ppf(0.975, df), (n, n)).visible
    assert visible[needed] <= size < visible[needed - 1]


@pytest.mark.parametrize("df", [1, 4, 30])
def test_the_visible_effect_is_seen_in_four_of_five_cases(df):
    rng, critical = np.random.default_rng(0), t.ppf(0.975, df)
    visible = Effect(0, 0.7, df, critical, (3, 3)).visible
    values = rng.normal(visible, 0.7, 40_000)
    errors = 0.7 * np.sqrt(rng.chisquare(df, 40_000) / df)
    assert (values - critical * errors > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_a_narrow_interval_is_told_by_more_digits():
    effects = [effect(x - half, x + half) for x, half in ((1.6, 1.2), (0.79, 0.08), (0.983, 0.02))]
    assert [e.interval for e in effects] == [
        "+1.6 [+0.4, +2.8]",
        "+0.79 [+0.71, +0.87]",
        "+0.983 [+0.963, +1.003]",
    ]
    assert repr(judge(effects[1], 0.8)).endswith("visible from 0.11)")


def test_an_effect_of_no_error_is_counted():
    counted = Effect(99.9, 0.0, np.inf, 0.0, ())
    assert repr(judge(counted)) == "supported: +99.9 [+99.9, +99.9] (counted)"
    assert counted.visible == 0

"""Claims: what is asked of the evidence, and which of several answers counts."""

import pytest

pytest.importorskip("scipy")

from tssbn.claims import Claim, Counted, Effect, Measured, judge

TIGHT = {"ours": [3.0, 3.1, 2.9], "low": [1.0, 1.1, 0.9], "near": [2.9, 3.0, 3.1], "none": []}
RUNS = Measured("toys", TIGHT)


def claim(**row):
    return Claim("it is so", RUNS, "ours", **row)


def test_the_verdict_is_that_of_the_effect():
    effect = RUNS.against("ours", "low")["low"]
    assert claim(than="low", claimed=1.5).verdict() == judge(effect, 1.5)
    assert claim(than="low").where == "toys" and claim(than="low", bed="x").where == "x"


def test_nothing_was_run_without_evidence_or_with_an_arm_of_no_runs():
    assert Claim("it is so", claimed=2).verdict() == judge(None, 2)
    assert claim(than="none").verdict().word == "not run"


@pytest.mark.parametrize(
    ("than", "claimed", "word"),
    [
        (("low",), 2, "supported"),
        (("low", "near"), 2, "contradicted"),
        (("near", "none"), 2, "contradicted"),  # whatever the other is
        (("low", "none"), 2, "not run"),
        (("low", "near"), 0, "undecided"),
    ],
)
def test_of_several_arms_the_worst_for_the_claim_counts(than, claimed, word):
    assert claim(than=than, claimed=claimed).verdict().word == word


def test_the_null_is_judged_by_the_same_claimed_effect():
    verdict = claim(than="low", null="near", claimed=2).verdict()
    assert (verdict.word, verdict.control.word) == ("supported", "contradicted")
    assert claim(than="low", null="none").verdict().control.word == "not run"
    assert claim(than="low").verdict().control is None


@pytest.mark.parametrize(("margin", "word"), [(0.5, "supported"), (0.1, "undecided")])
def test_a_margin_claims_to_be_no_worse(margin, word):
    verdict = claim(than="near", margin=margin).verdict()
    assert verdict.word == word and verdict.effect.value == pytest.approx(0)


def test_who_is_surely_worse_by_more_than_the_margin_is_contradicted():
    worse = Claim("it is so", RUNS, "low", "near", margin=0.5).verdict()
    assert worse.said == "contradicted"
    slightly = Measured("toys", {"a": [0.90, 0.91, 0.92], "b": [1.0, 1.01, 1.02]})
    assert Claim("it is so", slightly, "a", "b", margin=0.5).verdict().said == "supported"


def test_a_margin_and_a_claimed_effect_are_not_both_claimed():
    with pytest.raises(ValueError, match=r"no worse by 0.5 and better by 2"):
        claim(margin=0.5, claimed=2)
    with pytest.raises(ValueError, match="must not be below 0"):
        claim(margin=-1.0)


def test_paired_numbers_are_compared_run_by_run():
    values = {"gates": [1.0, 5.0, 9.0], "shuffled": [0.9, 4.8, 8.9]}
    paired, apart = (Measured("toys", values, "x", paired=p) for p in (True, False))
    near, far = (of.against("gates", "shuffled")["shuffled"] for of in (paired, apart))
    assert near.value == pytest.approx(far.value) and near.error < far.error / 10
    assert near.unit == far.unit == "x" and (near.n, far.n) == ((3,), (3, 3))


def test_known_numbers_and_unknown_arms():
    assert RUNS.against("ours", 1.0)[1.0].value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="theirs is no arm of toys; arms: ours, low"):
        RUNS.against("ours", "theirs")
    with pytest.raises(ValueError, match=r"paired arms have \[1, 2\] values"):
        Measured("toys", {"a": [1.0], "b": [1.0, 2.0]}, paired=True)
    assert Measured("toys", {"a": [], "b": []}, paired=True).against("a", "b", 0.0) == {
        "b": None,
        0.0: None,
    }


def test_counts_have_no_error():
    effect = Counted("sizes", {"a": 3.0, "b": 1.0}).against("a", "b")["b"]
    assert isinstance(effect, Effect) and (effect.low, effect.high) == (2.0, 2.0)

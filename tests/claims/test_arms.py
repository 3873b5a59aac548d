"""Beds of saved runs by arm, and the claims of the paper's tables, whatever runs there are."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("torchvision")
pytest.importorskip("timm")

from arms import write

from tssbn.claims import BedOfRuns, matrix, table
from tssbn.claims.arms import (
    ARMS,
    all_arms,
    at_multipliers,
    from_stage,
    gate_rate,
    gated_from,
    later_half,
)
from tssbn.claims.tables import (
    CELEBA,
    CITYSCAPES,
    NYUV2,
    TABLE_2,
    as_printed,
    best,
    compared,
    controls,
    questions,
)
from tssbn.training.run import Run


def rooms():
    return all_arms("rooms", "rooms", stages=3, without=["MTAN"])


def filled(folder, n, **levels):
    """A bed where each arm has n runs; those of a level are so much better than the others."""
    bed, rng = rooms(), np.random.default_rng(0)
    for arm in bed.arms:
        for seed in range(n):
            gain = 1 + levels.get(arm, 0) + 0.004 * rng.normal()
            write(folder, bed, arm, seed, (0.5 * gain, 0.4 / gain))
    return bed


def every_claim(bed):
    return [*compared(bed, NYUV2), *compared(bed, {}), *controls(bed), *questions(bed)]


@pytest.mark.parametrize("n", [0, 1])
def test_with_no_run_or_one_nothing_is_run(folder, n):
    bed = filled(folder, n)
    words = {claim.verdict().word for claim in every_claim(bed)}
    assert words == {"not run"}
    assert table(every_claim(bed)).groups and "not run" in str(matrix(questions(bed)))


@pytest.mark.parametrize("n", [2, 7])
def test_with_two_runs_or_more_all_that_the_bed_has_is_judged(folder, n):
    bed = filled(folder, n, **{"TSσBN": 0.2, "TSBN": 0.1})
    verdicts = {claim.text: claim.verdict() for claim in every_claim(bed)}
    run = {text for text, verdict in verdicts.items() if verdict.word != "not run"}
    assert verdicts.keys() - run == {
        "TSσBN beats MTAN",
        "TSBN is competitive: it beats MTAN",
    }
    assert verdicts["TSσBN beats TSBN"].word == "supported"
    assert verdicts["Do learned gates beat random ones?"].effect.n == (n, n)
    assert verdicts["Gates from stage 1 on are at most 0.5 behind"].word == "contradicted"


def test_hps_is_the_baseline_where_single_networks_are_missing(folder):
    bed = rooms()
    for seed in range(3):
        write(folder, bed, "HPS", seed, (0.5, 0.4))
        write(folder, bed, "TSσBN", seed, (0.55 + 0.001 * seed, 0.4))
    assert bed.bed.baseline == "HPS"
    assert bed.against("TSσBN", "HPS")["HPS"].value == pytest.approx(5.1)
    assert bed.against("TSσBN", "STL", "HPS")["STL"] is None


def test_an_arm_that_diverged_is_not_run_and_stops_no_other(folder):
    bed = rooms()
    for seed in range(2):
        for arm, score in (("STL", 0.5), ("HPS", 0.5), ("TSBN", None), ("TSσBN", 0.6)):
            write(folder, bed, arm, seed, (score, 0.4 + 0.01 * seed))
    found = bed.against("TSσBN", "TSBN", "HPS")
    assert found["TSBN"] is None and found["HPS"].value > 0
    assert bed.against("TSBN", "HPS") == {"HPS": None}


def test_unknown_arms_are_refused_whatever_runs_there_are(folder):
    with pytest.raises(ValueError, match="MTAN is no arm of rooms; arms: STL, HPS"):
        rooms().against("TSσBN", "MTAN")


def test_an_arm_that_there_is_not_cannot_be_left_out():
    with pytest.raises(ValueError, match=r"without: MTAM is no arm; arms: STL, HPS, .* stage 1$"):
        all_arms("", "rooms", stages=2, without=["MTAM", "MTAN"])


def test_arms_without_tuned_rates_are_told_theirs():
    bed = all_arms("faces", "faces", stages=3, multiplier=10, attributes=5)
    fast = {arm for arm, (_, own) in bed.arms.items() if own.get("multiplier") == 10}
    fixed = {"random gates", "shuffled gates"}
    assert fast == {"TSBN", "TSσBN", "shared gates", from_stage(1), from_stage(2)} | fixed
    assert all(own["attributes"] == 5 for _, own in bed.arms.values())
    for method, settings in bed.arms.values():
        Run("faces", method, 0, settings)  # all are known


@pytest.mark.parametrize(
    ("benchmark", "multiplier", "settings"),
    [
        ("rooms", None, {}),
        ("rooms", None, {"n": 1600}),  # changes nothing
        ("nyuv2_lite", None, dict(width=128, height=96, epochs=5)),
        ("faces", 10.0, {}),
        ("faces", 0, {}),
    ],
)
def test_fixed_gates_have_the_settings_of_the_arm_of_tssbn(benchmark, multiplier, settings):
    arms = all_arms("", benchmark, multiplier=multiplier, **settings).arms
    trained = Run(benchmark, "tssbn", 3, arms["TSσBN"][1])
    for arm in "random gates", "shuffled gates":
        fixed = Run(benchmark, arm.replace(" ", "-"), 3, arms[arm][1])
        assert fixed.settings == trained.settings


def test_at_most_half_of_the_stages_have_gates(folder):
    for stages in range(2, 9):
        bed = all_arms("", "rooms", stages=stages)
        assert gated_from(bed) == list(range(1, stages))
        gated = stages - later_half(bed)
        assert gated <= stages / 2 < gated + 1


def test_a_later_stage_that_was_run_comes_before_one_that_was_not(folder):
    for k, expected in ((3, 4), (6, 6), (5, 5), (4, 4)):  # of seven stages, 4 and on are the half
        bed = all_arms("", "rooms", stages=7)
        write(folder, bed, from_stage(k), 0, (0.5, 0.4))
        assert later_half(bed) == expected


def test_the_gate_rate_is_a_multiple_of_the_base_rate():
    bed = at_multipliers("rooms", "rooms", [1, 10], ["TSBN", "TSσBN"])
    assert set(bed.arms) == {"STL", "TSBN ×1", "TSBN ×10", "TSσBN ×1", "TSσBN ×10"}
    base = Run("rooms", "tssbn").benchmark.recipe.lr
    assert gate_rate(bed, "TSσBN ×10") == pytest.approx(10 * base)
    with pytest.raises(ValueError, match="HPS has no gate rate"):
        at_multipliers("rooms", "rooms", [1], ["HPS"])


def test_claimed_effects_are_differences_that_are_printed():
    bed = BedOfRuns("all", "rooms", dict.fromkeys(ARMS, ("hps", {})))
    claims = {claim.text: claim for claim in compared(bed, NYUV2)}
    assert claims["TSσBN beats TSBN"].claimed == 2.51
    assert claims["TSBN is competitive: it beats MTAN"].claimed == 1.28
    whole = claims["TSσBN beats all of STL, HPS, Cross-Stitch, MTAN, TSBN"]
    assert (whole.claimed, len(whole.than)) == (2.51, 5)
    assert best(bed, {}, ["HPS"]).claimed == 0
    printed = {claim.text for claim in compared(bed, TABLE_2)}  # has no STL; MTAN is above TSBN
    assert "TSσBN beats single-task networks" not in printed
    assert "TSBN is competitive: it beats MTAN" not in printed
    assert all(claim.claimed > 0 for claim in compared(bed, CELEBA))


def test_what_the_paper_has_above_tssbn_is_not_claimed_to_be_below():
    claim = as_printed("Cityscapes", "cityscapes", CITYSCAPES)
    assert "Cross-Stitch" not in claim.than and claim.claimed == 0.17
    assert claim.evidence.arms["TSBN"] == ("tsbn-x100", {})

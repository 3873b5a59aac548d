"""What balancings add, the one that validation chooses, and what a step costs."""

from types import SimpleNamespace

import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("lightning_fabric")

from scored import as_runs, scored

from tssbn.claims import Bed
from tssbn.claims.compared import answers, chosen, cost, gains, summary, sure

TEST = {
    "STL": (0.5, 0.5, 0.5),
    "HPS": (0.50, 0.52, 0.51),
    "TSσBN": (0.55, 0.57, 0.56),
    "HPS + uw": (0.60, 0.62, 0.61),
    "HPS + gls": (0.50, 0.51, 0.52),
    "TSσBN + uw": (0.55, 0.56, 0.57),
    "TSσBN + gls": (),
}
VAL = {"HPS + uw": 0.6, "HPS + gls": 0.7, "TSσBN + uw": 0.6}


def saved(arm, scores):
    found = [scored({"a": score}, seed=seed) for seed, score in enumerate(scores)]
    for record in found:
        record["epochs"][0]["val"] = {"a": {"f1": VAL.get(arm, 0.5)}}
    return as_runs(found)


@pytest.fixture
def bed():
    runs = {arm: saved(arm, scores) for arm, scores in TEST.items()}
    against = Bed.of(runs, "STL").against
    return SimpleNamespace(title="toys", arms=dict.fromkeys(runs), runs=runs, against=against)


def test_gains_are_over_the_plain_sum_of_the_same_method(bed):
    found = gains(bed, "HPS")
    assert found["uw"].value == pytest.approx(100 * 0.1 / 0.5)
    assert found["gls"].value == pytest.approx(0)
    assert sure(found) == (1, 0) and sure({"a": -found["uw"]}) == (0, 1)
    assert list(gains(bed, "TSσBN")) == ["uw"]  # the other has no runs


def test_the_sentence_counts_those_that_are_sure(bed):
    assert summary(bed) == (
        "On toys, balancings whose 95 % interval is above the plain sum are 1 of 2 with HPS and "
        "0 of 1 with TSσBN; the largest mean gain is +20.00 points of Δm."
    )


def test_validation_chooses_and_the_test_answers(bed):
    assert chosen(bed, "HPS") == "HPS + gls"
    table = answers(bed)
    assert list(table.index) == [
        *("TSσBN − HPS", "HPS + gls − HPS", "TSσBN + uw − TSσBN", "TSσBN − HPS + gls"),
    ]
    assert set(table["n"]) == {"3 and 3"}
    assert table["points of Δm"].iloc[0] == bed.against("TSσBN", "HPS")["HPS"].interval


def test_without_balancings_there_is_no_choice(bed):
    bed.arms = {arm: None for arm in ("STL", "HPS", "TSσBN")}
    assert gains(bed, "HPS") == {} and chosen(bed, "HPS") is None
    assert list(answers(bed).index) == ["TSσBN − HPS"]
    assert "no runs to compare" in summary(bed)


def test_costs_are_relative_within_a_round():
    seconds = {"plain": [1.0, 2.0, 4.0, 8.0], "uw": [2.0, 4.0, 8.0, 16.0]}
    record = {
        "seconds": {"hps": seconds},
        "memory_mib": {"hps": {"plain": 100.0, "uw": None}},
    }
    table = cost(record)
    assert list(table["hps: time"]) == ["1.00 (1.00 to 1.00)", "2.00 (2.00 to 2.00)"]
    assert list(table["hps: memory"]) == ["1.00", ""]


def test_costs_may_be_missing(folder):
    assert cost().empty

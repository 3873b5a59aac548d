"""Whether balancing adds: arms, claims, and what fills as runs are saved."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("lightning_fabric")
pytest.importorskip("torchjd")

from arms import write

from tssbn.claims import Bed, table
from tssbn.claims.arms import ARMS, all_arms
from tssbn.claims.balanced import FEW, balanced, balancings, unneeded
from tssbn.claims.compared import gains
from tssbn.claims.tables import MIXTURES, TABLE_2, architectures
from tssbn.methods import METHODS
from tssbn.training.balancing import BALANCINGS

NAMES = ("uw", "pcgrad")


def filled(folder, without=(), **levels):
    """A bed of three runs an arm; those of a level are so much better in one task."""
    bed, rng = balanced("rooms", "rooms", NAMES), np.random.default_rng(0)
    for arm in bed.arms:
        for seed in range(3) if arm not in without else ():
            gain = 1 + levels.get(arm, 0) + 0.002 * rng.normal()
            write(folder, bed, arm, seed, (0.5 * gain, 0.4))
    return bed


def test_every_balancing_is_an_arm_of_both_methods():
    arms = balanced("Census-Income", "census").arms
    assert len(arms) == 3 + 2 * (len(BALANCINGS) - 1)
    assert set(FEW) < set(BALANCINGS) and arms["HPS + gls"] == ("hps", {"balance": "gls"})


def test_without_runs_nothing_is_run(folder):
    bed = balanced("rooms", "rooms", NAMES)
    assert {claim.verdict().word for claim in unneeded(bed)} == {"not run"}
    assert gains(bed, "HPS") == {}


def test_a_balancing_that_helps_hps_alone(folder):
    bed = filled(
        folder, **{"HPS + uw": 0.1, "TSσBN": 0.2, "TSσBN + uw": 0.2, "TSσBN + pcgrad": 0.2}
    )
    hps, gated, beside = unneeded(bed)
    assert hps.text == "No balancing lifts HPS by more than 0.5"
    words = [claim.verdict().word for claim in (hps, gated, beside)]
    assert words == ["contradicted", "supported", "supported"]
    assert {name: effect.low > 0 for name, effect in gains(bed, "HPS").items()} == {
        "uw": True,
        "pcgrad": False,
    }


def test_what_is_added_is_by_dunnett(folder):
    bed = filled(folder, **{"HPS + uw": 0.1})
    scores = {arm: [list(run.scores().values()) for run in runs] for arm, runs in bed.runs.items()}
    arms = balancings(bed, "HPS").values()
    expected = Bed(scores, (True, False), "STL", separate=("STL",)).against("HPS", *arms)
    assert gains(bed, "HPS")["uw"].interval == (-expected["HPS + uw"]).interval


def test_one_that_is_not_run_leaves_the_question_open(folder):
    bed = filled(folder, without=["TSσBN + uw"], **{"TSσBN": 0.1, "TSσBN + pcgrad": 0.1})
    assert [claim.verdict().word for claim in unneeded(bed)][1:] == ["not run", "supported"]


def test_tssbn_is_claimed_to_beat_the_mixtures_of_table_2(folder):
    bed = all_arms("rooms", "rooms", without=["MTAN"])
    *pairs, whole = architectures(bed, TABLE_2)
    assert [claim.claimed for claim in pairs] == [2.63, 1.64, 2.16, 2.97, 1.84]
    assert whole.than == MIXTURES and whole.claimed == 1.64
    assert all(claim.claimed == 0 for claim in architectures(bed, {}))
    assert {ARMS[arm] for arm in MIXTURES} <= set(METHODS)
    for arm in (*MIXTURES, "TSBN", "TSσBN", "STL"):
        for seed in range(2):
            write(folder, bed, arm, seed, (0.5 + 0.1 * (arm == "TSσBN") + 0.001 * seed, 0.4))
    assert {claim.verdict().word for claim in (*pairs, whole)} == {"supported"}
    assert "TSσBN beats LTB" in str(table(pairs))

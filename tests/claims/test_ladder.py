"""Arms beside TSσBN: the ladder of ingredients, and gates from later stages on."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("torchvision")
pytest.importorskip("timm")

from arms import write

from tssbn.claims.arms import all_arms
from tssbn.claims.ladder import by_stage, ladder, later, seen, summary, worth
from tssbn.methods import METHODS


def fill(folder, bed, n=3, **levels):
    """Runs of STL, TSσBN and these arms, which are so much better."""
    rng = np.random.default_rng(0)
    for arm, level in {"STL": 0, "TSσBN": 0, **levels}.items():
        for seed in range(n):
            gain = 1 + level + 0.002 * rng.normal()
            write(folder, bed, arm, seed, (0.5 * gain, 0.4 / gain))


def test_every_arm_is_a_method():
    assert {method for method, _ in ladder("rooms", "rooms").arms.values()} <= METHODS.keys()


def test_worth_is_over_the_whole_and_of_arms_that_were_run(folder):
    bed = ladder("rooms", "rooms")
    fill(folder, bed, **{"TSBN": 0.05, "random gates": -0.05, "HPS": 0})
    found = worth(bed)
    assert list(found) == ["HPS", "TSBN", "random gates"]
    assert found["TSBN"].low > 0 > found["random gates"].high
    assert found["TSBN"].value == pytest.approx(5, abs=0.7)


def test_the_sentence_counts_what_is_sure(folder):
    bed = ladder("rooms", "rooms")
    fill(folder, bed, **{"TSBN": 0.05, "random gates": -0.05, "shared gates": -0.1, "HPS": 0})
    said = summary([bed])
    assert said.startswith("On rooms 2 of 4 ablations are below TSσBN in Δm (shared gates by ")
    assert " points) and 1 above (TSBN by " in said
    assert said.endswith("), by 95 % intervals beyond zero.")


def test_what_could_be_seen_is_the_largest_of_the_least_effects(folder):
    assert seen(ladder("rooms", "rooms")) == "rooms: no ablation has two runs."
    bed = ladder("rooms", "rooms")
    fill(folder, bed, HPS=0)
    visible = worth(bed)["HPS"].visible
    assert f"show an effect of {visible:.2g} points" in seen(bed)
    assert "constant" not in seen(bed)


def test_without_a_sure_difference_the_sentence_says_so(folder):
    bed = ladder("rooms", "rooms")
    fill(folder, bed, HPS=0)
    none = ladder("streets", "streets")
    said = "On rooms the interval holds zero; on streets no ablation has two runs."
    assert summary([bed, none]) == said


def test_stages_end_with_hps(folder):
    bed = all_arms("rooms", "rooms", stages=3)
    assert later(bed) == "" and by_stage(bed) == {}
    bed = all_arms("rooms", "rooms", stages=3)
    fill(folder, bed, **{"gates from stage 2": -0.02, "HPS": -0.05})
    found = by_stage(bed)
    assert list(found) == [2, 3] and found[3].value < found[2].value < 0
    assert later(bed).startswith("rooms, Δm minus that of gates in all 3 stages: from stage 2 on -")
    assert "; HPS, without gates, -" in later(bed)

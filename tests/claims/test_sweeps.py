"""Sweeps of the gate rate: saved runs where there are enough, trials of one seed otherwise."""

import json
import math

import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")
pytest.importorskip("lightning_fabric")

from scored import save

from tssbn.claims.sweeps import bound, in_paper, overview, summary, sweep
from tssbn.training.run import Run

BASE = 0.004  # of faces


def write(folder, method, seed, score, **settings):
    save(folder, Run("faces", method, seed, settings), {"a": score})


def write_trials(folder, method, trials):
    path = folder / f"tuning/faces-{method}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "trials": [
                    {"rates": rates, "val": {"a": score}, "directions": {"a": True}}
                    for rates, score in trials
                ]
            }
        )
    )


def runs(folder, multipliers):
    """HPS at 0.5; a TSBN that falls with the multiplier, a TSσBN that rises, two seeds each."""
    for seed in range(2):
        write(folder, "hps", seed, 0.5 + 0.01 * seed)
        for k in multipliers:
            write(folder, "tsbn", seed, 0.6 - 0.01 * k + 0.01 * seed, multiplier=k)
            write(folder, "tssbn", seed, 0.5 + 0.01 * k + 0.01 * seed, multiplier=k)


def test_without_any_runs_there_is_no_sweep(folder):
    assert sweep("faces", "faces") is None


def test_runs_of_three_rates_are_a_sweep(folder):
    runs(folder, (2, 3, 10))
    found = sweep("faces", "faces")
    assert found.about == "test, n = 2 to 2" and found.base == BASE
    assert found.rates["tssbn"] == [0.008, 0.012, 0.04]
    assert (found.best("tssbn"), found.best("tsbn")) == (0.04, 0.008)
    gain = found.gains("tssbn")[0.04]
    assert gain.value == pytest.approx(100 * 0.1 / 0.505) and gain.n == (2, 2)
    apart = {rate: effect.value for rate, effect in found.bounded().items()}
    expected = {0.008: -0.06, 0.012: -0.04, 0.04: 0.1}
    assert apart == pytest.approx({rate: 100 * x / 0.505 for rate, x in expected.items()})
    assert found.best_apart().value == pytest.approx(100 * 0.02 / 0.505)


def test_runs_of_two_rates_are_none_but_give_trials_their_spread(folder):
    runs(folder, (2, 10))
    assert sweep("faces", "faces") is None
    write_trials(folder, "hps", [({"lr": BASE}, 0.4), ({"lr": 2 * BASE}, 0.5)])
    at_other_base = {"lr": 2 * BASE, "multiplier": 5}
    for method, level in (("tsbn", 0.55), ("tssbn", 0.6)):
        trials = [({"lr": BASE, "multiplier": k}, level + 0.001 * k) for k in (10, 1)]
        write_trials(folder, method, [*trials, (at_other_base, 0.9)])
    found = sweep("faces", "faces")
    assert found.about == "validation, one run each"
    assert found.rates["tsbn"] == [0.004, 0.04]  # and not those of another base rate
    effect = found.gains("tssbn")[0.04]
    assert effect.value == pytest.approx(100 * 0.11 / 0.5)  # over HPS at its best base rate
    sd = 0.01 / math.sqrt(2)  # of all arms, each with two seeds
    assert effect.error == pytest.approx(100 * math.sqrt(2) * sd / 0.505, rel=0.02)
    assert effect.low < effect.value < effect.high and effect.n == (1, 1)


def test_sentences_and_the_overview_name_the_best_rate(folder):
    runs(folder, (2, 3, 10))
    found = sweep("faces", "faces")
    assert summary([in_paper(), found]).endswith("at 0.01 on NYUv2 (paper) and 0.04 on faces.")
    row = overview([found]).loc["faces"]
    assert (row["best multiplier"], row["best gate rate"]) == ("10", "0.04")
    assert row["fastest"] == "0.04: best" == row["near 0.03"]
    assert row["slowest"].startswith("0.008: -15.8 [")
    assert "faces: TSσBN is ahead of TSBN by +19.8 [" in bound(found)

"""The study that chooses learning rates: equal numbers of trials, resumed where it stopped."""

import json
import math

import pytest

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")

from studies import script

from tssbn.records import store

tuning = script("tuning")
SMALL = {"n": 16, "height": 16, "width": 16, "filters": 2, "epochs": 1}


def trial(depth, **rates):
    return {"rates": rates, "val": {"depth": depth}, "directions": {"depth": False}}


def rates(gated, depths, lr=0.004):
    """The rates of a search whose trials have these errors."""
    trials = []
    for depth in depths:
        trials.append(trial(depth, **tuning.next_rates(gated, lr, trials)))
    return [entry["rates"] for entry in trials], tuning.next_rates(gated, lr, trials)


def test_a_method_with_gates_is_tried_at_four_gate_rates_and_two_other_base_rates():
    found, more = rates(True, [0.4, 0.1, 0.5, 0.6, 0.2, 0.3])
    assert found == [
        {"lr": 0.004, "multiplier": 2.5},
        {"lr": 0.004, "multiplier": 7.5},  # the best of the four: a gate rate of 0.03
        {"lr": 0.004, "multiplier": 25.0},
        {"lr": 0.004, "multiplier": 0.25},
        {"lr": 0.002, "multiplier": 15.0},
        {"lr": 0.008, "multiplier": 3.75},
    ]
    assert more is None


def test_any_other_method_has_as_many_trials():
    found, more = rates(False, [0.4] * 6)
    assert [entry["lr"] for entry in found] == [0.004, 0.002, 0.008, 0.001, 0.016, 0.032]
    assert more is None


def test_the_best_base_rate_lies_between_two_that_were_tried():
    """At the gate rate that was the best of four."""
    found, more = rates(True, [0.4, 0.3, 0.5, 0.6, 0.3, 0.2])
    assert (found[-1]["lr"], more) == (0.008, {"lr": 0.016, "multiplier": 1.875})
    assert rates(True, [0.4, 0.3, 0.5, 0.6, 0.3, 0.2, 0.25])[1] is None
    assert rates(False, [0.4, 0.5, 0.4, 0.5, 0.4, 0.3])[1] == {"lr": 0.064}
    assert rates(False, [0.4, 0.3, 0.4, 0.2, 0.4, 0.4])[1] == {"lr": 0.0005}


def test_given_multipliers_are_tried_in_their_order_at_the_base_rate():
    trials, wanted = [], [1.0, 30.0]
    for gated, times in zip((True, False), wanted, strict=True):
        rates = tuning.next_rates(gated, 0.004, trials, wanted)
        assert rates == {"lr": 0.004, "multiplier": times}
        trials.append(trial(0.4, **rates))
    assert tuning.next_rates(True, 0.004, trials, wanted) is None


def test_the_best_trial_has_the_highest_gain_over_all_tasks():
    trials = [
        {"val": {"depth": depth, "miou": miou}, "directions": {"depth": False, "miou": True}}
        for depth, miou in ((0.5, 0.5), (0.4, 0.4), (0.45, 0.5))
    ]
    assert tuning.best(trials) is trials[2]  # +10 %, where the second has +20 - 20
    failed = [
        {**trials[0], "rates": {"lr": 1.0}, "val": {"depth": score, "miou": score}}
        for score in (0.0, math.nan)
    ]
    assert tuning.best([*failed, *trials]) is trials[2]
    with pytest.raises(ValueError, match=r"no trial has scores above 0 .* \[{'lr': 1.0}, {'lr'"):
        tuning.best(failed)


@pytest.mark.parametrize(("method", "key"), [("tssbn", "multiplier"), ("hps", "lr")])
def test_trials_are_not_run_again(method, key, tmp_path, monkeypatch):
    (tmp_path / "data/results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "PUBLISHED", ())
    where = {"runs": tmp_path / "runs", "root": None, "precision": "32", "channels_last": False}
    monkeypatch.setattr(tuning, "BASE_RATES", (1, 2))
    monkeypatch.setattr(tuning, "GATE_RATES", (0.01,))
    monkeypatch.setattr(tuning, "beyond", lambda trials: None)

    def search():
        return tuning.search("rooms", method, 100, SMALL, **where)

    first = next(search())
    (one,) = first["trials"]
    assert one["val"].keys() == one["directions"].keys()
    *_, last = search()
    assert last["trials"][0] == one and key in last["best"]
    path = tmp_path / f"data/results/tuning/rooms-{method}.json"
    assert json.loads(path.read_text())["best"] == last["best"]
    assert list(search()) == []

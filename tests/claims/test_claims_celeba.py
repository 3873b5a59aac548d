"""Scores of real faces with and without a threshold."""

import math

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
pytest.importorskip("timm")
pytest.importorskip("torchvision")

from tssbn.claims import celeba
from tssbn.plots import gains
from tssbn.records import SavedRun, SavedRuns

KEYS = "f1", "average_precision", "auc"
SCORES = ["F1 at 0.5", "average precision", "AUC", "F1, chosen threshold"]


def runs(*scores, new=True):
    """Of two attributes, the second with 0.1 more of everything."""
    records = []
    for seed, score in enumerate(scores):
        test = {t: dict.fromkeys(KEYS[: 3 if new else 1], score + more) for t, more in TASKS}
        record = {"seed": seed, "metric": dict.fromkeys(test, "f1"), "epochs": [{"test": test}]}
        if new:
            record["constant"] = {t: dict.fromkeys(KEYS, 0.25) for t in test}
            record["thresholds"] = {t: {"f1": score, "threshold": 0} for t in test}
        records.append(SavedRun(f"b/{seed}", record))
    return SavedRuns(tuple(records))


TASKS = (("a", 0.0), ("b", 0.1))


def test_new_runs_have_four_scores_and_old_ones_f1():
    new = celeba.table({"hps": runs(0.5, 0.6), "tssbn": runs(0.7)})
    assert list(new) == ["runs", *SCORES]
    assert list(new.index) == ["constant baseline", "HPS", "TSσBN"]
    assert list(new.loc["HPS"]) == ["2", "60.0", "60.0", "60.0", "55.0"]
    assert list(new.loc["constant baseline"]) == ["", "25.0", "25.0", "25.0", "25.0"]
    old = celeba.table({"hps": runs(0.5, new=False), "tssbn": runs(0.7)})
    assert list(old) == ["runs", "F1 at 0.5"]
    frequent = float(old.loc["constant baseline", "F1 at 0.5"])
    assert 30 < frequent < 36  # always yes, of CelebA


def test_an_attribute_without_a_score_is_left_out():
    run = runs(0.5)[0]
    run["epochs"][0]["test"]["a"]["average_precision"] = None
    assert celeba.mean_scores(run)["average precision"] == pytest.approx(60)
    run["epochs"][0]["test"]["b"]["average_precision"] = None
    assert math.isnan(celeba.mean_scores(run)["average precision"])


def test_effects_are_those_of_the_method_over_the_reference():
    found = {"hps": runs(0.5, 0.6), "tssbn": runs(0.7, 0.8), "tsbn": runs(0.9)}
    effects = celeba.effects(found, "hps")
    assert list(effects) == SCORES
    assert list(effects["AUC"]) == ["tssbn"]  # one run has no interval
    assert effects["AUC"]["tssbn"].value == pytest.approx(20)
    figure = gains.effects_by_score(effects, "hps")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == list(effects)


def test_the_published_lists_have_an_entry_for_each_attribute():
    lists = celeba.published()
    assert lists.shape == (40, 2) and not lists.isna().any(axis=None)
    assert lists.loc["Eyeglasses", "FAMO's STL"] == pytest.approx(95.69)

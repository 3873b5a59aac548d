"""Real faces: scores of saved runs with and without a threshold, and published single networks."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tssbn import records
from tssbn.claims.bed import Bed

if TYPE_CHECKING:
    import pandas

    from tssbn.claims.verdict import Effect
    from tssbn.records import SavedRun, SavedRuns

__all__ = ["beds", "effects", "mean_scores", "published", "runs", "table"]

FIXED, CHOSEN = "F1 at 0.5", "F1, chosen threshold"
RULES = {FIXED: "f1", "average precision": "average_precision", "AUC": "auc"}
#: The methods that were run on small sets of real faces.
ARMS = ("stl", "hps", "tsbn", "tssbn", "shared-gates", "random-gates")
#: F1 in CelebA's order of the attributes: of FAMO's single-task networks
#: (https://github.com/Cranial-XIX/FAMO/issues/2), and of FairGrad's one network
#: (https://github.com/OptMN-Lab/fairgrad/issues/1).
PUBLISHED = {
    "FAMO's STL": """
        0.6737 0.6812 0.8152 0.5760 0.7206 0.8555 0.3820 0.5823 0.7876 0.8321
        0.5030 0.6869 0.6781 0.5240 0.5162 0.9569 0.6969 0.6798 0.8808 0.8582
        0.9703 0.9327 0.5058 0.4031 0.9704 0.4864 0.6079 0.5261 0.5691 0.5982
        0.6858 0.9241 0.5425 0.7406 0.7102 0.8737 0.9306 0.3370 0.7648 0.9191""",
    "FairGrad": """
        0.6735 0.6715 0.8090 0.5913 0.7161 0.8487 0.5294 0.6024 0.7925 0.8233
        0.4916 0.6860 0.6678 0.5008 0.5353 0.9544 0.6992 0.6246 0.8751 0.8526
        0.9680 0.9130 0.5394 0.4410 0.9698 0.3088 0.5560 0.5475 0.5300 0.6051
        0.7211 0.9100 0.4879 0.6448 0.7013 0.8597 0.9294 0.4035 0.7262 0.9127""",
}


def published() -> pandas.DataFrame:
    """Give two published lists of F1 on CelebA, in percent: a row for each of the 40 attributes.

    Those of FAMO's single-task networks, and of FairGrad's one network.

    Example:
        >>> published().mean().round(2).to_dict()
        {"FAMO's STL": 69.71, 'FairGrad': 69.05}
    """
    import pandas

    from tssbn.data.real.celeba import ATTRIBUTES

    lists = {name: [100 * float(f1) for f1 in text.split()] for name, text in PUBLISHED.items()}
    return pandas.DataFrame(lists, ATTRIBUTES)


def runs(benchmark: str) -> dict[str, SavedRuns]:
    """Give the saved runs of ``celeba_small`` or ``celeba_10k`` by method, those that there are."""
    found = {arm: records.of(benchmark, arm, range(20)) for arm in ARMS}
    return {arm: of_arm for arm, of_arm in found.items() if of_arm}


def mean_scores(run: SavedRun) -> dict[str, float]:
    """Give the scores of a run on the test images after the last epoch, in percent.

    Means over the attributes: F1 at a probability of 0.5; average precision; the area under the ROC
    curve; and F1 at thresholds that were chosen on validation images. Older runs have F1 alone.
    """
    found = _means(run["epochs"][-1]["test"])
    if "thresholds" in run:
        found[CHOSEN] = _mean(run.f1_at_validation_thresholds())
    return found


def beds(found: Mapping[str, SavedRuns]) -> dict[str, Bed]:
    """Give a bed of each score that all runs have, see :func:`mean_scores`."""
    rows = {arm: [mean_scores(run) for run in of_arm] for arm, of_arm in found.items()}
    every = [row for of_arm in rows.values() for row in of_arm]
    common = [rule for rule in (*RULES, CHOSEN) if all(rule in row for row in every)]
    return {
        rule: Bed({arm: [row[rule] for row in of_arm] for arm, of_arm in rows.items()})
        for rule in common
    }


def effects(found: Mapping[str, SavedRuns], reference: str) -> dict[str, dict[str, Effect]]:
    """Give by how many points each method is better than one of them, by score.

    Of all methods with two runs or more, by Dunnett's intervals.
    """
    differences = {}
    for score, bed in beds(found).items():
        others = [arm for arm in bed.arms if arm != reference]
        against = bed.against(reference, *others).items()
        differences[score] = {arm: -effect for arm, effect in against if effect}
    return differences


def table(found: Mapping[str, SavedRuns]) -> pandas.DataFrame:
    """Give the mean over the runs of each score, a row for each method, below the constant's.

    The constant baseline gives each attribute the same answer for every face. Of runs that were
    saved without its scores, its F1 is that of always yes, 2p / (1 + p), with the frequency p of
    the attribute among 8,000 faces (``data/results/company/celeba.json``).
    """
    import pandas

    from tssbn.methods import find_method

    rows = {"constant baseline": _constant(next(iter(found.values()))[0])}
    for arm, of_arm in found.items():
        scores = [mean_scores(run) for run in of_arm]
        rows[find_method(arm).title] = {rule: fmean(s[rule] for s in scores) for rule in scores[0]}
    rules = [rule for rule in (*RULES, CHOSEN) if all(rule in row for row in rows.values())]
    cells = {title: {rule: f"{row[rule]:.1f}" for rule in rules} for title, row in rows.items()}
    made = pandas.DataFrame(cells).T
    made.insert(0, "runs", ["", *(str(len(of_arm)) for of_arm in found.values())])
    return made


def _constant(run: SavedRun) -> dict[str, float]:
    if "constant" in run:
        found = _means(run["constant"])
    else:
        frequency = records.load("company/celeba")["frequency"]
        found = {FIXED: 100 * fmean(2 * p / (1 + p) for p in frequency)}
    return {**found, CHOSEN: found[FIXED]}


def _means(of_tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    values = of_tasks.values()
    return {
        rule: _mean({i: of_task[key] for i, of_task in enumerate(values)})
        for rule, key in RULES.items()
        if all(key in of_task for of_task in values)
    }


def _mean(of_tasks: Mapping[Any, float | None]) -> float:
    """In percent, over the tasks that have a value."""
    known = [v for v in of_tasks.values() if v is not None and not isnan(v)]
    return 100 * fmean(known) if known else nan

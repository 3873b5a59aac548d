"""Saved runs with scores that are given, and nothing in them that is not asked of one."""

import json

from tssbn.records import SavedRun, SavedRuns


def scored(scores, up=None, metric="f1", **more):
    """The record of one epoch with these scores on the test images, by task."""
    return {
        "benchmark": "mine",
        "method": "hps",
        "seed": 0,
        "recipe": {"report": "last"},
        "metric": dict.fromkeys(scores, metric),
        "directions": dict.fromkeys(scores, True) if up is None else up,
        "epochs": [{"epoch": 1, "test": {task: {metric: x} for task, x in scores.items()}}],
        **more,
    }


def as_runs(records, average=False):
    """Records as the reader gives them."""
    named = [(f"{r['benchmark']}/{r['method']}-{r['seed']}", r) for r in records]
    return SavedRuns(tuple(SavedRun(*pair) for pair in named), (), average)


def save(folder, run, scores, up=None):
    """Write the record of a run where the reader looks for it."""
    path = folder / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"benchmark": run.name.split("/")[0], "method": run.method.name, "seed": run.seed}
    path.write_text(json.dumps(scored(scores, up, **known)))

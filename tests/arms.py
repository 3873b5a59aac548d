"""Saved runs of the arms of a bed, with scores that are given."""

import json

from tssbn.training.run import Run

TASKS = {"segmentation": True, "depth": False}


def write(folder, bed, arm, seed, scores):
    """A saved run of two tasks."""
    method, settings = bed.arms[arm]
    run = Run(bed.benchmark, method, seed, settings)
    path = folder / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    scores = {task: {"m": score} for task, score in zip(TASKS, scores, strict=True)}
    record = {
        "benchmark": bed.benchmark,
        "method": method,
        "seed": seed,
        "recipe": {"report": "last"},
        "metric": dict.fromkeys(TASKS, "m"),
        "directions": TASKS,
        "epochs": [{"epoch": 1, "test": scores}],
    }
    path.write_text(json.dumps(record))

"""Saved runs of the arms of a bed, with scores that are given."""

from scored import save

from tssbn.training.run import Run

TASKS = {"segmentation": True, "depth": False}


def write(folder, bed, arm, seed, scores):
    """A saved run of two tasks."""
    method, settings = bed.arms[arm]
    run = Run(bed.benchmark, method, seed, settings)
    save(folder, run, dict(zip(TASKS, scores, strict=True)), TASKS)

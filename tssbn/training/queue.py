"""Trains wanted runs within a time budget; a later call goes on where this one stopped."""

import gc
import json
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tssbn import records
from tssbn.training import checkpoint
from tssbn.training.jobs import Job
from tssbn.training.run import Run
from tssbn.training.states import status, unreadable

__all__ = ["run_queue", "write"]


def run_queue(
    listed: Sequence[Job], seconds: float, runs: Path, results: Path, callback: Any, **how: Any
) -> dict[str, str]:
    """Train what is not done, most wanted first; stop in time.

    A run goes on where it was stopped. It is passed over if not one of its epochs fits into the
    time that is left, if it has no data, or if another process trains it: several may work off one
    list, which pays where one run leaves the GPU idle. One that fails, or whose files are damaged,
    does not stop the others.

    Args:
        listed: the jobs, most wanted first.
        seconds: from now.
        runs, results: the folders of checkpoints and of records.
        callback: as that of :func:`~tssbn.training.loop.train`.
        how: further arguments of that; what a job says itself comes before them.

    Returns:
        What went wrong, by the names of the runs that failed, or whose records do not read.
    """
    from tssbn.training.loop import train

    deadline = time.monotonic() + seconds
    failed = unreadable(listed, results)
    held = _Held(how.get("accelerator", "auto"))
    for job in listed:
        run = job.run
        state = status(job, runs, results)
        if state.problem:
            failed[run.name] = state.problem
        if not state.fits(deadline - time.monotonic()):
            continue
        trained = None  # the network of the run before, whose memory this one needs
        try:
            trained = train(
                run,
                runs / run.name,
                job.root,
                resume=True,
                deadline=deadline,
                callback=callback,
                data=partial(held.of, job),
                **{**how, **job.how},
            )
            if trained.record["finished"]:
                print(write(run, trained.record, results), flush=True)
            else:
                done = len(trained.record["epochs"])
                print(f"{run.name}: stopped after epoch {done}", flush=True)
        except checkpoint.FolderLocked:
            print(f"{run.name}: another process trains it", flush=True)
        except Exception as error:
            traceback.print_exc()
            failed[run.name] = str(error)
        if run.name in failed:
            gc.collect()  # the error held the network, whose memory the next run needs
    return failed


def write(run: Run, record: Mapping[str, Any], results: Path) -> Path:
    """Write the record of a run.

    Raises:
        OSError: it could not be written; says how much room there is, and how much it needs.
    """
    with checkpoint.writing(results / f"{run.name}.json", len(json.dumps(records.to_json(record)))):
        return records.write(run.name, record, results)


class _Held:
    """The decoded data of the run before, which the next one needs as well more often than not."""

    def __init__(self, accelerator: str) -> None:
        gpu = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        self.device = torch.device("cuda" if gpu else "cpu")
        self.key, self.data = None, {}

    def of(self, job: Job) -> Mapping[str, Any]:
        from tssbn.training.batches import preload

        benchmark, root = job.run.benchmark, job.run.benchmark.folder(job.root)
        key = benchmark.name, job.run.arguments, root
        splits = ("train", "test", *(["val"] if benchmark.recipe.report == "val" else []))
        if key != self.key:
            self.data = {}  # first, so that there is room
            self.key = key
        for split in splits:
            if split not in self.data:
                self.data[split] = preload(benchmark.data(split, root), self.device)
        return self.data

"""A list of wanted runs, worked off as far as the time goes, in as many calls as it takes."""

import gc
import pickle
import statistics
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from tssbn.benchmarks import Recipe
from tssbn.training import checkpoint, records
from tssbn.training.catalogue import data_folder, real, source
from tssbn.training.run import WEIGHT, Run, plan

__all__ = ["Job", "State", "jobs", "look", "report", "work"]

KEYS = ("benchmark", "method", "seed", "settings", "minutes")


@dataclass(frozen=True)
class Job:
    """A wanted run.

    Attributes:
        run: what is trained; if it has no data, it cannot be.
        minutes: that the whole run is expected to take.
        data: whether there is data.
    """

    run: Run
    minutes: float
    data: bool = True


@dataclass(frozen=True)
class State:
    """How far a job is.

    Attributes:
        job: see there.
        done: epochs, of those in the recipe.
        pace: seconds that an epoch takes: measured in this run, else in another one of the same
            method, benchmark and settings, else from the expected minutes.
        finished: there is a record.
    """

    job: Job
    done: int
    pace: float
    finished: bool

    @property
    def left(self) -> float:
        """Seconds that the rest of the run takes."""
        return 0.0 if self.finished else self.pace * (self._epochs - self.done)

    @property
    def _epochs(self) -> int:
        return self.job.run.benchmark.recipe.epochs

    def __str__(self) -> str:
        name = self.job.run.name
        if self.finished:
            return f"done       {name}"
        if not self.job.data:
            return f"no data    {name}"
        state = "half-done" if self.done else "pending"
        return (
            f"{state:9}  {name}: {self.done} of {self._epochs} epochs, {_minutes(self.left)} left"
        )


def jobs(file: Path, data: Mapping[str, str | Path] | None = None) -> list[Job]:
    """The runs that a file lists, most wanted first.

    The file is TOML with one list, ``runs``; its entries are tables with ``benchmark``,
    ``method``, ``minutes`` (expected, of the whole run) and, if wanted, ``seed`` and ``settings``.

    Args:
        file: its path.
        data: folders of real data sets by benchmark, which count for its other forms, too; those
            that are not named are looked for by :func:`~tssbn.data.find.find`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, an entry that is no run, or the same run twice; a folder for
            what is no real benchmark; says which.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not TOML: {error}") from error
    if set(content) != {"runs"}:
        raise ValueError(f"{file} must hold one list, runs, got {sorted(content)}")
    data, listed, seen = dict(data or {}), [], set()
    for name in data:
        if not real(name):
            raise ValueError(f"{name} is made, not read: it takes no data folder, got {data[name]}")
    for number, entry in enumerate(content["runs"], 1):
        try:
            job = _job(entry, data)
            if job.run.name in seen:
                raise ValueError(f"{job.run.name} is listed twice")
        except ValueError as error:
            raise ValueError(f"{file}, run {number}: {error}") from error
        seen.add(job.run.name)
        listed.append(job)
    return listed


def _job(entry: Mapping[str, Any], data: Mapping[str, str | Path]) -> Job:
    unknown = [key for key in entry if key not in KEYS]
    missing = [key for key in ("benchmark", "method", "minutes") if key not in entry]
    if unknown or missing:
        raise ValueError(f"unknown {unknown}, missing {missing}; known are {', '.join(KEYS)}")
    if not isinstance(entry["minutes"], (int, float)) or entry["minutes"] <= 0:
        raise ValueError(f"minutes={entry['minutes']!r} must be a positive number")
    if not isinstance(entry.get("seed", 0), int):
        raise ValueError(f"seed={entry['seed']!r} must be an integer")
    name = entry["benchmark"]
    root = data.get(name) or data.get(source(name)) or data_folder(name)
    absent = real(name) and root is None
    what = entry["method"], entry.get("seed", 0), entry.get("settings", {})
    return Job(plan(name, *what, "." if absent else root), entry["minutes"], not absent)


def look(job: Job, runs: Path, results: Path) -> State:
    """How far a job is.

    Args:
        runs: the folder of checkpoints.
        results: the folder of records.
    """
    run = job.run
    own = _epochs_of(runs / run.name / checkpoint.LAST)
    pace = 60 * job.minutes / run.benchmark.recipe.epochs
    if own:
        pace = _pace(own)
    elif others := [
        record["epochs"]
        for record in records.found(run.benchmark.name, results)
        if (record["method"], record["settings"]) == (run.method, dict(run.settings))
    ]:
        pace = statistics.median(map(_pace, others))
    return State(job, len(own), pace, (results / f"{run.name}.json").exists())


def _epochs_of(path: Path) -> list[Mapping[str, Any]]:
    """What a checkpoint says of its epochs; nothing if there is none or it does not read."""
    try:
        return torch.load(path, mmap=True, weights_only=True)["record"]["epochs"]
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        return []  # the run itself says what is wrong, when it is tried


def _pace(epochs: Sequence[Mapping[str, Any]]) -> float:
    return statistics.fmean(entry["seconds"] for entry in epochs)


def report(states: Sequence[State], seconds: float) -> str:
    """What is done and what is not, and what would be trained in so much time."""
    budget, wrong = seconds, _unfit(states)
    lines, left = [], 0.0
    for state in states:
        problem = wrong.get(state.job.run.benchmark.name)
        line = str(state)
        if problem and not state.finished:
            line = f"no data    {state.job.run.name}: {problem}"
        elif state.job.data:
            left += state.left
            if _fits(state, budget):
                line += ": to the end" if state.left <= budget else ": a part"
                budget -= min(budget, state.left)
        lines.append(line)
    lines.append(f"{_minutes(left)} left in all, {_minutes(seconds - budget)} of them now")
    return "\n".join(lines)


def _unfit(states: Sequence[State]) -> dict[str, str]:
    """What is wrong with folders of data, by benchmark."""
    runs = [state.job.run for state in states if state.job.data and not state.finished]
    wrong = {}
    for name, benchmark in {run.benchmark.name: run.benchmark for run in runs}.items():
        if real(name):
            try:
                benchmark.data("train")
                benchmark.data("test")
            except (OSError, ValueError) as error:
                wrong[name] = str(error)
    return wrong


def work(
    listed: Sequence[Job], seconds: float, runs: Path, results: Path, watch: Any, **how: Any
) -> dict[str, str]:
    """Train what is not done, most wanted first; stop in time.

    A run goes on where it was stopped. It is passed over if not one of its epochs fits into the
    time that is left, if it has no data, or if another process trains it: several may work off one
    list, which pays where one run leaves the GPU idle. One that fails does not stop the others.

    Args:
        listed: the jobs, most wanted first.
        seconds: from now.
        runs, results: the folders of checkpoints and of records.
        watch: as that of :func:`~tssbn.training.loop.train`.
        how: further arguments of that, the same for all runs.

    Returns:
        What went wrong, by the names of the runs that failed.
    """
    from tssbn.training.loop import train

    deadline = time.monotonic() + seconds
    failed: dict[str, str] = {}
    held = _Held(how.get("accelerator", "auto"))
    for job in listed:
        run = job.run
        if not _fits(look(job, runs, results), deadline - time.monotonic()):
            continue
        trained = None  # the network of the run before, whose memory this one needs
        try:
            trained = train(
                run,
                runs / run.name,
                resume=True,
                deadline=deadline,
                watch=watch,
                data=partial(held.of, run),
                **how,
            )
        except checkpoint.Taken:
            print(f"{run.name}: another process trains it", flush=True)
            continue
        except Exception as error:
            traceback.print_exc()
            failed[run.name] = str(error)
        if run.name in failed:
            gc.collect()  # the error held the network, whose memory the next run needs
        elif trained.record["finished"]:
            print(records.write(run.name, trained.record, results), flush=True)
        else:
            print(f"{run.name}: stopped after epoch {len(trained.record['epochs'])}", flush=True)
    return failed


def _fits(state: State, seconds: float) -> bool:
    """Whether at least one epoch can be trained."""
    return not state.finished and state.job.data and state.pace <= seconds


class _Held:
    """The decoded data of the run before, which the next one needs as well more often than not."""

    def __init__(self, accelerator: str) -> None:
        gpu = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        self.device = torch.device("cuda" if gpu else "cpu")
        self.key, self.data = None, {}

    def of(self, run: Run) -> Mapping[str, Any]:
        from tssbn.training.batches import hold

        recipe = run.benchmark.recipe
        ours = {field.name for field in fields(Recipe)} | set(run.options)
        of_data = {
            key: value
            for key, value in run.settings.items()
            if key not in ours and not key.startswith(WEIGHT)
        }
        key = run.benchmark.name, of_data
        splits = ("train", "test", *(["val"] if recipe.select == "val" else []))
        if key != self.key:
            self.data = {}  # first, so that there is room
            self.key = key
        for split in splits:
            if split not in self.data:
                self.data[split] = hold(run.benchmark.data(split), self.device)
        return self.data


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"

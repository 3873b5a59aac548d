"""Trains a list of wanted runs within a time budget; a later call goes on where it stopped."""

import gc
import json
import math
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from tssbn.benchmarks import find_benchmark
from tssbn.data.real.find import find
from tssbn.records import store as records
from tssbn.training import checkpoint
from tssbn.training.run import Run
from tssbn.training.settings import BALANCE

__all__ = [
    "Job",
    "State",
    "load_queue",
    "plan_queue",
    "run_queue",
    "saved",
    "status",
    "unreadable",
    "write",
]

KEYS = ("benchmark", "method", "seed", "settings", "minutes")


@dataclass(frozen=True)
class Job:
    """A wanted run.

    Attributes:
        run: what is trained.
        minutes: that the whole run is expected to take.
        root: the folder of its data, if it was named.
        data: whether there are data; where there are none, it cannot be trained.
    """

    run: Run
    minutes: float
    root: str | Path | None = None
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
        problem: what is wrong with its record or its checkpoint, which keeps it from being trained.
    """

    job: Job
    done: int
    pace: float
    finished: bool
    problem: str = ""

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
        if self.problem:
            return f"damaged    {name}: {self.problem}"
        if not self.job.data:
            return f"no data    {name}"
        state = "half-done" if self.done else "pending"
        return (
            f"{state:9}  {name}: {self.done} of {self._epochs} epochs, {_minutes(self.left)} left"
        )


def load_queue(file: Path, data: Mapping[str, str | Path] | None = None) -> list[Job]:
    """The runs that a file lists, most wanted first.

    The file is TOML with one list, ``runs``; its entries are tables with ``benchmark``,
    ``method``, ``minutes`` (expected, of the whole run) and, if wanted, ``seed`` and ``settings``.
    Paths of files of benchmarks, methods and balancings are relative to the folder of the file.

    Args:
        file: its path.
        data: folders of data by benchmark, which count for all others that read the same real set;
            those that are not named are looked for by :func:`~tssbn.data.real.find.find`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, an entry that is no run or whose balancing needs a package that
            is not installed, or the same run twice; a folder for what reads none; says which.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from error
    if set(content) != {"runs"} or not isinstance(content["runs"], list):
        raise ValueError(f"{file} must hold one list, runs, got {content!r:.100}")
    roots: dict[str, str | Path] = {}
    for name, root in (data or {}).items():
        benchmark = find_benchmark(name)()
        roots[benchmark.source or benchmark.name] = benchmark.folder(root)
    listed, seen = [], set()
    for number, entry in enumerate(content["runs"], 1):
        try:
            job = _job(entry, roots, file.parent)
            if job.run.name in seen:
                raise ValueError(f"{job.run.name} is listed twice")
        except (FileNotFoundError, ImportError, ValueError) as error:
            raise ValueError(f"{file}, run {number}: {error}") from error
        seen.add(job.run.name)
        listed.append(job)
    return listed


def _job(entry: Any, roots: Mapping[str, str | Path], folder: Path) -> Job:
    if not isinstance(entry, dict):
        raise ValueError(f"a run is a table, got {entry!r}")
    unknown = [key for key in entry if key not in KEYS]
    missing = [key for key in ("benchmark", "method", "minutes") if key not in entry]
    if unknown or missing:
        raise ValueError(f"unknown {unknown}, missing {missing}; known are {', '.join(KEYS)}")
    minutes, seed, settings = entry["minutes"], entry.get("seed", 0), entry.get("settings", {})
    for key in "benchmark", "method":
        if not isinstance(entry[key], str):
            raise ValueError(f"{key}={entry[key]!r} must be a name")
    if type(minutes) not in (int, float) or not 0 < minutes < math.inf:
        raise ValueError(f"minutes={minutes!r} must be a positive number")
    if type(seed) is not int:  # to Python, true is one
        raise ValueError(f"seed={seed!r} must be an integer")
    if not isinstance(settings, dict):
        raise ValueError(f"settings={settings!r} must be a table")

    def placed(name: Any) -> Any:
        return folder / name if str(name).endswith(".py") else name

    if BALANCE in settings:
        settings = {**settings, BALANCE: placed(settings[BALANCE])}
    run = Run(placed(entry["benchmark"]), placed(entry["method"]), seed, settings)
    root = roots.get(run.benchmark.source or run.benchmark.name)
    source = run.benchmark.source
    return Job(run, minutes, root, not source or bool(root or find(source)))


def status(job: Job, runs: Path, results: Path) -> State:
    """How far a job is.

    Args:
        runs: the folder of checkpoints.
        results: the folder of records.
    """
    run, own, problem = job.run, [], ""
    record = results / f"{run.name}.json"
    finished = record.exists()
    try:
        own = saved(record)["epochs"] if finished else _trained(runs / run.name)
    except (OSError, ValueError) as error:
        finished, problem = False, str(error)
    pace = 60 * job.minutes / run.benchmark.recipe.epochs
    if own:
        pace = _pace(own)
    elif others := [
        other["epochs"]
        for other in _others(results / run.benchmark.name)
        if (other.get("method"), other.get("settings")) == (run.method.name, dict(run.settings))
        and other["epochs"]
    ]:
        pace = statistics.median(map(_pace, others))
    return State(job, len(own), pace, finished, problem)


def saved(path: Path) -> dict[str, Any]:
    """The record in a file, where it is one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is cut short, or no record; says what to do.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "hps-0.json"
        >>> path.write_text('{"epochs": [{"seco')
        18
        >>> saved(path)
        Traceback (most recent call last):
        ValueError: .../hps-0.json is not a whole record (Unterminated string ...): put it right, or
        delete it, and the run goes on from its checkpoint
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        _epochs(record)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a whole record ({error}): put it right, or delete it, and the run "
            "goes on from its checkpoint"
        ) from error
    return record


def unreadable(listed: Sequence[Job], results: Path) -> dict[str, str]:
    """What is wrong with records of the benchmarks that are listed, by the names of the runs."""
    wrong = {}
    for name in sorted({job.run.benchmark.name for job in listed}):
        for path in sorted((results / name).glob("[!.]*.json")):
            try:
                saved(path)
            except (OSError, ValueError) as error:
                wrong[f"{name}/{path.stem}"] = str(error)
    return wrong


def write(run: Run, record: Mapping[str, Any], results: Path) -> Path:
    """Write the record of a run.

    Raises:
        OSError: it could not be written; says how much room there is, and how much it needs.
    """
    with checkpoint.writing(results / f"{run.name}.json", len(json.dumps(records.plain(record)))):
        return records.write(run.name, record, results)


def _others(folder: Path) -> Iterator[dict[str, Any]]:
    """The records that read; :func:`unreadable` names those that do not."""
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            yield saved(path)
        except (OSError, ValueError):
            continue


def _trained(folder: Path) -> list[Mapping[str, Any]]:
    """What the checkpoint says of its epochs; nothing if there is none."""
    try:
        record = checkpoint.load(folder, ("record",))["record"]
    except FileNotFoundError:
        return []
    with checkpoint.fitting(folder):
        return _epochs(record)


def _epochs(record: Any) -> list[Mapping[str, Any]]:
    epochs = record.get("epochs") if isinstance(record, dict) else None
    if not isinstance(epochs, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("seconds"), (int, float))
        for entry in epochs
    ):
        raise ValueError("it has no list of epochs and their seconds")
    return epochs


def _pace(epochs: Sequence[Mapping[str, Any]]) -> float:
    return statistics.fmean(entry["seconds"] for entry in epochs)


def plan_queue(states: Sequence[State], seconds: float) -> str:
    """What is done and what is not, and what would be trained in so much time."""
    budget, wrong = seconds, _unfit(states)
    lines, left = [], 0.0
    for state in states:
        problem = wrong.get(state.job.run.benchmark.name)
        line = str(state)
        if problem and not (state.finished or state.problem):
            line = f"no data    {state.job.run.name}: {problem}"
        elif state.job.data and not state.problem:
            left += state.left
            if _fits(state, budget):
                line += ": to the end" if state.left <= budget else ": a part"
                budget -= min(budget, state.left)
        lines.append(line)
    lines.append(f"{_minutes(left)} left in all, {_minutes(seconds - budget)} of them now")
    return "\n".join(lines)


def _unfit(states: Sequence[State]) -> dict[str, str]:
    """What is wrong with folders of data, by benchmark."""
    jobs = [state.job for state in states if state.job.data and not state.finished]
    wrong = {}
    for name, job in {job.run.benchmark.name: job for job in jobs}.items():
        benchmark = job.run.benchmark
        if not benchmark.synthetic:
            try:
                for split in ("train", "test"):
                    benchmark.data(split, benchmark.folder(job.root))
            except (OSError, ValueError) as error:
                wrong[name] = str(error)
    return wrong


def run_queue(
    listed: Sequence[Job], seconds: float, runs: Path, results: Path, watch: Any, **how: Any
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
        watch: as that of :func:`~tssbn.training.loop.train`.
        how: further arguments of that, the same for all runs.

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
        if not _fits(state, deadline - time.monotonic()):
            continue
        trained = None  # the network of the run before, whose memory this one needs
        try:
            trained = train(
                run,
                runs / run.name,
                job.root,
                resume=True,
                deadline=deadline,
                watch=watch,
                data=partial(held.of, job),
                **how,
            )
            if trained.record["finished"]:
                print(write(run, trained.record, results), flush=True)
            else:
                done = len(trained.record["epochs"])
                print(f"{run.name}: stopped after epoch {done}", flush=True)
        except checkpoint.Taken:
            print(f"{run.name}: another process trains it", flush=True)
        except Exception as error:
            traceback.print_exc()
            failed[run.name] = str(error)
        if run.name in failed:
            gc.collect()  # the error held the network, whose memory the next run needs
    return failed


def _fits(state: State, seconds: float) -> bool:
    """Whether at least one epoch can be trained."""
    wanted = not state.finished and not state.problem and state.job.data
    return wanted and state.pace <= seconds


class _Held:
    """The decoded data of the run before, which the next one needs as well more often than not."""

    def __init__(self, accelerator: str) -> None:
        gpu = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        self.device = torch.device("cuda" if gpu else "cpu")
        self.key, self.data = None, {}

    def of(self, job: Job) -> Mapping[str, Any]:
        from tssbn.training.batches import hold

        benchmark, root = job.run.benchmark, job.run.benchmark.folder(job.root)
        key = benchmark.name, job.run.arguments, root
        splits = ("train", "test", *(["val"] if benchmark.recipe.select == "val" else []))
        if key != self.key:
            self.data = {}  # first, so that there is room
            self.key = key
        for split in splits:
            if split not in self.data:
                self.data[split] = hold(benchmark.data(split, root), self.device)
        return self.data


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"

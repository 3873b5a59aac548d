"""Says how far wanted runs are, from their records and checkpoints."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tssbn.training import checkpoint
from tssbn.training.jobs import Job

__all__ = ["State", "plan_queue", "saved", "status", "unreadable"]


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

    def fits(self, seconds: float) -> bool:
        """Whether it is to be trained, and at least one epoch of it can be in so much time."""
        wanted = not self.finished and not self.problem and self.job.data
        return wanted and self.pace <= seconds

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
            f"{state:9}  {name}: {self.done} of {self._epochs} "
            f"epoch{'s' * (self._epochs > 1)}, {_minutes(self.left)} left"
        )


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
        ValueError: .../hps-0.json is not a complete saved run (Unterminated string ...): repair or
        delete it, and the run continues from its checkpoint
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        _epochs(record)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a complete saved run ({error}): repair or delete it, and the run "
            "continues from its checkpoint"
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
            if state.fits(budget):
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


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"

"""Callbacks of a training run, and those that show its progress: lines, a bar, TensorBoard."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from tssbn.records import display_unit, with_unit

if TYPE_CHECKING:
    from tssbn.training.run import Run

__all__ = [
    "Callback",
    "CallbackList",
    "LineLog",
    "NoCallback",
    "ProgressBar",
    "TensorBoard",
    "losses_text",
    "scores_text",
]

MANY = 6  # tasks of which more are shown as a mean
PAUSE = 0.5  # seconds between two looks at the losses, each of which a GPU must be waited for


class Callback(Protocol):
    """Is told how a run goes; in the first process only.

    Example:
        >>> class Losses(NoCallback):
        ...     def epoch(self, entry):
        ...         print(entry["epoch"], list(entry["losses"]))
        >>> Losses().epoch({"epoch": 1, "losses": {"depth": 0.5}})
        1 ['depth']
    """

    def begin(self, run: "Run", record: dict[str, Any], steps: int, first_epoch: int) -> None:
        """Before the first of so many steps an epoch, with what the record has by then.

        A resumed run starts at a later epoch than 1.
        """

    def step(self, epoch: int, step: int, losses: Callable[[], dict[str, float]]) -> None:
        """After a step, counted from 1 in each epoch; a GPU waits if the losses are asked for."""

    def epoch(self, entry: dict[str, Any]) -> None:
        """After an epoch, its entry in the record."""

    def end(self, record: dict[str, Any]) -> None:
        """After the last epoch, or the one at which the run was stopped."""

    def close(self) -> None:
        """At any time, also after an error: give back what is open."""


class NoCallback:
    """Does nothing; to be inherited from."""

    def begin(self, run: "Run", record: dict[str, Any], steps: int, first_epoch: int) -> None: ...
    def step(self, epoch: int, step: int, losses: Callable[[], dict[str, float]]) -> None: ...
    def epoch(self, entry: dict[str, Any]) -> None: ...
    def end(self, record: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


class CallbackList:
    """Tells everything to several others, in their order."""

    def __init__(self, callbacks: Sequence[Callback]):
        self.callbacks = callbacks

    def begin(self, run: "Run", record: dict[str, Any], steps: int, first_epoch: int) -> None:
        for callback in self.callbacks:
            callback.begin(run, record, steps, first_epoch)

    def step(self, epoch: int, step: int, losses: Callable[[], dict[str, float]]) -> None:
        for callback in self.callbacks:
            callback.step(epoch, step, losses)

    def epoch(self, entry: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback.epoch(entry)

    def end(self, record: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback.end(record)

    def close(self) -> None:
        for callback in self.callbacks:
            callback.close()


def losses_text(losses: Mapping[str, float]) -> str:
    """The losses by task, or their mean where there are many.

    Example:
        >>> losses_text({"segmentation": 1.2345, "depth": 0.5})
        'segmentation 1.23, depth 0.5'
        >>> losses_text({f"attribute {i}": 0.25 for i in range(40)})
        'mean of 40 0.25'
    """
    return ", ".join(f"{task} {value:.3g}" for task, value in _few(losses).items())


def scores_text(scores: Mapping[str, Mapping[str, float]], units: Mapping[str, str]) -> str:
    """The first metric of each task in its unit, or the mean of all where there are many.

    Example:
        >>> scores = {"segmentation": {"miou": 0.4375}, "depth": {"absolute": 0.5, "rmse": 0.7}}
        >>> scores_text(scores, {"segmentation": "%", "depth": "m"})
        'segmentation 43.75%, depth 0.5 m'
    """
    first = {task: next(iter(values.items())) for task, values in scores.items()}
    found = {task: display_unit(name, units.get(task)) for task, (name, _) in first.items()}
    shown = {task: found[task][0] * value for task, (_, value) in first.items()}
    common = next(iter(found.values()))  # of many tasks, which are all of one kind
    return ", ".join(
        f"{task} {with_unit(value, found.get(task, common)[1])}"
        for task, value in _few(shown).items()
    )


def _few(values: Mapping[str, float]) -> Mapping[str, float]:
    if len(values) <= MANY:
        return values
    return {f"mean of {len(values)}": sum(values.values()) / len(values)}


class LineLog(NoCallback):
    """A line for each epoch: what a log can hold."""

    def __init__(self, file: TextIO | None = None):
        self.file = file

    def begin(self, run: "Run", record: dict[str, Any], steps: int, first_epoch: int) -> None:
        self.epochs, self.units = record["recipe"]["epochs"], record.get("units", {})
        self.seconds = []
        begun = f", from epoch {first_epoch}" if first_epoch > 1 else ""
        self._print(
            f"{run.name}: {self.epochs} epoch{'s' * (self.epochs > 1)} of {steps} "
            f"step{'s' * (steps > 1)}{begun}"
        )
        if "constant" in record:
            self._print(f"constant baseline | test {scores_text(record['constant'], self.units)}")

    def epoch(self, entry: Mapping[str, Any]) -> None:
        self.seconds.append(entry["seconds"])
        left = (self.epochs - entry["epoch"]) * sum(self.seconds) / len(self.seconds)
        scores = scores_text(entry["test"], self.units)
        self._print(
            f"epoch {entry['epoch']:{len(str(self.epochs))}}/{self.epochs}"
            f" | loss {losses_text(entry['losses'])} | test {scores}"
            f" | {entry['seconds']:.1f} s, {timedelta(seconds=round(left))} left"
        )

    def _print(self, line: str) -> None:
        print(line, file=self.file, flush=True)


class ProgressBar(LineLog):
    """The same above a bar over all steps, with losses and time left; no bar where none can move.

    Where the output is no terminal (a file, a pipe, a notebook) the lines are all there is.
    """

    bar = None

    def begin(self, run: "Run", record: dict[str, Any], steps: int, first_epoch: int) -> None:
        from tqdm import tqdm

        self.close()
        super().begin(run, record, steps, first_epoch)
        self.shown = 0.0
        self.bar = tqdm(
            total=self.epochs * steps,
            initial=(first_epoch - 1) * steps,
            file=self.file,
            dynamic_ncols=True,
            bar_format="{desc}{percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left{postfix}",
            smoothing=0,  # the mean over all that was done has the tests of the epochs in it
            leave=False,
            disable=None,  # where the file is no terminal
        )

    def step(self, epoch: int, step: int, losses: Callable[[], Mapping[str, float]]) -> None:
        self.bar.update(1)
        if not self.bar.disable and time.monotonic() - self.shown > PAUSE:
            self.bar.set_postfix_str(f"loss {losses_text(losses())}")
            self.shown = time.monotonic()

    def end(self, record: Mapping[str, Any]) -> None:
        self.close()

    def close(self) -> None:
        # The lines stay.
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def _print(self, line: str) -> None:
        if self.bar is None:
            super()._print(line)
        else:
            self.bar.write(line, file=self.file)


class TensorBoard(NoCallback):
    """Writes what an epoch gives for TensorBoard: losses, scores, learning rate, seconds.

    Args:
        folder: of all runs; each has its own inside.

    Raises:
        ImportError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path):
        try:
            import torch.utils.tensorboard as tensorboard
        except ImportError as error:
            raise ImportError(
                "--tensorboard needs the package tensorboard, which is not installed: "
                "pip install tensorboard"
            ) from error
        self.make, self.folder, self.writer = tensorboard.SummaryWriter, Path(folder), None

    def begin(self, run: "Run", record: dict[str, Any], steps: int, first_epoch: int) -> None:
        # What a run wrote after its last checkpoint is written again, and shall count once.
        self.writer = self.make(str(self.folder / run.name), purge_step=first_epoch)

    def epoch(self, entry: Mapping[str, Any]) -> None:
        scalars = {key: entry[key] for key in ("lr", "seconds", "penalty") if key in entry}
        scalars |= {f"loss/{task}": value for task, value in entry["losses"].items()}
        for split in ("test", "val"):
            for task, values in entry.get(split, {}).items():
                scalars |= {f"{split}/{task}/{name}": value for name, value in values.items()}
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, entry["epoch"])

    def end(self, record: Mapping[str, Any]) -> None:
        self.close()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None

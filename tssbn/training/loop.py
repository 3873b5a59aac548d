"""Training: any method on any benchmark, on any device, to a network and a record."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from torch.utils.data import Dataset

from tssbn.records import to_json
from tssbn.training import checkpoint
from tssbn.training.describe import identity
from tssbn.training.devices import make_fabric, precision_flags, room_for_graphs
from tssbn.training.memory import explain_out_of_memory
from tssbn.training.processes import on_rank_zero
from tssbn.training.progress import Callback, CallbackList, ProgressBar
from tssbn.training.run import Run
from tssbn.training.trainer import Trainer

__all__ = ["Trained", "train"]


class Trained(NamedTuple):
    """What a run gives.

    Attributes:
        net: the network, on the device that it was trained on, in eval mode.
        record: what is known of the run.
    """

    net: nn.Module
    record: dict[str, Any]


def train(
    run: Run,
    folder: Path | None = None,
    root: str | Path | None = None,
    *,
    resume: bool = False,
    precision: str = "32",
    accelerator: str = "auto",
    devices: int | str = 1,
    compile: bool = False,
    channels_last: bool = False,
    fast_kernels: bool = False,
    angles: int = 0,
    note: str = "",
    deadline: float | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    data: Mapping[str, Dataset] | Callable[[], Mapping[str, Dataset]] | None = None,
) -> Trained:
    """Train a method on a benchmark.

    At the end of each epoch the network is scored on the test images, and a checkpoint takes the
    place of the last one (of some epochs only, where writing would take over a twentieth of the
    time). What is random in an epoch (the order, augmentation, dropout) follows
    from the seed and the number of the epoch, so that a run that was stopped anywhere and resumed
    is the run that was not stopped: bit for bit on a CPU with as many threads, on a GPU up to the
    kernels that add in no fixed order. The global random state is set.

    On several devices every process takes its part of a batch. BatchNorm normalises each part by
    itself, as is usual (SyncBatchNorm is not used), and after each epoch the running statistics
    become the mean of all processes'; so all score the same network, each on its share of the test
    batches. A loss is a mean over a process's part, then over the processes: where parts differ in
    how many pixels count, not quite that of the joint batch.

    Args:
        folder: where the checkpoint is kept; by default there is none.
        root: the folder of the data; by default, that of a real set is looked for by
            :func:`~tssbn.data.real.find.find`.
        resume: go on from the checkpoint in the folder, if there is one.
        precision: ``"32"``; ``"tf32"``, 32 bits whose products have 10 bits of mantissa;
            ``"bf16"`` and ``"16"``, mixed with 32 bits by autocast.
        accelerator: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
        devices: how many, or ``"auto"`` for all; under torchrun and srun, what they started.
        compile: use torch.compile.
        channels_last: keep images and filters in this memory format.
        fast_kernels: on a GPU, let cuDNN choose its fastest kernels, which do not repeat a result
            to the last bit.
        angles: every so many steps the cosines between the tasks' gradients are written into the
            record, see :class:`~tssbn.training.balancing.Angles`; never if 0. Changes nothing else.
        note: for the record; of a resumed run without one, the earlier one stays.
        deadline: a value of ``time.monotonic()``; no epoch begins that would end after it, going by
            the one before.
        progress: show a line for each epoch, and in a terminal a bar below.
        callback: is told how the run goes.
        data: the decoded data sets by split, as :func:`~tssbn.training.batches.preload` gives
            them, where they are there already; or what gives them, once the folder is this
            process's.

    Returns:
        The network and the record; ``record["finished"]`` is False where the deadline came first.

    Raises:
        BlockingIOError: another process trains in the folder.
        FloatingPointError: a loss, a parameter or a prediction is NaN or infinite; says when.
        MemoryError: the device has too little memory; says which setting needs less.
        OSError: the checkpoint could not be written; the one before it is whole.
        ImportError: the run's balancing needs a package that is not installed.
        ValueError: an unknown precision, or one that the balancing cannot have; the folder has the
            checkpoint of another run, or one that is not to be resumed; or a data set is too small.

    Example:
        >>> from tssbn.training.run import Run
        >>> small = {"n": 8, "height": 32, "width": 32, "filters": 2, "epochs": 1, "batch": 4}
        >>> trained = train(Run("rooms", "tssbn", settings=small))
        >>> trained.record["finished"], list(trained.record["epochs"][0]["test"])
        (True, ['segmentation', 'depth', 'normal'])
    """
    fabric = make_fabric(accelerator, devices, precision)
    with ExitStack() as contexts:
        contexts.enter_context(precision_flags(precision, repeatable=not fast_kernels))
        if folder is not None:
            folder = Path(folder)
            on_rank_zero(fabric, lambda: contexts.enter_context(checkpoint.lock(folder)))
            _check_folder(folder, resume)
        setup = {
            "precision": precision,
            "devices": fabric.world_size,
            "compile": compile,
            "channels_last": channels_last,
            "fast_kernels": fast_kernels,
        }
        if angles and (fabric.world_size > 1 or precision == "16"):
            raise ValueError(
                f"angles={angles} needs one device and a precision other than '16', got "
                f"{fabric.world_size} and {precision!r}"
            )
        told = [] if callback is None else [callback]
        if progress:
            told.insert(0, bar := ProgressBar())
            contexts.callback(bar.close)
        if not fabric.is_global_zero:
            told = []
        recipe = run.benchmark.recipe
        with explain_out_of_memory(recipe, run.balance, all_tasks=False):
            trainer = Trainer(fabric, run, root, setup, note, data or {}, angles)
        if compile:
            contexts.enter_context(room_for_graphs(trainer.net))
        with explain_out_of_memory(recipe, run.balance, trainer.balancing.all_tasks_at_once):
            _fit(trainer, folder, deadline, CallbackList(told))
        return Trained(trainer.net.eval(), to_json(trainer.record))


def _check_folder(folder: Path, resume: bool) -> None:
    if (folder / checkpoint.LAST).exists() and not resume:
        raise ValueError(
            f"{folder / checkpoint.LAST} is the checkpoint of an earlier start of this run: "
            "resume it, or delete the file to begin again"
        )


def _fit(trainer: Trainer, folder: Path | None, deadline: float | None, told: Callback) -> None:
    """Train all epochs that are left, or those that end before the deadline."""
    saver = None if folder is None else _Saver(trainer, folder)
    if saver is not None:
        saver.load()
    epochs, first = trainer.recipe.epochs, trainer.epochs + 1
    trainer.check_tasks()
    trainer.score_constant()
    told.begin(trainer.run, trainer.record, len(trainer.indices(1)), first)
    for epoch in range(first, epochs + 1):
        if _is_late(trainer, deadline):
            break
        try:
            trainer.train_epoch(told)
        except FloatingPointError as error:
            last = "There is no checkpoint before it" if saver is None else saver.last()
            raise FloatingPointError(f"{error} of epoch {epoch}. {last}") from error
        if saver is not None and (epoch == epochs or saver.is_due()):
            saver.save()
        told.epoch(trainer.record["epochs"][-1])
    if saver is not None and saver.saved < trainer.epochs:
        saver.save()
    told.end(trainer.record)


def _is_late(trainer: Trainer, deadline: float | None) -> bool:
    last = trainer.record["epochs"][-1]["seconds"] if trainer.epochs else 0.0
    late = deadline is not None and time.monotonic() + last > deadline
    return trainer.fabric.broadcast(late)


class _Saver:
    """Keeps the checkpoint of a trainer in a folder."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.folder = trainer, folder
        self.saved = 0  # epochs in the last checkpoint
        self.ended, self.seconds = 0.0, 0.0  # of the last save

    def load(self) -> None:
        """Go on from the checkpoint in the folder, if there is one."""
        if not (self.folder / checkpoint.LAST).exists():
            return
        state = checkpoint.load(self.folder, ["run"])
        now = identity(self.trainer.run, self.trainer.record)
        checkpoint.check_same_run(state["run"], now, self.folder)
        with checkpoint.fitting(self.folder):
            self.trainer.load_state(state)
        self.saved = self.trainer.epochs

    def is_due(self) -> bool:
        """Large networks train their small epochs faster than a disk takes a checkpoint of each."""
        due = time.monotonic() - self.ended > checkpoint.PATIENCE * self.seconds
        return self.trainer.fabric.broadcast(due)

    def save(self) -> None:
        """Write the checkpoint."""
        began, trainer = time.monotonic(), self.trainer
        state = {"run": identity(trainer.run, trainer.record), **trainer.state()}
        on_rank_zero(trainer.fabric, lambda: checkpoint.save(self.folder, state))
        self.ended, self.saved = time.monotonic(), trainer.epochs
        self.seconds = self.ended - began

    def last(self) -> str:
        """A sentence on the last checkpoint."""
        last = self.folder / checkpoint.LAST
        if not last.exists():
            return "There is no checkpoint before it"
        return f"The last good checkpoint is {last}, of epoch {self.saved}"

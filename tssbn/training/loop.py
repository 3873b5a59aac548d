"""Training: any method on any benchmark, on any device, to a network and a record."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Dataset

from tssbn.contract import MultiTaskNetwork
from tssbn.records.store import plain
from tssbn.registry import short_name
from tssbn.training import checkpoint
from tssbn.training.angles import Angles
from tssbn.training.balancing import find_balancing
from tssbn.training.batches import Batches, deal, hold, mixed, shuffled
from tssbn.training.describe import add_epoch, description, device_name, peak_memory
from tssbn.training.epoch import evaluate, train_epoch
from tssbn.training.losses import Losses
from tssbn.training.processes import average, first, launch, numerics, room_for_graphs
from tssbn.training.run import Run
from tssbn.training.settings import BALANCE
from tssbn.training.watch import Silent, Watch

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
    watch: Watch | None = None,
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
            record, see :class:`~tssbn.training.angles.Angles`; never if 0. Changes nothing else.
        note: for the record; of a resumed run without one, the earlier one stays.
        deadline: a value of ``time.monotonic()``; no epoch begins that would end after it, going by
            the one before.
        watch: is told how the run goes.
        data: the decoded data sets, as :func:`~tssbn.training.batches.hold` gives them, by split,
            where they are there already; or what gives them, once the folder is this process's.

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
    fabric = launch(accelerator, devices, precision)
    with ExitStack() as contexts:
        contexts.enter_context(numerics(precision, repeatable=not fast_kernels))
        if folder is not None:
            folder = Path(folder)
            first(fabric, lambda: contexts.enter_context(checkpoint.claim(folder)))
            _check_folder(folder, resume)
        contexts.enter_context(_memory_explained(run))
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
        training = _Training(fabric, run, root, setup, note, data or {}, angles)
        if compile:
            contexts.enter_context(room_for_graphs(training.net))
        return training.go(folder, deadline, watch or Silent())


def _check_folder(folder: Path, resume: bool) -> None:
    if (folder / checkpoint.LAST).exists() and not resume:
        raise ValueError(
            f"{folder / checkpoint.LAST} is the checkpoint of an earlier start of this run: "
            "resume it, or delete the file to begin anew"
        )


@contextmanager
def _memory_explained(run: Run) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        spent = isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
        if not spent:
            raise
        recipe = run.benchmark.recipe
        raise MemoryError(
            f"out of memory with batch={recipe.batch}, tasks_per_pass={recipe.tasks_per_pass}. "
            "tasks_per_pass=1 needs the least in networks of task-specific layers and learns the "
            "same; precision 'bf16' halves most activations; a smaller batch is another recipe. "
            f"({error})"
        ) from error


class _Training:
    """What changes in a run, and so what a checkpoint holds, and how it goes on by an epoch."""

    def __init__(
        self,
        fabric: Fabric,
        run: Run,
        root: str | Path | None,
        setup: Mapping[str, Any],
        note: str,
        data: Mapping[str, Dataset] | Callable[[], Mapping[str, Dataset]],
        angles: int,
    ) -> None:
        benchmark, recipe, method = run.benchmark, run.benchmark.recipe, run.method
        self.fabric, self.run = fabric, run
        if fabric.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(fabric.device)
        self.scored = ["test", *["val"] * (recipe.select == "val")]
        root = benchmark.folder(root)
        sources = {split: benchmark.data(split, root) for split in ("train", *self.scored)}
        targets = sources["train"].targets
        self.tasks = benchmark.tasks(targets)
        if unknown := recipe.weights.keys() - self.tasks:
            raise ValueError(
                f"weights are given of {sorted(unknown)}, the tasks are {list(self.tasks)}"
            )

        torch.manual_seed(run.seed)
        outputs = {name: task.out_channels for name, task in self.tasks.items()}
        self.net: MultiTaskNetwork = method.build(
            benchmark.network, outputs, **_taken(run, method.build)
        )
        self.balancing = find_balancing(run.balance)(self.net, **run.balance_options)
        self.balancing.check(setup["precision"], setup["compile"])
        self.balancing.to(fabric.device)
        self.net.tasks_per_pass = 1 if self.balancing.one_task_per_pass else recipe.tasks_per_pass
        held = _held(sources, data, fabric.device)  # may take minutes: what is refused comes before
        form = torch.channels_last if setup["channels_last"] else torch.contiguous_format
        self.net.to(memory_format=form)
        groups = method.groups(self.net, recipe.lr, **_taken(run, method.groups))
        optimiser = recipe.make_optimiser([*groups, *self.balancing.groups(recipe.lr)])
        self.scheduler = recipe.make_scheduler(optimiser)
        self.record = {
            **description(run, self.tasks, sources, held, self.net),
            **setup,
            "device": device_name(fabric.device),
            "note": note,
            "starts": 1,
            "epochs": [],
            "finished": False,
        }
        self.angles = Angles(self.net, angles, self.record, self.balancing) if angles else None
        self.saved = 0  # epochs in the last checkpoint
        self.last_save, self.save_seconds = 0.0, 0.0
        self.paces: list[float] = []  # seconds of a step, a mean for each look at the losses

        compiled = torch.compile(self.net) if setup["compile"] else self.net
        self.model, self.optimiser = fabric.setup(compiled, optimiser)
        average(fabric, self.net.parameters())  # the same everywhere, if machines differ in a bit
        self.batches = {
            split: Batches(held[split], fabric.device, benchmark.scale, memory_format=form)
            for split in held
        }
        if benchmark.augment is not None:
            self.batches["train"].augment = benchmark.augment(targets)

    def go(self, folder: Path | None, deadline: float | None, watch: Watch) -> Trained:
        """All epochs that are left, or those that end before the deadline."""
        if folder is not None and (folder / checkpoint.LAST).exists():
            self._resume(folder)
        watch = watch if self.fabric.is_global_zero else Silent()
        epochs, done = self.run.benchmark.recipe.epochs, len(self.record["epochs"])
        watch.begin(self.run, epochs, len(self._rows(1)), done + 1)
        for epoch in range(done + 1, epochs + 1):
            if self._late(deadline):
                break
            try:
                self._epoch(epoch, watch)
            except FloatingPointError as error:
                message = f"{error} of epoch {epoch}. {_kept(folder, self.saved)}"
                raise FloatingPointError(message) from error
            if folder is not None and (epoch == epochs or self._save_is_due()):
                self._save(folder)
            watch.epoch(self.record["epochs"][-1])
        if folder is not None and self.saved < len(self.record["epochs"]):
            self._save(folder)
        watch.end(self.record)
        return Trained(self.net.eval(), plain(self.record))

    def _late(self, deadline: float | None) -> bool:
        last = self.record["epochs"][-1]["seconds"] if self.record["epochs"] else 0.0
        late = deadline is not None and time.monotonic() + last > deadline
        return self.fabric.broadcast(late)

    def _save_is_due(self) -> bool:
        """Large networks train their small epochs faster than a disk takes a checkpoint of each."""
        due = time.monotonic() - self.last_save > checkpoint.PATIENCE * self.save_seconds
        return self.fabric.broadcast(due)

    def _save(self, folder: Path) -> None:
        began = time.monotonic()
        first(self.fabric, lambda: checkpoint.save(folder, self._state()))
        self.last_save, self.saved = time.monotonic(), len(self.record["epochs"])
        self.save_seconds = self.last_save - began

    def _rows(self, epoch: int) -> list[Tensor]:
        n, recipe = len(self.batches["train"].data), self.run.benchmark.recipe
        seed, rank = mixed(self.run.seed, epoch), self.fabric.global_rank
        return shuffled(n, recipe.batch, seed, rank, self.fabric.world_size, recipe.least)

    def _epoch(self, epoch: int, watch: Watch) -> None:
        """Train for an epoch, score what came out, and write it down."""
        began = time.monotonic()
        torch.manual_seed(mixed(self.run.seed, epoch, 1 + self.fabric.global_rank))
        losses = Losses(self.fabric)
        batches = self.batches["train"](self._rows(epoch))
        steps = train_epoch(
            self.fabric,
            self.model,
            self.optimiser,
            self.tasks,
            batches,
            self.run.benchmark.recipe.weights,
            self.angles or self.balancing,
        )
        for step, of_step in enumerate(steps, 1):
            losses.add(of_step)
            watch.step(epoch, step, partial(_read, of_step))
        means = losses.means()
        self.paces += losses.paces
        self._check_parameters()
        average(self.fabric, (b for b in self.net.buffers() if b.is_floating_point()))

        lr = self.optimiser.param_groups[0]["lr"]
        self.scheduler.step()
        scores = {split: self._scores(split) for split in self.scored}
        entry = {"epoch": epoch, "seconds": time.monotonic() - began, "lr": lr, "losses": means}
        add_epoch(self.record, entry, scores, self.net)
        self.record["seconds_per_step"] = statistics.median(self.paces)
        self.record["peak_memory_mib"] = peak_memory(self.fabric.device)

    def _scores(self, split: str) -> dict[str, dict[str, float | list[float]]]:
        batches, size = self.batches[split], self.run.benchmark.recipe.batch
        rows = deal(len(batches.data), size, self.fabric.global_rank, self.fabric.world_size)
        return evaluate(self.model, self.tasks, batches(rows))

    def _check_parameters(self) -> None:
        for name, value in [*self.net.named_parameters(), *self.balancing.named_parameters()]:
            if not value.isfinite().all():
                raise FloatingPointError(f"{name!r} is not finite after the last step")

    def _state(self) -> dict[str, Any]:
        return {
            "run": self._identity(),
            "net": self.net.state_dict(),
            "balancing": self.balancing.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "record": self.record,
            "paces": self.paces,
        }

    def _resume(self, folder: Path) -> None:
        # Version 0.1 searched for the stem, and knew no balancing.
        state = checkpoint.load(folder, [key for key in self._state() if key != "balancing"])
        state["run"] = {"stem": self.record["stem"], "balance": "sum", **state["run"]}
        checkpoint.agree(state["run"], self._identity(), folder)
        with checkpoint.fitting(folder):
            self.net.load_state_dict(state["net"])
            self.balancing.load_state_dict(state.get("balancing", {}))
            self.optimiser.load_state_dict(state["optimiser"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
        here = {key: self.record[key] for key in checkpoint.MAY_DIFFER if self.record[key] != ""}
        with checkpoint.fitting(folder):
            self.record, self.paces = state["record"], state["paces"]
            if not self.record["finished"]:
                self.record |= here | {"starts": self.record.get("starts", 1) + 1}
            self.saved = len(self.record["epochs"])
        if self.angles is not None:
            self.angles.record = self.record
            self.angles.steps = self.saved * len(self._rows(1))

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be resumed."""
        record = self.record
        keys = ("benchmark", "method", "seed", "stem", "precision", "devices", "compile")
        return {
            **{key: record[key] for key in (*keys, "channels_last")},
            **record["settings"],
            **record["options"],
            "balance": short_name(self.run.balance),
            **{f"{BALANCE}.{key}": value for key, value in self.run.balance_options.items()},
            **record["recipe"],
            **{
                f"data of {split}": part["sha256"]
                for split, part in record["data"]["splits"].items()
            },
        }


def _held(
    sources: Mapping[str, Dataset],
    data: Mapping[str, Dataset] | Callable[[], Mapping[str, Dataset]],
    device: torch.device,
) -> dict[str, Dataset]:
    """The decoded data sets, those that are there already and the others."""
    there = data() if callable(data) else data
    held = {
        split: there[split] if split in there else hold(source, device)
        for split, source in sources.items()
    }
    for split, source in sources.items():
        if len(held[split]) != len(source):
            raise ValueError(
                f"data[{split!r}] has {len(held[split])} samples, the benchmark {len(source)}"
            )
    return held


def _taken(run: Run, function: Callable) -> dict[str, Any]:
    """The options that a function of the method takes."""
    return {
        key: value for key, value in run.options.items() if key in signature(function).parameters
    }


def _read(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {task: loss.item() for task, loss in losses.items()}


def _kept(folder: Path | None, epoch: int) -> str:
    if folder is None or not (folder / checkpoint.LAST).exists():
        return "There is no checkpoint before it"
    return f"The last good checkpoint is {folder / checkpoint.LAST}, of epoch {epoch}"

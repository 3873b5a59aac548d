"""A run in progress: its network, optimiser and record, and how they go on by an epoch."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import Dataset

from tssbn.benchmarks.constant import constant_scores
from tssbn.contract import MultiTaskNetwork
from tssbn.data.stored import Stored
from tssbn.metrics.attributes import Attributes
from tssbn.optim import spare_vectors
from tssbn.training import checkpoint
from tssbn.training.balancing import Angles, Penalised, find_balancing
from tssbn.training.batches import BatchLoader, derive_seed, epoch_batches, preload_all, shard
from tssbn.training.describe import add_epoch, add_logits, description, device_name
from tssbn.training.epoch import EpochLosses, check_tasks, evaluate, predict, train_epoch
from tssbn.training.memory import peak_memory
from tssbn.training.processes import all_reduce_mean
from tssbn.training.progress import Callback
from tssbn.training.run import Run

__all__ = ["Trainer"]

PENALTY = "penalty"  # beside the tasks, among the losses of a step; in the entry of an epoch


class Trainer:
    """Trains a run by epochs; what changes in one is what a checkpoint holds.

    Args:
        fabric: Knows device, precision, and the other processes.
        run, root, data, angles: See :func:`tssbn.training.loop.train`.
        setup: How it is trained: precision, devices and so on; a part of the record.
        note: For the record.

    Attributes:
        net: The network.
        record: What is known of the run.
        balancing: What makes gradients of the losses.
    """

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
        self.fabric, self.run, self.recipe = fabric, run, run.benchmark.recipe
        if fabric.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(fabric.device)
        self.scored = ["test", *["val"] * (self.recipe.report == "val")]
        root = run.benchmark.folder(root)
        sources = {split: run.benchmark.data(split, root) for split in ("train", *self.scored)}
        targets = sources["train"].targets
        self.tasks = run.benchmark.tasks(targets)
        # Judged by F1 at a threshold: their logits are kept, to choose another one.
        self.attributes = [
            name
            for name, task in self.tasks.items()
            if isinstance(metric := task.metric(), Attributes)
            and "f1" in metric.directions
            and task.out_channels == 1
        ]
        if unknown := self.recipe.weights.keys() - self.tasks:
            raise ValueError(
                f"weights are given of {sorted(unknown)}, the tasks are {list(self.tasks)}"
            )

        form = torch.channels_last if setup["channels_last"] else torch.contiguous_format
        optimiser = self._build(setup, form, angles)
        loaded = preload_all(sources, data, fabric.device)  # what is refused at once comes before
        self.record = {
            **description(run, self.tasks, sources, loaded, self.net),
            **self.started,
            **setup,
            "device": device_name(fabric.device),
            "note": note,
            "starts": 1,
            "epochs": [],
            "finished": False,
        }
        self.step_seconds: list[float] = []  # means over the steps between two looks at the losses

        compiled = torch.compile(self.net) if setup["compile"] else self.net
        self.model, self.optimiser = fabric.setup(compiled, optimiser)
        # The same everywhere, if machines differ in a bit:
        all_reduce_mean(fabric, self.net.parameters())
        self.batches = {
            split: BatchLoader(part, fabric.device, run.benchmark.scale, memory_format=form)
            for split, part in loaded.items()
        }
        if run.benchmark.augment is not None:
            self.batches["train"].augment = run.benchmark.augment(targets)

    def _build(
        self, setup: Mapping[str, Any], form: torch.memory_format, angles: int
    ) -> torch.optim.Optimizer:
        """Network, balancing and optimiser, from the run's seed."""
        run, recipe = self.run, self.recipe
        torch.manual_seed(run.seed)
        outputs = {name: task.out_channels for name, task in self.tasks.items()}
        self.net: MultiTaskNetwork = run.method.build(
            run.benchmark.network, outputs, **run.options_for(run.method.build)
        )
        self.started = run.method.start(self.net, run, **run.options_for(run.method.start))
        # Asked once: to read a property's value in every step would make a GPU wait.
        self.told_progress = hasattr(self.net, "progress")
        self._tell_progress(0)
        self.balancing = find_balancing(run.balance)(self.net, **run.balance_options)
        self.balancing.check(setup["precision"], setup["compile"])
        self.balancing.to(self.fabric.device)
        self.net.tasks_per_pass = 1 if self.balancing.one_task_per_pass else recipe.tasks_per_pass
        self.net.to(memory_format=form)
        groups = run.method.groups(self.net, recipe.lr, **run.options_for(run.method.groups))
        if not recipe.decay_vectors:
            groups = spare_vectors(groups, self.net)
        optimiser = recipe.make_optimiser([*groups, *self.balancing.groups(recipe.lr)])

        self.penalised = self.angles = None
        self.seam = self.balancing  # what stands between the losses and the gradients
        if hasattr(self.net, "penalty"):
            if PENALTY in self.tasks:
                raise ValueError(f"a network with a penalty cannot have a task named {PENALTY!r}")
            self.seam = self.penalised = Penalised(self.net, self.seam)
        if angles:
            self.seam = self.angles = Angles(self.net, angles, self.seam)
        return optimiser

    @property
    def epochs(self) -> int:
        """How many epochs were made."""
        return len(self.record["epochs"])

    def indices(self, epoch: int) -> list[Tensor]:
        """The indices of this process's images in each step of an epoch, which counts from 1."""
        n, recipe = len(self.batches["train"].data), self.recipe
        seed, rank = derive_seed(self.run.seed, epoch), self.fabric.global_rank
        least = recipe.batch if recipe.drop_last else recipe.min_last_batch
        return epoch_batches(n, recipe.batch, seed, rank, self.fabric.world_size, least)

    def check_tasks(self) -> None:
        """Put one batch through every loss and metric; what is trained afterwards is the same."""
        # An augmentation draws random numbers here, but each epoch starts from its own seed.
        for batch in self.batches["train"](self.indices(1)[:1]):
            check_tasks(self.model, self.tasks, batch)

    def score_constant(self) -> None:
        """Write down how well an answer scores that ignores the image, of data that are held."""
        train, test = (self.batches[split].data for split in ("train", "test"))
        held = isinstance(train, Stored) and isinstance(test, Stored)
        if held and "constant" not in self.record:
            self.record["constant"] = constant_scores(self.tasks, train, test, self.recipe.batch)

    def train_epoch(self, callback: Callback) -> None:
        """Train for the next epoch, score what came out, and write it down.

        Raises:
            FloatingPointError: A loss, a parameter or a prediction is NaN or infinite.
        """
        began, epoch = time.monotonic(), self.epochs + 1
        torch.manual_seed(derive_seed(self.run.seed, epoch, 1 + self.fabric.global_rank))
        losses = EpochLosses(self.fabric)
        steps = train_epoch(
            self.fabric,
            self.model,
            self.optimiser,
            self.tasks,
            self._batches(epoch),
            self.recipe.weights,
            self.seam,
            self.recipe.clip,
        )
        for step, step_losses in enumerate(steps, 1):
            if self.penalised is not None:
                step_losses[PENALTY] = self.penalised.value
            losses.add(step_losses)
            callback.step(epoch, step, partial(_read, step_losses))
        means = losses.means()
        weights = self.recipe.weights
        self.seam.end_epoch({task: weights.get(task, 1.0) * means[task] for task in self.tasks})
        self.step_seconds += losses.step_seconds
        self._check_parameters()
        all_reduce_mean(self.fabric, (b for b in self.net.buffers() if b.is_floating_point()))
        self._tell_progress(epoch)

        scores = {split: self._scores(split) for split in self.scored}
        entry = {
            "epoch": epoch,
            "seconds": time.monotonic() - began,
            "lr": self.optimiser.param_groups[0]["lr"],
            "losses": {task: means[task] for task in self.tasks},
        }
        if self.penalised is not None:
            entry[PENALTY] = means[PENALTY]
        add_epoch(self.record, entry, scores, self.net)
        if self.record["finished"] and self.attributes:
            add_logits(self.record, {split: self._predictions(split) for split in self.scored})
        if self.angles is not None and self.angles.measured:
            self.record["angles"] = self.angles.measured
        self.record["seconds_per_step"] = statistics.median(self.step_seconds)
        self.record["peak_memory_mib"] = peak_memory(self.fabric.device)

    def _batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch; before each, learning rates and network know how far it is."""
        indices = self.indices(epoch)
        for step, batch in enumerate(self.batches["train"](indices)):
            self.recipe.set_rates(self.optimiser, epoch - 1, step, len(indices))
            self._tell_progress(epoch - 1 + step / len(indices))
            yield batch

    def _tell_progress(self, epochs: float) -> None:
        if self.told_progress:
            self.net.progress = epochs / self.recipe.epochs

    def _scores(self, split: str) -> dict[str, dict[str, float | list[float]]]:
        batches, rank = self.batches[split], self.fabric.global_rank
        indices = shard(len(batches.data), self.recipe.batch, rank, self.fabric.world_size)
        return evaluate(self.model, self.tasks, batches(indices))

    def _predictions(self, split: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Logits and labels of the attributes on all images, in every process."""
        batches = self.batches[split]
        indices = shard(len(batches.data), self.recipe.batch)
        return predict(self.model, self.attributes, batches(indices))

    def _check_parameters(self) -> None:
        for name, value in [*self.net.named_parameters(), *self.balancing.named_parameters()]:
            if not value.isfinite().all():
                raise FloatingPointError(f"{name!r} is not finite after the last step")

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds after an epoch."""
        return {
            "net": self.net.state_dict(),
            "balancing": self.balancing.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "record": self.record,
            "step_seconds": self.step_seconds,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from the end of an epoch; of the record, what may differ is that of this start."""
        self.net.load_state_dict(state["net"])
        self.balancing.load_state_dict(state["balancing"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        here = {key: self.record[key] for key in checkpoint.MAY_DIFFER if self.record[key] != ""}
        self.record, self.step_seconds = state["record"], state["step_seconds"]
        if not self.record["finished"]:
            self.record |= here | {"starts": self.record.get("starts", 1) + 1}
        self._tell_progress(self.epochs)
        if self.angles is not None:
            self.angles.measured = self.record.get("angles", {})
            self.angles.steps = self.epochs * len(self.indices(1))


def _read(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {task: loss.item() for task, loss in losses.items()}

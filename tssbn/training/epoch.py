"""One epoch: the steps of training, their losses, and the scores after them."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from tssbn.benchmarks.tasks import Task
from tssbn.metrics.base import TaskMetric
from tssbn.training.balancing import Balancing
from tssbn.training.memory import is_out_of_memory
from tssbn.training.processes import all_reduce_mean

__all__ = ["EpochLosses", "check_tasks", "evaluate", "predict", "train_epoch"]

EVERY = 50  # steps between two looks at the losses: a look makes a GPU wait for its last step


def train_epoch(
    fabric: Fabric,
    net: nn.Module,
    optimiser: Optimizer,
    tasks: Mapping[str, Task],
    batches: Iterable[dict[str, Tensor]],
    weights: Mapping[str, float] | None = None,
    balancing: Balancing | None = None,
    clip: float | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Train for one epoch, and yield the losses of each step, by task.

    The balancing groups the tasks into passes and computes gradients from their losses. The plain
    sum uses the network's own groups, with a backward pass for each, and adds the gradients.

    Args:
        fabric: knows the precision, and the other processes.
        net, optimiser: as ``fabric.setup`` gives them.
        batches: of images and targets, on the device of the network.
        weights: factors of the losses, by task; the yielded losses are without these factors.
        balancing: computes gradients from the losses; by default those of their sum. The optimiser
            must have its parameters, too.
        clip: the largest norm of the whole gradient; a larger gradient is scaled down to it.

    Example:
        >>> from tssbn import MultiTask
        >>> from tssbn.data.target import Target
        >>> from tssbn.benchmarks.tasks import tasks_for
        >>> net = MultiTask(nn.Conv2d(3, 4, 1), {"depth": nn.Conv2d(4, 1, 1)})
        >>> fabric = Fabric(accelerator="cpu", devices=1)
        >>> net, optimiser = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
        >>> batch = {"image": torch.rand(2, 3, 8, 8), "depth": torch.ones(2, 1, 8, 8)}
        >>> chosen = tasks_for({"depth": Target("depth", ignore=0)})
        >>> first, *_, last = train_epoch(fabric, net, optimiser, chosen, [batch] * 10)
        >>> bool(last["depth"] < first["depth"])
        True
    """
    net.train()
    weights, balancing = weights or {}, balancing or Balancing()

    def losses_of(batch: dict[str, Tensor], group: Iterable[str]) -> dict[str, Tensor]:
        predictions = net(batch["image"], group)
        return {task: tasks[task].loss(predictions[task], batch[task]) for task in group}

    def weigh(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {task: weights.get(task, 1.0) * loss for task, loss in losses.items()}

    @torch.no_grad()
    def losses_again(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with _buffers_kept(net):
            groups = [weigh(losses_of(batch, group)) for group in balancing.passes(net)]
        return {task: loss for losses in groups for task, loss in losses.items()}

    for batch in batches:
        losses = {}
        for group in balancing.passes(net):
            part = losses_of(batch, group)
            balancing.backward(net, weigh(part), fabric)
            losses |= {task: loss.detach() for task, loss in part.items()}
        balancing.finish(net, fabric)
        if clip is not None:
            fabric.clip_gradients(net, optimiser, max_norm=clip, error_if_nonfinite=False)
        optimiser.step()
        optimiser.zero_grad()
        balancing.after_step(partial(losses_again, batch), fabric)
        yield losses


@contextmanager
def _buffers_kept(net: nn.Module) -> Iterator[None]:
    """Put back what a forward pass in training mode moves, such as running statistics."""
    kept = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        for buffer, before in kept:
            buffer.copy_(before)


class EpochLosses:
    """Collect the losses of an epoch's steps, and read them from the device once in a while.

    Attributes:
        step_seconds: seconds of a step; the means over the steps between two looks.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.pending: list[dict[str, Tensor]] = []
        self.seen: list[dict[str, float]] = []
        self.step_seconds: list[float] = []
        self.began = time.monotonic()

    def add(self, losses: dict[str, Tensor]) -> None:
        """Take the losses of the next step, by task."""
        self.pending.append(losses)
        if len(self.pending) == EVERY:
            self.flush()

    def flush(self) -> None:
        """Wait for the steps so far, and read their losses, the means of all processes.

        Raises:
            FloatingPointError: a loss is NaN or infinite; names the first step and the task.
        """
        if not self.pending:
            return
        values = torch.stack([torch.stack([*losses.values()]) for losses in self.pending]).float()
        all_reduce_mean(self.fabric, [values])
        for losses, row in zip(self.pending, values.tolist(), strict=True):
            self.seen.append(dict(zip(losses, row, strict=True)))
            for task, loss in self.seen[-1].items():
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss of {task!r} is {loss} in step {len(self.seen)}"
                    )
        now = time.monotonic()
        self.step_seconds.append((now - self.began) / len(self.pending))
        self.began = now
        self.pending.clear()

    def means(self) -> dict[str, float]:
        """The mean of each task over the steps."""
        self.flush()
        return {
            task: math.fsum(losses[task] for losses in self.seen) / len(self.seen)
            for task in self.seen[0]
        }


@torch.no_grad()
def evaluate(
    net: nn.Module, tasks: Mapping[str, Task], batches: Iterable[dict[str, Tensor]]
) -> dict[str, dict[str, float | list[float]]]:
    """Compute every metric of every task over all batches of all processes.

    Args:
        net: a network, or what ``fabric.setup`` made of it.
        batches: of images and targets, on the device of the network.

    Raises:
        FloatingPointError: a prediction is NaN or infinite; names the task.
    """
    net.eval()
    metrics = {name: task.metric() for name, task in tasks.items()}
    for batch in batches:
        predictions = net(batch["image"])
        for task, metric in metrics.items():
            if not predictions[task].isfinite().all():
                raise FloatingPointError(
                    f"the prediction of {task!r} is not finite after the last step"
                )
            _update(metric, predictions[task], batch[task])
    return {task: metric.compute() for task, metric in metrics.items()}


@torch.no_grad()
def predict(
    net: nn.Module, tasks: Sequence[str], batches: Iterable[dict[str, Tensor]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return predictions and targets of tasks with one number per image.

    Args:
        net, batches: as those of :func:`evaluate`.

    Returns:
        Both by task, (N,), on the CPU.
    """
    net.eval()
    predictions, targets = ({task: [] for task in tasks} for _ in range(2))
    for batch in batches:
        outputs = net(batch["image"])
        for task in tasks:
            predictions[task].append(outputs[task].flatten().float().cpu())
            targets[task].append(batch[task].cpu())
    return tuple(
        {task: torch.cat(parts) for task, parts in each.items()} for each in (predictions, targets)
    )


def _update(metric: TaskMetric, prediction: Tensor, target: Tensor) -> None:
    # Some devices have no 64-bit floats, which the sums of a metric are.
    device = "cpu" if target.device.type == "mps" else target.device
    metric.to(device).update(prediction.to(device), target.to(device))


@torch.no_grad()
def check_tasks(net: nn.Module, tasks: Mapping[str, Task], batch: Mapping[str, Tensor]) -> None:
    """Compute the loss and the metric of every task on one batch, to find errors before training.

    The network runs in eval mode, so that running statistics do not change.

    Args:
        net, batch: as those of :func:`evaluate`.

    Raises:
        ValueError: a task has no target or no prediction, its loss or its metric fails, or its loss
            is no scalar; names the task, with shapes and types.

    Example:
        >>> from tssbn import MultiTask
        >>> from tssbn.data.target import Target
        >>> from tssbn.benchmarks.tasks import tasks_for
        >>> net = MultiTask(nn.Conv2d(3, 4, 1), {"depth": nn.Conv2d(4, 1, 1)})
        >>> batch = {"image": torch.rand(2, 3, 8, 8), "depth": torch.ones(2, 1, 9, 9)}
        >>> check_tasks(net, tasks_for({"depth": Target("depth", ignore=0)}), batch)
        Traceback (most recent call last):
        ValueError: the loss of task 'depth' fails on a prediction torch.float32 (2, 1, 8, 8) and a
        target torch.float32 (2, 1, 9, 9): prediction has shape ... they must agree
    """
    net.eval()
    predictions = net(batch["image"])
    for name, task in tasks.items():
        for what, there in ("target", batch), ("prediction", predictions):
            if name not in there:
                raise ValueError(f"task {name!r} has no {what}; there are {sorted(there)}")
        pair = predictions[name], batch[name]
        with _naming("loss", name, *pair):
            loss = task.loss(*pair)
        if not (isinstance(loss, Tensor) and loss.ndim == 0):
            shown = _form(loss) if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(f"the loss of task {name!r} must be a scalar tensor, got {shown}")
        with _naming("metric", name, *pair):
            metric = task.metric()
            _update(metric, *pair)
            metric.compute()


@contextmanager
def _naming(what: str, task: str, prediction: Tensor, target: Tensor) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a loss or a metric of the user's own may raise anything
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"the {what} of task {task!r} fails on a prediction {_form(prediction)} and a target "
            f"{_form(target)}: {error}"
        ) from error


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"

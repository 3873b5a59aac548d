"""The ways to run a trunk for T tasks, and one step of each."""

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import tssbn
from tssbn.cost import count_macs
from tssbn.multitask import MultiTask

__all__ = [
    "ABOUT",
    "DEFAULT",
    "Setting",
    "TimedStep",
    "applies",
    "check_strategy",
    "make_network",
]

ABOUT = {
    "plain": "the plain backbone, one pass; T times its time is the unit",
    "sigmoid": "the backbone with sigmoid normalisation, for one task (T = 1 only)",
    "sequential": "T forward passes, with a backward pass after each",
    "stacked": "one pass with T times the rows",
    "stem": "stacked, but the layers before the first task-specific one run once",
    "chunks:K": "as stem, with K tasks in a pass and a backward pass after each",
    "compiled": "stacked, with torch.compile; not a default, because it takes minutes",
}
DEFAULT = ("plain", "sigmoid", "sequential", "stacked", "stem", "chunks:1", "chunks:5")


@dataclass(frozen=True)
class Setting:
    """How all strategies compute.

    Attributes:
        device: of PyTorch, such as ``"cpu"`` or ``"cuda"``.
        precision: ``"32"``, ``"tf32"`` or ``"bf16"``, as in :func:`tssbn.training.loop.train`.
        channels_last: keep images and filters in this memory format.
        inference: all predictions in eval mode, without gradients, instead of a training step.
    """

    device: str = "cpu"
    precision: str = "32"
    channels_last: bool = False
    inference: bool = False


def check_strategy(strategy: str) -> str:
    """Return the name of a strategy, or say which there are.

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> check_strategy("chunks:5")
        'chunks:5'
    """
    kind, _, size = strategy.partition(":")
    known = strategy in ABOUT and strategy != "chunks:K"
    if known or (kind == "chunks" and size.isdecimal() and int(size) > 0):
        return strategy
    raise ValueError(f"strategy {strategy!r} is unknown; use some of {list(ABOUT)}, K from 1")


def applies(strategy: str, tasks: int) -> bool:
    """Whether a strategy is one of its own with so many tasks.

    Example:
        >>> applies("chunks:5", 10), applies("chunks:5", 5), applies("sigmoid", 2)
        (True, False, False)
    """
    if strategy.startswith("chunks:"):
        return int(strategy.partition(":")[2]) < tasks
    return strategy != "sigmoid" or tasks == 1


def make_network(strategy: str, trunk: nn.Module, tasks: int, stem: str = "") -> MultiTask:
    """Make the network of a strategy from a trunk, which is changed; the heads do nothing.

    Args:
        stem: the module in front of which the tasks part, in strategies that look for it.

    Example:
        >>> trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> net = make_network("chunks:2", trunk, 5, stem="1")
        >>> list(net.passes())
        [('task0', 'task1'), ('task2', 'task3'), ('task4',)]
    """
    kind, _, size = check_strategy(strategy).partition(":")
    if kind in ("plain", "sigmoid"):
        trunk = tssbn.sigmoid(trunk) if kind == "sigmoid" else trunk
        return MultiTask(trunk, {"task0": nn.Identity()})
    heads = {f"task{index}": nn.Identity() for index in range(tasks)}
    net = MultiTask(tssbn.task_specific(trunk, heads), heads)
    net.tasks_per_pass = {"sequential": 1, "chunks": int(size or 1)}.get(kind)
    if kind in ("stem", "chunks"):
        net.stem = stem
    if kind == "compiled":
        net.compile()
    return net


class TimedStep:
    """Compute the gradients of a trivial loss, without an optimiser; or predictions alone.

    The loss of a task is the mean square of the features. The weights' gradients are set to None
    at the end.

    Args:
        net: runs the tasks in its chunks, with a backward pass after each.
        images: (B, 3, H, W).
    """

    def __init__(self, net: MultiTask, images: Tensor, setting: Setting):
        form = torch.channels_last if setting.channels_last else torch.contiguous_format
        self.net = net.to(setting.device, memory_format=form).train(not setting.inference)
        self.images = images.to(setting.device, memory_format=form)
        self.setting = setting

    def __call__(self) -> None:
        if self.setting.inference:
            with torch.no_grad(), self._autocast():
                for tasks in self.net.passes():
                    self.net(self.images, tasks)
        else:
            self.add_gradients()
            self.net.zero_grad()

    def add_gradients(self) -> None:
        """Forward and backward passes of all tasks; adds to the gradients of the parameters."""
        for tasks in self.net.passes():
            with self._autocast():
                outputs = self.net(self.images, tasks)
                loss = sum(features.square().mean() for features in outputs.values())
            loss.backward()

    def mebibytes(self) -> float:
        """MiB of the network's parameters and buffers, and of the images."""
        held = [*self.net.parameters(), *self.net.buffers(), self.images]
        return sum(tensor.nbytes for tensor in held) / 2**20

    def macs(self) -> int:
        """Multiply-accumulates of the whole step; computes nothing.

        Forward and backward, as :func:`tssbn.cost.count_macs` counts.
        """
        setting = replace(self.setting, device="meta", precision="32")
        step = TimedStep(copy.deepcopy(self.net).to("meta"), self.images.to("meta"), setting)
        return count_macs(step.net, step)

    def _autocast(self) -> AbstractContextManager:
        if self.setting.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.setting.device, torch.bfloat16)

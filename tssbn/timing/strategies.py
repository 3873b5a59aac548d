"""The strategies to run a trunk for T tasks, and a step of each."""

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
    """The device, precision and mode of all strategies.

    Attributes:
        device: a device of PyTorch, such as ``"cpu"`` or ``"cuda"``.
        precision: ``"32"``, ``"tf32"`` or ``"bf16"``, as in :func:`tssbn.training.loop.train`.
        channels_last: whether images and filters have this memory format.
        inference: whether a step predicts all tasks in eval mode, instead of a training step.

    Example:
        >>> Setting().precision
        '32'
    """

    device: str = "cpu"
    precision: str = "32"
    channels_last: bool = False
    inference: bool = False


def check_strategy(strategy: str) -> str:
    """Return the name of a strategy if it is known.

    Args:
        strategy: a key of :data:`ABOUT`, with a number for K.

    Raises:
        ValueError: the strategy is unknown; the message lists the known ones.

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
    """Tell whether a strategy differs from the others with this number of tasks.

    Args:
        strategy: name of the strategy.
        tasks: number of tasks.

    Example:
        >>> applies("chunks:5", 10), applies("chunks:5", 5), applies("sigmoid", 2)
        (True, False, False)
    """
    if strategy.startswith("chunks:"):
        return int(strategy.partition(":")[2]) < tasks
    return strategy != "sigmoid" or tasks == 1


def make_network(strategy: str, trunk: nn.Module, tasks: int, stem: str = "") -> MultiTask:
    """Make the network of a strategy, with heads that return the features.

    Args:
        strategy: name of the strategy.
        trunk: the trunk, changed in place.
        tasks: number of tasks.
        stem: the module before which everything runs once, for the strategies stem and chunks.

    Raises:
        ValueError: the strategy is unknown.

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
    """A step without an optimiser, which computes gradients or, for inference, predictions only.

    The loss of a task is the mean square of its features. Gradients are set to None at the end.

    Args:
        net: the network, which runs its groups of tasks with a backward pass after each.
        images: (B, 3, H, W).
        setting: device, precision and mode.

    Example:
        >>> net = make_network("stacked", nn.BatchNorm2d(3), tasks=2)
        >>> step = TimedStep(net, torch.rand(4, 3, 8, 8), Setting())
        >>> step.add_gradients()
        >>> net.trunk.gamma.grad.shape
        torch.Size([2, 3])
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
        """Run forward and backward passes of all tasks, which add to the parameters' gradients."""
        for tasks in self.net.passes():
            with self._autocast():
                outputs = self.net(self.images, tasks)
                loss = sum(features.square().mean() for features in outputs.values())
            loss.backward()

    def mebibytes(self) -> float:
        """Compute the memory of parameters, buffers and images in MiB."""
        held = [*self.net.parameters(), *self.net.buffers(), self.images]
        return sum(tensor.nbytes for tensor in held) / 2**20

    def macs(self) -> int:
        """Count the multiply-accumulates of the step, forward and backward, on the meta device.

        They are counted by :func:`tssbn.cost.count_macs`.
        """
        setting = replace(self.setting, device="meta", precision="32")
        step = TimedStep(copy.deepcopy(self.net).to("meta"), self.images.to("meta"), setting)
        return count_macs(step.net, step)

    def _autocast(self) -> AbstractContextManager:
        if self.setting.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.setting.device, torch.bfloat16)

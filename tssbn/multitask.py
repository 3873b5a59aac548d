"""The multi-task network: one shared trunk, one head for each task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tssbn.norm import TaskSpecificNorm, shares_statistics
from tssbn.selection import check_tasks, choose_tasks, selections, tensors

__all__ = ["MultiTask"]

PASS_BYTES = 32 * 2**20  # from which on an allocation of glibc is never kept for reuse
COMMUTE = (  # with a positive factor for each channel; dropout draws once for all tasks
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
)
ENOUGH = 16  # the fewest values of a channel whose mean and variance a trial uses


class MultiTask(nn.Module):
    """A shared trunk and a head for each task; the output is a dict from task to prediction.

    On a trunk converted by `tssbn.task_specific` each task makes its own pass, with its own gates
    and statistics; the passes are stacked into one. On any other trunk the heads read the same
    features, which is hard parameter sharing (HPS). (Suteu & Serban, arXiv 2512.20420, section 3.)

    Args:
        trunk: Maps a batch to features with the batch in dimension 0: a tensor, or a tree (tuple,
            list, dict) of them. It is called with one argument; wrap one that takes several.
        heads: A module for each task, called with that task's features.
        tasks_per_pass: How many tasks to stack at most; all by default, and as many as pay once
            `share_stem` knows the trunk. Activations of one pass live together, so a smaller number
            needs less memory (see `chunks`), and 1 is right even for trunks that mix rows.

    Raises:
        ValueError: If the heads are not those of the trunk's tasks, or `tasks_per_pass` < 1.

    Example:
        >>> import torch, tssbn
        >>> from torch import nn
        >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> heads = {"seg": nn.Conv2d(8, 13, 1), "depth": nn.Conv2d(8, 1, 1)}
        >>> net = tssbn.MultiTask(tssbn.task_specific(trunk, heads), heads)
        >>> {task: tuple(y.shape) for task, y in net(torch.rand(2, 3, 6, 6)).items()}
        {'seg': (2, 13, 4, 4), 'depth': (2, 1, 4, 4)}
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        tasks_per_pass: int | None = None,
    ):
        super().__init__()
        names = check_tasks(heads)
        found = selections(trunk)
        if len(found) > 1:
            raise ValueError("the trunk was converted in parts: convert it in one call")
        if found and set(names) != set(found[0].names):
            raise ValueError(f"heads are for {list(names)}, the trunk for {list(found[0].names)}")
        if tasks_per_pass is not None and not (
            isinstance(tasks_per_pass, int) and tasks_per_pass >= 1
        ):
            raise ValueError(
                f"tasks_per_pass={tasks_per_pass!r} must be an integer from 1, or None for all"
            )
        self.trunk = trunk
        self.heads = nn.ModuleDict(heads)
        self.tasks_per_pass = tasks_per_pass
        self._selection = found[0] if found else None
        self._row_bytes: int | None = None  # the largest normalised activation, by image and task

    @property
    def tasks(self) -> tuple[str, ...]:
        """The task names, in the order of the rows of γ."""
        return self._selection.names if self._selection else tuple(self.heads)

    def chunks(self, tasks: Iterable[str] | None = None) -> Iterator[tuple[str, ...]]:
        """The tasks in groups of at most `tasks_per_pass`, in the network's order.

        A backward pass for each group frees its activations before the next; the gradients add up
        to those of a single backward. (Not with BatchNorm layers whose batch statistics all tasks
        of a pass share: those of ``norm="affine"``, or left out of the conversion.)

        Example:
            >>> import torch, tssbn
            >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("a", "b", "c"))
            >>> heads = {task: torch.nn.Linear(3, 1) for task in ("a", "b", "c")}
            >>> net = tssbn.MultiTask(trunk, heads, tasks_per_pass=2)
            >>> for tasks in net.chunks():
            ...     outputs = net(torch.rand(4, 3), tasks)
            ...     sum(y.square().mean() for y in outputs.values()).backward()
            ...     print(list(outputs))
            ['a', 'b']
            ['c']
        """
        names = self._ordered(tasks)
        passes = math.ceil(len(names) / (self.tasks_per_pass or len(names)))
        size = math.ceil(len(names) / passes)
        for first in range(0, len(names), size):
            yield names[first : first + size]

    def paying(self, images: int) -> int:
        """How many tasks to stack for batches of so many images: as many as pay, at least 1.

        Small convolutions leave most of a machine idle, and stacked tasks fill it. Once it is full
        a larger pass gains nothing, costs memory, and on a CPU loses: the usual allocator of Linux
        gives tensors of 32 MiB and more back at once, and fresh pages are slow to come by. So a
        pass takes as many tasks as keep the largest output of their norm layers below 32 MiB.
        (Measured on a CPU; a GPU may want another number, which `tasks_per_pass` sets.) All tasks
        share a pass where `share_stem` has not seen an example yet, and where the tasks of a pass
        share running statistics. (In a transformer the hidden layers of the MLPs are larger still.)
        """
        if self._row_bytes is None:
            return len(self.tasks)
        if any(shares_statistics(module) for module in self.trunk.modules()):
            return len(self.tasks)
        most = (PASS_BYTES - 1) // max(1, images * self._row_bytes)
        return max(1, min(len(self.tasks), most))

    def forward(self, x: Any, tasks: Iterable[str] | None = None) -> dict[str, Any]:
        """Predictions of the named tasks, all by default.

        Args:
            x: The trunk's input: a tensor (B, ...), or a tree of tensors with the batch first, one
                row an image in each; scalars are passed on as they are.
            tasks: Which tasks to run; the others cost nothing, and their statistics stay.

        Raises:
            ValueError: If a task is unknown, named twice, or none is named.
        """
        if self._selection is None:
            features = self.trunk(x)
            return {task: self.heads[task](features) for task in self._ordered(tasks)}
        outputs = {}
        for names in self.chunks(tasks):
            with self._selection.running(tuple(self.tasks.index(name) for name in names)):
                features = self._selection.split(self.trunk(x))
                for task, of_task in zip(names, features, strict=True):
                    outputs[task] = self.heads[task](of_task)
        return outputs

    def add_task(self, name: str, head: nn.Module, like: str | None = None) -> None:
        """Add a task to a trained network, after the others; build a new optimiser afterwards.

        The layers of the other tasks stay as they are, to the bit.

        Args:
            name: A new task name.
            head: Its head.
            like: A task whose gates and statistics it starts from. By default its gates start half
                open (σBN) or from the mean over tasks (plain), its biases and statistics from the
                mean over tasks.

        Raises:
            ValueError: If `name` is taken or no name, or `like` is unknown.
        """
        check_tasks((*self.tasks, name))
        if like is not None and like not in self.tasks:
            raise ValueError(f"like={like!r} is unknown: this network has {list(self.tasks)}")
        self.heads[name] = head
        if self._selection is not None:
            row = None if like is None else self.tasks.index(like)
            for layer in self._layers().values():
                layer.add_row(row)
            self._selection.names = (*self._selection.names, name)

    def check(self, example: Any) -> None:
        """Compare a stacked pass with separate ones, for trunks that are out of the ordinary.

        Stacking takes for granted that rows of a batch do not meet. Layers that see an image in
        several parts (windows, frames) run stacked only after this check.

        Args:
            example: An input of at least two images.

        Raises:
            ValueError: If the passes differ (run the trunk with ``tasks_per_pass=1`` then), the
                trunk is not task-specific, or `example` has fewer than two images.

        Example:
            >>> import torch, tssbn
            >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("a", "b"))
            >>> net = tssbn.MultiTask(trunk, {"a": torch.nn.ReLU(), "b": torch.nn.ReLU()})
            >>> net.check(torch.rand(4, 3))
        """
        with _Trial(self, example) as trial:
            trial.insist()
        self._selection.checked = True

    def share_stem(self, example: Any) -> str:
        """Run what the tasks have in common once: all that comes before they part.

        Up to the first task-specific layer all tasks see the same activations. How far "up to"
        reaches is not guessed: the candidates are the layer that runs first and the modules around
        it, innermost first, and the first one that gives the output of full passes, with gates
        drawn at random, is taken. (A residual stream around the first norm of a transformer thus
        ends at its block.)

        If that is a BatchNorm of the paper's form, x̂ itself is the same for all tasks while
        training, and a gate, a positive factor, commutes with ReLU and pooling. So the tasks part
        still later, at the last module in front of which gating gives the same output, and there
        the gates act. In eval mode each task has its own running statistics: they part at the
        layer. (Dropout before the parting draws once for all tasks.)

        If `tasks_per_pass` is None, it becomes what is `paying` for batches like the example.

        Args:
            example: An input of at least two images, of the size that is to come.

        Returns:
            The name of the module in front of which the tasks part, "" for the whole trunk.

        Raises:
            ValueError: As `check`, whose comparison it begins with.
        """
        if self._selection is not None:
            self._part_at("")
        with _Trial(self, example) as trial:
            trial.insist()
            for name in (*_outwards(trial.order[0]), ""):
                self._part_at(name)
                if trial.fits():
                    break
            if name == trial.order[0] and self._layers()[name].can_wait:
                name = self._part_late(trial, name)
            trial.insist()
            self._row_bytes = trial.largest // (trial.images * len(self.tasks))
        self._selection.checked = True
        if self.tasks_per_pass is None:
            self.tasks_per_pass = self.paying(trial.images)
        return name

    def _part_at(self, name: str, waiting: nn.Module | None = None) -> None:
        self._selection.expand_at(self.trunk.get_submodule(name), self.trunk, waiting)

    def _part_late(self, trial: _Trial, first: str) -> str:
        """The last module in front of which the gates of the first layer may act.

        By value alone commuting cannot be told: a convolution may have been made with zeros, and a
        ReLU6 be fed nothing above 6. So the modules on the way are of known kinds, and what is no
        module is tried with x̂ a thousand times as large, too.
        """
        layer, last = self._layers()[first], first
        for name in trial.order[1:]:
            self._part_at(name, layer)
            with trial.loud(layer):
                fits = trial.fits()
            if not (fits and trial.fits()):
                break
            last, module = name, self.trunk.get_submodule(name)
            if not isinstance(module, COMMUTE) and next(module.children(), None) is None:
                break
        self._part_at(last, None if last == first else layer)
        return last

    def _ordered(self, tasks: Iterable[str] | None) -> tuple[str, ...]:
        if tasks is None:
            return self.tasks
        return choose_tasks(tasks, self.tasks)

    def _layers(self) -> dict[str, nn.Module]:
        modules = self.trunk.named_modules()
        return {name: module for name, module in modules if isinstance(module, TaskSpecificNorm)}


class _Trial:
    """Compare stacked passes of a trunk with separate ones, with gates drawn for each task.

    Compared are the inputs of the task-specific layers, each row summed up in a number, and the
    outputs: a network far from trained may have outputs that tell little of what is inside.
    All is in eval mode, but BatchNorm normalises by the batch, so that the signal of a deep fresh
    network does not fade, except where so few values would blow up rounding errors. The network is
    left as it was.

    Attributes:
        order: the first task-specific layer that runs, and the modules that begin after it.
        largest: bytes of a layer's largest output in the last run, after the tasks have parted.
    """

    def __init__(self, net: MultiTask, example: Any):
        if net._selection is None:
            raise ValueError("the trunk has no task-specific layer: everything is shared already")
        lengths = [len(leaf) for leaf in tensors(example) if leaf.ndim]
        if min(lengths, default=2) < 2:
            raise ValueError("example has one image: two or more are needed to tell rows apart")
        self.trunk, self.example, self.selection = net.trunk, example, net._selection
        self.images = lengths[0] if lengths else 0
        self.layers = net._layers()
        generator = torch.Generator().manual_seed(0)  # what the caller draws next stays the same

        def drawn(value: Tensor) -> Tensor:
            return (torch.rand(value.shape, generator=generator) + 0.5).to(value)

        # Not only gates and statistics: what starts as 0, as positions do, would hide what it does.
        self.state = {
            f"{name}.{key}".removeprefix("."): drawn(value)
            for name, module in self.trunk.named_modules()
            if name not in self.layers and next(module.children(), None) is not None
            for key, value in module._parameters.items()
            if value is not None and value.is_floating_point()
        } | {
            f"{name}.{key}".removeprefix("."): drawn(value)
            if value.is_floating_point()
            else value.clone()
            for name, layer in self.layers.items()
            for key, value in (*layer._parameters.items(), *layer._buffers.items())
            if value is not None and key in layer._owned
        }

    def __enter__(self) -> _Trial:
        self.modes = {module: module.training for module in self.trunk.modules()}
        self.checked, self.selection.checked = self.selection.checked, True
        self.trunk.eval()
        self.hooks = [
            module.register_forward_pre_hook(partial(self._see, name))
            for name, module in self.trunk.named_modules()
        ]
        self.hooks += [layer.register_forward_hook(self._measure) for layer in self.layers.values()]
        try:
            self.separate = [self.run(task) for task in range(len(self.selection.names))]
        except BaseException:
            self.__exit__()
            raise
        self.order = self.begun
        return self

    @contextmanager
    def loud(self, layer: nn.Module) -> Iterator[None]:
        """Compare passes in which what this layer puts out is a thousand times as large."""
        hook, usual = layer.register_forward_hook(lambda *args: 1000 * args[-1]), self.separate
        try:
            self.separate = [self.run(task) for task in range(len(self.selection.names))]
            yield
        finally:
            hook.remove()
            self.separate = usual

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
        self.selection.checked = self.checked
        for module, training in self.modes.items():
            module.training = training

    def _see(self, name: str, module: nn.Module, args: tuple) -> None:
        specific = isinstance(module, TaskSpecificNorm)
        if specific:
            x, tasks = args[0], len(self.selection.tasks)
            parted = tasks == 1 or bool(self.selection.images)
            self.seen.append(x.flatten(1).norm(dim=1) if parted else None)
            if getattr(module, "channels_apart", False):  # nothing but a BatchNorm
                values = x.numel() // x.shape[1] // (tasks if parted else 1)
                module.training = values >= ENOUGH or module is self.selection.waiting
        if specific or self.begun:
            self.begun.append(name)

    def _measure(self, module: nn.Module, args: tuple, y: Tensor) -> None:
        if self.selection.images:
            self.largest = max(self.largest, y.numel() * y.element_size())

    @torch.no_grad()
    def run(self, *tasks: int) -> list[Tensor | None]:
        """What the layers see, None before the tasks have parted, and the outputs."""
        self.begun: list[str] = []
        self.seen: list[Tensor | None] = []
        self.largest = 0
        with self.selection.running(tasks):
            out = functional_call(self.trunk, self.state, (self.example,))
        return self.seen + [leaf for leaf in tensors(out) if leaf.ndim]

    def insist(self) -> None:
        """Raise if stacking does not give what separate passes gave."""
        if not self.fits():
            raise ValueError(
                f"stacked passes of {type(self.trunk).__name__} differ from separate ones: it "
                "mixes rows of a batch, so run it with tasks_per_pass=1"
            ) from self.error

    def fits(self) -> bool:
        """Whether all tasks stacked, as they part now, give what separate passes gave."""
        self.error: Exception | None = None
        try:
            stacked = self.run(*range(len(self.selection.names)))
            pairs = [
                (
                    one,
                    torch.stack([v.unflatten(0, (self.images, -1)) for v in others], 1).flatten(
                        0, 2
                    ),
                )
                for one, *others in zip(stacked, *self.separate, strict=True)
                if one is not None
            ]
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever it is, rows did not fit
            self.error = error
            return False
        return bool(pairs) and all(_agree(one, other) for one, other in pairs)


def _outwards(name: str) -> list[str]:
    """ "a.b.c" -> "a.b.c", "a.b", "a"."""
    parts = name.split(".") if name else []
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _agree(one: Tensor, other: Tensor) -> bool:
    """Equal, or for floating-point values equal up to rounding measured against the largest."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return bool((one - other).abs().max() <= torch.finfo(one.dtype).eps ** 0.5 * other.abs().max())

"""The multi-task network: one shared trunk, one head for each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from tssbn.check import difference
from tssbn.deprecation import former_method
from tssbn.names import check_tasks, choose_tasks, group_tasks
from tssbn.optim import vectors_of_tasks
from tssbn.saved_names import keep_names
from tssbn.stacking import count_images, count_writes, split, stack
from tssbn.stem import find_stem, part_before
from tssbn.tasks import Tasks, TaskSpecific, find_tasks

__all__ = ["MultiTask"]


class MultiTask(nn.Module):
    """Combine a shared trunk with a head for each task; return a dict from task to prediction.

    If the trunk has task-specific layers, every task gets its own features, from its own gates and
    statistics; the tasks are stacked along the batch dimension. Otherwise all heads read the same
    features: hard parameter sharing (HPS). (Suteu & Serban, arXiv 2512.20420, section 3.)

    Args:
        trunk: Maps a batch to features, a tensor or a tree (tuple, list, dict) of tensors, with
            the batch in dimension 0. It is called with one argument; wrap a trunk that needs more.
        heads: A module for each task, called with that task's features.
        tasks_per_pass: The largest number of tasks to stack; all by default. Fewer tasks need less
            memory (see `passes`). Stack all that fit; on a CPU, stacking stops paying off once an
            activation exceeds about 32 MiB. 1 works for every trunk, even one that mixes the rows
            of a batch.
        stem: The name of the trunk's module before which the tasks part, such as ``"layer1"`` of a
            ResNet; the modules before it run once for all tasks. "" means the input. At most one
            task-specific layer may come before it, followed only by modules that commute with a
            positive factor. `find_stem` proposes a stem and `check` tests it.

    Raises:
        TypeError: If `heads` is no dict.
        ValueError: If the heads are not those of the trunk's tasks, parts of the trunk were
            converted for different tasks, `tasks_per_pass` < 1, or the trunk has no such `stem`.

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
        stem: str = "",
    ):
        super().__init__()
        if not isinstance(heads, (Mapping, nn.ModuleDict)):
            raise TypeError(
                f"heads is a {type(heads).__name__}, must be a dict from task name to module"
            )
        names = check_tasks(heads)
        found = find_tasks(trunk)
        if len({one.names for one in found}) > 1:
            raise ValueError(
                "parts of the trunk are of different tasks: "
                + " and ".join(str(list(one.names)) for one in found)
            )
        if found and set(names) != set(found[0].names):
            raise ValueError(f"heads are for {list(names)}, the trunk for {list(found[0].names)}")
        self.trunk = trunk
        self.heads = nn.ModuleDict(heads)
        self.tasks_per_pass = tasks_per_pass
        self._tasks: Tasks | None = found[0] if found else None
        for layer in self._layers().values():  # copied layers, or converted in several calls
            layer.tasks = found[0]
        self._sequence_first = next(
            (n for n, m in trunk.named_modules() if getattr(m, "batch_first", True) is False), None
        )
        if found:
            keep_names(trunk)
        self.stem = stem

    @property
    def tasks(self) -> tuple[str, ...]:
        """The task names, in the order of the rows of γ."""
        return self._tasks.names if self._tasks else tuple(self.heads)

    @property
    def can_stack(self) -> bool:
        """Whether the rows of a batch are images, so that tasks can be stacked."""
        return self._sequence_first is None

    @property
    def tasks_per_pass(self) -> int | None:
        """The largest number of tasks to stack in one pass; None for all."""
        return self._tasks_per_pass

    @tasks_per_pass.setter
    def tasks_per_pass(self, value: int | None) -> None:
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise ValueError(f"tasks_per_pass={value!r} must be an integer from 1, or None for all")
        self._tasks_per_pass = value

    @property
    def stem(self) -> str:
        """The name of the trunk's module before which the tasks part; "" for the input."""
        return self._stem

    @stem.setter
    def stem(self, name: str) -> None:
        part_before(self.trunk, name, self._tasks)
        self._stem = name

    def extra_repr(self) -> str:
        said = {"stem": self.stem, "tasks_per_pass": self.tasks_per_pass}
        return ", ".join(f"{name}={value!r}" for name, value in said.items() if value)

    def passes(self, tasks: Iterable[str] | None = None) -> Iterator[tuple[str, ...]]:
        """Yield groups of at most `tasks_per_pass` neighbouring tasks, in the network's order.

        A backward pass for each group frees its activations before the next; the gradients add up
        to those of a single backward. (Not with BatchNorm layers whose batch statistics all tasks
        of a pass share.) One group is all tasks of a trunk without task-specific layers.

        `torch.compile` makes one graph for each group; for more than eight of them raise
        ``torch._dynamo.config.recompile_limit`` to their number before.

        Example:
            >>> import torch, tssbn
            >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("a", "b", "c"))
            >>> heads = {task: torch.nn.Linear(3, 1) for task in ("a", "b", "c")}
            >>> net = tssbn.MultiTask(trunk, heads, tasks_per_pass=2)
            >>> for tasks in net.passes():
            ...     outputs = net(torch.rand(4, 3), tasks)
            ...     sum(y.square().mean() for y in outputs.values()).backward()
            ...     print(list(outputs))
            ['a', 'b']
            ['c']
        """
        names = self._ordered(tasks)
        if self._tasks is None:
            yield names
        else:
            yield from group_tasks(names, self.tasks, self.tasks_per_pass)

    chunks = former_method("chunks", "passes")

    def shared(self) -> list[nn.Parameter]:
        """The parameters that more than one task's loss reaches: of the trunk, without its rows.

        What is frozen is not among them.
        """
        if len(self.tasks) == 1:
            return []
        own = {
            id(layer._parameters.get(name))
            for layer in self._layers().values()
            for name in layer.per_task
        }
        return [p for p in self.trunk.parameters() if p.requires_grad and id(p) not in own]

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that should get no weight decay, for timm's optimisers.

        These are gates and other vectors of each task, which look like matrices by their shape
        (T, C), and the names that the trunk's own ``no_weight_decay()`` returns.
        """
        names = {f"trunk.{name}" for name in getattr(self.trunk, "no_weight_decay", set)()}
        return names | set(vectors_of_tasks(self))

    def forward(self, x: Any, tasks: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the predictions of the named tasks, by default of all.

        Args:
            x: The trunk's input: a tensor (B, ...), or a tree of tensors with the batch first, one
                row an image in each; numbers and strings are passed on as they are. One task a pass
                takes whatever the trunk takes.
            tasks: Which tasks to run; the others cost nothing, and their statistics stay.

        Raises:
            ValueError: If a task is unknown, named twice, or none is named; or inputs cannot be
                stacked.
        """
        if self._tasks is None:
            return self._shared_features(self.trunk(x), self._ordered(tasks))
        outputs = {}
        for names in self.passes(tasks):
            if len(names) == 1:
                with self._tasks.running(names):
                    features = [self.trunk(stack(x, 1))]  # a copy: it may write in place
            else:
                self._refuse_sequence_first()
                images = count_images(x)
                stem = self.stem if images > 1 else ""  # one row would broadcast where it must not
                with self._tasks.running(names, images, stem=stem):
                    stacked = self.trunk(stack(x, 1 if stem else len(names)))
                features = split(stacked, images, len(names))
            for task, of_task in zip(names, features, strict=True):
                outputs[task] = self.heads[task](of_task)
        return outputs

    def _shared_features(self, features: Any, names: tuple[str, ...]) -> dict[str, Any]:
        """Hard sharing; an error if a head writes into the features that others read."""
        outputs = {}
        for task in names:
            before = count_writes(features)
            outputs[task] = self.heads[task](features)
            if task != names[-1] and count_writes(features) != before:
                raise RuntimeError(
                    f"the head of {task!r} changes the features in place, which the other heads "
                    "read, too: let it work on a copy (inplace=False)"
                )
        return outputs

    def _refuse_sequence_first(self) -> None:
        if not self.can_stack:
            raise ValueError(
                f"module {self._sequence_first!r} has batch_first=False, so rows are not "
                "images and tasks cannot be stacked: run one task a pass (tasks_per_pass=1)"
            )

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
        if self._tasks is not None:
            row = None if like is None else self.tasks.index(like)
            for layer in self._layers().values():
                layer.add_task(row)
            self._tasks.names = (*self._tasks.names, name)
            keep_names(self.trunk)

    def check(self, example: Any) -> None:
        """Compare a stacked pass with separate passes, for trunks with unusual layers.

        Stacking assumes that the trunk treats the rows of a batch independently, and that the tasks
        can part at `stem`. Layers that split an image into parts (windows, frames) run stacked only
        after this check. It uses copies with random gates, in eval mode except for the paper's
        BatchNorm, and repeats in double precision if the passes differ. It cannot detect what
        another input, or training mode, would change.

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
        if self._tasks is None:
            raise ValueError("the trunk has no task-specific layer: everything is shared already")
        if count_images(example) < 2:
            raise ValueError("example has one image: two or more are needed to tell rows apart")
        if off := difference(self, example):
            stem = f", or its tasks cannot part at stem={self.stem!r}" if self.stem else ""
            raise ValueError(
                f"stacked passes of {type(self.trunk).__name__} differ from separate ones ({off}): "
                f"it mixes rows of a batch, so run it with tasks_per_pass=1{stem}"
            )
        self._tasks.parts_checked = True

    def share_stem(self, example: Any) -> str:
        """Set `stem` to the proposal of `find_stem`, if it passes `check` on the example.

        Returns:
            The name of the module in front of which the tasks part, "" for the input.

        Raises:
            ValueError: As `check`, of the network without a stem.
        """
        before, self.stem = self.stem, ""
        try:
            self.check(example)
        except BaseException:
            self.stem = before
            raise
        proposed = find_stem(self.trunk)
        self.stem = proposed
        if proposed and difference(self, example):
            self.stem = ""
        return self.stem

    def _ordered(self, tasks: Iterable[str] | None) -> tuple[str, ...]:
        if tasks is None:
            return self.tasks
        return choose_tasks(tasks, self.tasks)

    def _layers(self) -> dict[str, TaskSpecific]:
        modules = self.trunk.named_modules()
        return {name: module for name, module in modules if isinstance(module, TaskSpecific)}

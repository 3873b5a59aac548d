"""Which tasks of a network run now, and the modules of which each task owns a row.

A pass that runs t tasks on B images holds B·t rows, image by image: row ``b * t + i`` is image b as
the i-th of these tasks sees it. So a contiguous (B·t, C, ...) tensor *is* (B, t, C, ...), without a
copy. The task-specific modules of one network share one `Tasks`, which knows the pass under way. It
lives in the network, not in a global, and keeps one state a thread, so that two networks, nested
calls and threads do not meet.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.names import check_tasks, choose_tasks
from tssbn.passes import Pass, PassesUnderWay

__all__ = ["TaskSpecific", "Tasks", "find_tasks", "select"]


class Tasks:
    """The tasks of one network, in order, and in each thread those that run now.

    `tssbn.task_specific` makes one for all layers that it converts. Make one by hand for a network
    that is written with task-specific layers.

    Args:
        names: Distinct task names; their order is the order of the rows of every (T, ...) tensor.

    Raises:
        ValueError: On no name, a name twice, a set, or a name that a module dictionary cannot take.

    Example:
        >>> import torch, tssbn
        >>> from torch import nn
        >>> tasks = tssbn.Tasks(("seg", "depth"))
        >>> layers = nn.Conv2d(3, 8, 3), tssbn.TaskSigmoidBatchNorm2d(8, tasks), nn.ReLU()
        >>> heads = {"seg": nn.Conv2d(8, 13, 1), "depth": nn.Conv2d(8, 1, 1)}
        >>> list(tssbn.MultiTask(nn.Sequential(*layers), heads)(torch.rand(2, 3, 6, 6)))
        ['seg', 'depth']
    """

    def __init__(self, names: Iterable[str]):
        self.names = check_tasks(names)
        self.parts_checked = False  # layers that see an image in parts were compared, see check
        self._local = PassesUnderWay()

    def running(self, names: str | Iterable[str], images: int | None = None, **state: Any) -> Pass:
        """Return a context that runs these tasks, which must be neighbours in `names`."""
        chosen = choose_tasks((names,) if isinstance(names, str) else names, self.names)
        start, stop = self.names.index(chosen[0]), self.names.index(chosen[-1]) + 1
        if stop - start != len(chosen):
            raise ValueError(f"tasks {list(chosen)} are no neighbours in {list(self.names)}")
        return Pass(self, start, stop, images, **state)

    @property
    def current(self) -> Pass | None:
        """Return the current pass, or None."""
        return self._local.passes[-1] if self._local.passes else None

    @property
    def now(self) -> Pass:
        """Return the current pass; without one, a pass of the only task. Several are an error."""
        if self.current is None:
            if len(self.names) == 1:
                return Pass(self, 0, 1)
            raise RuntimeError(
                "no task is selected: call the network through tssbn.MultiTask, or run the trunk "
                f"for one task inside `with tssbn.select(trunk, {self.names[0]!r}):`. (Activation "
                "checkpointing inside the trunk recomputes outside the pass and ends here, too: "
                "use tssbn.recompute.)"
            )
        return self.current

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._local = PassesUnderWay()


class TaskSpecific(nn.Module):
    """A base class for modules with one row of parameters per task, such as adapters or prompts.

    A subclass keeps (T, ...) parameters and buffers, names them in `per_task`, and computes with
    the rows of the tasks that run now, for all of them at once. `tssbn.MultiTask` stacks it, runs
    subsets and groups of tasks through it, and adds tasks to it.

    Attributes:
        tasks: The network's tasks; all task-specific modules of a network share one object.
        per_task: Names of the parameters and buffers that have a row for each task.

    Example:
        >>> import torch, tssbn
        >>> from torch import nn
        >>> class TaskBias(tssbn.TaskSpecific):
        ...     per_task = ("bias",)
        ...     def __init__(self, channels, tasks):
        ...         super().__init__()
        ...         self.tasks = tasks
        ...         self.bias = nn.Parameter(torch.zeros(len(tasks.names), channels))
        ...     def forward(self, x):                                # (B·t, C)
        ...         return self.stack(self.unstack(x) + self.rows(self.bias))
        >>> tasks = tssbn.Tasks(("a", "b"))
        >>> trunk = nn.Sequential(nn.Linear(4, 3), TaskBias(3, tasks))
        >>> net = tssbn.MultiTask(trunk, {"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)})
        >>> {task: tuple(y.shape) for task, y in net(torch.rand(5, 4)).items()}
        {'a': (5, 1), 'b': (5, 2)}
    """

    tasks: Tasks
    per_task: tuple[str, ...] = ()

    def rows(self, value: Tensor) -> Tensor:
        """Select the rows of the running tasks, (T, ...) -> (t, ...), as a view."""
        return value[self.tasks.now.rows]

    def unstack(self, x: Tensor) -> Tensor:
        """Separate the running tasks, (B·t, ...) -> (B, t, ...), as a view.

        Of a layer that sees an image in k parts, such as windows, (B·t·k, ...) -> (B·k, t, ...).
        """
        now = self.tasks.now
        if now.stem:
            if now.gates is not None:
                raise RuntimeError(
                    f"two task-specific layers run before the stem ends at {now.stem!r}, so the "
                    "tasks have to part earlier: tssbn.find_stem proposes a place"
                )
            x = now.part(x)
        images, parts = self._images_and_parts(x.shape[0])
        if parts == 1:
            return x.unflatten(0, (images, now.count))
        return x.unflatten(0, (images, now.count, parts)).transpose(1, 2).flatten(0, 1)

    def stack(self, y: Tensor) -> Tensor:
        """Undo `unstack`, (B, t, ...) -> (B·t, ...)."""
        rows, count = y.shape[:2]
        _, parts = self._images_and_parts(rows * count)
        if parts == 1:
            return y.flatten(0, 1)
        return y.unflatten(0, (-1, parts)).transpose(1, 2).flatten(0, 2)

    def add_task(self, like: int | None) -> None:
        """Append a row for a new task: a copy of row `like`, or the result of `new_row`."""
        for name in self.per_task:
            kind = self._parameters if name in self._parameters else self._buffers
            value = kind.get(name)
            if value is None:
                continue
            row = self.new_row(name, value.detach()) if like is None else value.detach()[like]
            grown = torch.cat([value.detach(), row.to(value.dtype)[None]])
            if isinstance(value, nn.Parameter):
                grown = nn.Parameter(grown, requires_grad=value.requires_grad)
            kind[name] = grown

    def of_task(self, task: str) -> nn.Module:
        """Return a copy with the rows of one task only, which needs no `select` to run."""
        alone, only = copy.deepcopy(self), Tasks((task,))
        for part in alone.modules():  # itself, and task-specific modules that it computes with
            if isinstance(part, TaskSpecific):
                part._keep(part.tasks.names.index(task))  # one that is of this task alone stays
                part.tasks = only
        return alone

    def new_row(self, name: str, value: Tensor) -> Tensor:
        """Return the row of a new task if no other is given as `like`: the mean over the tasks."""
        return value.double().mean(0)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tasks={list(self.tasks.names)}".removeprefix(", ")

    def _keep(self, row: int) -> None:
        """Keep this row of what each task owns, and no other."""
        for kind in self._parameters, self._buffers:
            for name in kind.keys() & set(self.per_task):
                if (value := kind[name]) is not None:
                    kept = value.detach()[row : row + 1].clone()
                    if isinstance(value, nn.Parameter):
                        kept = nn.Parameter(kept, requires_grad=value.requires_grad)
                    kind[name] = kept

    def _images_and_parts(self, rows: int) -> tuple[int, int]:
        """B, and in how many parts this layer sees an image."""
        now = self.tasks.now
        if now.count == 1:
            return rows, 1
        images = rows // now.count if now.images is None else now.images
        stacked = images * now.count
        if rows == stacked == 0:
            return 0, 1
        if not stacked or rows % stacked:
            raise RuntimeError(
                f"{rows} rows reached a task-specific layer, not a multiple of images x tasks = "
                f"{images} x {now.count}: does the trunk reorder or drop rows of a batch? Run one "
                "task a pass (tasks_per_pass=1)"
            )
        if rows > stacked and not self.tasks.parts_checked:
            raise RuntimeError(
                f"{rows} rows reached a task-specific layer, {rows // stacked} for each image "
                "and task: are they parts of one image, or in another order? Call check(example) "
                "of tssbn.MultiTask once, which tells, or run one task a pass (tasks_per_pass=1)"
            )
        return images, rows // stacked


def find_tasks(model: nn.Module) -> list[Tasks]:
    """Find the distinct `Tasks` of the task-specific modules of `model`, in the order met."""
    found = (part.tasks for part in model.modules() if isinstance(part, TaskSpecific))
    return list(dict.fromkeys(found))


@contextmanager
def select(model: nn.Module, task: str) -> Iterator[None]:
    """Run a converted trunk, or parts of it, for one task inside a ``with`` block.

    The trunk then runs as an ordinary network. (`tssbn.MultiTask` runs several tasks at once.)
    Contexts can be nested; each thread has its own.

    Args:
        model: A module converted by `tssbn.task_specific`, or one that contains it.
        task: One task name.

    Raises:
        ValueError: If `model` has no task-specific layer, or `task` is unknown or no name.

    Example:
        >>> import torch, tssbn
        >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("seg", "depth"))
        >>> with tssbn.select(trunk, "depth"):
        ...     trunk(torch.rand(4, 3)).shape
        torch.Size([4, 3])
    """
    found = find_tasks(model)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no task-specific layer: convert it with "
            "tssbn.task_specific first"
        )
    if not isinstance(task, str):
        raise ValueError(
            f"task={task!r} must be one name of {list(found[0].names)}: tssbn.MultiTask runs "
            "several tasks at once"
        )
    with ExitStack() as passes:
        for tasks in found:
            passes.enter_context(tasks.running(task))
        yield

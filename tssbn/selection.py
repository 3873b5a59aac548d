"""Which tasks a network runs now, and how their rows are stacked.

A pass that runs T tasks on B images holds B·T rows, image by image: row ``b * T + t`` is image b as
task t sees it. The task-specific layers of one network share one `TaskSelection`, which knows the
tasks of the pass under way. It lives in the network, not in a global, and keeps one state a thread,
so that two networks, nested calls and threads do not meet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten


def check_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the task names as a tuple, or say what is wrong with them."""
    if isinstance(tasks, str):
        raise ValueError(f"tasks={tasks!r} is one string: pass a sequence of names, ({tasks!r},)")
    names = tuple(tasks)
    if not names:
        raise ValueError("tasks is empty: name at least one task")
    for name in names:
        if not isinstance(name, str) or not name or "." in name or "\n" in name:
            raise ValueError(f"task name {name!r} is not a non-empty string without '.' or newline")
        if hasattr(nn.ModuleDict, name) or name == "training":
            raise ValueError(f"task name {name!r} is a word of torch.nn.ModuleDict; choose another")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"tasks names {twice} more than once")
    return names


def choose_tasks(tasks: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named tasks in the order in which the network knows them."""
    names = check_tasks(tasks)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown tasks {unknown}: this network has {list(known)}")
    return tuple(name for name in known if name in names)


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in a tree of tuples, lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _Now(threading.local):
    """The pass under way in this thread; at first there is none."""

    def __init__(self):  # runs once in each thread; class attributes would upset torch.compile
        self.tasks: tuple[int, ...] = ()
        self.images: int | None = None  # 0 where the network runs and nothing is expanded yet
        self.again = False


class TaskSelection:
    """The tasks of one network, and those that run now.

    Made by `tssbn.task_specific` and shared by the layers that it converts; users meet it through
    `tssbn.select` and `tssbn.MultiTask`.
    """

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        self.batch_second: str | None = None  # a module whose rows are not images
        self.checked = False  # stacked passes were compared with separate ones
        self.waiting: nn.Module | None = None  # the layer whose gates act where the tasks part
        self._now = _Now()

    # -- what runs now ----------------------------------------------------------------------------

    @property
    def tasks(self) -> tuple[int, ...]:
        """Indices of the tasks that run now, ascending; an error outside a pass."""
        if not self._now.tasks:
            raise RuntimeError(
                "no task is selected: call the network through tssbn.MultiTask, or run the trunk "
                f"inside `with tssbn.select(trunk, {self.names[0]!r}):`. (Activation "
                "checkpointing inside the trunk recomputes outside the pass and ends here too, and "
                "so do tools that read a layer's weight, such as convert_sync_batchnorm: use them "
                "before the conversion.)"
            )
        return self._now.tasks

    @property
    def images(self) -> int | None:
        """B, the rows at the point where they were expanded; 0 before it, None outside."""
        return self._now.images

    @property
    def rows(self) -> slice:
        """The running tasks as a slice of a (T, C) tensor; they are neighbours where it is read."""
        return slice(self.tasks[0], self.tasks[-1] + 1)

    def indices(self, tasks: str | Iterable[str]) -> tuple[int, ...]:
        """Ascending indices of the named tasks."""
        chosen = choose_tasks((tasks,) if isinstance(tasks, str) else tasks, self.names)
        return tuple(self.names.index(name) for name in chosen)

    @property
    def neighbours(self) -> bool:
        """Whether the tasks that run now are neighbours in (T, C) tensors."""
        return self.tasks[-1] - self.tasks[0] == len(self.tasks) - 1

    @property
    def again(self) -> bool:
        """Whether a part of a pass is run again for its backward pass: statistics stay then."""
        return self._now.again

    def running(
        self, tasks: tuple[int, ...], images: int | None = None, again: bool = False
    ) -> _Pass:
        """A context in which these tasks run."""
        return _Pass(self._now, tasks, images, again or self._now.again)

    # -- rows -------------------------------------------------------------------------------------

    def begin(self, module: nn.Module, args: tuple) -> None:
        """Forward pre-hook of the network: nothing is expanded yet."""
        self._now.images = 0

    def expand(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Forward pre-hook of the entry: repeat every image once for each running task.

        All tensors but scalars must have the images in dimension 0.
        """
        if self.images:
            return None
        found = [v for v in tensors((args, kwargs)) if v.ndim]
        if not found:
            raise ValueError(f"{type(module).__name__} was called without a tensor to stack")
        if len(self.tasks) == 1:
            self._now.images = found[0].shape[0]
            return None
        if self.batch_second is not None:
            raise ValueError(
                f"module {self.batch_second!r} has batch_first=False, so rows are not images and "
                "tasks cannot be stacked: run one task a pass (tasks_per_pass=1)"
            )
        gates = None if self.waiting is None else self.waiting.gates
        return tree_map(lambda v: self.repeat(v, gates), (args, kwargs))

    def repeat(self, v: Any, gates: Tensor | None = None) -> Any:
        """(B, ...) -> (B·T, ...), times (T, C) gates if there are any."""
        if not _has_rows(v):
            return v
        if not self.images:
            self._now.images = v.shape[0]
        if v.shape[0] != self.images:
            raise ValueError(
                f"inputs of {self.images} and {v.shape[0]} rows cannot be stacked: every tensor "
                "needs one row an image (or run one task a pass, tasks_per_pass=1)"
            )
        rows = v.unsqueeze(1).expand(-1, len(self.tasks), *v.shape[1:])
        if gates is not None:
            rows = (rows * gates.reshape(*gates.shape, *[1] * (v.ndim - 2))).to(v.dtype)
        return rows.flatten(0, 1)

    def shape(self, rows: int) -> tuple[int, int, int]:
        """(B, T, k) of so many stacked rows; k > 1 where a layer sees parts of an image."""
        tasks, images = len(self.tasks), self.images
        if tasks == 1:
            return rows, 1, 1
        if rows == 0:
            return 0, tasks, 1
        if not images or rows % (images * tasks):
            raise RuntimeError(
                f"{rows} rows reached a task-specific layer, not a multiple of images x tasks = "
                f"{images} x {tasks}: call the converted module itself, which stacks the tasks, "
                "not a part of it"
            )
        parts = rows // (images * tasks)
        if parts > 1 and not self.checked:
            raise RuntimeError(
                f"{rows} rows reached a task-specific layer, {parts} for each image and task: are "
                "they parts of one image, or in another order? Call check(example) of "
                "tssbn.MultiTask once, which tells, or run one task a pass (tasks_per_pass=1)"
            )
        return images, tasks, parts

    def task_of_rows(self, x: Tensor) -> Tensor:
        """Index of the task that each stacked row of `x` belongs to."""
        images, _, parts = self.shape(x.shape[0])
        return torch.tensor(self.tasks, device=x.device).repeat_interleave(parts).repeat(images)

    def split(self, features: Any) -> list[Any]:
        """The trunk's output (a tensor or a tree of them) in parts, one for each running task."""
        tasks, images = len(self.tasks), self.images
        if not tensors(features):
            raise ValueError(
                f"the trunk returned a {type(features).__name__} in which no tensor is found: "
                "return a tensor, or a tuple, list or dict of them"
            )
        if tasks == 1:
            return [features]

        def parts(v: Any) -> list[Any]:
            if not _has_rows(v):
                return [v] * tasks
            if v.shape[0] != images * tasks:
                raise RuntimeError(
                    f"the trunk returned a tensor of {v.shape[0]} rows, not images x tasks = "
                    f"{images} x {tasks}: its output must keep the batch in dimension 0"
                )
            # Not by indexing, whose backward pass would add up T gradients of the stacked size.
            return [rows.contiguous() for rows in v.unflatten(0, (images, tasks)).unbind(1)]

        leaves, tree = tree_flatten(features)
        return [tree_unflatten(row, tree) for row in zip(*map(parts, leaves), strict=True)]

    def expand_at(
        self, module: nn.Module, network: nn.Module, waiting: nn.Module | None = None
    ) -> None:
        """Make `module`, a part of `network`, the one point where rows are expanded.

        The gates of the layer that is `waiting`, if one is, act there. All tasks share what comes
        before, and a positive factor commutes with all that may lie between: ReLU and pooling.
        """
        for part in network.modules():
            hooks = part._forward_pre_hooks
            for key in [key for key, hook in hooks.items() if hook in (self.begin, self.expand)]:
                del hooks[key]
                part._forward_pre_hooks_with_kwargs.pop(key, None)
        self.waiting = waiting
        network.register_forward_pre_hook(self.begin)
        module.register_forward_pre_hook(self.expand, with_kwargs=True)

    # -- state ------------------------------------------------------------------------------------

    def save_names(self, module: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
        """State-dict hook: rows of γ mean nothing without the names, so they travel along."""
        state[prefix + "task_names"] = torch.tensor(list("\n".join(self.names).encode()))

    def check_names(self, module: nn.Module, state: dict, prefix: str, *_: Any) -> None:
        """Load hook: refuse the state of other tasks before anything is copied."""
        saved = state.pop(prefix + "task_names", None)
        if saved is not None:
            names = tuple(bytes(saved.tolist()).decode().split("\n"))
            if names != self.names:
                raise ValueError(
                    f"the state_dict is of tasks {list(names)}, this network has "
                    f"{list(self.names)} (names and order must agree)"
                )

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_now"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._now = _Now()


class _Pass:
    """Set the running tasks, and put back what ran before."""

    def __init__(self, now: _Now, tasks: tuple[int, ...], images: int | None, again: bool):
        self.now, self.tasks, self.images, self.again = now, tasks, images, again

    def __enter__(self) -> None:
        self.before = self.now.tasks, self.now.images, self.now.again
        self.now.tasks, self.now.images, self.now.again = self.tasks, self.images, self.again

    def __exit__(self, *_: object) -> None:
        if self.now.tasks != self.tasks:
            raise RuntimeError("passes ended out of order: coroutines must not wait inside a pass")
        self.now.tasks, self.now.images, self.now.again = self.before


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def selections(model: nn.Module) -> list[TaskSelection]:
    """The distinct task selections of the layers in `model`, in the order met."""
    found = (getattr(module, "selection", None) for module in model.modules())
    return list(dict.fromkeys(s for s in found if isinstance(s, TaskSelection)))


@contextmanager
def select(model: nn.Module, tasks: str | Iterable[str]) -> Iterator[None]:
    """Choose the tasks for which a converted trunk runs, for as long as the context lasts.

    With several tasks the trunk returns B·T rows, image by image: row ``b * T + t`` is image b for
    the t-th of the chosen tasks, in the network's order. Contexts nest; each thread has its own.
    The tasks must not change between a forward pass and its backward pass if the trunk uses
    activation checkpointing, which runs layers again.

    Args:
        model: A module converted by `tssbn.task_specific`, or one that contains it.
        tasks: One task name, or several.

    Raises:
        ValueError: If `model` has no task-specific layer or a task is unknown.

    Example:
        >>> import torch, tssbn
        >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("seg", "depth"))
        >>> with tssbn.select(trunk, "depth"):
        ...     trunk(torch.rand(4, 3)).shape
        torch.Size([4, 3])
        >>> with tssbn.select(trunk, ("seg", "depth")):
        ...     trunk(torch.rand(4, 3)).shape
        torch.Size([8, 3])
    """
    found = selections(model)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no task-specific layer: convert it with "
            "tssbn.task_specific first"
        )
    with ExitStack() as passes:
        for selection in found:
            passes.enter_context(selection.running(selection.indices(tasks)))
        yield

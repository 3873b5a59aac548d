"""Which tasks of a network run now, and the modules of which each task owns a row.

A pass that runs t tasks on B images holds B·t rows, image by image: row ``b * t + i`` is image b as
the i-th of these tasks sees it. So a contiguous (B·t, C, ...) tensor *is* (B, t, C, ...), without a
copy. The task-specific modules of one network share one `Tasks`, which knows the pass under way. It
lives in the network, not in a global, and keeps one state a thread, so that two networks, nested
calls and threads do not meet.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = ["TaskSpecific", "Tasks", "select"]

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


def check_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the task names as a tuple, or say what is wrong with them."""
    if isinstance(tasks, str):
        raise ValueError(f"tasks={tasks!r} is one string: pass a sequence of names, ({tasks!r},)")
    if isinstance(tasks, (set, frozenset)):
        raise ValueError(
            f"tasks={tasks!r} is a set, whose order may differ between processes: pass a tuple"
        )
    names = tuple(tasks)
    if not names:
        raise ValueError("tasks is empty: name at least one task")
    for name in names:
        if not isinstance(name, str) or not name or "." in name or "\n" in name:
            raise ValueError(f"task name {name!r} is not a non-empty string without '.' or newline")
        if hasattr(nn.ModuleDict(), name):
            raise ValueError(f"task name {name!r} is a word of torch.nn.ModuleDict; choose another")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"tasks names {twice} more than once")
    return names


def choose_tasks(tasks: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named tasks in the order in which the network knows them."""
    names = check_tasks(sorted(tasks, key=str) if isinstance(tasks, Set) else tasks)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown tasks {unknown}: this network has {list(known)}")
    return tuple(name for name in known if name in names)


class _Local(threading.local):
    """The passes under way in this thread, the innermost last."""

    def __init__(self):  # runs once in each thread; class attributes would upset torch.compile
        self.passes: tuple[Pass, ...] = ()


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
        self.batch_second: str | None = None  # a module whose rows are not images
        self.parts_checked = False  # layers that see an image in parts were compared, see check
        self._local = _Local()

    def running(self, names: str | Iterable[str], images: int | None = None, **state: Any) -> Pass:
        """A context in which these tasks run; they must be neighbours in the order of `names`."""
        chosen = choose_tasks((names,) if isinstance(names, str) else names, self.names)
        start, stop = self.names.index(chosen[0]), self.names.index(chosen[-1]) + 1
        if stop - start != len(chosen):
            raise ValueError(f"tasks {list(chosen)} are no neighbours in {list(self.names)}")
        return Pass(self, start, stop, images, **state)

    @property
    def now(self) -> Pass:
        """The pass under way; outside one that of the only task, or an error if there are more."""
        if not self._local.passes:
            if len(self.names) == 1:
                return Pass(self, 0, 1)
            raise RuntimeError(
                "no task is selected: call the network through tssbn.MultiTask, or run the trunk "
                f"for one task inside `with tssbn.select(trunk, {self.names[0]!r}):`. (Activation "
                "checkpointing inside the trunk recomputes outside the pass and ends here, too: "
                "use tssbn.recompute.)"
            )
        return self._local.passes[-1]

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._local = _Local()


class Pass:
    """One pass of some tasks through a network; a context, whose state ends with it.

    Attributes:
        rows: The tasks that run, as a slice of a (T, ...) tensor.
        count: How many they are, t.
        images: B, where it is known; without it the rows of a task are taken for images.
        in_stem: Whether the tasks have not parted yet, so that there are B rows for all of them.
        gates: (t, C), of a layer in the stem, to act where the tasks part; see `tssbn.stem`.
        recomputing: Whether a part is run again for its backward pass: statistics stay then.
    """

    def __init__(
        self,
        tasks: Tasks,
        start: int,
        stop: int,
        images: int | None = None,
        in_stem: bool = False,
        recomputing: bool = False,
    ):
        self.tasks, self.images, self.recomputing = tasks, images, recomputing
        self.rows, self.count = slice(start, stop), stop - start
        self.in_stem = in_stem
        self.gates: Tensor | None = None

    def again(self) -> Pass:
        """The same pass at this point, to run a part of it once more."""
        start, stop = self.rows.start, self.rows.stop
        return Pass(self.tasks, start, stop, self.images, self.in_stem, recomputing=True)

    def __enter__(self) -> Pass:
        local = self.tasks._local
        local.passes = (*local.passes, self)
        return self

    def __exit__(self, *_: object) -> None:
        local = self.tasks._local
        if local.passes[-1] is not self:
            local.passes = tuple(one for one in local.passes if one is not self)
            raise RuntimeError("passes ended out of order: coroutines must not wait inside a pass")
        local.passes = local.passes[:-1]

    def part(self, tree: Any) -> Any:
        """The tasks part here: (B, ...) tensors become (B·t, ...), and gates that were due act."""
        gates, self.gates, self.in_stem = self.gates, None, False
        if self.images not in (None, count_images(tree)):
            raise RuntimeError(
                f"the stem ends in {count_images(tree)} rows for {self.images} images: the tasks "
                "have to part before an image is cut into parts, declare another stem"
            )
        if gates is None:
            return stack(tree, self.count)
        if len(tensors(tree)) != 1:
            raise RuntimeError(
                f"the stem ends in {len(tensors(tree))} tensors, but the gates of a layer before "
                "it are due on one: declare another stem"
            )

        def gated(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            factors = gates.reshape(*gates.shape, *[1] * (x.ndim - 2))  # (t, C, 1, ...)
            return (x.unsqueeze(1) * factors).to(x.dtype).flatten(0, 1)

        return tree_map(gated, tree)


class TaskSpecific(nn.Module):
    """A module of which each of T tasks owns a row: a norm layer, an adapter, a prompt, a router.

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
        """(T, ...) -> (t, ...): the rows of the tasks that run now, a view."""
        return value[self.tasks.now.rows]

    def unstack(self, x: Tensor) -> Tensor:
        """(B·t, ...) -> (B, t, ...): the running tasks apart, a view.

        Of a layer that sees an image in k parts, such as windows, (B·t·k, ...) -> (B·k, t, ...).
        """
        now = self.tasks.now
        if now.in_stem and now.count > 1:
            if now.gates is not None:
                raise RuntimeError(
                    "two task-specific layers run before the stem ends, so the tasks have to part "
                    "earlier: declare a stem with one of them, see tssbn.find_stem"
                )
            x = now.part(x)
        images, parts = self._images_and_parts(x.shape[0])
        if parts == 1:
            return x.unflatten(0, (images, now.count))
        return x.unflatten(0, (images, now.count, parts)).transpose(1, 2).flatten(0, 1)

    def stack(self, y: Tensor) -> Tensor:
        """(B, t, ...) -> (B·t, ...): what `unstack` took apart."""
        rows, count = y.shape[:2]
        _, parts = self._images_and_parts(rows * count)
        if parts == 1:
            return y.flatten(0, 1)
        return y.unflatten(0, (-1, parts)).transpose(1, 2).flatten(0, 2)

    def add_task(self, like: int | None) -> None:
        """Make room for one more task, like the task of that row, or else as `new_row` says."""
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
        """A copy with the rows of one task only, which runs without being told the task."""
        row = self.tasks.names.index(task)
        alone = copy.deepcopy(self)
        alone.tasks = Tasks((task,))
        for kind in alone._parameters, alone._buffers:
            for name in kind.keys() & set(self.per_task):
                if (value := kind[name]) is not None:
                    kept = value.detach()[row : row + 1].clone()
                    if isinstance(value, nn.Parameter):
                        kept = nn.Parameter(kept, requires_grad=value.requires_grad)
                    kind[name] = kept
        return alone

    def new_row(self, name: str, value: Tensor) -> Tensor:
        """What a new task starts from that is like no other: the mean over the tasks."""
        return value.double().mean(0)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tasks={list(self.tasks.names)}".removeprefix(", ")

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


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in a tree of tuples, lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def count_images(tree: Any) -> int:
    """The rows of a batch; an error unless every tensor but scalars has as many."""
    for leaf in tree_leaves(tree):
        if not isinstance(leaf, (Tensor, *PLAIN)):
            raise ValueError(
                f"a {type(leaf).__name__} in the input cannot be stacked: pass a tensor, or a "
                "tuple, list or dict of them, or run one task a pass (tasks_per_pass=1)"
            )
    lengths = [len(leaf) for leaf in tensors(tree) if leaf.ndim]
    if not lengths:
        raise ValueError("the network was called without a tensor to stack")
    if len(set(lengths)) > 1:
        raise ValueError(
            f"inputs of {' and '.join(map(str, dict.fromkeys(lengths)))} rows cannot be stacked: "
            "every tensor needs one row an image (or run one task a pass, tasks_per_pass=1)"
        )
    return lengths[0]


def stack(tree: Any, times: int) -> Any:
    """(B, ...) -> (B·t, ...): every image once for each of so many tasks, in all tensors."""

    def repeated(x: Any) -> Any:
        return x.repeat_interleave(times, 0) if isinstance(x, Tensor) and x.ndim else x

    return tree_map(repeated, tree)


def split(tree: Any, images: int, times: int) -> list[Any]:
    """(B·t, ...) -> t times (B, ...): what a trunk made of the rows of each task."""
    if not tensors(tree):
        raise ValueError(
            f"the trunk returned a {type(tree).__name__} in which no tensor is found: return a "
            "tensor, or a tuple, list or dict of them, or run one task a pass (tasks_per_pass=1)"
        )

    def parts(x: Any) -> list[Any]:
        if not isinstance(x, Tensor) or not x.ndim:
            return [x] * times
        if x.shape[0] != images * times:
            raise RuntimeError(
                f"the trunk returned a tensor of {x.shape[0]} rows, not images x tasks = "
                f"{images} x {times}: its output must keep the batch in dimension 0"
            )
        # Copies, for a head may write in place; and not by indexing, whose backward pass would
        # add up t gradients of the stacked size.
        each = x.unflatten(0, (images, times)).unbind(1)
        return [rows.clone(memory_format=torch.contiguous_format) for rows in each]

    leaves, form = tree_flatten(tree)
    return [tree_unflatten(row, form) for row in zip(*map(parts, leaves), strict=True)]


def find_tasks(model: nn.Module) -> list[Tasks]:
    """The distinct `Tasks` of the task-specific modules of `model`, in the order met."""
    found = (part.tasks for part in model.modules() if isinstance(part, TaskSpecific))
    return list(dict.fromkeys(found))


@contextmanager
def select(model: nn.Module, task: str) -> Iterator[None]:
    """Choose the task for which a converted trunk runs, for as long as the context lasts.

    The trunk then runs as an ordinary network, the task's own, whole or in parts. (Several tasks at
    once are stacked by `tssbn.MultiTask`.) Contexts nest; each thread has its own.

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


# -- names in a state_dict ------------------------------------------------------------------------


def keep_names(model: nn.Module) -> None:
    """Let the task names travel in the state_dict of `model`: rows mean nothing without them.

    They stand in a buffer, so that every key of the state_dict leads to an attribute.
    """
    layer = next(part for part in model.modules() if isinstance(part, TaskSpecific))
    device = next((own.device for own in layer.parameters()), None)
    names = _encode(layer.tasks.names).to(device)
    holders = [part for part in model.modules() if "task_names" in part._buffers]
    for part in holders:
        part.task_names = names
    if not holders:
        model.register_buffer("task_names", names)
        model.register_state_dict_post_hook(_save_names)
        model.register_load_state_dict_pre_hook(_check_names)


def forget_names(model: nn.Module) -> None:
    """Take out, in place, what `keep_names` put in."""
    for module in model.modules():
        if module._buffers.pop("task_names", None) is not None:
            for hooks in module._state_dict_hooks, module._load_state_dict_pre_hooks:
                for key in [k for k, hook in hooks.items() if _is_ours(hook)]:
                    del hooks[key]


def _is_ours(hook: Any) -> bool:
    return getattr(hook, "hook", hook) in (_save_names, _check_names)  # PyTorch wraps some


def _encode(names: tuple[str, ...]) -> Tensor:
    return torch.tensor(list("\n".join(names).encode()), dtype=torch.uint8, device="cpu")


def _save_names(model: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
    state[prefix + "task_names"] = _encode(find_tasks(model)[0].names)


def _check_names(model: nn.Module, state: dict, prefix: str, *_: Any) -> None:
    """Refuse the state of other tasks before anything is copied."""
    (own,) = find_tasks(model)
    saved = state.get(prefix + "task_names")
    if saved is not None and not saved.is_meta:
        values = saved.detach().float().round().to(torch.uint8)  # a cast or a mean of copies
        names = tuple(bytes(values.tolist()).decode(errors="replace").split("\n"))
        if names != own.names:
            raise ValueError(
                f"the state_dict is of tasks {list(names)}, this network has {list(own.names)} "
                "(names and order must agree)"
            )
    state[prefix + "task_names"] = _encode(own.names).to(model.task_names.device)

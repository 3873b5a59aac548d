"""Names of tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Set
from itertools import pairwise

import torch
from torch import nn

__all__ = ["check_tasks", "choose_tasks", "group_tasks"]


def check_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the task names as a tuple, or say what is wrong with them."""
    if isinstance(tasks, str):
        raise ValueError(f"tasks={tasks!r} is one string: pass a sequence of names, ({tasks!r},)")
    if isinstance(tasks, (set, frozenset)):
        raise ValueError(
            f"tasks={tasks!r} is a set, whose order may differ between processes: pass a tuple"
        )
    if not isinstance(tasks, Iterable) or isinstance(tasks, torch.Tensor):
        raise ValueError(
            f"tasks must be a sequence of names, got an object of type {type(tasks).__name__}. (A "
            "network takes one input: wrap a trunk of several arguments in a module that takes a "
            "tuple or dict)"
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


def group_tasks(
    names: tuple[str, ...], known: tuple[str, ...], size: int | None
) -> Iterator[tuple[str, ...]]:
    """Divide tasks into groups of at most `size`, each a slice of those that the network knows.

    Groups of neighbours are as even as they can be.

    Args:
        names: The tasks, in the network's order.
        known: All tasks of the network.
        size: How many in a group at most; without it as many as there are.

    Example:
        >>> list(group_tasks(("a", "b", "c", "e"), ("a", "b", "c", "d", "e"), 2))
        [('a', 'b'), ('c',), ('e',)]
    """
    places = [known.index(name) for name in names]
    cuts = [i for i, (one, other) in enumerate(pairwise(places), 1) if other != one + 1]
    for start, stop in pairwise([0, *cuts, len(names)]):
        run = names[start:stop]
        groups = math.ceil(len(run) / (size or len(run)))
        each = math.ceil(len(run) / groups)
        for first in range(0, len(run), each):
            yield run[first : first + each]

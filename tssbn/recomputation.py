"""Activations that are computed again for the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from tssbn.mixin import mix_in
from tssbn.norm.task_specific import shares_statistics
from tssbn.tasks import Tasks, TaskSpecific, find_tasks

__all__ = ["recompute"]


def recompute(trunk: nn.Module, names: Iterable[str]) -> nn.Module:
    """Keep only the inputs of some parts of a converted trunk; recompute them in backward.

    Saves memory and costs time, as `torch.utils.checkpoint` does. Training gives the same result;
    running statistics are updated only once. Changes the trunk in place.

    Args:
        trunk: A module converted by `tssbn.task_specific`.
        names: Parts of it, as in ``trunk.named_modules()``; stages or blocks are good choices.

    Raises:
        ValueError: If the trunk has no task-specific layer; or a part is unknown, chosen twice, a
            norm layer itself, never called (as a ModuleList is), or has running
            statistics that the tasks share, which would be updated twice.

    Example:
        >>> import torch, tssbn
        >>> block = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
        >>> trunk = tssbn.task_specific(torch.nn.Sequential(block, torch.nn.ReLU()), ("a", "b"))
        >>> net = tssbn.MultiTask(tssbn.recompute(trunk, ["0"]), {"a": block[0], "b": block[0]})
        >>> sum(y.sum() for y in net(torch.rand(4, 3)).values()).backward()
    """
    found = find_tasks(trunk)
    if len(found) != 1:
        raise ValueError(
            f"{type(trunk).__name__} has {len(found)} sets of task-specific layers: convert it in "
            "one call of tssbn.task_specific first"
        )
    if isinstance(names, str):
        raise ValueError(f"names={names!r} is one string: pass a sequence, [{names!r}]")
    modules, chosen = dict(trunk.named_modules()), list(names)
    for name in chosen:
        if chosen.count(name) > 1:
            raise ValueError(f"{name!r} is chosen twice")
        if name not in modules:
            raise ValueError(f"{type(trunk).__name__} has no module {name!r}")
        for inner, module in modules[name].named_modules():
            path = f"{name}.{inner}".strip(".")
            if isinstance(module, Recomputed):
                raise ValueError(f"{path!r} is recomputed already")
            if inner and path in chosen:
                raise ValueError(f"{path!r} is chosen twice, as a part of {name!r}, too")
            if shares_statistics(module):
                raise ValueError(
                    f"{path!r}, a {type(module).__name__}, has statistics that the tasks share, "
                    "which would be updated twice"
                )
        if type(modules[name]).forward is nn.Module.forward:
            raise ValueError(
                f"{name!r} is a {type(modules[name]).__name__}, which is never called: choose what "
                "is in it"
            )
        if isinstance(modules[name], TaskSpecific):
            raise ValueError(f"{name!r} is a single layer: choose the block around it")
    for name in chosen:
        part = modules[name]
        mix_in(part, Recomputed)
    return trunk


class Recomputed:
    """A module that keeps its inputs only, and runs again for the backward pass."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        found = find_tasks(self)
        again = {"context_fn": partial(_contexts, found[0])} if found else {}
        return checkpoint(super().forward, *args, use_reentrant=False, **again, **kwargs)


def _contexts(tasks: Tasks) -> tuple[AbstractContextManager, AbstractContextManager]:
    """What the forward pass runs in, and what the second run does: the same pass again."""
    return nullcontext(), tasks.now.again()

"""Ordinary norm layers in the place of task-specific ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from tssbn.norm import SharedStatisticsNorm, TaskSpecificNorm
from tssbn.recomputation import Recomputed
from tssbn.selection import TaskSelection

__all__ = ["effective", "forget_passes", "merged"]


def effective(layer: TaskSpecificNorm, task: str) -> dict[str, Tensor]:
    """What the host layer works with when the task runs: scale, bias, statistics as it has them.

    Example:
        >>> import tssbn
        >>> layer = tssbn.task_specific(nn.BatchNorm1d(2), ("seg", "depth"))
        >>> effective(layer, "depth")["weight"]
        tensor([0.5000, 0.5000], grad_fn=<ViewBackward0>)
    """
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    names = [name for name in statistics if layer._buffers.get(name) is not None]
    (row,) = layer.selection.indices(task)
    with layer.selection.running((row,)), torch.enable_grad():  # frozen or not, both can be told
        values = {name: getattr(layer, name) for name in ("weight", "bias", *names)}
        if isinstance(layer, SharedStatisticsNorm):
            values |= {"weight": layer.gamma[row], "bias": layer.beta[row]}
        elif "num_batches_tracked" in values:
            values["num_batches_tracked"] = values["num_batches_tracked"][0]
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def merged(layer: TaskSpecificNorm, tasks: Iterable[str]) -> nn.Module:
    """An ordinary layer of the host's class whose parameters and statistics are the tasks' means.

    Of a single task it is exactly that task's layer.

    Example:
        >>> import tssbn
        >>> layer = tssbn.task_specific(nn.BatchNorm1d(2), ("seg", "depth"))
        >>> type(merged(layer, ("seg", "depth"))).__name__
        'BatchNorm1d'
    """
    each = [effective(layer, task) for task in tasks]
    plain = copy.deepcopy(layer)
    forget_passes(plain)
    plain.__class__ = type(layer).__bases__[1]
    for name in ("gamma", "beta", "scale", "weight", "bias", "selection", "channels_apart"):
        for kind in plain._parameters, plain._buffers, plain.__dict__:
            kind.pop(name, None)
    plain._non_persistent_buffers_set.discard("beta")
    plain.register_parameter("weight", None)
    plain.register_parameter("bias", None)
    for name, first in each[0].items():
        rows = torch.stack([values[name].detach() for values in each])
        mean = first if (rows == first).all() else rows.double().mean(0).to(first.dtype)
        mean = mean.detach().clone()
        if name in ("weight", "bias"):
            mean = nn.Parameter(mean, requires_grad=first.requires_grad)
        setattr(plain, name, mean)
    return plain


def forget_passes(model: nn.Module) -> None:
    """Take out, in place, what a conversion hung on the modules, and what `recompute` made of them.

    Example:
        >>> import tssbn
        >>> layer = tssbn.task_specific(nn.BatchNorm1d(2), ("seg", "depth"))
        >>> forget_passes(layer)
        >>> len(layer._forward_pre_hooks)
        0
    """
    for module in model.modules():
        for kind, hooks in vars(module).items():
            if kind.endswith("_hooks"):
                for key in [key for key, hook in hooks.items() if _of_selection(hook)]:
                    del hooks[key]
                    module._forward_pre_hooks_with_kwargs.pop(key, None)
        if isinstance(module, Recomputed):
            module.__class__ = type(module).__bases__[1]
            del module.tasks_now


def _of_selection(hook: Callable) -> bool:
    hook = getattr(hook, "hook", hook)  # PyTorch wraps some
    owners = (getattr(hook, "__self__", None), *getattr(hook, "args", ()))
    return any(isinstance(owner, TaskSelection) for owner in owners)

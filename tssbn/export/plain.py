"""Ordinary norm layers in the place of task-specific ones."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from tssbn.copies import copied
from tssbn.deprecation import former_names
from tssbn.names import choose_tasks
from tssbn.norm import TaskSpecificNorm
from tssbn.norm.converted import OURS, STATISTICS
from tssbn.recomputation import Recomputed
from tssbn.saved_names import forget_names
from tssbn.stem import Parting

__all__ = ["bake", "mean_norm", "strip_hooks", "task_affine"]

__getattr__ = former_names(
    __name__, effective="task_affine", merged="mean_norm", strip="strip_hooks"
)


def task_affine(layer: TaskSpecificNorm, task: str) -> dict[str, Tensor]:
    """Find what the host layer works with for a task: scale, bias, statistics as it has them.

    Example:
        >>> import tssbn
        >>> layer = tssbn.task_specific(nn.BatchNorm2d(2), ("seg", "depth"))
        >>> task_affine(layer, "depth")["weight"]
        tensor([0.5000, 0.5000], grad_fn=<ViewBackward0>)
    """
    (task,) = choose_tasks((task,), layer.tasks.names)
    row = layer.tasks.names.index(task)
    with torch.enable_grad():  # frozen or not, both can be told
        host = layer.host(slice(row, row + 1))
    values = {name: host._parameters[name] for name in ("weight", "bias")} | host._buffers
    names = ("weight", "bias", *STATISTICS)
    found = {name: values[name] for name in names if isinstance(values.get(name), Tensor)}
    if "num_batches_tracked" in found:
        found["num_batches_tracked"] = found["num_batches_tracked"].squeeze()
    return found


def mean_norm(layer: TaskSpecificNorm, tasks: Iterable[str]) -> nn.Module:
    """Make an ordinary layer of the host's class from the means of parameters and statistics.

    Of a single task it is exactly that task's layer.

    Example:
        >>> import tssbn
        >>> layer = tssbn.task_specific(nn.BatchNorm2d(2), ("seg", "depth"))
        >>> type(mean_norm(layer, ("seg", "depth"))).__name__
        'BatchNorm2d'
    """
    each = [task_affine(layer, task) for task in tasks]
    plain = copied(layer)
    strip_hooks(plain)
    plain.__class__ = layer.host_type
    for name in (*OURS, "weight", "bias"):
        for kind in plain._parameters, plain._buffers, plain.__dict__:
            kind.pop(name, None)
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


def strip_hooks(model: nn.Module) -> None:
    """Take out, in place, what a conversion, a stem and `recompute` hung on the modules.

    Example:
        >>> import tssbn
        >>> layer = tssbn.task_specific(nn.BatchNorm2d(2), ("seg", "depth"))
        >>> strip_hooks(layer)
        >>> "task_names" in layer.state_dict()
        False
    """
    forget_names(model)
    for module in model.modules():
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if isinstance(hook, Parting)]:
            del hooks[key], module._forward_pre_hooks_with_kwargs[key]
        if isinstance(module, Recomputed):
            module.__class__ = type(module).__bases__[1]


def bake(model: nn.Module) -> None:
    """Put the value, in place, where a weight is computed by pruning or a reparametrisation.

    What is folded into such a weight would be lost when it is computed anew.

    Example:
        >>> layer = prune.l1_unstructured(nn.Linear(2, 2), "weight", 1)
        >>> bake(layer)
        >>> [name for name, _ in layer.named_parameters()]
        ['bias', 'weight']
    """
    for module in model.modules():
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)
            elif isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                nn.utils.remove_spectral_norm(module, hook.name)
    for module in [m for m in model.modules() if parametrize.is_parametrized(m)]:
        values = {name: getattr(module, name).detach() for name in module.parametrizations}
        module.__class__ = parametrize.type_before_parametrizations(module)  # copies share theirs
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))

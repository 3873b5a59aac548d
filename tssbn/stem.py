"""What the tasks have in common at first: where they part, and how to find the place.

Up to the first task-specific layer all tasks see the same activations, so B rows serve all of them.
If that layer is the paper's, x̂ itself is the same for all tasks while training, and a gate, a
positive factor, commutes with ReLU and pooling: the tasks part after these, and there the gates
act. In evaluation each task has running statistics of its own, and they part at the layer.
"""

from __future__ import annotations

from inspect import Parameter, signature

import torch
import torch.nn.functional as F
from torch import fx, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.copies import copied
from tssbn.norm import TaskSigmoidBatchNorm
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["find_stem"]

HOMOGENEOUS = {  # f(a·x) = a·f(x) for a positive a of each channel; dropout draws once for all
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Dropout, nn.Dropout2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
    *(F.relu, F.leaky_relu, F.max_pool2d, F.avg_pool2d, torch.relu, torch.max_pool2d, "relu"),
}


class Parting:
    """A forward pre-hook of the module of this name: passes with this stem part in front of it."""

    def __init__(self, tasks: Tasks, name: str):
        self.tasks, self.name = tasks, name

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        now = self.tasks.current
        return now.part((args, kwargs)) if now is not None and now.stem == self.name else None


def part_before(trunk: nn.Module, name: str, tasks: Tasks | None) -> None:
    """Let the tasks part before a module of the trunk, in passes that have it as their stem.

    Args:
        trunk: Its module of this name gets a forward pre-hook, once.
        name: "" is the input, where tasks part without one.
        tasks: Of the trunk; None where no layer is task-specific.

    Raises:
        ValueError: If the trunk has no such module, or shares all of its modules.
    """
    modules = dict(trunk.named_modules())
    if name and tasks is None:
        raise ValueError(
            f"stem={name!r}: the trunk has no task-specific layer, all of it is shared"
        )
    if name not in modules:
        raise ValueError(f"stem={name!r} names no module of the trunk")
    hooks = modules[name]._forward_pre_hooks.values()
    if name and not any(isinstance(hook, Parting) and hook.name == name for hook in hooks):
        modules[name].register_forward_pre_hook(Parting(tasks, name), with_kwargs=True)


def find_stem(trunk: nn.Module) -> str:
    """Find the last module of a converted trunk before which the tasks can part.

    Uses the graph that `torch.fx` traces and computes no values. Starts at the first task-specific
    layer and follows a chain of modules that commute with a positive factor. Returns the outermost
    module that is the only reader of the chain's output. Does not change the trunk.

    Args:
        trunk: A module converted by `tssbn.task_specific`.

    Returns:
        The name for ``tssbn.MultiTask(trunk, heads, stem=name)``; "" where the tasks must part at
        the input, or torch.fx cannot trace the trunk.

    Raises:
        ValueError: If the trunk has no task-specific layer, or is a whole network with heads.

    Example:
        >>> from torch import nn
        >>> import tssbn
        >>> layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)
        >>> find_stem(tssbn.task_specific(nn.Sequential(*layers), ("seg", "depth")))
        '3'
    """
    if isinstance(trunk, MultiTaskNetwork):
        raise ValueError(f"{type(trunk).__name__} has heads: give find_stem its trunk")
    if not any(isinstance(module, TaskSpecific) for module in trunk.modules()):
        raise ValueError(
            f"{type(trunk).__name__} has no task-specific layer: convert it with "
            "tssbn.task_specific first"
        )
    parameters = signature(trunk.forward).parameters.values()
    usual = {p.name: p.default for p in parameters if p.default is not Parameter.empty}
    trunk = copied(trunk)  # a forward may keep what it computes
    try:
        graph = _Tracer().trace(trunk, usual)
    except Exception:  # whatever a forward trips over when tensors have no values
        return ""
    calls = [node for node in graph.nodes if node.op == "call_module"]
    first = next((node for node in calls if _is_specific(trunk, node)), None)
    if first is None:
        return ""
    value = last = first.args[0] if _reads_one(first) else None
    layer = trunk.get_submodule(first.target)
    if isinstance(layer, TaskSigmoidBatchNorm) and layer.is_plain and value is not None:
        last = first
        while (
            len(last.users) == 1 and _is_homogeneous(trunk, *last.users) and _reads_one(*last.users)
        ):
            (last,) = last.users
    order = {node: i for i, node in enumerate(graph.nodes)}
    earlier = [node for node in order if order[node] < order.get(value, 0)]
    inside = (node for node in reversed(earlier) if node.op != "placeholder")
    for place in (last, value, *inside):  # past a sum that goes around the layer, such as a block's
        if isinstance(place, fx.Node) and (name := _only_reader(order, place)):
            return name
    return ""


class _Tracer(fx.Tracer):
    """Looks into all modules but those of torch, and the task-specific ones."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, TaskSpecific) or super().is_leaf_module(module, name)


def _is_specific(trunk: nn.Module, node: fx.Node) -> bool:
    return isinstance(trunk.get_submodule(node.target), TaskSpecific)


def _reads_one(node: fx.Node) -> bool:
    return len(node.all_input_nodes) == 1 and node.args[:1] == tuple(node.all_input_nodes)


def _is_homogeneous(trunk: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        module = trunk.get_submodule(node.target)
        altered = module._forward_hooks or module._forward_pre_hooks
        indices = getattr(module, "return_indices", False)
        return type(module) in HOMOGENEOUS and not altered and not indices
    return node.target in HOMOGENEOUS and not node.kwargs.get("return_indices")


def _only_reader(order: dict[fx.Node, int], value: fx.Node) -> str:
    """The outermost module that reads this value first, if nothing else passes from before it."""
    cut = order[value] + 1
    for node in list(order)[:cut]:  # what else is read on both sides of the cut would keep B rows
        if node is not value and any(order[user] >= cut for user in node.users):
            return ""
    stacks = [_modules(user) for user in value.users if user.op != "output"]
    if len(stacks) < len(value.users):
        return ""
    shared = [name for name in stacks[0] if all(name in stack for stack in stacks)]
    inside = _modules(value)
    return next((name for name in shared if name and name not in inside), "")


def _modules(node: fx.Node) -> list[str]:
    """The modules around a step, from the trunk inwards."""
    return [name for name, _ in node.meta.get("nn_module_stack", {}).values()]

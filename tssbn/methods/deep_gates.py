"""TSσBN in the stages from `first` on, counted from 0: how many need task-specific gates?

Before stage k, the setting `first`, the tasks share the norm layers as well, and these stages run
once for all tasks. From stage k on each task makes a pass. With k = 0 this is TSσBN. With k the
number of stages it is HPS, or shared gates: a shared norm layer is an ordinary one, or a σBN layer
(arXiv 2512.20420, eq. 2) whose gates start and are trained like those of the tasks.

:mod:`tssbn.networks.stages` lists the trunks with stages. Skip connections around stages, as in
SegNet and U-Nets, are allowed: the output of a shared stage for an image is copied for each task.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tssbn.convert import sigmoid, task_specific
from tssbn.copies import copied
from tssbn.methods import Method, Network, heads, one_group, task_norm
from tssbn.multitask import MultiTask
from tssbn.networks.stages import stages
from tssbn.norm import SigmoidNorm, TaskSigmoidNorm
from tssbn.recognise import is_norm
from tssbn.stacking import stack
from tssbn.tasks import Tasks, find_tasks

__all__ = ["build", "groups"]

SHARED = ("plain", "sigmoid")


def build(
    network: Network, outputs: Mapping[str, int], first: int = 1, shared: str = "plain"
) -> MultiTask:
    """Build a trunk whose norm layers are task-specific from one stage on.

    With several passes in a step (`tasks_per_pass`) the shared stages run once in each pass, and
    update their running statistics in each.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        first: the stage k with the first task-specific gates, from 0 to the number of stages.
        shared: the norm layers before it: ``"plain"``, or ``"sigmoid"`` for gates that all tasks
            share.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the stages of such a trunk are not known.
        ValueError: there is no such stage or kind of layer.

    Example:
        >>> import torch
        >>> def trunk():
        ...     return nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
        >>> network = Network(trunk, lambda n: nn.Linear(3, n), torch.zeros(2, 3))
        >>> net = build(network, {"seg": 3, "depth": 1}, first=1)
        >>> {name: tuple(p.shape) for name, p in net.trunk.named_parameters()}
        {'0.weight': (3,), '0.bias': (3,), '1.gamma': (2, 3)}
    """
    if shared not in SHARED:
        raise ValueError(f"shared={shared!r} is unknown, use one of {', '.join(SHARED)}")
    trunk = network.trunk()
    called = modules_by_stage(trunk, network.example)
    if not 0 <= first <= len(called):
        raise ValueError(
            f"first={first} must be from 0 to {len(called)}, the stages of {type(trunk).__name__}"
        )
    if first == 0:
        return task_norm.assembled(task_specific(trunk, outputs), network, outputs)
    later = set().union(*called[first:])
    before = {
        name
        for name in set().union(*called[:first]) - later
        if not any(other.startswith(f"{name}.") for other in later)
    }
    norms = {name for name, module in trunk.named_modules() if is_norm(module)}
    if norms - before:
        task_specific(trunk, outputs, where=lambda name, layer: name not in before)
    if shared == "sigmoid":
        for name in norms & before:
            sigmoid(trunk.get_submodule(name))
    for tasks in find_tasks(trunk):  # one, or none where no layer is left
        for name in _outermost(before):
            Once(tasks).of(trunk.get_submodule(name))
    return MultiTask(trunk, heads(network, outputs))


def groups(net: nn.Module, lr: float, multiplier: float = 100.0) -> list[dict]:
    """Make the parameter groups of TSσBN, or a single one where no layer has gates.

    Args:
        net: the network.
        lr: the learning rate of all parameters but the gates.
        multiplier: the learning rate of the gates over `lr`.

    Example:
        >>> [group["lr"] for group in groups(nn.Linear(2, 1), lr=0.1)]
        [0.1]
    """
    gated = any(isinstance(layer, (SigmoidNorm, TaskSigmoidNorm)) for layer in net.modules())
    return task_norm.groups(net, lr, multiplier) if gated else one_group(net, lr)


class Once:
    """Hooks that run a module once for each image, instead of once for each image and task.

    The rows of a pass are copies of an image for each task. Before the first task-specific layer
    these copies are equal.
    """

    def __init__(self, tasks: Tasks):
        self.tasks = tasks

    def of(self, module: nn.Module) -> None:
        """Register the hooks on a module."""
        module.register_forward_pre_hook(self.thin, with_kwargs=True)
        module.register_forward_hook(self.copy)

    def thin(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Keep one row of each image in all tensors, (B·t, ...) -> (B, ...)."""
        count = self.tasks.now.count

        def once(x: Any) -> Any:
            return x[::count] if isinstance(x, Tensor) and x.ndim else x

        return tree_map(once, (args, kwargs))

    def copy(self, module: nn.Module, args: tuple, given: Any) -> Any:
        """Copy each row for every task, (B, ...) -> (B·t, ...)."""
        count = self.tasks.now.count
        return given if count == 1 else stack(given, count)


def modules_by_stage(trunk: nn.Module, example: Tensor) -> list[set[str]]:
    """Find the names of the modules that each stage calls, on a copy without values.

    Args:
        trunk: a trunk with stages; it stays as it is.
        example: a batch of inputs.

    Example:
        >>> import torch
        >>> modules_by_stage(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.rand(2, 1, 1))
        [{'0'}, {'1'}]
    """
    twin = copied(trunk).to("meta").eval()
    called: list[set[str]] = [set()]
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: called[-1].add(name))
    for _ in stages(twin, example.to("meta")):
        called.append(set())
    return called[:-1]


def _outermost(names: set[str]) -> list[str]:
    """Select the modules that lie in no other module of the list."""
    return [n for n in sorted(names) if not any(n.startswith(f"{other}.") for other in names)]


METHOD = Method("deep gates", build, groups)

"""TSσBN only in the later stages of a trunk: how many stages need task-specific gates?

Before stage k, counted from 0, all tasks share the norm layers, too, so that these stages run
once for all; from there on each task makes a pass. With k = 0 it is TSσBN, at the number of stages
HPS, or shared gates: a shared layer is an ordinary one, or one of σBN (arXiv 2512.20420, eq. 2),
whose gates start and learn as those of the tasks.

Where trunks can be cut is said in :mod:`tssbn.networks.stages`. Features may go past stages, as in
SegNet and U-Nets: what a shared stage gives for an image is copied for each task.
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
    """A trunk whose norm layers are the task's own from a stage on.

    With more than one pass a step (`tasks_per_pass`) the shared stages run once in each, and their
    running statistics move as often.

    Args:
        first: the first stage of gated layers, from 0 to the number of stages.
        shared: the norm layers before it: ``"plain"``, or ``"sigmoid"`` for gates that all tasks
            share.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: it is not known where such a trunk can be cut.
        ValueError: there is no such stage, or another kind of layer.
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
    """Gates at ``multiplier * lr``, as in TSσBN; where no layer has any, all at the same rate."""
    gated = any(isinstance(layer, (SigmoidNorm, TaskSigmoidNorm)) for layer in net.modules())
    return task_norm.groups(net, lr, multiplier) if gated else one_group(net, lr)


class Once:
    """Hooks of a module that has no part of any task: it sees each image once.

    The rows of a pass are images as each of the running tasks sees them; here they are still alike.
    """

    def __init__(self, tasks: Tasks):
        self.tasks = tasks

    def of(self, module: nn.Module) -> None:
        """Put them on a module."""
        module.register_forward_pre_hook(self.thin, with_kwargs=True)
        module.register_forward_hook(self.copy)

    def thin(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """(B·t, ...) -> (B, ...), in all tensors."""
        count = self.tasks.now.count

        def once(x: Any) -> Any:
            return x[::count] if isinstance(x, Tensor) and x.ndim else x

        return tree_map(once, (args, kwargs))

    def copy(self, module: nn.Module, args: tuple, given: Any) -> Any:
        """(B, ...) -> (B·t, ...)."""
        count = self.tasks.now.count
        return given if count == 1 else stack(given, count)


def modules_by_stage(trunk: nn.Module, example: Tensor) -> list[set[str]]:
    """The names of the modules that each stage calls; nothing is computed, nor changed.

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
    """Those that lie in no other."""
    return [n for n in sorted(names) if not any(n.startswith(f"{other}.") for other in names)]


METHOD = Method("deep gates", build, groups)

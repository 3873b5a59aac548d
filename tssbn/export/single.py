"""One task of a multi-task network as a network of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tssbn import pruning
from tssbn.copies import copied
from tssbn.deprecation import former_names
from tssbn.export import folding
from tssbn.export.plain import bake, mean_norm, strip_hooks
from tssbn.multitask import MultiTask
from tssbn.names import choose_tasks
from tssbn.norm import SigmoidNorm, TaskSigmoidNorm, TaskSpecificNorm
from tssbn.stacking import tensors
from tssbn.tasks import TaskSpecific

__all__ = ["channel_gates", "plain_norms", "task"]

__getattr__ = former_names(__name__, gates="channel_gates", unfolded="plain_norms")

SLACK = 0.01  # what rounding may do to the outputs, half precision included


def task(
    net: MultiTask,
    name: str,
    threshold: float = 0.0,
    example: Tensor | None = None,
    fold: bool = True,
) -> nn.Sequential:
    """Export one task as plain PyTorch, at the cost of the backbone without normalisation layers.

    For a single task the gates and statistics of a converted trunk are constants. They are folded
    into the convolutions and linear layers, see :func:`tssbn.export.fold`; what is left is the
    trunk's own class and code with that task's head behind it. It can be pickled, saved, exported
    by :func:`torch.export.export` and :func:`torch.onnx.export`, and holds nothing of this package
    but trunks and heads that are its own, and task-specific modules that are no norm layers, which
    keep the task's rows.

    With a threshold, channels whose gate is below it are cut out before. A channel goes with its
    norm layer, the filter that makes it and the weights that read it. Where channels meet in a sum,
    as in residual networks, one goes if all that are added to it are closed, and what no open gate
    lets through goes, too (:func:`tssbn.pruning.tie_masks`). Of a layer whose gates are all below
    the threshold the widest stays. Biases that an affine mode kept go with their channels.

    Args:
        net: a network of any norm mode, or with a trunk that was not converted.
        name: of the task.
        threshold: gates below it are closed, in [0, 1); 0 keeps all. Needs torch-pruning.
        example: an input batch. Cutting channels needs one; without a threshold it serves to
            compare the result with ``net(example)[name]``.
        fold: whether to fold the norm layers. False leaves ordinary ones, all in their places, for
            tools that fuse them by themselves, such as quantisation-aware training.

    Returns:
        ``nn.Sequential`` of ``trunk`` and ``head``, in eval mode, with parameters of its own;
        without a threshold equal to ``net(x)[name]`` in eval mode, up to rounding.

    Raises:
        TypeError: ``net`` is no `tssbn.MultiTask`.
        ValueError: an unknown task, a threshold outside [0, 1), or one above 0 without an example
            or without gated BatchNorm layers; channels that cannot be cut, see
            :func:`tssbn.pruning.prune_channels`; or the result differs from the network on the
            example.
        ImportError: there is a threshold and torch-pruning is not installed.

    Example:
        >>> import tssbn
        >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> heads = {"seg": nn.Conv2d(8, 13, 1), "depth": nn.Conv2d(8, 1, 1)}
        >>> net = tssbn.MultiTask(tssbn.task_specific(trunk, heads), heads)
        >>> task(net, "depth")
        Sequential(
          (trunk): Sequential(
            (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
            (1): Identity()
            (2): ReLU()
          )
          (head): Conv2d(8, 1, kernel_size=(1, 1), stride=(1, 1))
        )
    """
    if not isinstance(net, MultiTask):
        raise TypeError(
            f"net must be a tssbn.MultiTask, got {type(net).__name__}: pass the network itself, "
            "not what wraps it"
        )
    (name,) = choose_tasks((name,), net.tasks)
    if not isinstance(threshold, Real) or not 0 <= threshold < 1:
        what = threshold if isinstance(threshold, (Real, str)) else type(threshold).__name__
        raise ValueError(f"threshold={what!r} must be a number in [0, 1), as gates are")
    if threshold and example is None:
        raise ValueError(f"threshold={threshold} cuts channels out, which needs an example input")
    # Of a network that is cut it only says whether the example fits.
    reference = None if example is None else _reference(net, name, example)

    single = plain_norms(net, name)
    if threshold:
        single = _cut(single, channel_gates(net, name), threshold, example)
    if fold:
        single = folding.fold(single)
    if reference is not None and not threshold:
        _compare(single, name, example, reference)
    return single


def plain_norms(net: MultiTask, name: str) -> nn.Sequential:
    """Copy trunk and head of a task, in eval mode, with ordinary norm layers, all in place."""
    single = copied(nn.Sequential(_parts(net, name))).eval()
    strip_hooks(single)
    bake(single)
    return _of_task(single, name, {})


def _of_task(module: nn.Module, name: str, made: dict[nn.Module, nn.Module]) -> nn.Module:
    """What stands for a module in the network of a task: first for what it holds, once for each."""
    if module not in made:
        for child, part in module._modules.items():
            module._modules[child] = None if part is None else _of_task(part, name, made)
        made[module] = module
        if isinstance(module, TaskSpecificNorm):
            made[module] = mean_norm(module, (name,))
        elif isinstance(module, TaskSpecific):
            made[module] = module.of_task(name)
        elif isinstance(module, SigmoidNorm):
            folding.make_plain(module)
    return made[module]


def channel_gates(net: MultiTask, name: str) -> dict[str, Tensor]:
    """Read the gates of a task's BatchNorm layers, by name in the task's network; each (C,)."""
    found = {}
    for path, layer in nn.Sequential(_parts(net, name)).named_modules():
        if isinstance(layer, _BatchNorm) and isinstance(layer, SigmoidNorm):
            found[path] = layer.gamma.detach().sigmoid()
        elif isinstance(layer, _BatchNorm) and isinstance(layer, TaskSigmoidNorm):
            found[path] = layer.gamma[net.tasks.index(name)].detach().sigmoid()
    return found


def _parts(net: MultiTask, name: str) -> OrderedDict[str, nn.Module]:
    return OrderedDict(trunk=net.trunk, head=net.heads[name])


def _cut(
    single: nn.Module, widths: dict[str, Tensor], threshold: float, example: Tensor
) -> nn.Module:
    if not widths:
        raise ValueError(
            f"threshold={threshold} has nothing to cut: there is no BatchNorm layer with gates of "
            "this task (channels of a LayerNorm are normalised together, so none can go)"
        )
    masks = {}
    for path, gate in widths.items():
        masks[path] = gate >= threshold
        masks[path][gate.argmax()] = True
    return pruning.prune_channels(single, pruning.tie_masks(single, masks, example), example)


@torch.no_grad()
def _reference(net: MultiTask, name: str, example: Tensor) -> list[Tensor]:
    """Compute the network's output on the example."""
    twin = copied(net).eval()
    try:
        return tensors(twin(example, (name,))[name])
    except Exception as error:
        what = f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else type(example)
        raise ValueError(
            f"example must be a batch that the network takes, got {what}: {error}"
        ) from error


@torch.no_grad()
def _compare(single: nn.Module, name: str, example: Tensor, references: Iterable[Tensor]) -> None:
    """Raise if the two differ by more than rounding; torch.fx may have been led astray."""
    outputs = tensors(single(example))
    for output, reference in zip(outputs, references, strict=True):
        # In the mean over all values: rounding decides which of two equals a pooling takes.
        difference, size = ((output - reference).norm(), reference.norm())
        if not difference <= SLACK * size:
            raise ValueError(
                f"the network of {name!r} is off by {difference / size:.2g} on the example, "
                "relative to its output: torch.fx saw another path through the trunk than the one "
                "that runs"
            )

"""Does a network compute stacked what it computes task by task?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tssbn.copies import copied
from tssbn.norm import TaskSigmoidBatchNorm
from tssbn.stacking import count_images, tensors
from tssbn.tasks import TaskSpecific, find_tasks

if TYPE_CHECKING:
    from tssbn.multitask import MultiTask

__all__ = ["difference"]


@torch.no_grad()
def difference(net: MultiTask, example: Any) -> str:
    """Say what differs between a stacked pass and separate ones; "" if nothing does.

    Compared are copies with random gates and statistics: what each task-specific layer reads, a
    number for each row, and what the heads read. The paper's BatchNorm once normalises by the batch
    and once by its statistics; all else is in evaluation. Where the network's own precision shows a
    difference, double precision decides: a deep network on few values blows rounding up, a mixture
    of rows stays one.
    """
    trial = copied(net).eval()
    trial.heads = nn.ModuleDict({task: nn.Identity() for task in net.tasks})
    trial.tasks_per_pass = None
    for tasks in find_tasks(trial):
        tasks.parts_checked = True
    _draw(trial)
    if not _differ(trial, example):
        return ""
    return _differ(trial.double(), tree_map(_doubled, example))


def _doubled(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _draw(net: MultiTask) -> None:
    """Give each task numbers of its own, and what is zero, which hides its effect, some."""
    generator = torch.Generator().manual_seed(0)  # what the caller draws next stays the same
    for layer in net.trunk.modules():
        own = layer.per_task if isinstance(layer, TaskSpecific) else ()
        for name, value in (*layer._parameters.items(), *layer._buffers.items()):
            if value is None or not value.is_floating_point():
                continue
            if name in own:
                value.data.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif name in layer._parameters and not value.any():
                value.data.copy_(torch.rand(value.shape, generator=generator) - 0.5)


def _differ(net: MultiTask, example: Any) -> str:
    layers = dict(net.trunk.named_modules())
    papers = [layer for layer in layers.values() if isinstance(layer, TaskSigmoidBatchNorm)]
    early: set[str] = set()  # layers that run before the tasks part
    for training, loud in (True, 1), (True, 1000), (False, 1):
        # A thousand times as large an x̂ shows what bends only large values, as ReLU6 does. Only in
        # front of the stem's end, where a gate acts later; elsewhere it blows rounding up.
        hooks = [
            layers[name].register_forward_hook(lambda *args, loud=loud: loud * args[-1])
            for name in early
            if loud > 1
        ]
        for layer in papers:
            layer.training = training
        separate = [_run(net, example, (task,)) for task in net.tasks]
        try:
            stacked = _run(net, example, net.tasks)
            images = count_images(example)
            for i, (name, rows) in enumerate(stacked):
                of_tasks = [one[i][1].unflatten(0, (images, -1)) for one in separate]
                if rows is None:
                    early.add(name)
                elif off := _apart(rows, torch.stack(of_tasks, 1).flatten(0, 2)):
                    what = f"the input of {name!r}" if name else "the output"
                    return f"{what} is off by {off:.2g} of its largest value"
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever it is, rows did not fit
            return str(error)
        finally:
            for hook in hooks:
                hook.remove()
    return ""


def _run(net: MultiTask, example: Any, tasks: tuple[str, ...]) -> list[tuple[str, Tensor | None]]:
    """What task-specific layers read, None before the tasks have parted; "" names outputs."""
    seen: list[tuple[str, Tensor | None]] = []

    def see(name: str, layer: TaskSpecific, args: tuple, kwargs: dict) -> None:
        x = next(iter(tensors((args, kwargs))), None)
        if x is None:  # it gives something of the tasks, such as an embedding, of nothing
            return
        x = x if x.is_floating_point() else x.float()
        parted = len(tasks) == 1 or not layer.tasks.now.stem
        seen.append((name, x.flatten(1).norm(dim=1) if parted else None))

    hooks = [
        layer.register_forward_pre_hook(partial(see, name), with_kwargs=True)
        for name, layer in net.trunk.named_modules()
        if isinstance(layer, TaskSpecific)
    ]
    try:
        outputs = net(example, tasks)
    finally:
        for hook in hooks:
            hook.remove()
    leaves = zip(*([v for v in tensors(outputs[task]) if v.ndim] for task in tasks), strict=True)
    each = (
        torch.stack([v.unflatten(0, (-1, 1)) for v in leaf], 1).flatten(0, 2) for leaf in leaves
    )
    return seen + [("", values) for values in each]


def _apart(one: Tensor, other: Tensor) -> float:
    """How far two are apart beyond rounding, of the largest value; NaN counts as far."""
    if not one.is_floating_point():
        return float((one != other).any())
    off = (one - other).abs().max().item()
    size = other.abs().max().item()
    tolerance = min(torch.finfo(one.dtype).eps ** 0.5, 1e-3)  # too much to tell in half precision
    return 0.0 if off <= tolerance * size else off / size if size else off

"""A readable summary of a converted network."""

from __future__ import annotations

from collections import Counter

from torch import nn

from tssbn.multitask import MultiTask
from tssbn.norm import SigmoidNorm, TaskSpecificNorm
from tssbn.recognise import is_norm
from tssbn.tasks import TaskSpecific, find_tasks

__all__ = ["describe"]

HOW = {
    "paper": "as in the paper: gates half open, no scale or bias kept",
    "zero-initialised": "gates half open, where the weight was all zero",
    "preserve": "the output given is preserved: scale kept, frozen; a bias for each task",
    "logit": "the output given is preserved: scales in the gates",
    "own": "each task began with the layer's scale, bias or statistics",
}


def describe(net: nn.Module) -> str:
    """Summarise the layers, gates and parameters of a converted network, as text to print.

    Args:
        net: A `tssbn.MultiTask`, or a trunk converted by `tssbn.task_specific` or `tssbn.sigmoid`.

    Returns:
        The number of normalisation layers converted (by `affine` mode) and left alone, the module
        before which the tasks part, and the number of parameters, shared and of each task.

    Example:
        >>> import torch, tssbn
        >>> trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        >>> heads = {"seg": torch.nn.Conv2d(8, 13, 1), "depth": torch.nn.Conv2d(8, 1, 1)}
        >>> print(tssbn.describe(tssbn.MultiTask(tssbn.task_specific(trunk, heads), heads)))
        tasks               seg, depth; their passes part at the input
        norm layers         1 converted, 0 left alone
          paper             1 (as in the paper: gates half open, no scale or bias kept)
        gates               8 for each task
        parameters          224 shared, 8 in the trunk for each task, heads: seg 117, depth 9
    """
    layers = [m for m in net.modules() if isinstance(m, (SigmoidNorm, TaskSpecificNorm))]
    alone = [name for name, m in net.named_modules() if is_norm(m) and m not in layers]
    found = find_tasks(net)
    tasks = found[0].names if found else ()
    specific = [m for m in net.modules() if isinstance(m, TaskSpecific)]
    own = [m._parameters.get(name) for m in specific for name in m.per_task]
    own = {id(p): p.numel() for p in own if p is not None}
    heads = net.heads if isinstance(net, MultiTask) else {}
    of_heads = {task: sum(p.numel() for p in heads[task].parameters()) for task in heads}
    trunk = net.trunk if isinstance(net, MultiTask) else net
    total = sum(p.numel() for p in trunk.parameters() if id(p) not in own)
    gates = sum(m.gamma.shape[-1] if m.gamma.ndim else 0 for m in layers if m.gamma is not None)

    lines = []
    if tasks:
        stem = getattr(net, "stem", "")
        place = f"before {stem}" if stem else "at the input"
        lines.append(("tasks", f"{', '.join(tasks)}; their passes part {place}"))
    left = f" ({', '.join(alone)})" if alone else ""
    lines.append(("norm layers", f"{len(layers)} converted, {len(alone)} left alone{left}"))
    for how, count in Counter(layer.started_from for layer in layers).items():
        lines.append((f"  {how}", f"{count} ({HOW[how]})"))
    lines.append(("gates", f"{gates}{' for each task' if tasks else ''}"))
    text = f"{total} shared"
    if tasks:
        text += f", {sum(own.values()) // len(tasks)} in the trunk for each task"
    if of_heads:
        text += ", heads: " + ", ".join(f"{task} {count}" for task, count in of_heads.items())
    lines.append(("parameters", text))
    return "\n".join(f"{name:20}{text}" for name, text in lines)

"""Parameter groups in which gates learn faster than the filters that they gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from tssbn.norm import SigmoidNorm, TaskSigmoidNorm, TaskSpecificNorm
from tssbn.tasks import TaskSpecific

__all__ = ["param_groups", "spare_vectors", "vectors_of_tasks"]


def param_groups(
    model: nn.Module,
    lr: float,
    multiplier: float | None = None,
    weight_decay: float | None = None,
    decay_vectors: bool = True,
) -> list[dict]:
    """Make parameter groups for any optimiser, with the gates at ``multiplier * lr``.

    A network without gates, such as one of hard parameter sharing, gets no group of gates.

    Gates get no weight decay, which would pull σ(γ) towards one half. In TSBN layers the task's
    scale and bias take the place of the gate. (Suteu & Serban, arXiv 2512.20420, section 4:
    multiplier 100 throughout.)

    Schedulers that multiply the rates they find (StepLR, CosineAnnealingLR, LambdaLR, ...) keep the
    multiplier. OneCycleLR, CyclicLR and SWALR set one rate for all groups unless they get a list:
    ``OneCycleLR(optimiser, max_lr=[group["lr"] for group in optimiser.param_groups], ...)``.

    γ has shape (T, C), so optimisers that look at ``ndim`` treat it as a matrix: they decay it,
    orthogonalise it (Muon) or factor it (Adafactor). Give Muon only matrices of the group "shared";
    timm reads `tssbn.MultiTask.no_weight_decay`.

    Args:
        model: Any network.
        lr: The base learning rate.
        multiplier: How many times faster the gates learn; by default 100, and 1 for TSBN. The
            paper's 100 goes with base rates near 1e-4: under Adam a gate then moves by about 0.01 a
            step, whatever the loss. At a base rate of 1e-3 or more in a short run, 10 or less does
            better (chapter 13 of the book).
        weight_decay: For all parameters but gates; by default the optimiser's own.
        decay_vectors: Whether biases and other parameters of less than two dimensions decay, too.
            False puts them into a separate group without decay, as timm and transformers do,
            together with the parameters that the trunk's own ``no_weight_decay()`` names.

    Raises:
        TypeError: If `model` is no module, such as ``net.parameters()``.
        ValueError: If a `multiplier` is given but there are no gates, if all gates are frozen, or
            if `lr` or `multiplier` is not positive.

    Example:
        >>> import torch, tssbn
        >>> net = tssbn.sigmoid(torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4)))
        >>> optimiser = torch.optim.Adam(tssbn.param_groups(net, lr=1e-4))
        >>> [(group["name"], group["lr"]) for group in optimiser.param_groups]
        [('shared', 0.0001), ('gates', 0.01)]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a network, not {type(model).__name__}: give the module")
    if not lr > 0:
        raise ValueError(f"lr={lr} must be positive")
    if multiplier is not None and not multiplier > 0:
        raise ValueError(f"multiplier={multiplier} must be positive")
    gates, scales = [], []
    for layer in model.modules():
        if isinstance(layer, (SigmoidNorm, TaskSigmoidNorm)):
            gates.append(layer.gamma)
        elif isinstance(layer, TaskSpecificNorm):
            scales += [part for part in (layer.gamma, layer.beta) if part is not None]
    if not (gates or scales) and multiplier is not None:
        raise ValueError(
            f"multiplier={multiplier}, but {type(model).__name__} has no gates: convert it with "
            "tssbn.sigmoid or tssbn.task_specific before building the optimiser"
        )
    multiplier = multiplier or (100.0 if gates else 1.0)
    gates += scales
    if gates and not any(gate.requires_grad for gate in gates):
        raise ValueError(
            "no gate is trained: the norm layers were frozen before the conversion, and stay so; "
            "freeze afterwards, or call requires_grad_(True) on the converted layers"
        )
    taken = {id(gate) for gate in gates}
    gates = list({id(gate): gate for gate in gates}.values())
    rest = {name: p for name, p in model.named_parameters() if id(p) not in taken}
    kept = set(rest)
    if not decay_vectors:
        kept -= _vectors(model) | getattr(model, "no_weight_decay", set)()
    shared = {"name": "shared", "params": [p for name, p in rest.items() if name in kept], "lr": lr}
    if weight_decay is not None:
        shared["weight_decay"] = weight_decay
    groups = [shared]
    if gates:
        groups.append(
            {"name": "gates", "params": gates, "lr": multiplier * lr, "weight_decay": 0.0}
        )
    if not decay_vectors:
        spared = [p for name, p in rest.items() if name not in kept]
        groups.append({"name": "no decay", "params": spared, "lr": lr, "weight_decay": 0.0})
    return groups


def spare_vectors(groups: Iterable[Mapping[str, Any]], model: nn.Module) -> list[dict]:
    """Split parameter groups so that biases and other vectors get no weight decay.

    A vector is a parameter of less than two dimensions, one whose name ends in ``bias``, or one of
    :func:`tssbn.optim.vectors_of_tasks`. The rates stay. Position tables are matrices here, as in
    the code of MTLoRA, which decays them.

    Args:
        groups: Of any optimiser; those without weight decay of their own get that of the optimiser.
        model: Whose parameters they are.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 3)
        >>> groups = spare_vectors([{"params": [*layer.parameters()], "lr": 0.1}], layer)
        >>> [(len(group["params"]), group.get("weight_decay")) for group in groups]
        [(1, None), (1, 0.0)]
    """
    names = _vectors(model)
    vectors = {id(p) for name, p in model.named_parameters() if name in names}
    split = []
    for group in groups:
        params = list(group["params"])
        spared = [p for p in params if id(p) in vectors]
        if kept := [p for p in params if id(p) not in vectors]:
            split.append({**group, "params": kept})
        if spared:
            split.append({**group, "params": spared, "weight_decay": 0.0})
    return split


def _vectors(model: nn.Module) -> set[str]:
    named = model.named_parameters()
    short = {name for name, p in named if p.ndim < 2 or name.split(".")[-1] == "bias"}
    return short | set(vectors_of_tasks(model))


def vectors_of_tasks(model: nn.Module) -> dict[str, nn.Parameter]:
    """Find the gates and all other parameters that hold one vector per task, by name.

    Example:
        >>> import torch, tssbn
        >>> list(vectors_of_tasks(tssbn.task_specific(torch.nn.BatchNorm1d(3), ("a", "b"))))
        ['gamma']
    """
    found = {}
    for path, layer in model.named_modules():
        norm = isinstance(layer, (SigmoidNorm, TaskSpecificNorm))
        own = (
            ("gamma", "beta") if norm else layer.per_task if isinstance(layer, TaskSpecific) else ()
        )
        for name in own:
            value = layer._parameters.get(name)
            if value is not None and (norm or value.ndim <= 2):
                found[f"{path}.{name}".removeprefix(".")] = value
    return found

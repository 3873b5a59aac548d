"""Discriminative learning rates: gates learn faster than the filters they gate."""

from __future__ import annotations

from torch import nn

from tssbn.norm import SharedStatisticsNorm, SigmoidNorm, TaskAffineNorm, TaskSigmoidNorm

__all__ = ["param_groups"]


def param_groups(
    model: nn.Module, lr: float, multiplier: float = 100.0, weight_decay: float | None = None
) -> list[dict]:
    """Two parameter groups for any optimiser: the gates at ``multiplier * lr``, and the rest.

    Gates get no weight decay, which would pull σ(γ) towards one half. A scheduler scales both
    groups alike. In TSBN layers the task's scale and bias take the place of the gate. (Suteu &
    Serban, arXiv 2512.20420, section 4: multiplier 100 throughout.)

    Args:
        model: A network with converted layers.
        lr: The base learning rate.
        multiplier: How many times faster the gates learn. The paper's 100 goes with base rates near
            1e-4: under Adam a gate then moves by about 0.01 a step, whatever the loss. At a base
            rate of 1e-3 or more in a short run, 10 or less does better (chapter 13 of the book).
        weight_decay: For the parameters that are no gates; by default the optimiser's own.

    Raises:
        ValueError: If `model` has no gates, none that is trained, or `lr` or `multiplier` is not
            positive.

    Example:
        >>> import torch, tssbn
        >>> net = tssbn.sigmoid(torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4)))
        >>> optimiser = torch.optim.Adam(tssbn.param_groups(net, lr=1e-4))
        >>> [(group["name"], group["lr"]) for group in optimiser.param_groups]
        [('shared', 0.0001), ('gates', 0.01)]
    """
    if not lr > 0:
        raise ValueError(f"lr={lr} must be positive")
    if not multiplier > 0:
        raise ValueError(f"multiplier={multiplier} must be positive")
    gates = []
    for layer in model.modules():
        if isinstance(layer, (SigmoidNorm, TaskSigmoidNorm)):
            gates.append(layer.gamma)
        elif isinstance(layer, (TaskAffineNorm, SharedStatisticsNorm)):
            gates += [part for part in (layer.gamma, layer.beta) if part is not None]
    if not gates:
        raise ValueError(
            f"{type(model).__name__} has no gates: convert it with tssbn.sigmoid or "
            "tssbn.task_specific before building the optimiser"
        )
    if not any(gate.requires_grad for gate in gates):
        raise ValueError(
            "no gate is trained: the norm layers were frozen before the conversion, and stay so; "
            "freeze afterwards, or call requires_grad_(True) on the converted layers"
        )
    taken = {id(gate) for gate in gates}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    shared = {"name": "shared", "params": rest, "lr": lr}
    if weight_decay is not None:
        shared["weight_decay"] = weight_decay
    return [
        shared,
        {"name": "gates", "params": gates, "lr": multiplier * lr, "weight_decay": 0.0},
    ]

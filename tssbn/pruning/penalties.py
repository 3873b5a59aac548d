"""Penalties on the scales of norm layers, under which channels make themselves superfluous."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.norm import SigmoidNorm, TaskSigmoidNorm
from tssbn.pruning.layers import in_float32, is_gated, prunable

__all__ = ["rni_penalty", "slimming_penalty"]

CLOSED = -1000.0  # σ(CLOSED) is 0 in every dtype; weight decay keeps it a number, as -inf not


def rni_penalty(model: nn.Module, shift: float = 0.0) -> Tensor:
    """Sum p·(1 - ln p) over all gates, with p = σ(γ + shift): receding neuron importances (RNI).

    Add it to the loss with a small weight. Its derivative in γ is -p(1 - p)·ln p. This is near 0
    for open gates and closes half-open ones; the maximum is 0.2603, at γ = -1.177 - shift. With a
    positive shift, only gates that are already small are closed. (Official code of
    arXiv 2204.06404.) A gate at -∞ adds 0, one at +∞ adds 1, both with derivative 0.

    Args:
        model: a network with sigmoid gates; in task-specific layers the gates of all tasks count.
        shift: b, added to every γ; the paper's code uses 3 for VGG-16 and 0 for ResNet-56.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: the model has no sigmoid gates, or `shift` is not finite.

    Example:
        >>> import tssbn
        >>> rni_penalty(tssbn.SigmoidBatchNorm2d(10)).item() / 10  # p = 0.5
        0.8465...
    """
    layers = [m for m in model.modules() if isinstance(m, SigmoidNorm | TaskSigmoidNorm)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no sigmoid gates: see tssbn.sigmoid")
    if not math.isfinite(shift):
        raise ValueError(f"shift={shift} must be finite")
    z = torch.cat([in_float32(layer.gamma).flatten() for layer in layers]) + shift
    z = z.clamp(CLOSED, -CLOSED)  # at an infinite γ the formula is 0 · ∞
    return (z.sigmoid() * (1 - F.logsigmoid(z))).sum()


def slimming_penalty(model: nn.Module) -> Tensor:
    """Sum ``|γ|`` over the channels of all ordinary BatchNorm layers: Network Slimming.

    Args:
        model: a network with affine BatchNorm layers; sigmoid gates are left out.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: the model has no such layer.

    Example:
        >>> slimming_penalty(nn.BatchNorm2d(10)).item()
        10.0
    """
    scales = [in_float32(layer.weight) for layer in prunable(model).values() if not is_gated(layer)]
    if not scales:
        raise ValueError(f"{type(model).__name__} has no affine BatchNorm layer")
    return torch.cat(scales).abs().sum()

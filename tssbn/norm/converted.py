"""What σ layers of one task and of several have in common: their host, and its affine part."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from tssbn.tasks import TaskSpecific

__all__ = ["OURS", "STATISTICS", "TORCH_NORMS", "Converted", "has_statistics", "reset_statistics"]

# Layers of PyTorch and their subclasses, fused ones too, work without a bias.
TORCH_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
# What a conversion puts on a layer.
OURS = ("gamma", "beta", "scale", "tasks", "per_channel", "started_from")


class Converted(nn.Module):
    """A norm layer, the host, whose affine part was replaced.

    Attributes:
        gamma: What the scale is computed from.
        beta: What an affine mode keeps of the host's bias.
        scale: What an affine mode keeps of the host's weight, never trained.
    """

    gamma: Tensor | None
    beta: Tensor | None
    scale: Tensor | None
    host_type: ClassVar[type[nn.Module]]  # the class that the layer would have without the mixin
    started_from = "paper"  # how it began, see `tssbn.describe`

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.host_type = next(
            kind
            for kind in cls.__mro__
            if issubclass(kind, nn.Module) and not issubclass(kind, (Converted, TaskSpecific))
        )

    def replace_affine(
        self, gamma: Tensor | None, beta: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        """Put γ, β and s in the place of the host's weight and bias; frozen ones stay frozen.

        Without γ the host keeps its own.
        """
        weight, bias = (self._parameters.get(name) for name in ("weight", "bias"))
        if gamma is not None:
            for name in "weight", "bias":
                self._parameters.pop(name, None)
                self._buffers.pop(name, None)
            # What was a buffer, or not there, is free to learn.
            gamma = nn.Parameter(gamma, requires_grad=weight is None or weight.requires_grad)
            if beta is not None:
                beta = nn.Parameter(beta, requires_grad=bias is None or bias.requires_grad)
        self.register_parameter("gamma", gamma)
        self.register_parameter("beta", beta)
        self.register_buffer("scale", scale)
        for flag in "affine", "elementwise_affine":
            if hasattr(self, flag):
                setattr(self, flag, True)

    def _bias(self, beta: Tensor | None, like: Tensor) -> Tensor | None:
        """β, or 0 for a host of another library, whose forward may add it without asking."""
        if beta is None and not isinstance(self, TORCH_NORMS):
            return torch.zeros_like(like)
        return beta

    def _load_from_state_dict(self, state: dict, prefix: str, *args: Any) -> None:
        """Take what an affine mode kept from the checkpoint of a pretrained network, too."""
        scale, beta = state.get(prefix + "scale"), state.get(prefix + "beta")
        if self.gamma is None:
            return super()._load_from_state_dict(state, prefix, *args)
        if self.scale is None and scale is not None:
            if scale.shape != self._shape_of_one():
                args[-1].append(
                    f"{prefix}scale has shape {tuple(scale.shape)}, but a gate row of this layer "
                    f"has {tuple(self._shape_of_one())}"
                )
                return
            self.scale = torch.empty_like(scale, device=self.gamma.device)
        if self.beta is None and beta is not None:
            self.beta = nn.Parameter(torch.empty_like(self.gamma), self.gamma.requires_grad)
        super()._load_from_state_dict(state, prefix, *args)

    def _shape_of_one(self) -> torch.Size:
        return self.gamma.shape


def has_statistics(module: nn.Module) -> bool:
    """Whether a module normalises by statistics of a batch, running ones or not."""
    return isinstance(module, _BatchNorm) or module._buffers.get("running_mean") is not None


def reset_statistics(layer: nn.Module) -> None:
    """Fresh running statistics, where there are any."""
    for name, value in ("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0):
        if layer._buffers.get(name) is not None:
            layer._buffers[name].fill_(value)

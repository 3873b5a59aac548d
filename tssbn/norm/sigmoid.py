"""σBN and its relatives: norm layers of a single task whose only scale is a gate (eq. 2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from tssbn.norm.converted import Converted, reset_statistics

__all__ = [
    "SigmoidBatchNorm1d",
    "SigmoidBatchNorm2d",
    "SigmoidBatchNorm3d",
    "SigmoidGroupNorm",
    "SigmoidInstanceNorm1d",
    "SigmoidInstanceNorm2d",
    "SigmoidInstanceNorm3d",
    "SigmoidLayerNorm",
    "SigmoidNorm",
    "SigmoidRMSNorm",
]


class SigmoidNorm(Converted):
    """A normalisation layer gated by the logistic function: ``y = σ(γ)·x̂``.

    x̂ is the normalised input of the host layer. Each channel has a gate σ(γ) in (0, 1) and no
    bias. Every gate starts half open, γ = 0. (Suteu & Serban, arXiv 2512.20420, eq. 2; introduced
    for pruning in arXiv 2204.06404.)

    Shape: as the host's. ``gamma`` has the shape of the host's ``weight``. Change ``gamma``;
    ``weight`` is computed from it, and setting ``weight`` has no effect.
    """

    named: ClassVar[dict[type, type]] = {}

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        """What γ begins with, whatever the weight and bias were."""
        return {"gamma": torch.zeros_like(weight)}

    def __init__(self, *args, **kwargs):
        affine = "affine"
        if isinstance(self, (nn.LayerNorm, nn.RMSNorm)):
            affine = "elementwise_affine"
        if not kwargs.get(affine, True):
            raise ValueError(f"{affine}=False leaves a σ layer without its gate")
        super().__init__(*args, **{**kwargs, affine: True})
        self.replace_affine(torch.zeros_like(self._parameters["weight"]))

    @property
    def weight(self) -> Tensor:
        gate = torch.sigmoid(self.gamma)
        return gate if self.scale is None else self.scale * gate

    @property
    def bias(self) -> Tensor | None:
        return self._bias(self.beta, self.gamma)

    def reset_parameters(self) -> None:
        """Half-open gates and, where there are any, fresh statistics."""
        if "gamma" not in self._parameters:  # called by the host's own __init__
            return super().reset_parameters()
        reset_statistics(self)
        for value in (self.gamma, self.beta):
            if value is not None:
                nn.init.zeros_(value)


class SigmoidBatchNorm1d(SigmoidNorm, nn.BatchNorm1d):
    """σBN over (N, C) or (N, C, L); the arguments are those of `torch.nn.BatchNorm1d`.

    Example:
        >>> import torch, tssbn
        >>> tssbn.SigmoidBatchNorm1d(3)(torch.rand(8, 3)).std(0, unbiased=False).round(decimals=2)
        tensor([0.5000, 0.5000, 0.5000], grad_fn=<RoundBackward1>)
    """


class SigmoidBatchNorm2d(SigmoidNorm, nn.BatchNorm2d):
    """σBN over (N, C, H, W); the arguments are those of `torch.nn.BatchNorm2d`."""


class SigmoidBatchNorm3d(SigmoidNorm, nn.BatchNorm3d):
    """σBN over (N, C, D, H, W); the arguments are those of `torch.nn.BatchNorm3d`."""


class SigmoidLayerNorm(SigmoidNorm, nn.LayerNorm):
    """σLN: layer normalisation with a gate; the arguments are those of `torch.nn.LayerNorm`."""


class SigmoidRMSNorm(SigmoidNorm, nn.RMSNorm):
    """Root-mean-square normalisation with a gate; the arguments are those of `torch.nn.RMSNorm`."""


class SigmoidGroupNorm(SigmoidNorm, nn.GroupNorm):
    """Group normalisation with a gate; the arguments are those of `torch.nn.GroupNorm`."""


class SigmoidInstanceNorm1d(SigmoidNorm, nn.InstanceNorm1d):
    """Instance normalisation with a gate over (N, C, L); arguments as `torch.nn.InstanceNorm1d`."""


class SigmoidInstanceNorm2d(SigmoidNorm, nn.InstanceNorm2d):
    """Instance normalisation with a gate over (N, C, H, W); as `torch.nn.InstanceNorm2d`."""


class SigmoidInstanceNorm3d(SigmoidNorm, nn.InstanceNorm3d):
    """Instance normalisation with a gate over (N, C, D, H, W); as `torch.nn.InstanceNorm3d`."""


SigmoidNorm.named = {
    kind.host_type: kind
    for kind in (
        *(SigmoidBatchNorm1d, SigmoidBatchNorm2d, SigmoidBatchNorm3d),
        *(SigmoidInstanceNorm1d, SigmoidInstanceNorm2d, SigmoidInstanceNorm3d),
        *(SigmoidLayerNorm, SigmoidRMSNorm, SigmoidGroupNorm),
    )
}

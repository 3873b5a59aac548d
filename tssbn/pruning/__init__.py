"""Prune channels whose scales a penalty has driven to zero during training.

A penalty on the scales of the normalisation layers closes channels that matter little:
`rni_penalty` for σBN (Suteu and Guo, arXiv 2204.06404), `slimming_penalty` for ordinary BatchNorm
(Network Slimming, Liu et al., ICCV 2017). After training, `channel_masks` marks the channels above
a quantile, `mask_channels` switches the others off, and `prune_channels` removes them.
"""

from __future__ import annotations

from torch import Tensor, nn

from tssbn.deprecation import former_names
from tssbn.pruning.masks import channel_masks, mask_channels
from tssbn.pruning.penalties import rni_penalty, slimming_penalty
from tssbn.pruning.removal import prune_channels
from tssbn.pruning.ties import tie_masks

__all__ = [
    "channel_masks",
    "cost",
    "mask_channels",
    "prune_channels",
    "rni_penalty",
    "slimming_penalty",
    "tie_masks",
]

__getattr__ = former_names(
    __name__,
    keep="channel_masks",
    l1="slimming_penalty",
    receding="rni_penalty",
    remove="prune_channels",
    silence="mask_channels",
    tie="tie_masks",
)


def cost(model: nn.Module, example: Tensor) -> tuple[int, int]:
    """Count the model's parameters, and multiply-accumulates as :func:`tssbn.cost.macs` does.

    Args:
        example: an input batch; the second figure is for all of it.

    Example:
        >>> import torch
        >>> cost(nn.Conv2d(3, 8, 3, bias=False), torch.rand(1, 3, 10, 10))  # 8*3*9 at 8x8 places
        (216, 13824)
    """
    from tssbn.cost import macs, parameters

    return parameters(model, frozen=True), macs(model, example) * len(example)

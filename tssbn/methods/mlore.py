"""MLoRE: all tasks share low-rank experts in the decoder, and each task has its own weights.

(Yang et al., CVPR 2024, arXiv 2403.17749.) The trunk, a ViT, runs once for all tasks. Each of its
maps goes through a 1x1 convolution, then for each task through two mixtures one after another, see
:class:`tssbn.mixtures.mlore.LowRankMixture`. Of what they make of all maps, a task takes the sum
with weights of each pixel, a softmax over the maps of

    3x3 convolution · GELU · BN · 1x1 convolution

of them joined; the head reads that. A penalty draws each mixture to even use of its experts: λ cv²
of their weights' mean over images and tasks, summed over the mixtures.

As in the published setting for ViT-S: 15 experts of ranks 8, 12, ..., 64, of which nine have a
weight, and rank 32 of a task's own. The published trunk keeps the position of a class token that it
does not have, and a second set of heads that is never used: 384 and 1,668,322 parameters that are
not here. The routers take maps of one size, that of the trunk's images.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.convert import task_specific
from tssbn.methods import Method, Network, heads
from tssbn.methods.decoded import DecodedViT, take_apart
from tssbn.methods.m3vit import check_number, check_weight
from tssbn.mixtures.convolution import TaskConv2d
from tssbn.mixtures.mlore import LowRankMixture
from tssbn.mixtures.network import MixtureNetwork
from tssbn.mixtures.penalties import unevenness
from tssbn.mixtures.routing import Routes
from tssbn.tasks import Tasks

__all__ = ["Decoder", "build", "measure"]


class Decoder(nn.Module):
    """Two mixtures on each map, and a sum of what they give, weighed for each pixel.

    Args:
        maps: how many.
        channels: of each.
        positions: pixels of each.
        tasks: those of the network.
        mixture: what else a :class:`~tssbn.mixtures.mlore.LowRankMixture` takes.

    Shape: a list of (B·t, channels, h, w) -> (B·t, channels, h, w).
    """

    def __init__(self, maps: int, channels: int, positions: int, tasks: Tasks, **mixture: Any):
        super().__init__()
        self.mixtures = nn.ModuleList(
            nn.Sequential(
                *(LowRankMixture(channels, positions, tasks=tasks, **mixture) for _ in range(2))
            )
            for _ in range(maps)
        )
        self.weigh = nn.Sequential(
            TaskConv2d(maps * channels, channels, 1, tasks),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            TaskConv2d(channels, maps, 3, tasks),
            nn.Softmax(1),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        each = [mixture(one) for mixture, one in zip(self.mixtures, maps, strict=True)]
        weights = self.weigh(torch.cat(each, 1))
        return sum(weights[:, i : i + 1] * one for i, one in enumerate(each))


def measure(routes: Routes) -> Tensor:
    """Compute cv² of the mean weight of each expert over images and tasks."""
    return unevenness(routes.weights.mean((0, 1, 2)))


def build(
    network: Network,
    outputs: Mapping[str, int],
    experts: int = 15,
    top: int = 9,
    least: int = 8,
    step: int = 4,
    own: int = 32,
    evenness: float = 1e-4,
) -> MixtureNetwork:
    """Build the decoder on the ViT of the trunk, in the place of the fusion.

    Args:
        experts: how many, in each mixture.
        top: how many of them have a weight.
        least: the rank of the first expert.
        step: by how much more each further one has.
        own: the rank of a task's own convolution.
        evenness: λ.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no
            :class:`~tssbn.networks.vit.FusedViT`.
        ValueError: There are fewer experts than are chosen, or none is; a rank is not positive; or
            λ is negative.
    """
    check_number("experts", experts, top)
    check_weight("evenness", evenness)
    ranks = [least + step * i for i in range(experts)]
    if min(*ranks, own) < 1:
        raise ValueError(f"least={least}, step={step} and own={own} give ranks below 1")
    (vit, channels), tasks = take_apart(network, "MLoRE"), Tasks(outputs)
    width, count = vit.pos_embed.shape[2], len(vit.taps)
    decoder = Decoder(count, channels, vit.pos_embed.shape[1], tasks, ranks=ranks, top=top, own=own)
    shared = [nn.Conv2d(width, channels, 1) for _ in range(count)]
    trunk = DecodedViT(vit, shared, task_specific(decoder, tasks.names, "plain"))
    return MixtureNetwork(trunk, heads(network, outputs), measure, evenness, stem="decoder")


METHOD = Method("MLoRE", build)

"""MLoRE: low-rank experts in the decoder that all tasks share, with a router for each task.

(Yang et al., CVPR 2024, arXiv 2403.17749.) The trunk, a ViT, runs once for all tasks. Each of its
maps goes through a 1x1 convolution, and then for each task through two mixtures in a row, see
:class:`tssbn.mixtures.mlore.LowRankMixture`. The head reads a weighted sum of the outputs for all
maps. The weights of a pixel are the softmax over the maps of

    3x3 convolution · GELU · BN · 1x1 convolution

of the concatenated outputs. A penalty keeps the use of the experts even: λ cv² of the mean weight
of each expert over images and tasks, summed over the mixtures.

The defaults are those of the published setting for ViT-S: 15 experts of ranks 8, 12, ..., 64, of
which nine have a weight, and rank 32 for the task's convolution. The published trunk also holds the
position of a class token that it does not have, and a second set of heads that is never used, 384
and 1,668,322 parameters; they are left out here. The routers accept maps of one size, which follows
from the size of the trunk's images.
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
    """Two mixtures on each map, and a sum of their outputs with weights for each pixel.

    Args:
        maps: number of maps.
        channels: channels of each map.
        positions: number of pixels of each map.
        tasks: the tasks of the network.
        mixture: further arguments of :class:`~tssbn.mixtures.mlore.LowRankMixture`.

    Shape: a list of (B·t, channels, h, w) -> (B·t, channels, h, w).

    Example:
        >>> decoder = Decoder(2, 8, 6, Tasks(("seg",)), ranks=(2, 3), top=1, own=2)
        >>> decoder([torch.rand(3, 8, 2, 3)] * 2).shape
        torch.Size([3, 8, 2, 3])
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
    """Compute cv² of the mean weight of each expert over images and tasks.

    Args:
        routes: the routes of a router in a pass.

    Example:
        >>> weights = torch.tensor([1.0, 0.0]).expand(3, 2, 1, 2)  # all images use expert 0
        >>> measure(Routes(weights, weights))
        tensor(2.)
    """
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
    """Build the decoder on the ViT of the trunk, in place of the fusion.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        experts: number of experts in each mixture.
        top: number of experts with a weight.
        least: rank of the first expert.
        step: difference of the ranks of two consecutive experts.
        own: rank of the task's convolution in each mixture.
        evenness: the weight λ of the penalty.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no
            :class:`~tssbn.networks.vit.FusedViT`.
        ValueError: `top` is not from 1 to `experts`, a rank is not positive, or `evenness` is
            negative.

    Example:
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1}, experts=2, top=1, own=2)
        >>> _ = net.eval()
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 3, 32, 32)).items()}
        {'seg': (2, 3, 2, 2), 'depth': (2, 1, 2, 2)}
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

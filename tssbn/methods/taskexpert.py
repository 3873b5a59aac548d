"""TaskExpert (our reading): each task mixes features of experts, and a memory keeps the mixtures.

(Ye and Xu, ICCV 2023, arXiv 2307.15324.) Its code is not public. What is published: experts split a
map of the trunk into several features of all tasks, a gate of each task mixes them, and a memory of
the task, which is itself one of the experts, collects the mixtures of one map after another; the
head reads it. Numbers, kernels and gates are ours, and meet neither the parameters nor the
multiplications that are printed for it:

    z = 1x1 convolution of the map
    f_k = GELU(BN(3x3 convolution of z)),   k = 1 ... K, for all tasks
    f_0 = GELU(BN(3x3 convolution of m)),   of the task, m its memory, 0 at first
    m <- m + Σ_k g_k f_k,   g a softmax, linear in the means over the pixels of the f_k, k ≥ 1

The trunk, a ViT, and the experts run once for all tasks. At the first map the memory is 0, so that
of its expert the bias of the norm layer alone learns.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tssbn.convert import task_specific
from tssbn.methods import Method, Network, heads
from tssbn.methods.decoded import DecodedViT, take_apart
from tssbn.mixtures.convolution import TaskConv2d
from tssbn.multitask import MultiTask
from tssbn.tasks import Tasks

__all__ = ["Memory", "SharedExperts", "build"]


class SharedExperts(nn.Module):
    """Makes several features of a map, for all tasks.

    Args:
        inputs: channels of the map.
        channels: of each feature.
        experts: how many features.

    Shape: (B, inputs, h, w) -> (B, experts, channels, h, w).
    """

    def __init__(self, inputs: int, channels: int, experts: int):
        super().__init__()
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.GELU()
            )
            for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.reduce(x)
        return torch.stack([expert(z) for expert in self.experts], 1)


class Memory(nn.Module):
    """Collects, for each task, a mixture of the features of one map after another.

    Args:
        maps: how many.
        channels: of a feature.
        experts: how many features of each map.
        tasks: those of the network.

    Shape: a list of (B·t, experts, channels, h, w) -> (B·t, channels, h, w).
    """

    def __init__(self, maps: int, channels: int, experts: int, tasks: Tasks):
        super().__init__()
        self.recall = nn.ModuleList(
            nn.Sequential(
                TaskConv2d(channels, channels, 3, tasks), nn.BatchNorm2d(channels), nn.GELU()
            )
            for _ in range(maps)
        )
        self.gates = nn.ModuleList(
            TaskConv2d(experts * channels, experts + 1, 1, tasks) for _ in range(maps)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        memory = torch.zeros_like(maps[0][:, 0])
        for recall, gate, features in zip(self.recall, self.gates, maps, strict=True):
            known = features.mean((3, 4)).flatten(1)[..., None, None]
            weights = gate(known).softmax(1)
            mixed = torch.einsum("bk,bkchw->bchw", weights[:, 1:, 0, 0], features)
            memory = memory + weights[:, :1] * recall(memory) + mixed
        return memory


def build(network: Network, outputs: Mapping[str, int], experts: int = 5) -> MultiTask:
    """Build experts and memory on the ViT of the trunk, in the place of the fusion.

    Args:
        experts: K.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no
            :class:`~tssbn.networks.vit.FusedViT`.
        ValueError: There is no expert.
    """
    if experts < 1:
        raise ValueError(f"experts={experts} must be 1 or more")
    (vit, channels), tasks = take_apart(network, "TaskExpert"), Tasks(outputs)
    width, count = vit.pos_embed.shape[2], len(vit.taps)
    shared = [SharedExperts(width, channels, experts) for _ in range(count)]
    memory = task_specific(Memory(count, channels, experts, tasks), tasks.names, "plain")
    trunk = DecodedViT(vit, shared, memory)
    return MultiTask(trunk, heads(network, outputs), stem="decoder")


METHOD = Method("TaskExpert (our reading)", build)

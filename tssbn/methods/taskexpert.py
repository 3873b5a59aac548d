"""TaskExpert (our reading): each task mixes features of experts, and a memory sums the mixtures.

(Ye and Xu, ICCV 2023, arXiv 2307.15324.) Its code is not public. The paper describes experts that
compute several features of each map of the trunk for all tasks, a gate of each task that mixes
them, and a memory of each task, which is itself an expert and collects the mixtures of one map
after another; the head reads the memory. Numbers of experts, kernels and gates are our choice. They
agree neither with the number of parameters nor with the number of multiplications that table 3 of
arXiv 2512.20420 prints.

    z = 1x1 convolution of the map
    f_k = GELU(BN(3x3 convolution of z)),   k = 1 ... K, for all tasks
    f_0 = GELU(BN(3x3 convolution of m)),   of the task, m its memory, 0 at first
    m <- m + Σ_k g_k f_k,   g a softmax, linear in the means over the pixels of the f_k, k ≥ 1

The trunk, a ViT, and the experts run once for all tasks. At the first map the memory is 0, so only
the bias of the norm layer of its expert f_0 is trained there.
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
    """The experts f_1 ... f_K of a map, which all tasks share.

    Args:
        inputs: channels of the map.
        channels: channels of each feature.
        experts: the number K of features.

    Shape: (B, inputs, h, w) -> (B, experts, channels, h, w).

    Example:
        >>> SharedExperts(8, channels=4, experts=3)(torch.rand(2, 8, 5, 6)).shape
        torch.Size([2, 3, 4, 5, 6])
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
    """The memory m of each task, which adds a mixture of the features of one map after another.

    Args:
        maps: number of maps.
        channels: channels of a feature.
        experts: the number K of features of each map.
        tasks: the tasks of the network.

    Shape: a list of (B·t, experts, channels, h, w) -> (B·t, channels, h, w).

    Example:
        >>> memory = Memory(2, channels=4, experts=3, tasks=Tasks(("seg",)))
        >>> memory([torch.rand(2, 3, 4, 5, 6)] * 2).shape
        torch.Size([2, 4, 5, 6])
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
    """Build experts and memory on the ViT of the trunk, in place of the fusion.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        experts: the number K of experts for each map.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no
            :class:`~tssbn.networks.vit.FusedViT`.
        ValueError: there is no expert.

    Example:
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 3, 32, 32)).items()}
        {'seg': (2, 3, 2, 2), 'depth': (2, 1, 2, 2)}
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

"""VPT: a frozen transformer in which each task trains prompts, tokens beside those of the image.

(Jia et al., arXiv 2203.12119.) Shallow prompts enter at the first block and pass through all
blocks; deep prompts are replaced by new ones at every block. Heads read the tokens of the image.
:mod:`tssbn.networks.prompted` describes prompts in a Swin transformer. The authors train with the
trunk in eval mode, without drop path; here the trunk is in training mode, as in the other methods.
"""

import math
from collections.abc import Mapping
from functools import partial

from tssbn.methods import Method, Network, insertion
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask
from tssbn.networks.blocks import blocks
from tssbn.peft import TaskPrompts

__all__ = ["build"]


def build(
    network: Network, outputs: Mapping[str, int], prompts: int = 50, deep: bool = False
) -> MultiTask:
    """Build a frozen trunk with prompts of each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        prompts: number of prompts of a task, in each block that gets new ones.
        deep: whether every block gets new prompts, or only the first.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no ViT or Swin transformer of this
            package.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1}, prompts=5, deep=True)
        >>> sum(p.numel() for p in net.trunk.parameters() if p.requires_grad)  # 2 · 2 · 5 · 24
        480
    """
    from tssbn.networks.prompted import find_promptable, give_prompts  # and with it timm

    trunk, readers = frozen(network, outputs)
    host = find_promptable(trunk)
    tasks = insertion.tasks_of_blocks(outputs)
    widths = [len(block.norm1.weight) for block in blocks(host).values()]
    patch = math.prod(host.patch_embed.patch_size)
    bound = math.sqrt(6 / (3 * patch + widths[0]))
    kept = widths if deep else widths[:1]
    give_prompts(host, [TaskPrompts(prompts, width, tasks, bound) for width in kept])
    return MultiTask(trunk, readers, stem=network.stem)


SHALLOW = Method(
    "VPT-shallow",
    build,
    groups,
    "A frozen transformer; each task has its own prompts at the first block.",
)
DEEP = Method(
    "VPT-deep",
    partial(build, deep=True),
    groups,
    "A frozen transformer; each task has its own prompts at every block.",
)

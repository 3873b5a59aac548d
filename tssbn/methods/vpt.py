"""VPT: in a frozen transformer each task has prompts, tokens beside those of the image.

(Jia et al., arXiv 2203.12119.) Shallow prompts are put in at the first block and go on through the
others; deep ones are new in every block. Heads read the tokens of the image. How prompts go through
a Swin transformer, :mod:`tssbn.networks.prompted` says. The authors train with the trunk in eval
mode, without drop path; here it is as in other methods.
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
    """A frozen trunk with prompts of each task.

    Args:
        prompts: how many a task has, in each block that gets new ones.
        deep: whether that is every block, or the first alone.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no ViT or Swin transformer of
            this package.
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

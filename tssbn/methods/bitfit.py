"""BitFit: in a frozen transformer each task has biases of its own.

(Ben Zaken, Ravfogel and Goldberg, arXiv 2106.10199.) A task has a difference from every bias of the
trunk that is frozen: of linear layers, norm layers, the convolution that makes tokens, and from the
tables of relative positions of a Swin transformer, which are biases of the attention. Without these
the parameters do not meet table 4 of arXiv 2512.20420.
"""

from collections.abc import Mapping

from torch import nn

from tssbn.methods import Method, Network, insertion
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask
from tssbn.networks.blocks import blocks
from tssbn.networks.windows import TaskTables
from tssbn.peft import TaskBias

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int], tables: bool = True) -> MultiTask:
    """A frozen trunk with biases of each task.

    Args:
        tables: whether each task has tables of relative positions, too.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
    """
    trunk, readers = frozen(network, outputs)
    tasks = insertion.tasks_of_blocks(outputs)
    attention = next(iter(blocks(trunk).values())).attn
    for name, layer in list(trunk.named_modules()):
        bias = getattr(layer, "bias", None)
        if isinstance(bias, nn.Parameter) and not bias.requires_grad:
            dim = -1 if isinstance(layer, (nn.Linear, nn.LayerNorm)) else 1
            trunk.set_submodule(name, nn.Sequential(layer, TaskBias(len(bias), tasks, dim)))
    table = getattr(attention, "relative_position_bias_table", None)
    if tables and table is not None and not table.requires_grad:
        insertion.insert(trunk, ["attn"], lambda attn: TaskTables(attn, tasks))
    return MultiTask(trunk, readers, stem=network.stem)


METHOD = Method(
    "BitFit", build, groups, "A frozen transformer; each task has its own copy of all biases."
)

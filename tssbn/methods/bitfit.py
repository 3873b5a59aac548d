"""BitFit: a frozen transformer in which each task trains its biases.

(Ben Zaken, Ravfogel and Goldberg, arXiv 2106.10199.) Each task adds a trained difference to every
frozen bias of the trunk: those of linear layers, norm layers and the patch convolution, and the
relative-position tables of a Swin transformer, which are biases of the attention. Without the
tables the number of parameters does not agree with table 4 of arXiv 2512.20420.
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
    """Build a frozen trunk with biases of each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        tables: whether each task also has relative-position tables.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.

    Example:
        >>> import torch
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> trained = [p for p in build(network, {"seg": 3}).trunk.parameters() if p.requires_grad]
        >>> {tuple(p.shape) for p in trained} == {(1, 6), (1, 24), (1, 72), (1, 96)}
        True
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

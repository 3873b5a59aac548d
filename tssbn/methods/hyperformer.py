"""HyperFormer and Polyhistor, whose adapters in a frozen transformer are generated for each task.

HyperFormer (Karimi Mahabadi et al., arXiv 2106.04489, and its code) has two adapters in a block, on
the output x of the attention and on that of the MLP, both before the residual addition:

    y = x + LN_t(U_t GELU(D_t x + c_t) + e_t)

D, c, U, e and the scale and shift of the LayerNorm are linear in a code h_t, which each block
computes from the task's embedding z_t by h_t = P₂ ReLU(P₁ z_t). The embedding is the only parameter
of a single task; all tasks share P and the generators. In the original language model all layers
share the generators as well, and an embedding of the layer joins that of the task. Here each block
has separate generators, because the widths differ. With these settings the trunk of Swin-T has
72.77 M trained parameters, the number in table 4 of arXiv 2512.20420.

Polyhistor (Liu et al., arXiv 2210.03265) generates factors of the matrices instead of the matrices.
Its code is not public and not all of its sizes are known, so this is our reading: D and U are
products of two generated factors with an inner width of 8, biases are generated, and there is no
LayerNorm. Its scaling kernels, which enlarge one template to the width of each stage, are left out.
With Polyhistor's decoders the defaults have the 8.96 M parameters of the table; several other
settings do as well.
"""

from collections.abc import Mapping
from functools import partial

from tssbn.methods import Method, Network, insertion
from tssbn.methods.adapters import BOTH, behind
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask
from tssbn.networks.blocks import blocks
from tssbn.peft.hypernetwork import Code, GeneratedAdapter, TaskEmbedding

__all__ = ["build"]


def build(
    network: Network,
    outputs: Mapping[str, int],
    ratio: float = 8.0,
    embedding: int = 512,
    hidden: int = 128,
    code: int = 64,
    inner: int | None = None,
    norm: bool = True,
) -> MultiTask:
    """Build a frozen trunk with two generated adapters in each block, and the heads.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        ratio: width of the block over the inner width of an adapter.
        embedding: length of a task's embedding.
        hidden: width between P₁ and P₂.
        code: length of a code.
        inner: inner width of the generated factors; None generates each matrix as a whole.
        norm: whether a generated LayerNorm follows an adapter.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
        ValueError: the ratio is larger than the width.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1}, embedding=5, hidden=4, code=3)
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 3, 32, 32)).items()}
        {'seg': (2, 3, 2, 2), 'depth': (2, 1, 2, 2)}
    """
    trunk, readers = frozen(network, outputs)
    tasks = insertion.tasks_of_blocks(outputs)
    of_tasks = TaskEmbedding(embedding, tasks)
    for block in blocks(trunk).values():
        codes = Code(of_tasks, embedding, hidden, code)
        made = partial(GeneratedAdapter, codes, code, tasks=tasks, inner=inner, norm=norm)
        for place in BOTH:
            block.set_submodule(place, behind(made, ratio)(block.get_submodule(place)))
    return MultiTask(trunk, readers, stem=network.stem)


HYPERFORMER = Method(
    "HyperFormer",
    build,
    groups,
    "A frozen transformer; hypernetworks generate adapters from the task's embedding.",
)
POLYHISTOR = Method(
    "Polyhistor (our reading)",
    partial(build, code=32, inner=8, norm=False),
    groups,
    "HyperFormer that generates factors of the adapters' matrices; our reading, its code is "
    "not public.",
)

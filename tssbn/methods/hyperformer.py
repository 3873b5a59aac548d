"""HyperFormer and Polyhistor: adapters in a frozen transformer, generated for each task.

HyperFormer (Karimi Mahabadi et al., arXiv 2106.04489, and its code) has two adapters in a block, on
the output of the attention and on that of the MLP, each before it is added to the tokens:

    z = x + LN_t(U_t GELU(D_t x + c_t) + e_t)

D, c, U, e and the scale and shift of the LayerNorm are linear in a code h_t, which each block
computes from the task's embedding z_t, by h_t = P₂ ReLU(P₁ z_t). The embedding is all that a task
owns; P and the generators are shared. The language model for which the method was made shares the
generators over the layers, too, whose embeddings join the task's. Here each block has its own,
because the widths differ; so the parameters in Swin-T are the 72.77 M that table 4 of arXiv
2512.20420 prints.

Polyhistor (Liu et al., arXiv 2210.03265) generates factors of the matrices instead of these. No
code of it is public, and the paper's sizes are not all known, so that this is our reading: D and U
are products of two generated factors of inner width 8, biases are generated, and there is no
LayerNorm. Its scaling kernels, which blow up one template to the width of each stage, are left out.
With Polyhistor's decoders the defaults have the 8.96 M of the table, as several other settings do.
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
    """A frozen trunk with two generated adapters in each block, and the heads.

    Args:
        ratio: how many times narrower than the block an adapter is inside.
        embedding: width of a task's embedding.
        hidden: width between the two layers of a block's projection.
        code: width of a code.
        inner: of the factors that are generated; None generates the matrices as a whole.
        norm: whether a generated LayerNorm follows an adapter.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no transformer of timm's blocks.
        ValueError: the ratio leaves nothing of the width.
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

"""Adapters in a frozen transformer, one set for each task or one for all tasks.

Each block has one adapter after the projection of the attention and one after the last layer of the
MLP, both before the residual addition (Houlsby et al., arXiv 1902.00751).

* Adapter: each task has a set of adapters.
* VL-Adapter: all tasks share one set, and the norm layers of the trunk are trained as well (Sung,
  Cho and Bansal, arXiv 2112.06825; "shared adapter" in Polyhistor's tables, arXiv 2210.03265).
* Compacter: each task has adapters whose matrices are sums of Kronecker products; Compacter++ has
  them after the MLP only (Karimi Mahabadi et al., arXiv 2106.04647).

The default widths were chosen so that the numbers of parameters agree with table 4 of arXiv
2512.20420. For Compacter that takes 8 products of rank 1, a ratio of 4, and separate factors for
every adapter; its authors use 4 products, a ratio of 32, and mixing factors that all adapters
share.
"""

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from tssbn.methods import Method, Network, insertion
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask
from tssbn.peft import bottleneck, kronecker

__all__ = ["build", "build_compacter", "build_shared"]

BOTH, AFTER_MLP = ("attn.proj", "mlp.fc2"), ("mlp.fc2",)


def build(
    network: Network, outputs: Mapping[str, int], ratio: float = 4.0, norms: bool = False
) -> MultiTask:
    """Build a frozen trunk with adapters of each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        ratio: width of the block over the inner width of an adapter.
        norms: whether the norm layers of the trunk are trained, one set for all tasks.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
        ValueError: the ratio is larger than the width.

    Example:
        >>> import torch
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> sum(p.numel() for p in net.trunk.parameters() if p.requires_grad)  # 2 · 2 · 2 · 318
        2544
    """
    trunk, readers = frozen(network, outputs, norms)
    tasks = insertion.tasks_of_blocks(outputs)
    insertion.insert(trunk, BOTH, behind(partial(bottleneck, tasks=tasks), ratio))
    return MultiTask(trunk, readers, stem=network.stem)


def build_shared(
    network: Network, outputs: Mapping[str, int], ratio: float = 4.0, norms: bool = True
) -> MultiTask:
    """Build a frozen trunk with adapters that all tasks share.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        ratio: width of the block over the inner width of an adapter.
        norms: whether the norm layers of the trunk are trained.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
        ValueError: the ratio is larger than the width.
    """
    trunk, readers = frozen(network, outputs, norms)
    insertion.insert(trunk, BOTH, behind(bottleneck, ratio))
    return MultiTask(trunk, readers)


def build_compacter(
    network: Network,
    outputs: Mapping[str, int],
    ratio: float = 4.0,
    products: int = 8,
    rank: int = 1,
    norms: bool = False,
    attention: bool = True,
) -> MultiTask:
    """Build a frozen trunk with adapters of each task whose matrices sum Kronecker products.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        ratio: width of the block over the inner width of an adapter.
        products: number of products of a sum, a divisor of the widths of blocks and adapters.
        rank: rank of the second factor of each product.
        norms: whether the norm layers of the trunk are trained, one set for all tasks.
        attention: whether there are adapters after the attention as well.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
        ValueError: `products` does not divide a width, or the ratio is larger than the width.
    """
    trunk, readers = frozen(network, outputs, norms)
    tasks = insertion.tasks_of_blocks(outputs)
    adapter = partial(kronecker, tasks=tasks, n=products, rank=rank)
    insertion.insert(trunk, BOTH if attention else AFTER_MLP, behind(adapter, ratio))
    return MultiTask(trunk, readers, stem=network.stem)


def behind(
    adapter: Callable[[int, int], nn.Module], ratio: float
) -> Callable[[nn.Linear], nn.Sequential]:
    """Make a function that appends an adapter to a layer.

    Args:
        adapter: makes the adapter from the layer's output width and the inner width.
        ratio: the first over the second.
    """

    def make(layer: nn.Linear) -> nn.Sequential:
        width = layer.out_features
        inner = int(width / ratio)
        if inner < 1:
            raise ValueError(f"ratio={ratio} leaves nothing of a width of {width}")
        return nn.Sequential(layer, adapter(width, inner))

    return make


ADAPTER = Method(
    "Adapter",
    build,
    groups,
    "A frozen transformer; each task has its own bottlenecks after attention and MLP.",
)
VL_ADAPTER = Method(
    "VL-Adapter",
    build_shared,
    groups,
    "A frozen transformer; all tasks share bottlenecks after attention and MLP.",
)
COMPACTER = Method(
    "Compacter",
    build_compacter,
    groups,
    "A frozen transformer; each task has its own bottlenecks, built from Kronecker products.",
)
COMPACTER_PP = Method(
    "Compacter++",
    partial(build_compacter, attention=False),
    groups,
    "Compacter with bottlenecks only after the MLP of each block.",
)

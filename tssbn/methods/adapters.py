"""Adapters in a frozen transformer: bottlenecks behind attention and MLP, of each task or of all.

An adapter stands behind the projection of the attention, and another behind the last layer of the
MLP, each before the sum with what went past (Houlsby et al., arXiv 1902.00751).

* Adapter: each task has adapters of its own.
* VL-Adapter: all tasks share them, and the norm layers of the trunk are trained, too (Sung, Cho and
  Bansal, arXiv 2112.06825; "shared adapter" in Polyhistor's tables, arXiv 2210.03265).
* Compacter: each task has adapters whose matrices are sums of Kronecker products; Compacter++ has
  them behind the MLP alone (Karimi Mahabadi et al., arXiv 2106.04647).

The widths by default are those with which the parameters meet table 4 of arXiv 2512.20420. For
Compacter that takes 8 products of rank 1, a quarter of the width inside, and factors that no two
adapters share, where its authors have 4 products, ratio 32, and mixing factors that all share.
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
    """A frozen trunk with adapters of each task.

    Args:
        ratio: how many times narrower than the block an adapter is inside.
        norms: whether the norm layers of the trunk are trained, one set for all tasks.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
    """
    trunk, readers = frozen(network, outputs, norms)
    tasks = insertion.tasks_of_blocks(outputs)
    insertion.insert(trunk, BOTH, behind(partial(bottleneck, tasks=tasks), ratio))
    return MultiTask(trunk, readers, stem=network.stem)


def build_shared(
    network: Network, outputs: Mapping[str, int], ratio: float = 4.0, norms: bool = True
) -> MultiTask:
    """A frozen trunk with adapters that all tasks share.

    Args:
        ratio: how many times narrower than the block an adapter is inside.
        norms: whether the norm layers of the trunk are trained.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
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
    """A frozen trunk with adapters of each task whose matrices are sums of Kronecker products.

    Args:
        ratio: how many times narrower than the block an adapter is inside.
        norms: whether the norm layers of the trunk are trained, one set for all tasks.
        products: how many a sum has; divides the widths of the blocks and of the adapters inside.
        rank: of the second factor of each.
        attention: whether there is one behind the attention, too.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no transformer of timm's blocks.
        ValueError: The number of products divides no width.
    """
    trunk, readers = frozen(network, outputs, norms)
    tasks = insertion.tasks_of_blocks(outputs)
    adapter = partial(kronecker, tasks=tasks, n=products, rank=rank)
    insertion.insert(trunk, BOTH if attention else AFTER_MLP, behind(adapter, ratio))
    return MultiTask(trunk, readers, stem=network.stem)


def behind(
    adapter: Callable[[int, int], nn.Module], ratio: float
) -> Callable[[nn.Linear], nn.Sequential]:
    """What puts an adapter behind a layer, so many times narrower inside than its output."""

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

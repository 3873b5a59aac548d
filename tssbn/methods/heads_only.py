"""A frozen trunk of which only the heads are trained, or the heads and the shared norm layers.

These are the references for methods that train little of a trunk. The parameters that
:attr:`tssbn.methods.Network.trains` selects are trained as well, and the statistics of BatchNorm
follow the data in any case. The opposite reference is full fine-tuning, which is HPS with a
separate learning rate for the trunk.
"""

from collections.abc import Mapping
from functools import partial

from tssbn.methods import Method, Network, hard_sharing
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int], norms: bool = False) -> MultiTask:
    """Build a frozen trunk, whose features all heads read.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        norms: whether the norm layers of the trunk are trained.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 2})
        >>> [name for name, p in net.named_parameters() if p.requires_grad]
        ['heads.seg.weight', 'heads.seg.bias']
    """
    return MultiTask(*frozen(network, outputs, norms))


HEADS_ONLY = Method("heads only", build, groups, "A frozen trunk, whose features every head reads.")
SHARED_NORM = Method(
    "shared norm",
    partial(build, norms=True),
    groups,
    "A frozen trunk in which only the normalisation layers are trained; all tasks share them.",
)
FULL = Method(
    "full fine-tuning",
    hard_sharing.build,
    groups,
    "HPS that trains the whole trunk, at its own learning rate.",
)

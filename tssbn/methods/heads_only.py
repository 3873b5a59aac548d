"""A frozen trunk: the heads alone are trained, or with them the norm layers, one set for all tasks.

What other methods that train little of a trunk are compared with: what the heads can make of given
features, and what the fewest parameters do that all tasks share. Beside these, whatever
:attr:`tssbn.methods.Network.trains` names is trained. The statistics of BatchNorm follow the data
in any case. The other end is full fine-tuning: HPS, whose trunk has a rate of its own here.
"""

from collections.abc import Mapping
from functools import partial

from tssbn.methods import Method, Network, hard_sharing
from tssbn.methods.freeze import frozen, groups
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int], norms: bool = False) -> MultiTask:
    """A frozen trunk, whose features every head reads.

    Args:
        norms: whether its norm layers are trained.
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

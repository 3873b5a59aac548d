"""Aligned-MTL: the principal components of the tasks' gradients are made equally long.

Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, algorithm 1.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torchjd.aggregation import AlignedMTLWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """The sum of the aligned gradients, whose Gramian is the least eigenvalue λ of M times the
    identity, as far as M has rank.

    The weights are B·1, where B = √λ V Λ^(-1/2) Vᵀ of M = V Λ Vᵀ.
    """
    return Aggregated(net, Present(Normalised(AlignedMTLWeighting()), mean=True))

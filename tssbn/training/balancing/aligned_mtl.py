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
    """Make Aligned-MTL, which sums aligned gradients.

    With the Gramian M = V Λ Vᵀ of the gradients G, restricted to its rank, and its least eigenvalue
    λ, the aligned gradients are B G with B = √λ V Λ^(-1/2) Vᵀ. Their Gramian is λ times the
    identity. The weights of the sum are B·1.

    Args:
        net: the network.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("aligned-mtl", torch.zeros(2), losses).step().round(decimals=3)
        tensor([1., 1.])
    """
    return Aggregated(net, Present(Normalised(AlignedMTLWeighting()), mean=True))

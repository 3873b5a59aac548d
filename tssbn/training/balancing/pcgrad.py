"""PCGrad: if two gradients conflict, each loses the part that opposes the other.

Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torchjd.aggregation import PCGradWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """Make PCGrad on the parameters that the network's tasks share.

    For each g_i, the gradients g_j of the other tasks are visited in random order; where
    g_i·g_j < 0, g_i ← g_i - (g_i·g_j / ‖g_j‖²) g_j. The results are summed. The sum is computed as
    a weighted sum of the original gradients.

    Args:
        net: the network.

    Raises:
        ValueError: the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (-1, 1)
        ...     return torch.stack([theta[0], theta[1] - theta[0]]) + 5
        >>> Probe("pcgrad", torch.zeros(2), losses).step()
        tensor([0.5000, 1.5000])
    """
    return Aggregated(net, PCGradWeighting())

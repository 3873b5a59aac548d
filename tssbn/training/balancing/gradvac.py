"""GradVac: two tasks' gradients are turned until their cosine is at least its running mean.

Wang et al., "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
Multilingual Models", ICLR 2021.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torchjd.aggregation import GradVacWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork, beta: float = 0.5) -> Aggregated:
    """Make GradVac on the parameters that the network's tasks share.

    As in PCGrad, each g_i is changed by every g_j in random order, and the results are summed. With
    their cosine φ and its moving average φ̂_ij, which starts at 0, a multiple of g_j is added where
    φ < φ̂_ij, so that the cosine becomes φ̂_ij:

        g_i ← g_i + g_j ‖g_i‖ (φ̂ √(1 - φ²) - φ √(1 - φ̂²)) / (‖g_j‖ √(1 - φ̂²))

    Args:
        net: the network.
        beta: the weight of the last step in the moving average; 0.5 in LibMTL, 0.01 in the paper.

    Raises:
        ValueError: the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (-1, 1)
        ...     return torch.stack([theta[0], theta[1] - theta[0]]) + 5
        >>> Probe("gradvac", torch.zeros(2), losses).step()
        tensor([0.5000, 1.5000])
    """
    return Aggregated(net, Normalised(GradVacWeighting(beta)))

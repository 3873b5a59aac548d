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
    """GradVac on the parameters that the network's tasks share.

    As in PCGrad each g_i meets every g_j in turn, in random order. If their cosine is less than the
    usual φ_ij, as much of g_j is added as makes it φ_ij, which is a moving average of the cosines
    and starts at 0.

    Args:
        beta: The weight of the last step in the moving average; 0.5 in LibMTL, 0.01 in the paper.
    """
    return Aggregated(net, Normalised(GradVacWeighting(beta)))

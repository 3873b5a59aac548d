"""PCGrad: if two gradients conflict, each loses the part that opposes the other.

Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torchjd.aggregation import PCGradWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """PCGrad on the parameters that the network's tasks share.

    Each g_i is projected in turn, in random order, onto the normal plane of every g_j that its
    rest has a negative scalar product with; the results add up. Weights on the rows are the same.
    """
    return Aggregated(net, PCGradWeighting())

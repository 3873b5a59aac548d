"""Nash-MTL: the step is the result of a bargaining game, and does not depend on the losses' scales.

Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.fairgrad import Fair

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork, max_norm: float = 1.0) -> Aggregated:
    """The weights w > 0 with Mw = 1/w, solved anew in each step: FairGrad with α = 1.

    Args:
        max_norm: The limit of ‖d‖, which is √T without it; 1 in the public code.
    """
    return Aggregated(net, Fair(1.0, max_norm))

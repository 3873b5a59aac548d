"""IMTL-G, impartial gradients: the step is equally long in the direction of each task's gradient.

Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torchjd.aggregation import IMTLGWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """d·g_t / ‖g_t‖ is the same for all tasks, and the weights, some of which may be negative, add
    up to T.

    They are T w / Σ_t w_t with w = M⁺ √diag(M), of the Gramian M.
    """
    return Aggregated(net, Present(Normalised(IMTLGWeighting()), mean=True))

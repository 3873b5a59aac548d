"""UPGrad: each task's gradient is projected so that it opposes no other.

Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", arXiv 2406.16232.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import DualConeProjector

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present, root

__all__ = ["ConeProjector", "balancing"]


class ConeProjector(DualConeProjector):
    """The projection of Gᵀu onto the cone {d: Gd ≥ 0}, for each row u of a matrix.

    The projection is Gᵀv with the v ≥ u that has the least vᵀMv. With RᵀR = M and z = v - u, this
    is the least ‖Rz + Ru‖ over z ≥ 0.

    Example:
        >>> gramian = torch.tensor([[1.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)
        >>> ConeProjector()(torch.eye(2, dtype=torch.float64), gramian)
        tensor([[1.0000, 0.5000],
                [1.0000, 1.0000]], dtype=torch.float64)
    """

    def __call__(self, U: Tensor, G: Tensor) -> Tensor:
        r = root(G)
        z = [nnls(r.numpy(), -(r @ u).numpy())[0] for u in U]
        return U + torch.stack([torch.from_numpy(row) for row in z])


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """Make UPGrad, the sum of the projected gradients; the paper takes their mean.

    Args:
        net: the network.

    Raises:
        ValueError: the tasks share no parameter.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (-1, 1)
        ...     return torch.stack([theta[0], theta[1] - theta[0]]) + 5
        >>> Probe("upgrad", torch.zeros(2), losses).step()
        tensor([0.5000, 1.5000])
    """
    weighting = UPGradWeighting(projector=ConeProjector())
    return Aggregated(net, Present(Normalised(weighting), mean=True))

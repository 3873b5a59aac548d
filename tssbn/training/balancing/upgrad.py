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
    """Projects each Gᵀu onto the cone {d: Gd ≥ 0}: onto Gᵀv with the v ≥ u of least vᵀMv.

    With RᵀR = M and z = v - u it is the least ‖Rz + Ru‖ over z ≥ 0.

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
    """The sum of the projected gradients, T times the mean of the paper."""
    weighting = UPGradWeighting(projector=ConeProjector())
    return Aggregated(net, Present(Normalised(weighting), mean=True))

"""MGDA: the shortest vector among the weighted means of the tasks' gradients.

Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present, root

__all__ = ["balancing", "shortest_mean"]


def shortest_mean(gramian: Tensor) -> Tensor:
    """argmin wᵀMw over w ≥ 0 with Σ_t w_t = 1.

    Exact: with RᵀR = M and z ≥ 0, the least ‖Rz‖² + (Σ_t z_t - 1)² is at a multiple of w.

    Example:
        >>> shortest_mean(torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    tasks = len(gramian)
    system = np.vstack([root(gramian).numpy(), np.ones(tasks)])
    z, _ = nnls(system, np.append(np.zeros(tasks), 1.0))
    return torch.from_numpy(z / z.sum())


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """T times the shortest mean, of the tasks whose gradient is not zero."""
    return Aggregated(net, Present(Normalised(shortest_mean), mean=True))

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
    """Compute w = argmin wᵀMw over w ≥ 0 with Σ_t w_t = 1, exactly.

    With RᵀR = M, the z ≥ 0 with the least ‖Rz‖² + (Σ_t z_t - 1)² is a multiple of w.

    Args:
        gramian: M, (T, T), float64 on the CPU.

    Returns:
        (T,).

    Example:
        >>> shortest_mean(torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    tasks = len(gramian)
    system = np.vstack([root(gramian).numpy(), np.ones(tasks)])
    z, _ = nnls(system, np.append(np.zeros(tasks), 1.0))
    return torch.from_numpy(z / z.sum())


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """Make MGDA, T times the shortest mean of the gradients that are not zero.

    Args:
        net: the network.

    Raises:
        ValueError: the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("mgda", torch.zeros(2), losses).step()
        tensor([1.6000, 0.8000])
    """
    return Aggregated(net, Present(Normalised(shortest_mean), mean=True))

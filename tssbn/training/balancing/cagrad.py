"""CAGrad: a step near the mean gradient that lowers the loss of the worst task most.

Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present

__all__ = ["balancing", "conflict_averse"]


def conflict_averse(gramian: Tensor, c: float) -> Tensor:
    """Compute the weights of the tasks' gradients in d = (g_0 + c ‖g_0‖ g_w / ‖g_w‖) / (1 + c²).

    g_0 is the mean of the tasks' gradients, and g_w = Σ_t w_t g_t their weighted mean, w ≥ 0 and
    Σ_t w_t = 1, for which g_0·g_w + c ‖g_0‖ ‖g_w‖ is least.

    Args:
        gramian: the scalar products of the tasks' gradients, (T, T), float64 on the CPU.
        c: the radius around g_0, in units of its length.

    Returns:
        (T,).

    Example:
        >>> gramian = torch.tensor([[1.0, -0.5], [-0.5, 4.0]], dtype=torch.float64)
        >>> conflict_averse(gramian, 0.0)
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    products, tasks = gramian.numpy(), len(gramian)
    with_mean = products.mean(0)
    radius = c * np.sqrt(max(with_mean.mean(), 0.0))

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        slope = products @ w
        length = np.sqrt(max(w @ slope, 1e-30))
        return w @ with_mean + radius * length, with_mean + radius * slope / length

    even = np.full(tasks, 1 / tasks)
    whole = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(tasks)}
    found = minimize(
        objective,
        even,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * tasks,
        constraints=whole,
        options={"ftol": 1e-14, "maxiter": 200},
    )
    length = np.sqrt(max(found.x @ products @ found.x, 0.0))
    added = radius / length * found.x if length > 0 else 0.0
    return torch.from_numpy((even + added) / (1 + c**2))


def balancing(net: MultiTaskNetwork, c: float = 0.4) -> Aggregated:
    """Make CAGrad, whose step is multiplied by T so that it is the plain sum for c = 0.

    Args:
        net: the network.
        c: largest distance of the step from the mean gradient, in units of its length; 0.4 in the
            public code for NYUv2.

    Raises:
        ValueError: `c` is negative, or the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 1)
        ...     return torch.stack([theta[0], theta[1]]) + 5
        >>> Probe("cagrad", torch.zeros(2), losses).step()
        tensor([1.2069, 1.2069])
    """
    if not c >= 0:
        raise ValueError(f"c={c} must be 0 or more")
    return Aggregated(net, Present(Normalised(partial(conflict_averse, c=c)), mean=True))

"""FairGrad: the gain of a step is divided between the tasks by a rule of fair shares.

Ban and Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, algorithm 1.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torch import Tensor, nn
from torchjd.aggregation import FairGradWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present

__all__ = ["Fair", "balancing"]


class Fair(nn.Module):
    """The weights w > 0 with Mw = w^(-1/α), scaled down where d = Σ_t w_t g_t exceeds a length.

    M is the Gramian of the gradients g. A task whose gradient is zero has the weight 0.

    Args:
        alpha: α, positive. With 1 it is the bargaining solution of Nash-MTL; with a larger α the
            smallest gain has more influence.
        max_norm: the largest length of d.

    Raises:
        ValueError: `alpha` or `max_norm` is not positive.

    Example:
        >>> import torch
        >>> gramian = torch.diag(torch.tensor([4.0, 16.0], dtype=torch.float64))
        >>> Fair(alpha=1.0, max_norm=2.0)(gramian)  # 1 / ‖g_t‖
        tensor([0.5000, 0.2500], dtype=torch.float64)
    """

    def __init__(self, alpha: float, max_norm: float = 1.0):
        super().__init__()
        for name, value in ("alpha", alpha), ("max_norm", max_norm):
            if not value > 0:
                raise ValueError(f"{name}={value} must be positive")
        self.max_norm = max_norm
        power = -alpha / (1 + alpha)  # w(cM) = c^power w(M)
        self.weighting = Present(Normalised(FairGradWeighting(alpha), power))

    def forward(self, gramian: Tensor) -> Tensor:
        weights = self.weighting(gramian)
        length = (weights @ gramian @ weights).clamp(min=0).sqrt()
        return weights * (self.max_norm / length).clamp(max=1) if length > 0 else weights


def balancing(net: MultiTaskNetwork, alpha: float = 2.0, max_norm: float = 1.0) -> Aggregated:
    """Make FairGrad on the parameters that the network's tasks share, see :class:`Fair`.

    Args:
        net: the network.
        alpha: α; 2 in the scripts of the public code.
        max_norm: the largest length of the step; 1 in the public code, which multiplies the step by
            T before it limits it.

    Raises:
        ValueError: `alpha` or `max_norm` is not positive, or the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> probe = Probe("fairgrad", torch.zeros(2), losses, alpha=1.0, max_norm=2.0)
        >>> probe.step().round(decimals=3)
        tensor([1., 1.])
    """
    return Aggregated(net, Fair(alpha, max_norm))

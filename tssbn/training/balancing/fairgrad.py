"""FairGrad: a rule of fair shares divides the gain of a step between the tasks.

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
    """The weights w > 0 with Mw = w^(-1/α), made smaller where Σ_t w_t g_t is longer than a limit.

    A task whose gradient is zero has no gain and no weight.

    Args:
        alpha: α, positive: 1 is the bargaining solution of Nash-MTL; the larger, the more the least
            gain counts.
        max_norm: The limit of ‖d‖.

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
        power = -alpha / (1 + alpha)  # w is homogeneous in M of this degree
        self.weighting = Present(Normalised(FairGradWeighting(alpha), power))

    def forward(self, gramian: Tensor) -> Tensor:
        weights = self.weighting(gramian)
        length = (weights @ gramian @ weights).clamp(min=0).sqrt()
        return weights * (self.max_norm / length).clamp(max=1) if length > 0 else weights


def balancing(net: MultiTaskNetwork, alpha: float = 2.0, max_norm: float = 1.0) -> Aggregated:
    """FairGrad on the parameters that the network's tasks share.

    Args:
        alpha, max_norm: see :class:`Fair`; the defaults are those of the public code.
    """
    return Aggregated(net, Fair(alpha, max_norm))

"""Penalties on experts that are used unevenly, or by all tasks alike."""

import torch
from torch import Tensor

__all__ = ["mutual_information", "unevenness"]


def unevenness(use: Tensor) -> Tensor:
    """Compute the squared coefficient of variation, var(use) / mean(use)², over the experts.

    The variance is the unbiased one. The result is 0 if all E experts are used alike, E if only one
    is used, and 0 for E = 1 (Shazeer et al., arXiv 1701.06538, section 4).

    Args:
        use: (..., E), not negative, and not 0 for all experts at once.

    Returns:
        (...), without the last dimension.

    Example:
        >>> unevenness(torch.tensor([[2.0, 2.0, 2.0, 2.0], [8.0, 0.0, 0.0, 0.0]]))
        tensor([0., 4.])
    """
    mean = use.mean(-1, keepdim=True)
    return (use / mean - 1).square().sum(-1) / max(use.shape[-1] - 1, 1)


def mutual_information(use: Tensor) -> Tensor:
    """Compute the mutual information of task and expert, Σ P log(P / (P_t P_e)), in nats.

    P(t, e) is the share of task t and expert e in the total use; P_t and P_e are its sums over
    experts and tasks. The result is 0 if all tasks use the experts alike, log T if T tasks with
    equal P_t share no expert, and at most log min(T, E) (Chen et al., arXiv 2212.08066, eq. 5, 6).

    Args:
        use: (T, E), not negative.

    Returns:
        A scalar.

    Example:
        >>> mutual_information(torch.tensor([[1.0, 0.0], [0.0, 1.0]])) / torch.tensor(2.0).log()
        tensor(1.)
    """
    joint = use / use.sum()
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return torch.xlogy(joint, joint / independent).sum()

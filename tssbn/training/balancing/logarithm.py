"""Logarithms of losses, for what does not depend on their scale."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["EPSILON", "check_positive", "logarithm"]

EPSILON = 1e-8  # a loss is 0 where nothing counts


def logarithm(losses: Tensor) -> Tensor:
    """log(L + 1e-8), finite at 0, and with it the gradient.

    Example:
        >>> import torch
        >>> logarithm(torch.tensor([1.0, 0.0]))
        tensor([  0.0000, -18.4207])
    """
    return (losses + EPSILON).log()


def check_positive(losses: Mapping[str, Tensor]) -> None:
    """Refuse a negative loss, which has no logarithm.

    Raises:
        ValueError: Names the task.

    Example:
        >>> import torch
        >>> check_positive({"seg": torch.tensor(1.0), "depth": torch.tensor(-2.0)})
        Traceback (most recent call last):
        ValueError: the loss of 'depth' is -2.0: a balancing that takes logarithms needs losses that
        are not negative
    """
    for task, loss in losses.items():
        if loss < 0:
            raise ValueError(
                f"the loss of {task!r} is {loss.item()}: a balancing that takes logarithms needs "
                "losses that are not negative"
            )

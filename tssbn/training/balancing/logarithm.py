"""Logarithms of losses, whose gradients do not depend on the scales of the losses."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["EPSILON", "check_positive", "logarithm"]

EPSILON = 1e-8  # a loss is 0 where a batch has no label


def logarithm(losses: Tensor) -> Tensor:
    """Compute log(L + 1e-8), which is finite at 0, and so is its gradient.

    Args:
        losses: of any shape, not negative.

    Example:
        >>> import torch
        >>> logarithm(torch.tensor([1.0, 0.0]))
        tensor([  0.0000, -18.4207])
    """
    return (losses + EPSILON).log()


def check_positive(losses: Mapping[str, Tensor]) -> None:
    """Raise an error for a negative loss, which has no logarithm.

    Args:
        losses: the losses, by task.

    Raises:
        ValueError: a loss is negative; the message names the task.

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

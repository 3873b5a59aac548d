"""F1 of attributes at thresholds that are chosen on validation images, from logits."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["best_threshold", "f1_at", "f1_at_validation_thresholds"]

By = Mapping[str, Mapping[str, Tensor]]  # of a split, then of a task


def f1_at(threshold: float, logits: Tensor, labels: Tensor) -> float:
    """Compute F1 for predictions of logits above a threshold; NaN without any label.

    Args:
        threshold: the threshold.
        logits: (N,).
        labels: (N,), 1, 0, or -1 where there is no label.

    Example:
        >>> f1_at(0.0, torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 1]))
        0.5
    """
    positive, present = logits > threshold, labels == 1
    hits = (positive & present).sum().item()
    total = (positive & (labels >= 0)).sum().item() + present.sum().item()
    if not (labels >= 0).any():
        return math.nan
    return 2 * hits / total if total else 0.0


def best_threshold(logits: Tensor, labels: Tensor) -> float:
    """Find the threshold with the highest F1, halfway between two logits.

    The highest of equally good thresholds is chosen. It is 0 where no label is 1, and a threshold
    below all logits is 1 below the lowest.

    Args:
        logits, labels: as for ``f1_at``.

    Example:
        >>> best_threshold(torch.tensor([-1.0, -3.0, -4.0, -9.0]), torch.tensor([1, 1, 0, 0]))
        -3.5
    """
    logits, labels = logits.double()[labels >= 0], labels[labels >= 0]
    if not (labels == 1).any():
        return 0.0
    logits, order = logits.sort(descending=True)
    hits = (labels[order] == 1).cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(logits) + 1) + hits[-1])
    below = torch.cat([logits[1:], logits[-1:] - 1])
    apart = below < logits  # no threshold comes between equal ones
    at = int(f1.where(apart, -1).argmax())
    low, high = below[at].item(), logits[at].item()
    return low if at == len(logits) - 1 else (low + high) / 2


def f1_at_validation_thresholds(logits: By, labels: By) -> dict[str, dict[str, float]]:
    """Compute F1 of each task on the test images, at the best threshold on the validation images.

    Args:
        logits: (N,) by task, for ``"val"`` and ``"test"``.
        labels: (N,) by task, for ``"val"`` and ``"test"``, as for ``f1_at``.

    Returns:
        By task ``"threshold"`` and ``"f1"``.

    Example:
        >>> logits = {"smile": torch.tensor([-1.0, -2.0, -4.0])}
        >>> labels = {"smile": torch.tensor([1, 1, 0])}
        >>> f1_at_validation_thresholds(
        ...     {"val": logits, "test": logits}, {"val": labels, "test": labels}
        ... )
        {'smile': {'threshold': -3.0, 'f1': 1.0}}
    """
    found = {}
    for task, of_task in logits["val"].items():
        threshold = best_threshold(of_task, labels["val"][task])
        f1 = f1_at(threshold, logits["test"][task], labels["test"][task])
        found[task] = {"threshold": threshold, "f1": f1}
    return found

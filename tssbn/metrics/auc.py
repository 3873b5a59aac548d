"""Scores of one binary attribute that need no threshold, AUC first."""

from typing import ClassVar

from tssbn.metrics.attributes import Attributes

__all__ = ["AUC"]


class AUC(Attributes):
    """AUC, average precision and cross-entropy of one attribute, computed from its logits.

    These are the scores of :class:`~tssbn.metrics.attributes.Attributes` that need no threshold.
    AUC comes first, so tables print it and Δm uses it. A constant prediction has AUC 0.5.

    Shape:
        - prediction: (B,) or (B, 1) floating, logits
        - target: (B,) or (B, 1) int64, 0 or 1, -1 where there is no label

    Returns of ``compute()``: ``"auc"``, ``"average_precision"``, ``"cross_entropy"``.

    Raises:
        ValueError: as for :class:`~tssbn.metrics.attributes.Attributes`.

    Example:
        >>> import torch
        >>> metric = AUC()
        >>> metric.update(torch.tensor([2.0, -1.0, 0.5, 9.0]), torch.tensor([1, 0, 0, -1]))
        >>> metric.compute()
        {'auc': 1.0, 'average_precision': 1.0, 'cross_entropy': 0.47...}
    """

    directions: ClassVar = {"auc": True, "average_precision": True, "cross_entropy": False}

    def __init__(self) -> None:
        super().__init__(inputs="logits")

    def compute(self) -> dict[str, float]:
        values = super().compute()
        return {name: values[name] for name in self.directions}

"""Accuracy of the class of an image, or of the classes of its words."""

from typing import ClassVar

from tssbn.metrics.confusion import ConfusionMatrix

__all__ = ["Classification", "WordClassification"]


class Classification(ConfusionMatrix):
    """Accuracy, balanced accuracy and F1 of images with one of n classes.

    With n_ij the number of images of class i that are predicted as class j,

        accuracy = Σ_c n_cc / Σ_ij n_ij,    recall_c = n_cc / Σ_j n_cj,
        F1_c = 2 n_cc / (Σ_j n_cj + Σ_i n_ic),

    all over the whole split. Balanced accuracy is the mean of the recalls; the constant baseline
    has 1/n, however frequent its class. ``"f1"`` is the mean F1 of the classes (macro).

    A class without an image has no recall: it is NaN in ``"recall"`` and left out of the mean. Its
    F1 is 0 if it is predicted anywhere, and is left out of the mean otherwise. scikit-learn does
    the same.

    Args:
        classes: number of classes, at least 2.

    Shape:
        - prediction: logits (B, classes), or labels (B,) int64
        - target: (B,) int64, -1 where there is no label

    Returns of ``compute()``: ``"accuracy"``, ``"balanced_accuracy"``, ``"f1"``, and ``"recall"``, a
    list, by class.

    Raises:
        ValueError: shapes or types differ from these, a label is out of range, or, where there is a
            label, the largest logit is NaN or infinite.

    Example:
        >>> import torch
        >>> metric = Classification(classes=2)
        >>> metric.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, -1]))
        >>> {name: value for name, value in metric.compute().items() if name != "f1"}
        {'accuracy': 0.66..., 'balanced_accuracy': 0.5, 'recall': [1.0, 0.0]}
    """

    directions: ClassVar = {
        "accuracy": True,
        "balanced_accuracy": True,
        "f1": True,
        "recall": True,
    }

    def compute(self) -> dict[str, float | list[float]]:
        counts = self.confusion.double()
        hits, true, predicted = counts.diag(), counts.sum(1), counts.sum(0)
        recall = hits / true
        return {
            "accuracy": (hits.sum() / counts.sum()).item(),
            "balanced_accuracy": recall.nanmean().item(),
            "f1": (2 * hits / (true + predicted)).nanmean().item(),
            "recall": recall.tolist(),
        }


class WordClassification(Classification):
    """The same of the words of sentences: every word that has a label counts once.

    Args:
        classes: how many there are; at least 2.

    Shape:
        - prediction: logits (B, classes, L), or labels (B, L) int64
        - target: (B, L) int64, -1 where there is no word

    Example:
        >>> import torch
        >>> metric = WordClassification(classes=3)
        >>> metric.update(torch.tensor([[0, 2, 1, 1]]), torch.tensor([[0, 1, 1, -1]]))
        >>> metric.compute()["accuracy"]
        0.66...
    """

    AXES: ClassVar = ("L",)

"""The losses of the tasks: means over the labels of a batch that count.

What a target does not count (:class:`~tssbn.data.target.Target`: missing labels, void pixels) has
a gradient of exactly 0, whatever stands there. A batch in which nothing counts has the loss 0, and
all its gradients are 0.

The mean is over what counts in the batch: with labels for 3 of 16 images it is the mean of these 3.
So the scale of a loss does not depend on how many labels there are, but a label counts more in a
batch that has few. Several processes take a mean each, and the mean of these.
"""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "balanced_cross_entropy",
    "binary_cross_entropy",
    "cosine_loss",
    "cross_entropy",
    "l1_loss",
    "normal_l1_loss",
]


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of classes, over the labels that are >= 0.

    Shape:
        - prediction: logits (B, classes), (B, classes, H, W) or (B, classes, L)
        - target: (B,), (B, H, W) or (B, L) int64

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0], [9.0, -9.0]])
        >>> cross_entropy(logits, torch.tensor([1, -1]))  # log 2, of the first
        tensor(0.6931)
    """
    total = F.cross_entropy(prediction, target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)


def l1_loss(prediction: Tensor, target: Tensor, ignore: float = math.nan) -> Tensor:
    """Absolute error, over the values that are not NaN and not ``ignore``.

    Shape:
        - prediction: as the target; (B, 1) for (B,), too
        - target: (B, 1, H, W) or (B,)

    Example:
        >>> import torch
        >>> l1_loss(torch.tensor([[1.0], [5.0]]), torch.tensor([3.0, torch.nan]))
        tensor(2.)
    """
    if target.dim() == 1 and prediction.dim() == 2:
        prediction = prediction.squeeze(1)
    _check(prediction, target)
    counted = (target != ignore) & ~target.isnan()
    return _mean((prediction - target.where(counted, 0)).abs(), counted)


def cosine_loss(prediction: Tensor, target: Tensor, mask: str = "norm") -> Tensor:
    """1 - cosine of the angle, over the pixels with a normal.

    A prediction without a direction, the zero vector, has the loss 1, and the gradient of the
    scalar product.

    Args:
        mask: which pixels have one; ``"sum"`` drops those whose components sum to 0, as mtan does.

    Shape:
        - prediction: (B, 3, H, W), of any length
        - target: (B, 3, H, W), unit vectors, zero or NaN where there is none

    Example:
        >>> import torch
        >>> target = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
        >>> cosine_loss(torch.tensor([0.0, 3.0, 0.0]).view(1, 3, 1, 1), target)
        tensor(1.)
    """
    _check(prediction, target)
    counted = _has_normal(target, mask)
    cosine = (_direction(prediction) * target.where(counted.unsqueeze(1), 0)).sum(1)
    return _mean(1 - cosine, counted)


def normal_l1_loss(
    prediction: Tensor, target: Tensor, over: Literal["pixels", "components"] = "pixels"
) -> Tensor:
    """Absolute error of unit normals, summed over pixels with a normal and their components.

    Predictions are made unit first; one without a direction stays as it is.

    Args:
        over: what the sum is divided by: the ``"pixels"`` with a normal (MLoRE), or their
            ``"components"``, three times as many (MTLoRA).

    Shape:
        - prediction: (B, 3, H, W), of any length
        - target: (B, 3, H, W), unit vectors, zero or NaN where there is none

    Example:
        >>> import torch
        >>> target = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
        >>> normal_l1_loss(torch.tensor([0.0, 3.0, 0.0]).view(1, 3, 1, 1), target)
        tensor(2.)
    """
    _check(prediction, target)
    counted = _has_normal(target)
    error = (_direction(prediction) - target.where(counted.unsqueeze(1), 0)).abs().sum(1)
    return _mean(error, counted) / (3 if over == "components" else 1)


def balanced_cross_entropy(
    prediction: Tensor,
    target: Tensor,
    positive: float | None = None,
    over: Literal["counted", "all"] = "counted",
) -> Tensor:
    """Cross-entropy of maps of two classes, one of which is rare.

    Of the labels that are >= 0 a 1 counts ``positive``, a 0 counts ``1 - positive``. Without a
    number it is the share of the 0s in the batch (as in HED, Xie and Tu, ICCV 2015): so both
    classes weigh the same, whatever their sizes.

    Args:
        positive: between 0 and 1.
        over: what the sum is divided by: the labels that are ``"counted"``, or ``"all"`` pixels,
            void ones too.

    Shape:
        - prediction: logits (B, 2, H, W), or (B, 1, H, W), those of class 1
        - target: (B, H, W) int64

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 1, 5), torch.tensor([[[1, 0, 0, 0, -1]]])
        >>> balanced_cross_entropy(logits, target)  # log 2 · (1 · 3/4 + 3 · 1/4) / 4
        tensor(0.2599)
        >>> balanced_cross_entropy(logits, target, positive=0.5)  # log 2 / 2
        tensor(0.3466)
    """
    two = prediction.shape[1] == 2
    logit = prediction[:, 1] - prediction[:, 0] if two else prediction.squeeze(1)
    _check(logit, target)
    counted, found = target >= 0, target == 1
    labels = counted.sum().clamp(min=1)
    weight = 1 - found.sum().to(logit.dtype) / labels if positive is None else positive
    error = weight * F.softplus(-logit).where(found, 0)
    error = error + (1 - weight) * F.softplus(logit).where(counted & ~found, 0)
    return error.sum() / (labels if over == "counted" else target.numel())


def binary_cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of attributes, over the labels that are >= 0.

    Shape:
        - prediction: logits (B, 1)
        - target: (B,) int64

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.tensor([[0.0], [9.0]]), torch.tensor([1, -1]))
        tensor(0.6931)
    """
    prediction, counted = prediction.squeeze(1), target >= 0
    _check(prediction, target)
    label, present = (x.to(prediction.dtype) for x in (target.where(counted, 0), counted))
    # 1 where all labels are there: then this is torch's own mean to the last bit.
    weight = present / present.mean().clamp(min=1 / len(present))
    return F.binary_cross_entropy_with_logits(prediction, label, weight)


def _check(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)} and target {tuple(target.shape)}: "
            f"they must agree"
        )


def _has_normal(target: Tensor, mask: str = "norm") -> Tensor:
    counted = target.sum(1) != 0 if mask == "sum" else (target != 0).any(1)
    return counted & ~target.isnan().any(1)


def _direction(prediction: Tensor) -> Tensor:
    length = prediction.norm(dim=1, keepdim=True)
    return prediction / length.where(length > 1e-12, 1)


def _mean(error: Tensor, counted: Tensor) -> Tensor:
    # A sum over all pixels: indexing by the mask would make the GPU wait for its size.
    return error.where(counted, 0).sum() / counted.sum().clamp(min=1)

"""The losses of the tasks, which are means over the labels that a batch has.

Missing labels and void pixels (:class:`~tssbn.data.target.Target`) have a gradient of exactly 0,
whatever their value is. A batch without a label has the loss 0, with gradients of 0.

With labels for 3 of 16 images, the loss is the mean over these 3. So the scale of a loss does not
depend on the number of labels, but each label has a larger weight in a batch with few. Several
processes take a mean each, and then the mean of these means.
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
    """Compute the cross-entropy of classes, over the labels that are >= 0.

    Args:
        prediction: logits, (B, classes), (B, classes, H, W) or (B, classes, L).
        target: int64, (B,), (B, H, W) or (B, L).

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0], [9.0, -9.0]])
        >>> cross_entropy(logits, torch.tensor([1, -1]))  # log 2, of the first
        tensor(0.6931)
    """
    total = F.cross_entropy(prediction, target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)


def l1_loss(prediction: Tensor, target: Tensor, ignore: float = math.nan) -> Tensor:
    """Compute the mean absolute error, over the targets that are not NaN and not `ignore`.

    Args:
        prediction: as the target, or (B, 1) for a target (B,).
        target: (B, 1, H, W) or (B,).
        ignore: the value of a missing target.

    Raises:
        ValueError: the shapes differ.

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
    """Compute the mean of 1 - cosine of the angle between normals, over the pixels with a normal.

    A prediction that is the zero vector has the loss 1, and the gradient of the scalar product.

    Args:
        prediction: vectors of any length, (B, 3, H, W).
        target: unit vectors, (B, 3, H, W); zero or NaN where there is no normal.
        mask: which pixels have a normal; with ``"sum"`` those whose components do not sum to 0, as
            in mtan.

    Raises:
        ValueError: the shapes differ.

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
    """Compute the absolute error of unit normals, over the pixels with a normal.

    Predictions are divided by their length first; the zero vector stays as it is.

    Args:
        prediction: vectors of any length, (B, 3, H, W).
        target: unit vectors, (B, 3, H, W); zero or NaN where there is no normal.
        over: the divisor of the sum over components and pixels: the number of ``"pixels"`` with a
            normal (MLoRE), or of their ``"components"``, three times as many (MTLoRA).

    Raises:
        ValueError: the shapes differ.

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
    """Compute a weighted cross-entropy of maps of two classes, one of which is rare.

    A label 1 has the weight `positive` and a label 0 the weight ``1 - positive``. Where `positive`
    is None, it is the share of label 0 in the batch, so that both classes have the same total
    weight, whatever their sizes (as in HED, Xie and Tu, ICCV 2015).

    Args:
        prediction: logits, (B, 2, H, W), or (B, 1, H, W) for class 1 alone.
        target: int64, (B, H, W); negative for void.
        positive: the weight of label 1, between 0 and 1.
        over: the divisor of the sum: the number of pixels that are ``"counted"``, or of ``"all"``
            pixels including void.

    Raises:
        ValueError: the shapes differ.

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
    """Compute the binary cross-entropy of attributes, over the labels that are >= 0.

    Args:
        prediction: logits, (B, 1).
        target: int64, (B,).

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import torch
        >>> binary_cross_entropy(torch.tensor([[0.0], [9.0]]), torch.tensor([1, -1]))
        tensor(0.6931)
    """
    prediction, counted = prediction.squeeze(1), target >= 0
    _check(prediction, target)
    label, present = (x.to(prediction.dtype) for x in (target.where(counted, 0), counted))
    # 1 where no label is missing: the result then equals PyTorch's mean to the last bit.
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

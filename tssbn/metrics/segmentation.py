"""Mean IoU of segmentation."""

from typing import ClassVar

from tssbn.metrics.confusion import ConfusionMatrix

__all__ = ["Segmentation"]


class Segmentation(ConfusionMatrix):
    """Mean IoU and pixel accuracy, from one confusion matrix over all pixels.

    With n_ij the number of pixels of class i that are predicted as class j,

        IoU_c = n_cc / (Σ_j n_cj + Σ_i n_ic - n_cc),    accuracy = Σ_c n_cc / Σ_ij n_ij,

    and mIoU is the mean of IoU_c over the classes, background included. The matrix is summed over
    the whole split before the ratios are taken, as in mtan (since November 2020), auto-lambda,
    LibMTL, MLoRE and MTLoRA. It is not averaged over images or batches.

    A class that is in no target and in no prediction has no IoU: it is NaN in ``"iou"`` and left
    out of the mean. In this case mtan, auto-lambda and LibMTL print NaN, and MLoRE and MTLoRA count
    0. Where every class occurs, as in the test images of NYUv2, all agree. A class that is
    predicted but in no target has IoU 0, which enters the mean.

    Args:
        classes: number of classes, at least 2.

    Shape:
        - prediction: logits (B, classes, H, W), or labels (B, H, W) int64
        - target: (B, H, W) int64, -1 for void

    Returns of ``compute()``: ``"miou"``, ``"accuracy"``, and ``"iou"``, a list, by class.

    Raises:
        ValueError: shapes or types differ from these, a label is out of range, or, at a pixel that
            is not void, the largest logit is NaN or infinite.

    Example:
        >>> import torch
        >>> metric = Segmentation(classes=3)
        >>> metric.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, -1]]]))
        >>> metric.compute()["miou"], metric.compute()["iou"]  # class 2 is absent
        (0.5, [0.5, 0.5, nan])
    """

    AXES: ClassVar = ("H", "W")
    directions: ClassVar = {"miou": True, "accuracy": True, "iou": True}

    def compute(self) -> dict[str, float | list[float]]:
        counts = self.confusion.double()
        hits = counts.diag()
        iou = hits / (counts.sum(0) + counts.sum(1) - hits)
        return {
            "miou": iou.nanmean().item(),
            "accuracy": (hits.sum() / counts.sum()).item(),
            "iou": iou.tolist(),
        }

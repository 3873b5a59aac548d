"""Angles between surface normals."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tssbn.metrics.pooled import Pooled, Pooling

__all__ = ["Normals"]


class Normals(Pooled):
    """Angles between predicted and true surface normals, in degrees.

    The angle between p and t is 2·atan2(‖p̂ - t̂‖, ‖p̂ + t̂‖) of the unit vectors p̂ and t̂, in
    float64. MLoRE takes this form; mtan, auto-lambda, LibMTL and MTLoRA take the arccos of p̂·t̂,
    clamped to [-1, 1]. That is the same angle, but in float32 it loses digits where it is small, up
    to 0.03 degrees; means over NYUv2 images agree to 0.0002 degrees. All of them make predictions
    unit vectors, in the network or in the metric. A predicted zero vector has no direction and
    counts as 90 degrees (as in MLoRE).

    Returns the mean, the median, and the fractions below 11.25, 22.5 and 30 degrees.

    Args:
        pooling: ``"pixel"``: over all pixels of the split (LibMTL, MLoRE, MTLoRA). ``"sample"``
            (auto-lambda) and ``"batch"`` (mtan): of each batch, then averaged; see
            :class:`~tssbn.metrics.depth.Depth`.
            With ``"pixel"`` the median comes from a histogram of 0.001 degrees per bin, and is
            right to 0.0005 degrees.
        mask: which pixels count. ``"norm"``: those whose target is not the zero vector.
            ``"sum"``: those whose three components do not sum to 0, which drops (0.7, -0.7, 0) and
            its like, too; 0.02 % of the pixels of NYUv2. The rule of mtan, auto-lambda and LibMTL.

    Shape:
        - prediction, target: (B, 3, H, W) floating; targets are unit vectors, or zero or NaN
          where there is none

    Returns of ``compute()``: ``"mean"``, ``"median"``, ``"within_11.25"``, ``"within_22.5"``,
    ``"within_30"``.

    Raises:
        ValueError: shapes or types other than these; where the target counts, a value that is not
            finite, or a target that is not a unit vector.

    Example:
        >>> metric = Normals()
        >>> target = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
        >>> metric.update(torch.tensor([0.0, 2.0, -2.0]).view(1, 3, 1, 1), target)
        >>> round(metric.compute()["mean"], 3)
        45.0
    """

    LIMITS = (11.25, 22.5, 30)
    BINS = 180_000  # of the histogram, from 0 to 180 degrees
    directions: ClassVar = {
        "mean": False,
        "median": False,
        **{f"within_{limit:g}": True for limit in LIMITS},
    }
    unit = "°"
    histogram: Tensor

    def __init__(self, pooling: Pooling = "pixel", mask: Literal["norm", "sum"] = "norm") -> None:
        super().__init__(pooling, statistics=5)
        self.mask = self._choice("mask", mask, ("norm", "sum"))
        if pooling == "pixel":
            self.add_state("histogram", torch.zeros(self.BINS, dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._check("target", target, ("B", 3, "H", "W"))
        self._check("prediction", prediction, target.shape)
        counted = target.sum(1) != 0 if self.mask == "sum" else (target != 0).any(1)
        counted &= ~target.isnan().any(1)
        predicted, true = (x.movedim(1, -1)[counted].double() for x in (prediction, target))
        self._finite("prediction", predicted)
        self._finite("target", true)
        length = true.norm(dim=-1)
        off = length[(length - 1).abs() > 0.02]
        if len(off):
            raise self._error(
                f"target has {len(off)} vectors of other lengths, such as {off[0].item():g}, "
                f"expected unit vectors, or zero where there is none"
            )
        if not len(true):
            return
        predicted, true = (F.normalize(x, dim=-1, eps=1e-300) for x in (predicted, true))
        angle = (
            2 * torch.atan2((predicted - true).norm(dim=-1), (predicted + true).norm(dim=-1))
        ).rad2deg()
        if self.pooling == "pixel":
            bins = (angle * (self.BINS / 180)).long().clamp(max=self.BINS - 1)
            self.histogram += torch.bincount(bins, minlength=self.BINS)
            median = angle.new_zeros(())  # compute() reads the histogram
        else:
            ordered = angle.sort().values
            median = (ordered[(len(angle) - 1) // 2] + ordered[len(angle) // 2]) / 2
        within = [(angle < limit).double().mean() for limit in self.LIMITS]
        self._add([angle.mean(), median, *within], counted)

    def compute(self) -> dict[str, float]:
        values = dict(zip(self.directions, self._means(), strict=True))
        if self.pooling == "pixel" and self.weight:
            below = self.histogram.cumsum(0)
            middle = torch.stack([(below[-1] + 1) // 2, below[-1] // 2 + 1])  # ranks, from 1
            bins = torch.searchsorted(below, middle).double()
            values["median"] = ((bins.mean() + 0.5) * (180 / self.BINS)).item()
        return values

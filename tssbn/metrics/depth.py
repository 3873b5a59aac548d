"""Errors of depth and disparity."""

from typing import ClassVar

from torch import Tensor

from tssbn.metrics.pooled import Pooled, Pooling

__all__ = ["Depth"]


class Depth(Pooled):
    """Absolute, relative and root mean square error of depth or disparity.

    With prediction p and target t of the measured pixels, these are the means of ``|p - t|`` and
    ``|p - t| / t``, and the root of the mean of (p - t)², which CosReg prints. Absolute error and
    rmse are in the unit of the target. The relative error is computed only if ``ignore`` is 0,
    because t may be 0 otherwise.

    Three ways of averaging are in use. They differ if batches have different numbers of measured
    pixels:

    - ``"pixel"``, as in LibMTL: the mean over all measured pixels of the split.
    - ``"sample"``, as in auto-lambda: the mean over the pixels of each batch, then over the
      batches, weighted by their numbers of images with a measured pixel.
    - ``"batch"``, as in mtan: the same without weights.

    The last two depend on how the images are put into batches: compare such numbers at equal batch
    size and order. A batch without a measured pixel is left out; in the codes named it makes the
    result NaN. For ``"rmse"`` the squares are averaged in the same way, and the root is taken at
    the end.

    Args:
        ignore: the target's value where there is no measurement: 0 for depth and inverse depth,
            -1 for the disparity of Cityscapes.
        pooling: the way of averaging.
        unit: of the target, such as ``"m"``.

    Shape:
        - prediction, target: (B, 1, H, W) floating; a target that is NaN is not measured either

    Returns of ``compute()``: ``"absolute"``, ``"rmse"``, and ``"relative"``.

    Raises:
        ValueError: shapes or types differ from these, or, at a measured pixel, a value is not
            finite or a target is below 0.

    Example:
        >>> import torch
        >>> metric = Depth()
        >>> metric.update(torch.tensor([[[[1.5, 2.0, 9.0]]]]), torch.tensor([[[[1.0, 4.0, 0.0]]]]))
        >>> {name: round(value, 3) for name, value in metric.compute().items()}
        {'absolute': 1.25, 'rmse': 1.458, 'relative': 0.5}
    """

    directions: ClassVar = {"absolute": False, "rmse": False, "relative": False}

    def __init__(self, ignore: float = 0, pooling: Pooling = "pixel", unit: str = "") -> None:
        super().__init__(pooling, statistics=3 if ignore == 0 else 2)
        self.ignore, self.unit = ignore, unit
        if ignore != 0:
            self.directions = {"absolute": False, "rmse": False}

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._check("target", target, ("B", 1, "H", "W"))
        self._check("prediction", prediction, target.shape)
        counted = (target != self.ignore) & ~target.isnan()
        predicted, true = prediction[counted].double(), target[counted].double()
        self._finite("prediction", predicted)
        self._finite("target", true)
        if (true < 0).any():
            raise self._error(
                f"target has the value {true.min().item():g}, expected 0 or more, "
                f"or {self.ignore:g} where there is none"
            )
        if not len(true):
            return
        error = (predicted - true).abs()
        statistics = [error.mean(), error.square().mean()]
        if self.ignore == 0:
            statistics.append((error / true).mean())
        self._add(statistics, counted)

    def compute(self) -> dict[str, float]:
        values = dict(zip(self.directions, self._means(), strict=True))
        return values | {"rmse": values["rmse"] ** 0.5}

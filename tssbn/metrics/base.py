"""What the metrics share: their directions, checks of what they are given, two-class maps."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["BinaryMap", "TaskMetric"]

VOID = -1  # what targets of kind "classes" ignore
Inputs = Literal["logits", "probabilities"]


class TaskMetric(Metric):
    """The base of the metrics.

    Attributes:
        directions: for each value of ``compute()``, whether higher is better. The first is the one
            that enters Δm, :func:`tssbn.cost.delta_m`.
        higher_is_better: the direction of the first value.
    """

    directions: ClassVar[dict[str, bool]]

    def __init_subclass__(cls) -> None:
        if "directions" in vars(cls):
            cls.higher_is_better = next(iter(cls.directions.values()))

    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, float | list[float]]:
        """Count a batch, and return the values of this batch alone.

        torchmetrics' own would lose all earlier sums when a batch has nothing to count.
        """
        batch = self.clone()
        batch.reset()
        batch.sync_on_compute = False
        self.update(prediction, target)
        batch.update(prediction, target)
        return batch.compute()

    @contextmanager
    def sync_context(self, *args: Any, **options: Any) -> Iterator[None]:
        """The sums of all processes for the time of ``compute()``.

        torchmetrics' own would keep them after an error, and refuse to compute again.
        """
        with super().sync_context(*args, **options):
            try:
                yield
            except BaseException:
                if self._is_synced:
                    self.unsync()
                raise

    def _error(self, message: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {message}")

    def _nothing(self) -> ValueError:
        return self._error("nothing was counted: no update, or every target says to ignore it")

    def _choice(self, argument: str, value: str, choices: Sequence[str]) -> str:
        if value not in choices:
            raise self._error(f"{argument} must be one of {tuple(choices)}, got {value!r}")
        return value

    def _check(
        self, name: str, value: Tensor, shape: Sequence[int | str], integer: bool = False
    ) -> None:
        """Refuse another shape (a letter stands for any size), type or device."""
        fits = len(shape) == value.dim() and all(
            isinstance(want, str) or want == size
            for want, size in zip(shape, value.shape, strict=True)
        )
        typed = value.dtype == torch.int64 if integer else value.is_floating_point()
        if not (fits and typed):
            sizes = ", ".join(map(str, shape))
            raise self._error(
                f"{name} must be {'int64' if integer else 'floating'} of shape ({sizes}), "
                f"got {value.dtype} of shape {tuple(value.shape)}"
            )
        if value.device != self.device:
            raise self._error(
                f"{name} is on {value.device} and the metric on {self.device}: "
                f"move the metric with .to({str(value.device)!r})"
            )

    def _finite(self, name: str, values: Tensor) -> None:
        wrong = ~values.isfinite()
        if wrong.any():
            raise self._error(f"{name} is NaN or infinite at {int(wrong.sum())} places that count")

    def _fractions(self, name: str, values: Tensor) -> None:
        outside = values[(values < 0) | (values > 1)]
        if len(outside):
            raise self._error(
                f"{name} has the value {outside[0].item():g}, expected probabilities in [0, 1]; "
                f"are these logits?"
            )

    def _range(self, name: str, labels: Tensor, classes: int, void: str = "") -> None:
        outside = labels[(labels < 0) | (labels >= classes)]
        if len(outside):
            raise self._error(
                f"{name} has the label {outside[0].item()}, expected 0..{classes - 1}{void}"
            )

    def _labels(self, target: Tensor, classes: int) -> Tensor:
        """Check a batch of label maps; returns which pixels count."""
        self._check("target", target, ("B", "H", "W"), integer=True)
        counted = target != VOID
        self._range("target", target[counted], classes, f", or {VOID} for void")
        return counted


class BinaryMap(TaskMetric):
    """A metric of maps of two classes, such as salient or not: the second is what is to be found.

    Args:
        inputs: what predictions are, ``"logits"`` or ``"probabilities"``; never guessed. Logits
            become probabilities by the softmax over two channels, or the sigmoid of one.

    Shape:
        - prediction: (B, 2, H, W), a value for each class, or (B, 1, H, W) or (B, H, W), that of
          the second class
        - target: (B, H, W) int64, 0 or 1, -1 for void
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = self._choice("inputs", inputs, ("logits", "probabilities"))

    def _probability(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The second class's probability, float64 and 0 at void pixels; which pixels count."""
        counted = self._labels(target, classes=2)
        if prediction.dim() == 3:
            prediction = prediction[:, None]
        channels = 2 if prediction.shape[1:2] == (2,) else 1
        self._check("prediction", prediction, (len(target), channels, *target.shape[1:]))
        values = prediction.movedim(1, -1)[counted].double()
        self._finite("prediction", values)
        second = values[:, -1]
        if self.inputs == "probabilities":
            self._fractions("prediction", values)
        else:
            second = (second - values[:, 0] if channels == 2 else second).sigmoid()
        probability = torch.zeros(target.shape, dtype=torch.float64, device=target.device)
        probability[counted] = second
        return probability, counted

    def _as_given(self, thresholds: Tensor, prediction: Tensor) -> Tensor:
        """The thresholds in the digits of the predictions: a float32 0.35 is at least 0.35."""
        if self.inputs == "logits":
            return thresholds.to(prediction.device)
        return thresholds.to(prediction.device, prediction.dtype).double()

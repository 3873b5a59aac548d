"""The base class of the metrics, with the checks of their inputs."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["TaskMetric"]

VOID = -1  # the missing label of whole numbers


class TaskMetric(Metric):
    """The base class of the metrics, a torchmetrics ``Metric`` that returns several named values.

    A new metric sets ``directions`` and ``unit``, adds its sums with ``add_state``, and has two
    methods:

    - ``update(prediction, target)`` adds a batch: the output of the head, and the task's entries of
      the samples, stacked. It leaves out missing labels (:class:`~tssbn.data.target.Target`); a
      batch may have no label at all.
    - ``compute()`` returns a dict with the names of ``directions``, in their order. Values are
      floats, or lists with a float for each class; NaN where nothing was counted.

    A state of float64 or int64 with ``dist_reduce_fx="sum"`` is exact for any number of batches,
    and adds up over processes.

    Attributes:
        directions: for each value of ``compute()``, whether higher is better. Tables print the
            first value, and Δm (:func:`tssbn.cost.delta_m`) uses it in its direction.
        higher_is_better: the direction of the first value; follows from ``directions``.
        unit: of the first value. ``"%"`` marks a fraction, which tables multiply by 100; any other
            text, such as ``"years"``, is printed beside the value. A metric whose unit depends on
            the data sets it in ``__init__``.

    Example:
        >>> from dataclasses import replace
        >>> from functools import partial
        >>> from tssbn.benchmarks.tasks import tasks_for
        >>> from tssbn.data.target import Target
        >>> class Within(TaskMetric):
        ...     directions = {"within": True}
        ...     unit = "%"
        ...
        ...     def __init__(self, limit):
        ...         super().__init__()
        ...         self.limit = limit
        ...         for name in ("hits", "labels"):
        ...             zero = torch.zeros((), dtype=torch.int64)  # a tensor for each
        ...             self.add_state(name, zero, dist_reduce_fx="sum")
        ...
        ...     def update(self, prediction, target):
        ...         error = (prediction.squeeze(1) - target).abs()
        ...         self.hits += (error <= self.limit).sum()  # NaN is not less
        ...         self.labels += (~target.isnan()).sum()
        ...
        ...     def compute(self):
        ...         return {"within": (self.hits / self.labels).item()}
        >>> age = tasks_for({"age": Target("number", unit="years")})["age"]
        >>> age = replace(age, metric=partial(Within, limit=5))
        >>> metric = age.metric()
        >>> metric.update(torch.tensor([[31.0], [60.0], [8.0]]), torch.tensor([34, 50, torch.nan]))
        >>> metric.compute(), metric.higher_is_better
        ({'within': 0.5}, True)
    """

    directions: ClassVar[dict[str, bool]]
    unit: str = ""

    def __init_subclass__(cls) -> None:
        if "directions" in vars(cls):
            cls.higher_is_better = next(iter(cls.directions.values()))

    def _error(self, message: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {message}")

    def _choice(self, argument: str, value: str, choices: Sequence[str]) -> str:
        if value not in choices:
            raise self._error(f"{argument} must be one of {tuple(choices)}, got {value!r}")
        return value

    def _check(
        self, name: str, value: Tensor, shape: Sequence[int | str], integer: bool = False
    ) -> None:
        """Check shape (a letter stands for any size), type and device of an input."""
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

    def _labels(self, target: Tensor, classes: int, *shape: str) -> Tensor:
        """Check a batch of labels, and return the mask of those that are not missing."""
        self._check("target", target, ("B", *shape), integer=True)
        counted = target != VOID
        missing = "for void" if shape else "where there is no label"
        self._range("target", target[counted], classes, f", or {VOID} {missing}")
        return counted

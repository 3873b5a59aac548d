"""Interleaved timing, so that other work of the machine affects all steps alike."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple

import torch

__all__ = ["Spread", "matmul", "relative", "time_relative", "time_rounds"]

SIDE = {"cpu": 1536}  # of the matrices whose product measures the peak rate of the machine
LARGE = 8192


class Spread(NamedTuple):
    """A median with the lower and the upper quartile.

    Example:
        >>> Spread(0.9, 1.0, 1.2).median
        1.0
    """

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Compute the median and the quartiles of some values.

        The quartiles never lie outside of the values: they are interpolated between the sorted
        values, of which the first is the quantile 0 and the last the quantile 1. A single value is
        all three.

        Args:
            values: one or more values.

        Example:
            >>> Spread.of([3.0, 1.0, 2.0])
            Spread(low=1.5, median=2.0, high=2.5)
        """
        if len(values) == 1:
            return cls(*values * 3)
        return cls(*quantiles(values, n=4, method="inclusive"))


def time_rounds(
    steps: Mapping[str, Callable[[], object]], count: int, device: str = "cpu", seed: int = 0
) -> Iterator[dict[str, float]]:
    """Time each step in seconds, round after round, in a random order for each round.

    A warm-up round comes first and is not yielded.

    Args:
        steps: the functions to time, by name.
        count: number of rounds.
        device: the device that the steps run on, which is waited for.
        seed: of the orders.

    Example:
        >>> [sorted(times) for times in time_rounds({"a": list, "b": dict}, 2)]
        [['a', 'b'], ['a', 'b']]
    """
    order, generator = list(steps), random.Random(seed)
    for number in range(count + 1):
        generator.shuffle(order)
        seconds = {}
        for name in order:
            _wait(device)
            start = time.perf_counter()
            steps[name]()
            _wait(device)
            seconds[name] = time.perf_counter() - start
        if number:
            yield {name: seconds[name] for name in steps}


def time_relative(
    steps: Mapping[str, Callable[[], object]], count: int, device: str = "cpu"
) -> dict[str, float]:
    """Time each step relative to the first, as the median of the ratios within the rounds.

    Args:
        steps, count, device: as for :func:`time_rounds`.

    Example:
        >>> time_relative({"a": list, "b": dict}, 3)["a"]
        1.0
    """
    first = next(iter(steps))
    found = list(time_rounds(steps, count, device))
    return {name: median(now[name] / now[first] for now in found) for name in steps}


def relative(times: Sequence[float], others: Sequence[float]) -> Spread:
    """Divide times by others of the same rounds: the median and the quartiles of the ratios.

    Args:
        times: one for each round.
        others: what they are relative to.

    Raises:
        ValueError: there are not as many others as times, or none.

    Example:
        >>> relative([3.0, 2.0, 3.0], [2.0, 4.0, 3.0])
        Spread(low=0.75, median=1.0, high=1.25)
    """
    if len(times) != len(others) or not times:
        raise ValueError(
            f"{len(times)} times and {len(others)} others must be of the same rounds, one or more"
        )
    return Spread.of([one / other for one, other in zip(times, others, strict=True)])


def matmul(device: str = "cpu", precision: str = "32") -> tuple[Callable[[], torch.Tensor], int]:
    """Make a product of two large square matrices, and count its multiply-accumulates.

    Args:
        device: where the matrices are.
        precision: ``"bf16"`` for 16 bits, anything else for 32.

    Returns:
        A function that computes the product, and the count.

    Example:
        >>> product, macs = matmul()
        >>> product().shape, macs == 1536**3
        (torch.Size([1536, 1536]), True)
    """
    side = SIDE.get(device, LARGE)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    return lambda: one @ other, side**3


def _wait(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()

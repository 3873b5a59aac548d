"""Interleaved timing, so that other work of the machine affects all steps alike."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median, quantiles

import torch

__all__ = ["matmul", "relative", "time_relative", "time_rounds"]

SIDE = {"cpu": 1536}  # of the matrices whose product measures the peak rate of the machine
LARGE = 8192


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


def relative(times: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Divide times by others of the same rounds: the lower quartile, the median, the upper one.

    Args:
        times: one for each round, two or more.
        others: what they are relative to.

    Raises:
        ValueError: other rounds than those, or fewer than two.

    Example:
        >>> relative([3.0, 2.0, 3.0], [2.0, 4.0, 3.0])
        (0.5, 1.0, 1.5)
    """
    if len(times) != len(others) or len(times) < 2:
        raise ValueError(
            f"{len(times)} times and {len(others)} others must be of the same rounds, two or more"
        )
    low, middle, high = quantiles(one / other for one, other in zip(times, others, strict=True))
    return low, middle, high


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

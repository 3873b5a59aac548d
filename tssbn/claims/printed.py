"""How far two numbers of a printed table are apart, where the table gives no spread."""

from collections.abc import Sequence
from math import hypot, sqrt

__all__ = ["delta_noise", "standard_errors"]


def delta_noise(noise: Sequence[float], baseline: Sequence[float]) -> float:
    """Give the standard deviation of Δm that independent noise of the tasks makes, in percent.

        100/T · sqrt(Σ_t (noise_t / baseline_t)²)

    Args:
        noise: the standard deviation of each task from run to run, in the task's own unit.
        baseline: the score of each task that the gains are relative to.

    Example:
        Runs of LibMTL on NYUv2, as published and as table 2 of arXiv 2512.20420 has them, differ
        by about 0.3 points of mIoU, 0.005 of depth and 0.3 degrees.

        >>> round(delta_noise([0.3, 0.005, 0.3], [53.93, 0.3825, 23.57]), 2)
        0.64
    """
    gains = [of / base for of, base in zip(noise, baseline, strict=True)]
    return 100 * hypot(*gains) / len(gains)


def standard_errors(one: float, other: float, sd: float, n: int = 3) -> float:
    """Say in standard errors how far two printed means of n runs each are apart.

    The difference is divided by sd · sqrt(2 / n).

    Two values of Δm in one table share their baseline, and its error with it.

    Args:
        one: a printed mean.
        other: another of the same table.
        sd: of one run, :func:`delta_noise`.
        n: the runs behind each mean.

    Example:
        Table 2 of arXiv 2512.20420: TSσBN and TSBN on NYUv2; on Cityscapes with the same noise.

        >>> round(standard_errors(2.48, 1.04, sd=0.64), 1)
        2.8
        >>> round(standard_errors(0.85, 0.38, sd=0.64), 1)
        0.9
    """
    return abs(one - other) / (sd * sqrt(2 / n))

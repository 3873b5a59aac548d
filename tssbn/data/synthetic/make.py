"""Helpers of all synthetic data sets: the names of the splits, checks of arguments, the cache."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from .cache import cached, digest
from .same import float32_on_cpu

__all__ = ["SPLITS", "check_integer", "check_split", "kept"]

SPLITS = ("train", "val", "test")


def check_split(split: str) -> None:
    """Raise a ``ValueError`` unless ``split`` is one of the three.

    Example:
        >>> check_split("dev")
        Traceback (most recent call last):
        ValueError: split must be one of ('train', 'val', 'test'), got 'dev'
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")


def check_integer(name: str, value: int, least: int, most: int | None = None) -> None:
    """Raise a ``ValueError`` unless ``value`` is an integer in ``least`` .. ``most``.

    Example:
        >>> check_integer("n", 0, 1, 8)
        Traceback (most recent call last):
        ValueError: n must be an integer from 1 to 8, got 0
    """
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        limits = f"from {least} up" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {limits}, got {value!r}")


def kept(
    name: str,
    split: str,
    n: int,
    seed: int,
    recipe: object,
    render: Callable[[], dict[str, Tensor]],
    sources: Path,
) -> dict[str, Tensor]:
    """Return the tensors of ``render()``; read them from the cache if they are there.

    Args:
        name: the name of the data set, with which the name of the cached file begins.
        split, n, seed: the arguments that the data set was asked for.
        recipe: how it is rendered; its ``repr`` must name all settings.
        render: computes the tensors.
        sources: the folder of the code that renders them.
    """
    key = f"{name}-{split}-{n}-{digest((recipe, split, n, seed), sources)}"
    with float32_on_cpu():
        return cached(key, render)

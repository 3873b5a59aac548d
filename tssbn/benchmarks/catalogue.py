"""What can be said of a benchmark without its data."""

from inspect import signature
from pathlib import Path

from tssbn.benchmarks import Benchmark, benchmarks
from tssbn.data.real.find import find

__all__ = ["data_folder", "described", "real", "source"]


def real(name: str) -> bool:
    """Whether a benchmark reads files; else its data is made.

    Raises:
        ValueError: unknown name.

    Example:
        >>> real("nyuv2"), real("rooms")
        (True, False)
    """
    if name not in benchmarks():
        known = ", ".join(sorted(benchmarks()))
        raise ValueError(f"benchmark {name!r} is unknown, use one of {known}")
    return "root" in signature(benchmarks()[name]).parameters


def described(name: str) -> Benchmark:
    """A benchmark as it is written; what it would read need not be there.

    Raises:
        ValueError: unknown name.

    Example:
        >>> described("nyuv2").recipe.epochs
        200
    """
    return benchmarks()[name](".") if real(name) else benchmarks()[name]()


def source(name: str) -> str:
    """The benchmark whose data a form of it reads, ``celeba`` of ``celeba_small``; else itself.

    Example:
        >>> source("celeba_small"), source("celeba"), source("my_own")
        ('celeba', 'celeba', 'my_own')
    """
    head = name.partition("_")[0]
    return head if head in benchmarks() else name


def data_folder(name: str) -> Path | None:
    """Where the data of a real benchmark lies; None for a made one, or where there is none.

    Raises:
        ValueError: unknown name.
        FileNotFoundError: ``TSSBN_DATA`` is set, but not to a folder.

    Example:
        >>> data_folder("rooms")
    """
    return find(source(name)) if real(name) else None

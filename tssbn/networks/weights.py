"""Sources of the weights of a pretrained trunk, and checks that they fit."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from tssbn.data.real.find import find

__all__ = ["check_fit", "check_source", "find_file"]


def check_source(source: str, known: Mapping[str, str]) -> None:
    """Raise an error for an unknown source of weights.

    Args:
        source: the value of a benchmark's `pretrained`.
        known: a description of each known source, by name.

    Raises:
        ValueError: the source is unknown; the message lists the known ones.

    Example:
        >>> check_source("hub", {"file": "a file", "none": "a start at random"})
        Traceback (most recent call last):
        ValueError: pretrained='hub' must be one of 'file' for a file; 'none' for a start at random
    """
    if source not in known:
        names = "; ".join(f"{name!r} for {what}" for name, what in known.items())
        raise ValueError(f"pretrained={source!r} must be one of {names}")


def find_file(name: str) -> Path:
    """Find a file of weights by its path, or by its name in the folder ``weights``.

    The folder ``weights`` is searched for where data sets are: in the folder that the environment
    variable ``TSSBN_DATA`` names, in ``data`` and in ``../data``.

    Args:
        name: the path, or the name.

    Raises:
        FileNotFoundError: there is no such file; the message lists the folders that were searched.

    Example:
        >>> find_file("nobody_has.pth")
        Traceback (most recent call last):
        FileNotFoundError: pretrained='nobody_has.pth' is no file, nor is there one ...
    """
    folder = find("weights")
    for path in (Path(name).expanduser(), *([folder / name] if folder else [])):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"pretrained={name!r} is no file, nor is there one of this name in a folder weights in "
        "data, ../data or the folder that TSSBN_DATA names"
    )


def check_fit(given: Mapping[str, Tensor], trunk: nn.Module, where: str) -> None:
    """Raise an error for tensors whose names or shapes differ from those of a trunk's state.

    Args:
        given: the tensors, by name.
        trunk: the trunk, which may be on the meta device.
        where: the file that the tensors come from, for the message.

    Raises:
        ValueError: a tensor is missing, unexpected or of another shape; the message names the first
            one and both shapes.

    Example:
        >>> check_fit(nn.Linear(2, 3).state_dict(), nn.Linear(2, 4), "a file")
        Traceback (most recent call last):
        ValueError: bias of a file is (3,), of the trunk it is (4,)
    """
    wanted = {name: tuple(value.shape) for name, value in trunk.state_dict().items()}
    for name in sorted(wanted.keys() | given.keys()):
        shape = tuple(given[name].shape) if name in given else "missing"
        if shape != wanted.get(name):
            right = wanted.get(name, "not there")
            raise ValueError(f"{name} of {where} is {shape}, of the trunk it is {right}")

"""Finds the real data sets on this machine."""

import os
from pathlib import Path

__all__ = ["find"]


def find(name: str) -> Path | None:
    """Find the folder of a real data set.

    It tries ``$TSSBN_DATA/<name>``, ``data/<name>`` and ``../data/<name>``, in this order. The last
    two are relative to the working folder; chapters of the book run in ``book/``.

    Args:
        name: the name of the folder, such as ``"nyuv2"``.

    Returns:
        The first of these folders that exists, or ``None``.

    Raises:
        FileNotFoundError: ``TSSBN_DATA`` is set, but is not a folder.

    Example:
        >>> find("a set that nobody has")
    """
    places = [Path("data"), Path("../data")]
    if chosen := os.environ.get("TSSBN_DATA"):
        places.insert(0, Path(chosen).expanduser())
        if not places[0].is_dir():
            raise FileNotFoundError(f"TSSBN_DATA={chosen!r} is not a folder")
    return next((place / name for place in places if (place / name).is_dir()), None)

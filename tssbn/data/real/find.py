"""Where real data lies on this machine."""

import os
from pathlib import Path

__all__ = ["find"]


def find(name: str) -> Path | None:
    """The folder of a real data set, or ``None`` where there is none.

    Looked for as ``$TSSBN_DATA/<name>``, ``data/<name>`` and ``../data/<name>``, in that order,
    from the working folder (the chapters run in ``book/``).

    Args:
        name: of the folder, such as ``"nyuv2"``.

    Raises:
        FileNotFoundError: ``TSSBN_DATA`` is set, but not to a folder.

    Example:
        >>> find("a set that nobody has")
    """
    places = [Path("data"), Path("../data")]
    if chosen := os.environ.get("TSSBN_DATA"):
        places.insert(0, Path(chosen).expanduser())
        if not places[0].is_dir():
            raise FileNotFoundError(f"TSSBN_DATA={chosen!r} is not a folder")
    return next((place / name for place in places if (place / name).is_dir()), None)

"""Saved runs as files: JSON in ``data/results``, a file for each run."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["folders", "load", "load_all", "results_dir", "to_json", "write"]

PLACES = (Path("data/results"), Path("../data/results"))  # the chapters run in book/
PACKAGE = Path(__file__).resolve().parents[1]
#: The runs that come with the package: in its wheel, or in the checkout that it lies in.
PUBLISHED = (PACKAGE / "results", PACKAGE.parent / "data/results")


def results_dir() -> Path:
    """Give the folder that runs are written to, and read from first.

    It is ``data/results`` of the working folder or of its parent, since the chapters run in
    ``book/``. Where neither is a folder, it is the first.

    Example:
        >>> results_dir().name
        'results'
    """
    return next((place for place in PLACES if place.is_dir()), PLACES[0])


def folders() -> list[Path]:
    """List the folders of saved runs that there are, those of the working folder first.

    ``data/results`` of the working folder, of its parent, and the runs that come with the package.
    Of two files of one name the first counts.

    Example:
        >>> all(folder.is_dir() for folder in folders())
        True
    """
    return [place for place in (*PLACES, *PUBLISHED) if place.is_dir()]


def load(name: str) -> dict[str, Any]:
    """Load a saved run.

    Args:
        name: of the run, ``<benchmark>/<method>-<seed>``, as :func:`write` takes it; or of another
            file below ``data/results``.

    Raises:
        FileNotFoundError: none of :func:`folders` has it.
        ValueError: the file is not JSON.

    Example:
        >>> load("nyuv2/tssbn-0")  # doctest: +SKIP
    """
    for folder in folders():
        if (path := folder / f"{name}.json").is_file():
            return _read(path)
    places = ", ".join(map(str, folders())) or str(PLACES[0])
    raise FileNotFoundError(f"{name!r} is not among the saved runs of {places}")


def load_all(benchmark: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """Load all saved runs of a benchmark, in the order of their file names.

    Args:
        benchmark: its name.
        folder: of all saved runs; without it, the first of :func:`folders`: one's own runs, or else
            those that come with the package.

    Raises:
        ValueError: a file is not JSON.

    Example:
        >>> load_all("a benchmark that nobody ran")
        []
    """
    place = folder or next(iter(folders()), PLACES[0])
    return [_read(path) for path in sorted((place / benchmark).glob("[!.]*.json"))]


def write(name: str, record: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write a saved run; floats with six significant digits, NaN and infinity as null.

    The file appears whole or not at all, and of two runs that write the same file the last one
    wins. An epoch is a line, so that versions can be compared.

    Args:
        name: of the run, ``<benchmark>/<method>-<seed>``; the file adds ``.json``.
        record: what is saved.
        folder: of all saved runs; :func:`results_dir` without it.

    Returns:
        The path of the file.

    Example:
        >>> import tempfile
        >>> path = write("rooms/hps-0", {"seconds": 1 / 3}, Path(tempfile.mkdtemp()))
        >>> print(path.read_text().strip())
        {
         "seconds": 0.333333
        }
    """
    path = (folder or results_dir()) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        part.write_text(_text(to_json(record)) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def to_json(value: Any) -> Any:
    """Make a value what JSON holds: rounded floats, lists for tuples, None for NaN and infinity.

    Example:
        >>> to_json({"loss": 2 / 3, "best": float("nan"), "tasks": ("a", "b")})
        {'loss': 0.666667, 'best': None, 'tasks': ['a', 'b']}
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"the saved run {path} is not JSON: {error}") from error


def _text(value: Any, depth: int = 0) -> str:
    """JSON; dicts that hold more than numbers and words are broken into lines, lists of dicts too.

    Below the entries of such a list all is on one line.
    """
    pairs = isinstance(value, dict) and (depth == 0 or not all(map(_short, value.values())))
    if pairs:
        parts = [
            f"{json.dumps(k, ensure_ascii=False)}: {_text(v, depth + 1)}" for k, v in value.items()
        ]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        parts = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in value]
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    indent, end = "\n" + " " * (depth + 1), "\n" + " " * depth
    opening, closing = "{}" if pairs else "[]"
    return opening + indent + ("," + indent).join(parts) + end + closing


def _short(value: Any) -> bool:
    return not isinstance(value, (dict, list)) and len(str(value)) <= 80

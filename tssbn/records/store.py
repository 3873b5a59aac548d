"""Files of saved runs, one JSON file for each run in ``data/results``."""

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
    """Return the folder that runs are written to, and read from first.

    It is ``data/results`` of the working folder or of its parent, because the chapters run in
    ``book/``. Where neither exists, it is that of the working folder.

    Example:
        >>> results_dir().name
        'results'
    """
    return next((place for place in PLACES if place.is_dir()), PLACES[0])


def folders() -> list[Path]:
    """List the existing folders of saved runs, in the order in which they are searched.

    They are ``data/results`` of the working folder, that of its parent, and the runs that come with
    the package.

    Example:
        >>> all(folder.is_dir() for folder in folders())
        True
    """
    return [place for place in (*PLACES, *PUBLISHED) if place.is_dir()]


def load(name: str) -> dict[str, Any]:
    """Load a saved run.

    Args:
        name: name of the run, ``<benchmark>/<method>-<seed>``, as for :func:`write`; or that of
            another file in ``data/results``.

    Raises:
        FileNotFoundError: none of :func:`folders` has the file.
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
        benchmark: name of the benchmark.
        folder: the folder of saved runs; by default the first of :func:`folders`.

    Raises:
        ValueError: a file is not JSON.

    Example:
        >>> load_all("a benchmark that nobody ran")
        []
    """
    place = folder or next(iter(folders()), PLACES[0])
    return [_read(path) for path in sorted((place / benchmark).glob("[!.]*.json"))]


def write(name: str, record: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write a saved run, with floats of six significant digits, and NaN and infinity as null.

    The file is replaced as a whole, so that no reader sees a part of it. An epoch is a line, so
    that versions of a file can be compared.

    Args:
        name: name of the run, ``<benchmark>/<method>-<seed>``, without ``.json``.
        record: the entries.
        folder: the folder of saved runs; by default :func:`results_dir`.

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
    """Convert a value to JSON types, with rounded floats and None for NaN and infinity.

    Args:
        value: a number, text, None, or a mapping, list or tuple of such values.

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
    """Format a value as JSON, with line breaks in lists of dicts and in dicts of larger values.

    Each entry of a list of dicts is one line.
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

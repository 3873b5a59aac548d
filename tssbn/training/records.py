"""Records of runs: the numbers of the book that no chapter computes itself."""

import json
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["read"]

RESULTS = "https://github.com/tssbn/tssbn/raw/main/data/results"


def read(name: str) -> dict[str, Any]:
    """A record of ``data/results``: this checkout's, or the repository's where there is none.

    Looked for in ``data/results`` of the working folder and of its parent (the chapters run in
    ``book/``), then at the address of the repository.

    Args:
        name: of the file, relative to ``data/results``.

    Raises:
        FileNotFoundError: neither here nor there, or the repository cannot be reached.
        ValueError: the file is not JSON.

    Example:
        >>> read("nyuv2/tssbn-0.json")  # doctest: +SKIP
    """
    for results in (Path("data/results"), Path("../data/results")):
        if (results / name).is_file():
            text = (results / name).read_text(encoding="utf-8")
            break
    else:
        try:
            with urlopen(f"{RESULTS}/{name}", timeout=30) as response:
                text = response.read().decode("utf-8")
        except (URLError, TimeoutError) as error:
            raise FileNotFoundError(
                f"no record {name!r} in data/results or ../data/results, "
                f"and none at {RESULTS}: {error}"
            ) from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the record {name!r} is not JSON: {error}") from error

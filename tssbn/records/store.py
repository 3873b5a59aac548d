"""Records of runs: the numbers of the book that no chapter computes itself."""

import base64
import json
import math
import os
import platform
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

import torch

from tssbn import __version__
from tssbn.gates import Importance

__all__ = [
    "environment",
    "found",
    "pack_gates",
    "plain",
    "read",
    "results",
    "summary",
    "unit",
    "unpack_gates",
    "write",
]

RESULTS = "https://github.com/tssbn/tssbn/raw/main/data/results"
PERCENT = ("miou", "f1", "max_f", "ods_f")  # fractions that tables show in percent


def results() -> Path:
    """The folder of records: ``data/results`` of the working folder, or of its parent.

    The chapters run in ``book/``. Where neither is a folder, it is the first.

    Example:
        >>> results().name
        'results'
    """
    places = (Path("data/results"), Path("../data/results"))
    return next((place for place in places if place.is_dir()), places[0])


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
    for folder in (Path("data/results"), Path("../data/results")):
        if (folder / name).is_file():
            return _load(folder / name)
    try:
        with urlopen(f"{RESULTS}/{name}", timeout=30) as response:
            return _parse(response.read().decode("utf-8"), name)
    except (URLError, TimeoutError) as error:
        raise FileNotFoundError(
            f"no record {name!r} in data/results or ../data/results, and none at {RESULTS}: {error}"
        ) from error


def found(benchmark: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The records of a benchmark, in the order of their file names.

    Args:
        benchmark: its name.
        folder: of all records; :func:`results` without it.

    Raises:
        ValueError: a file is not JSON.

    Example:
        >>> found("a benchmark that nobody ran")
        []
    """
    return [_load(path) for path in sorted(((folder or results()) / benchmark).glob("[!.]*.json"))]


def write(name: str, record: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write a record; floats with six significant digits, NaN and infinity as null.

    The file appears whole or not at all, and of two runs that write the same record the last one
    wins. An epoch is a line, so that versions can be compared.

    Args:
        name: of the run, ``<benchmark>/<method>-<seed>``; the file adds ``.json``.
        folder: of all records; :func:`results` without it.

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
    path = (folder or results()) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        part.write_text(_text(plain(record)) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def plain(value: Any) -> Any:
    """The same as JSON takes it: rounded floats, lists for tuples, None for NaN and infinity.

    Example:
        >>> plain({"loss": 2 / 3, "best": float("nan"), "tasks": ("a", "b")})
        {'loss': 0.666667, 'best': None, 'tasks': ['a', 'b']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a run reports: the first metric of each task, by the rule of its recipe.

    ``select`` of the recipe says which epoch counts: ``"last"``; ``"last-10"`` for the mean of the
    last ten, or of all where there are fewer; ``"val"`` for the best one on the validation images.
    Beside it stands the best epoch on the test images, which no honest choice could have known.

    The best epoch has the highest mean over the tasks if higher is better for all of them. Else
    each value is divided by its mean over the epochs first, and counts negatively if lower is
    better. The first of equals counts; an epoch with a value that is null never does.

    Returns:
        ``"test"``, the reported values by task, in the units of the metrics (None if one is null);
        ``"epochs"``, the numbers of those that they are the mean of; ``"best"``, the values of the
        best epoch, and ``"best_epoch"``, its number (None if there is no epoch without null).

    Raises:
        ValueError: no epoch, or an unknown ``select``.

    Example:
        >>> run = {
        ...     "recipe": {"select": "last"},
        ...     "metric": {"depth": "absolute"},
        ...     "directions": {"depth": False},
        ...     "epochs": [
        ...         {"epoch": e, "test": {"depth": {"absolute": 0.5 + 0.1 * (e - 2) ** 2}}}
        ...         for e in (1, 2, 3)
        ...     ],
        ... }
        >>> summary(run)
        {'test': {'depth': 0.6}, 'epochs': [3], 'best': {'depth': 0.5}, 'best_epoch': 2}
    """
    epochs, select = record["epochs"], record["recipe"]["select"]
    if not epochs:
        raise ValueError("the record has no epoch")
    if select == "val":
        chosen = _best(record, "val")
    elif select in ("last", "last-10"):
        chosen = epochs[-10:] if select == "last-10" else epochs[-1:]
    else:
        raise ValueError(f"select={select!r} of the record must be 'last', 'last-10' or 'val'")
    best = _best(record, "test")
    return {
        "test": _mean([_values(record, entry, "test") for entry in chosen], record["metric"]),
        "epochs": [entry["epoch"] for entry in chosen],
        "best": _mean([_values(record, entry, "test") for entry in best], record["metric"]),
        "best_epoch": best[0]["epoch"] if best else None,
    }


def _values(record: Mapping, entry: Mapping, split: str) -> dict[str, float | None]:
    return {task: entry[split][task][name] for task, name in record["metric"].items()}


def _mean(rows: Sequence[Mapping], tasks: Mapping) -> dict[str, float | None]:
    columns = {task: [row[task] for row in rows] for task in tasks}
    return {
        task: None if None in column or not column else math.fsum(column) / len(column)
        for task, column in columns.items()
    }


def _best(record: Mapping, split: str) -> list[Mapping]:
    """The best epoch, in a list; an empty one if every epoch holds a null."""
    rows = [(_values(record, entry, split), entry) for entry in record["epochs"]]
    rows = [(values, entry) for values, entry in rows if None not in values.values()]
    if not rows:
        return []
    up = record["directions"]
    weights = dict.fromkeys(up, 1.0)
    if not all(up.values()):
        mean = _mean([values for values, _ in rows], up)
        weights = {task: (1 if up[task] else -1) / (mean[task] or 1) for task in up}
    return [max(rows, key=lambda row: math.fsum(weights[t] * row[0][t] for t in up))[1]]


def unit(metric: str) -> tuple[float, str]:
    """What a metric is multiplied with in tables, and the unit that is printed.

    Example:
        >>> unit("miou"), unit("absolute")
        ((100.0, '%'), (1.0, ''))
    """
    return (100.0, "%") if metric in PERCENT else (1.0, "")


def pack_gates(gates: Mapping[int, Importance]) -> dict[str, Any]:
    """Importances of a network at some epochs, for a record: a byte for each gate, compressed.

    The values are rounded to k/255. Packing what :func:`unpack_gates` gave changes nothing.

    Args:
        gates: by epoch, all of the same network.

    Example:
        >>> from torch import tensor
        >>> half = Importance(tensor([[0.5, 1.0]]), ("depth",), {"bn": 2})
        >>> unpack_gates(pack_gates({1: half}))[1].values
        tensor([[0.5020, 1.0000]], dtype=torch.float64)
    """
    first = next(iter(gates.values()))
    packed = {}
    for epoch, importance in gates.items():
        if (importance.tasks, importance.layers) != (first.tasks, first.layers):
            raise ValueError(f"the gates of epoch {epoch} are those of another network")
        levels = (importance.values * 255).round().to(torch.uint8)
        packed[str(epoch)] = base64.b64encode(zlib.compress(levels.numpy().tobytes(), 9)).decode(
            "ascii"
        )
    return {"epochs": packed, "layers": dict(first.layers), "tasks": list(first.tasks)}


def unpack_gates(packed: Mapping[str, Any]) -> dict[int, Importance]:
    """The importances by epoch, from the entry ``"gates"`` of a record.

    Raises:
        ValueError: not as :func:`pack_gates` writes it.
    """
    tasks, layers = tuple(packed["tasks"]), dict(packed["layers"])
    gates = {}
    for epoch, text in packed["epochs"].items():
        try:
            levels = bytearray(zlib.decompress(base64.b64decode(text, validate=True)))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"the gates of epoch {epoch} do not unpack: {error}") from error
        if len(levels) != len(tasks) * sum(layers.values()):
            raise ValueError(
                f"the gates of epoch {epoch} are {len(levels)} values, expected "
                f"{len(tasks)} tasks times {sum(layers.values())} channels"
            )
        values = torch.frombuffer(levels, dtype=torch.uint8).double() / 255
        gates[int(epoch)] = Importance(values.reshape(len(tasks), -1), tasks, layers)
    return gates


def environment() -> dict[str, Any]:
    """What a record says of the software: versions, commit, and whether sources were changed.

    The commit is that of the checkout the package lies in, by git; where there is no git,
    ``$TSSBN_COMMIT``, such as ``530e93a`` or ``530e93a-dirty``; else None.

    Example:
        >>> sorted(environment())
        ['commit', 'dirty', 'versions']
    """
    versions = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which checkpoints do not take
        "tssbn": __version__,
    }
    commit, _, dirty = (_git() or os.environ.get("TSSBN_COMMIT", "")).partition("-")
    return {"versions": versions, "commit": commit or None, "dirty": dirty == "dirty"}


def _git() -> str | None:
    """``<short hash>`` or ``<short hash>-dirty`` of the package's sources, if git tracks them."""
    package = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=package, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # else some other repository around it
        return git("rev-parse", "--short", "HEAD") + "-dirty" * bool(git("status", "-s", "."))
    except (OSError, subprocess.CalledProcessError):
        return None


def _load(path: Path) -> dict[str, Any]:
    return _parse(path.read_text(encoding="utf-8"), str(path))


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the record {name!r} is not JSON: {error}") from error


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

"""Reads a list of wanted runs, the queue, from a TOML file."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from tssbn.benchmarks import find_benchmark
from tssbn.data.real.find import find
from tssbn.training.run import Run
from tssbn.training.settings import BALANCE

__all__ = ["Job", "load_queue"]

KEYS = ("benchmark", "method", "seed", "seeds", "settings", "minutes", "how")
HOW = {"precision": str, "channels_last": bool, "angles": int}  # of an entry, with their types


@dataclass(frozen=True)
class Job:
    """A wanted run.

    Attributes:
        run: what is trained.
        minutes: that the whole run is expected to take.
        root: the folder of its data, if it was named.
        data: whether there are data; where there are none, it cannot be trained.
        how: arguments of :func:`~tssbn.training.loop.train` for this run.
    """

    run: Run
    minutes: float
    root: str | Path | None = None
    data: bool = True
    how: Mapping[str, Any] = field(default_factory=dict)


def load_queue(file: Path, data: Mapping[str, str | Path] | None = None) -> list[Job]:
    """The runs that a file lists, most wanted first.

    The file is TOML with one list, ``runs``; its entries are tables with ``benchmark``,
    ``method``, ``minutes`` (expected, of a whole run) and, if wanted, ``seed`` or a list ``seeds``,
    ``settings``, and ``how`` it is trained: ``precision``, ``channels_last`` and ``angles`` of
    :func:`~tssbn.training.loop.train`. Paths of files of benchmarks, methods and balancings are
    relative to the folder of the file.

    Args:
        file: its path.
        data: folders of data by benchmark, which count for all others that read the same real set;
            those that are not named are looked for by :func:`~tssbn.data.real.find.find`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, an entry that is no run or whose balancing needs a package that
            is not installed, or the same run twice; a folder for what reads none; says which.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; name a list of runs, or go to a checkout")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from error
    if set(content) != {"runs"} or not isinstance(content["runs"], list):
        raise ValueError(f"{file} must hold one list, runs, got {content!r:.100}")
    roots: dict[str, str | Path] = {}
    for name, root in (data or {}).items():
        benchmark = find_benchmark(name)()
        roots[benchmark.source or benchmark.name] = benchmark.folder(root)
    listed, seen = [], set()
    for number, entry in enumerate(content["runs"], 1):
        try:
            for job in _jobs(entry, roots, file.parent):
                if job.run.name in seen:
                    raise ValueError(f"{job.run.name} is listed twice")
                seen.add(job.run.name)
                listed.append(job)
        except (FileNotFoundError, ImportError, ValueError) as error:
            raise ValueError(f"{file}, run {number}: {error}") from error
    return listed


def _jobs(entry: Any, roots: Mapping[str, str | Path], folder: Path) -> list[Job]:
    if not isinstance(entry, dict):
        raise ValueError(f"a run is a table, got {entry!r}")
    unknown = [key for key in entry if key not in KEYS]
    missing = [key for key in ("benchmark", "method", "minutes") if key not in entry]
    if unknown or missing:
        raise ValueError(f"unknown {unknown}, missing {missing}; known are {', '.join(KEYS)}")
    minutes, settings, how = entry["minutes"], entry.get("settings", {}), entry.get("how", {})
    if "seed" in entry and "seeds" in entry:
        raise ValueError("seed and seeds: give only one of them")
    seeds = entry.get("seeds", [entry.get("seed", 0)])
    for key in "benchmark", "method":
        if not isinstance(entry[key], str):
            raise ValueError(f"{key}={entry[key]!r} must be a name")
    if type(minutes) not in (int, float) or not 0 < minutes < math.inf:
        raise ValueError(f"minutes={minutes!r} must be a positive number")
    if not isinstance(seeds, list) or not seeds:
        raise ValueError(f"seeds={seeds!r} must be a list of integers")
    for seed in seeds:
        if type(seed) is not int:  # to Python, true is one
            raise ValueError(f"seed={seed!r} must be an integer")
    if not isinstance(settings, dict):
        raise ValueError(f"settings={settings!r} must be a table")
    if not isinstance(how, dict) or any(type(how[key]) is not HOW.get(key) for key in how):
        known = ", ".join(f"{key} ({kind.__name__})" for key, kind in HOW.items())
        raise ValueError(f"how={how!r} must be a table; known are {known}")

    def placed(name: Any) -> Any:
        return folder / name if str(name).endswith(".py") else name

    if BALANCE in settings:
        settings = {**settings, BALANCE: placed(settings[BALANCE])}
    runs = [Run(placed(entry["benchmark"]), placed(entry["method"]), s, settings) for s in seeds]
    source = runs[0].benchmark.source
    root = roots.get(source or runs[0].benchmark.name)
    data = not source or bool(root or find(source))
    return [Job(run, minutes, root, data, how) for run in runs]

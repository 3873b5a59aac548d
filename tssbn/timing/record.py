"""Records of the benchmark: ``data/results/bench/<name>.json``.

One record is of one machine and setting, and holds networks, and for each the numbers of tasks::

    {
     "device": "cpu (x86_64)", "threads": 2,
     "precision": "32", "channels_last": false, "inference": false,
     "networks": {
      "resnet18": {
       "3": {
        "batch": 8, "size": [64, 64],                       # images in a batch; height, width
        "commit": "861fb32", "dirty": false, "versions": {...},
        "tasks_a_pass": {"stem": 3, "chunks:1": 1, ...},    # at most, by strategy
        "macs": {"plain": 3476029440, "stem": ...},         # of a step, by strategy
        "memory": {"one": 56.1, "plain": 55.9, ...},        # peak of a step, MiB; or {}
        "network": {"one": 42.7, "plain": 42.7, ...},       # MiB that were there before
        "out_of_memory": [],                                # strategies that are left out
        "matmul": 3623878656,                               # MACs of the product of matrices
        "seconds": {"matmul": [...], "plain": [...], ...}   # by strategy, one for each round
       }}}}

``"plain"`` is one pass of the backbone whatever the number of tasks, and ``"one"`` of the memory
that of the converted network of one task. Memory is what a step adds to the network and the images,
gradients included; the peak of all is its sum with ``"network"``.
Entry ``i`` of all lists is round ``i``, so that ratios are taken round by round, see
:func:`time_ratio`.
"""

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tssbn import records
from tssbn.columns import columns
from tssbn.timing.rounds import Spread

__all__ = ["add_entry", "fraction_of_peak", "load", "table", "time_ratio"]

SETTING = ("device", "threads", "precision", "channels_last", "inference")


def time_ratio(cell: Mapping[str, Any], strategy: str, tasks: int) -> Spread:
    """Divide the time of a strategy by that of T steps of the plain backbone, round by round.

    Args:
        cell: the entry of a network and a number of tasks.
        strategy: the strategy.
        tasks: the number T of tasks.

    Example:
        >>> cell = {"seconds": {"plain": [1.0, 2.0, 1.0], "stem": [3.0, 6.0, 2.0]}}
        >>> time_ratio(cell, "stem", 4)
        Spread(low=0.625, median=0.75, high=0.75)
    """
    return _by_round(cell, lambda now: now[strategy] / (tasks * now["plain"]))


def fraction_of_peak(cell: Mapping[str, Any], strategy: str) -> Spread:
    """Divide the rate of multiply-accumulates by that of a product of large matrices.

    The inverse is the time of a step over the least possible time, that of its MACs at the rate of
    the product.

    Args:
        cell: the entry of a network and a number of tasks.
        strategy: the strategy.

    Example:
        >>> cell = {"macs": {"plain": 10}, "matmul": 100}
        >>> fraction_of_peak(cell | {"seconds": {"plain": [1.0], "matmul": [2.0]}}, "plain").median
        0.2
    """
    work = cell["macs"][strategy] / cell["matmul"]
    return _by_round(cell, lambda now: work * now["matmul"] / now[strategy])


def load(name: str, setting: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Load a saved file of measurements, or begin one without networks.

    Args:
        name: name of the file, without ``.json``.
        setting: the device, threads, precision and modes of this run, see this module.
        folder: the folder of saved runs; by default :func:`tssbn.records.results_dir`.

    Raises:
        ValueError: the file has another machine or setting, or is not JSON.

    Example:
        >>> load("nobody-measured", {"device": "cpu"})
        {'device': 'cpu', 'networks': {}}
    """
    path = (folder or records.results_dir()) / "bench" / f"{name}.json"
    if not path.is_file():
        return {**setting, "networks": {}}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"the saved file {str(path)!r} is not JSON: {error}") from error
    for key in SETTING:
        if record.get(key) != setting[key]:
            raise ValueError(
                f"{path} has {key}={record.get(key)!r}, this run {setting[key]!r}: choose another "
                "name with --out"
            )
    return record


def add_entry(record: dict[str, Any], network: str, tasks: int, cell: Mapping[str, Any]) -> None:
    """Add an entry to a file's contents, in the order of the numbers of tasks.

    Args:
        record: the contents, changed in place.
        network: name of the network.
        tasks: number of tasks.
        cell: the entry.

    Example:
        >>> record = {"networks": {"celeba": {"3": {}, "40": {}}}}
        >>> add_entry(record, "celeba", 5, {})
        >>> list(record["networks"]["celeba"])
        ['3', '5', '40']
    """
    cells = record["networks"].get(network, {}) | {str(tasks): cell}
    record["networks"][network] = dict(sorted(cells.items(), key=lambda entry: int(entry[0])))


def table(network: str, tasks: int, cell: Mapping[str, Any]) -> str:
    """Format the measurements of a network and a number of tasks, a line for each strategy.

    The peak memory of a step is also given relative to that of one task, without and with the
    memory of the network.

    Args:
        network: name of the network.
        tasks: number of tasks.
        cell: the entry.

    Example:
        >>> cell = {
        ...     "batch": 8, "size": [64, 64], "matmul": 4e9, "out_of_memory": [],
        ...     "memory": {"one": 50.0, "plain": 50.0, "stem": 100.0},
        ...     "network": {"one": 40.0, "plain": 40.0, "stem": 41.0},
        ...     "tasks_a_pass": {"plain": 1, "stem": 3}, "macs": {"plain": 3e9, "stem": 8e9},
        ...     "seconds": {"matmul": [0.1], "plain": [0.15], "stem": [0.36]},
        ... }
        >>> print(table("resnet18", 3, cell))
        resnet18, 3 tasks, 8 images of 64x64
        of 3 plain steps: median [quartiles] of 1 round, 0.50 at the 80.0 GFLOP/s of a matmul
        <BLANKLINE>
                                  ms  a pass  MiB  of one  in all  GMAC  GFLOP/s  of matmul
        -----------------------------------------------------------------------------------
        plain                    150       1   50    1.00    1.00   3.0     40.0       50 %
        stem   0.80 [0.80 0.80]  360       3  100    2.00    1.57   8.0     44.4       56 %
    """
    lines = [["", "", "ms", "a pass", "MiB", "of one", "in all", "GMAC", "GFLOP/s", "of matmul"]]
    for strategy, macs in cell["macs"].items():
        ratio = ""
        if strategy != "plain":
            low, median, high = time_ratio(cell, strategy, tasks)
            ratio = f"{median:.2f} [{low:.2f} {high:.2f}]"
        seconds = statistics.median(cell["seconds"][strategy])
        lines.append(
            [
                strategy,
                ratio,
                _number(1e3 * seconds),
                str(cell["tasks_a_pass"][strategy]),
                *_memory(cell, strategy),
                _number(macs / 1e9),
                _number(2 * macs / seconds / 1e9),
                f"{100 * fraction_of_peak(cell, strategy).median:.0f} %",
            ]
        )
    lines += [[name, "too little memory", *[""] * 8] for name in cell["out_of_memory"]]
    height, width = cell["size"]
    count = len(cell["seconds"]["plain"])
    rate = 2 * cell["matmul"] / statistics.median(cell["seconds"]["matmul"]) / 1e9
    title = f"{network}, {_many(tasks, 'task')}, {cell['batch']} images of {height}x{width}"
    caption = (
        f"of {_many(tasks, 'plain step')}: median [quartiles] of {_many(count, 'round')}, "
        f"{fraction_of_peak(cell, 'plain').median:.2f} at the {_number(rate)} GFLOP/s of a matmul"
    )
    return "\n".join([title, caption, "", *columns(lines, left=2, head=1)])


def _memory(cell: Mapping[str, Any], strategy: str) -> list[str]:
    """Format the memory of a step, its ratio to that of one task, and that with the networks."""
    step, net = cell["memory"], cell["network"]
    if step.get(strategy) is None or step.get("one") is None:
        return ["-"] * 3
    alone = step[strategy] / step["one"]
    whole = (step[strategy] + net[strategy]) / (step["one"] + net["one"])
    return [f"{step[strategy]:.0f}", f"{alone:.2f}", f"{whole:.2f}"]


def _by_round(cell: Mapping[str, Any], value: Callable[[dict[str, float]], float]) -> Spread:
    names, columns = cell["seconds"].keys(), cell["seconds"].values()
    rows = zip(*columns, strict=True)
    return Spread.of([value(dict(zip(names, row, strict=True))) for row in rows])


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"

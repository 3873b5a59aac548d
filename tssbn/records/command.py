"""``python -m tssbn table``."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tssbn.arguments import add_command, add_results, add_settings
from tssbn.records import store

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction") -> None:
    """Add ``table`` to the commands of ``python -m tssbn``."""
    made = add_command(
        commands, "table", _table, "print the table of a benchmark from its saved runs"
    )
    made.add_argument(
        "name",
        metavar="NAME",
        help="a benchmark, its file, 1 to 4 for a table of the paper, or G for the balancings",
    )
    made.add_argument(
        "benchmark", nargs="?", help="the benchmark of table G; default: nyuv2_libmtl, as in LibMTL"
    )
    made.add_argument(
        "--best", action="store_true", help="show the epoch that is best on the test images"
    )
    add_settings(
        made, "show the runs with exactly these settings; default: the runs without settings"
    )
    add_results(made)


def _table(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import find_benchmark
    from tssbn.records.table import TABLES, table
    from tssbn.registry import meant, short_name

    if options.name == "G":
        return _grid(options)
    if options.benchmark:
        raise ValueError(f"table {options.name} takes no second name, got {options.benchmark!r}")
    settings, seen, tables = dict(options.set), [], []
    left: Counter[str] = Counter()  # runs with other settings, by the command that shows them
    if "balance" in settings:
        settings["balance"] = short_name(settings["balance"])
    folder = options.results or next(iter(store.folders()), store.results_dir())
    if options.name.isdigit() and options.name not in TABLES:
        raise ValueError(
            f"there is no table {options.name}; the tables are {', '.join(TABLES)} and G"
        )
    names = TABLES.get(options.name, (options.name,))
    for name in names:
        benchmark = find_benchmark(name)()
        found = store.load_all(benchmark.name, folder)
        if options.name == "1" and benchmark.source != name and not found:
            continue  # a shorter or smaller form that nobody ran
        known = _options(found)
        chosen = []
        for record in found:
            own = _meant_for(record["method"], settings, known, benchmark.baseline)
            chosen += [record] * (record["settings"] in own)
        tables.append(table(benchmark, chosen, options.best))
        seen += [record["settings"] for record in found]
        where = f" --results {options.results}" if options.results else ""
        left.update(
            f"table {name}{_words(record['settings'])}{where}"
            for record in found
            if record not in chosen
        )
    none = f"there is no saved run of {' or '.join(names)} in {folder.resolve()}"
    if settings and not seen:
        raise ValueError(none)
    if settings and settings not in seen:
        keys = sorted({key for of_record in seen for key in of_record})
        strange = next((key for key in settings if key not in keys), "")
        raise ValueError(
            f"there is no saved run with{_words(settings)}{meant(strange, keys)}; "
            f"the saved runs differ from the recipes in {', '.join(keys) or 'nothing'}"
        )
    print(*tables, sep="\n\n")
    if not seen:
        print(none, file=sys.stderr)
    if left:
        print("runs with other settings:", *_commands(left), sep="\n", file=sys.stderr)
    return 0


def _commands(runs: Mapping[str, int], most: int = 5) -> Iterator[str]:
    """Yield those that show most runs, and say how many more there are."""
    order = sorted(runs, key=lambda command: (-runs[command], command))
    for command in order[:most]:
        plural = "s" * (runs[command] > 1)
        yield f"  {runs[command]} run{plural}: python -m tssbn {command}"
    if rest := sum(runs[command] for command in order[most:]):
        yield f"  {rest} with {len(order) - most} other settings, see the names of their files"


def _grid(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import find_benchmark
    from tssbn.claims.grid import DEFAULT, grid

    if options.best:
        raise ValueError("table G has no --best: its intervals are those of the reported scores")
    benchmark = find_benchmark(options.benchmark or DEFAULT)()
    folder = options.results or next(iter(store.folders()), store.results_dir())
    found = store.load_all(benchmark.name, folder)
    wanted = dict(options.set)
    chosen = [
        record
        for record in found
        if {k: v for k, v in record["settings"].items() if k != "balance"} == wanted
    ]
    print(grid(benchmark, chosen))
    if not chosen:
        where = f"{benchmark.name} in {folder.resolve()}"
        print(f"there is no saved run of {where} with these settings", file=sys.stderr)
    return 0


def _words(settings: Mapping[str, Any]) -> str:
    """Settings as on the command line, after a space; "" of none."""
    words = " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
    return words and f" --set {words}"


def _options(found: Iterable[Mapping]) -> dict[str, set[str]]:
    """The names of the options that each method has, those of the user's own from their runs."""
    from tssbn.methods import METHODS, find_method
    from tssbn.training.settings import options_of

    known = {name: find_method(name) for name in METHODS}
    options = {name: set(options_of(*each.functions)) for name, each in known.items()}
    for record in found:
        options.setdefault(record["method"], set()).update(record["options"])
    return options


def _meant_for(
    method: str, settings: Mapping[str, Any], options: Mapping[str, set[str]], baseline: str
) -> list[dict[str, Any]]:
    """The settings without the options that only other methods have.

    The baseline is also meant with the plain sum of the losses.
    """
    foreign = set().union(*options.values()) - options[method]
    own = {key: value for key, value in settings.items() if key not in foreign}
    plain = {key: value for key, value in own.items() if key.partition(".")[0] != "balance"}
    return [own, plain] if method == baseline else [own]

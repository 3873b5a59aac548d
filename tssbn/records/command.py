"""``python -m tssbn table``."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
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
        made,
        "show the runs with exactly these settings, and of other methods those without a setting "
        "that they do not have; default: the runs without settings",
    )
    add_results(made)


def _table(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import Recipe, find_benchmark
    from tssbn.records.table import TABLES, table
    from tssbn.registry import meant, short_name

    if options.name.upper() == "G":
        return _grid(options)
    if options.benchmark:
        raise ValueError(f"table {options.name} takes no second name, got {options.benchmark!r}")
    settings, seen, tables = dict(options.set), [], []
    sources = set()  # the first benchmark of each is the paper's; others need runs to be shown
    left: Counter[str] = Counter()  # runs with other settings, by the command that shows them
    if "balance" in settings:
        settings["balance"] = short_name(settings["balance"])
    folder = _folder(options)
    if options.name.isdigit() and options.name not in TABLES:
        raise ValueError(
            f"there is no table {options.name}; the tables are {', '.join(TABLES)} and G"
        )
    names = TABLES.get(options.name, (options.name,))
    for name in names:
        try:
            make = find_benchmark(name)
        except ValueError as error:
            of_paper = ", ".join([*TABLES, "G"])
            raise ValueError(f"{error}; or a table of the paper: {of_paper}") from error
        benchmark = make()
        found = store.load_all(benchmark.name, folder)
        known = _options(found)
        chosen = []
        for record in found:
            own = _meant_for(record["method"], settings, known, benchmark.baseline)
            chosen += [record] * (record["settings"] in own)
        if chosen or benchmark.source not in sources:
            tables.append(table(benchmark, chosen, options.best))
        sources.add(benchmark.source)
        seen += [record["settings"] for record in found]
        left.update(
            f"table {name}{_words(record['settings'])}" for record in found if record not in chosen
        )
    none = f"there is no saved run of {' or '.join(names)} in {folder.resolve()}"
    if settings and not seen:
        raise ValueError(none)
    if settings and settings not in seen:
        keys = sorted({key for of_record in seen for key in of_record})
        strange = next((key for key in settings if key not in keys), "")
        recipe = [field.name for field in fields(Recipe)]
        close = "" if strange in recipe else meant(strange, [*keys, *recipe])
        saved = f"differ from the recipes in {', '.join(keys)}" if keys else "are of the recipes"
        if not strange:
            values = sorted({f"{key}={one[key]}" for one in seen for key in settings if key in one})
            saved = f"have {', '.join(values)}"
        raise ValueError(
            f"there is no saved run with{_words(settings)}{close}; the saved runs {saved}"
        )
    print(*tables, sep="\n\n")
    if not seen:
        print(none, file=sys.stderr)
    _print_commands(left, options)
    return 0


def _folder(options: argparse.Namespace) -> Path:
    """The folder of the saved runs."""
    if options.results and not options.results.is_dir():
        raise FileNotFoundError(f"--results {options.results} is not a folder")
    return options.results or next(iter(store.folders()), store.results_dir())


def _print_commands(runs: Mapping[str, int], options: argparse.Namespace, most: int = 5) -> None:
    """Print the commands that show the runs which a table leaves out, those of most runs first."""
    if not runs:
        return
    print("saved runs that are not in this table, by the command that shows them:", file=sys.stderr)
    order = sorted(runs, key=lambda command: (-runs[command], command))
    results = f" --results {options.results}" if options.results else ""
    for command in order[:most]:
        print(f"{runs[command]:5}  python -m tssbn {command}{results}", file=sys.stderr)
    if rest := sum(runs[command] for command in order[most:]):
        print(f"{rest:5}  more: see the names of the files in {_folder(options)}", file=sys.stderr)


def _grid(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import find_benchmark
    from tssbn.claims.grid import DEFAULT, grid

    if options.best:
        raise ValueError("table G has no --best: its intervals are those of the reported scores")
    if "balance" in dict(options.set):
        raise ValueError("table G shows all balancings: --set takes the other settings alone")
    benchmark, folder = find_benchmark(options.benchmark or DEFAULT)(), _folder(options)
    runs: dict[str, list[Mapping]] = {}  # by the command that shows them
    balanced: Counter[str] = Counter()
    for record in store.load_all(benchmark.name, folder):
        others = {key: value for key, value in record["settings"].items() if key != "balance"}
        command = f"table G {benchmark.name}{_words(others)}"
        runs.setdefault(command, []).append(record)
        balanced[command] += "balance" in record["settings"]
    wanted = f"table G {benchmark.name}{_words(dict(options.set))}"
    made = grid(benchmark, runs.get(wanted, []))
    if balanced[wanted] or any(cell.theirs for cell in made.cells.values()):
        print(made)
    if not balanced[wanted]:
        kind = f"no saved run of {benchmark.name} with these settings and a balancing"
        print(f"there is {kind} in {folder.resolve()}", file=sys.stderr)
    _print_commands({c: n for c, n in balanced.items() if n and c != wanted}, options)
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

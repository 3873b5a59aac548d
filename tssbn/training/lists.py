"""``python -m tssbn methods | benchmarks | balancings | counts``."""

import argparse
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from tssbn.arguments import add_command

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction") -> None:
    """Add the commands that list what there is to those of ``python -m tssbn``."""
    for name, run, text in (
        ("methods", _methods, "list the methods and their settings"),
        ("benchmarks", _benchmarks, "list the benchmarks, their settings and recipes"),
        (
            "balancings",
            _balancings,
            "list the balancings of losses and gradients, and their settings",
        ),
    ):
        made = add_command(commands, name, run, text)
        made.add_argument("names", nargs="*", metavar="NAME", help="only these; default: all")
    text = "count the parameters of tables 3 and 4, beside the paper's numbers"
    counts = add_command(commands, "counts", _counts, text)
    counts.add_argument(
        "table", nargs="?", choices=("3", "4"), help="one of the two tables; default: both"
    )


def _methods(options: argparse.Namespace) -> int:
    from tssbn.methods import METHODS, find_method
    from tssbn.training.settings import options_of

    def show(name: str) -> None:
        method = find_method(name)
        build = method.build.func if isinstance(method.build, partial) else method.build
        settings = options_of(*method.functions)
        _print(
            f"{name} ({method.title})",
            method.about or _paragraphs(build.__module__)[0],
            settings={key: getattr(value, "__name__", value) for key, value in settings.items()},
            recipe=method.settings,
        )

    return _each(options.names or METHODS, show)


def _benchmarks(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import BENCHMARKS, find_benchmark
    from tssbn.training.settings import options_of

    def show(name: str) -> None:
        make = find_benchmark(name)
        made = make()
        text = _paragraphs(make.__module__)[0]
        groups: dict[tuple, list[str]] = {}  # the methods that have the same settings of their own
        for method, own in made.tuned.items():
            groups.setdefault(tuple(own.items()), []).append(method)
        tuned = {
            f"other defaults for {', '.join(methods)}": dict(own) for own, methods in groups.items()
        }
        _print(name, text, settings=options_of(make), recipe=asdict(made.recipe), **tuned)

    return _each(options.names or BENCHMARKS, show)


def _balancings(options: argparse.Namespace) -> int:
    from tssbn.training.balancing import BALANCINGS, find_balancing
    from tssbn.training.settings import BALANCE, options_of

    def show(name: str) -> None:
        make = find_balancing(name)
        text, source, costs = _paragraphs(make.__module__)[:3]
        settings = {f"{BALANCE}.{key}": value for key, value in options_of(make).items()}
        _print(name, text, f"source: {source}", f"costs: {costs}", settings=settings)

    return _each(options.names or BALANCINGS, show)


def _counts(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import counts

    chosen = (options.table,) if options.table else counts.TABLES
    for table in map(counts.TABLES.__getitem__, chosen):
        print(table.title, "", counts.text(counts.rows(table)), "", sep="\n")
    print(textwrap.fill(_paragraphs(counts.__name__)[1].replace("`", ""), width=100))
    return 0


def _each(names: Iterable[str], show: Any) -> int:
    for name in names:
        try:
            show(name)
        except ImportError as error:  # a package is missing: the others are there
            _print(name, str(error))
    return 0


def _paragraphs(module: str) -> list[str]:
    """Those of a module's docstring; of a balancing: what it does, its source, and its costs."""
    return [" ".join(text.split()) for text in sys.modules[module].__doc__.split("\n\n")]


def _print(head: str, *texts: str, **values: Mapping[str, Any]) -> None:
    """A name, what it is, and lists of values."""
    lines = [*texts]
    for kind, pairs in values.items():
        if pairs:
            lines.append(f"{kind}: " + " ".join(f"{key}={value}" for key, value in pairs.items()))
    indent = {"width": 100, "initial_indent": "  ", "subsequent_indent": "    "}
    print(head, *(textwrap.fill(line, **indent) for line in lines), sep="\n")

"""What several commands read from the command line: settings, folders, and their like."""

import argparse
import ast
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["add_command", "add_results", "add_settings", "minutes", "pair", "setting", "writable"]


def add_command(
    commands: "argparse._SubParsersAction", name: str, run: Callable, text: str
) -> argparse.ArgumentParser:
    """Add a command to those of ``python -m tssbn``.

    Args:
        run: Is given the parsed arguments and gives the exit status.
        text: What it does, in a sentence without capital and full stop.
    """
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    return parser


def add_settings(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--set KEY=VALUE ...``, which may be given again and again."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help=text,
    )


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add ``--results``."""
    parser.add_argument(
        "--results", type=Path, help="folder of the saved runs; default: data/results"
    )


def pair(text: str) -> tuple[str, str]:
    """Read ``KEY=VALUE``.

    Example:
        >>> pair("nyuv2=/data/a=b")
        ('nyuv2', '/data/a=b')
    """
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def setting(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``, a Python literal where the value is one, else a string.

    Example:
        >>> setting("lr=1e-3"), setting("optimiser=sgd")
        (('lr', 0.001), ('optimiser', 'sgd'))
    """
    key, value = pair(text)
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def minutes(text: str) -> float:
    """Read a time, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, 0 or more")
    return value


def writable(name: str, folder: Path) -> Path:
    """Give a folder back, if it can be written; it is not made.

    Args:
        name: Of the option, for the error.

    Raises:
        NotADirectoryError: It, or what it would be made in, is a file.
        PermissionError: It, or what it would be made in, cannot be written.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"{name}={str(folder)!r}: {there} is a file, not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{name}={str(folder)!r}: nothing can be written in {there.resolve()}"
        )
    return folder

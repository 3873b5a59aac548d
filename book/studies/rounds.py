"""What the scripts that time steps in rounds share: the options `--rounds` and `--results`."""

import argparse
from pathlib import Path


def parser(doc: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the text of a script, and so many rounds where none are asked for."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(description=doc, formatter_class=form)
    said = f"2 or more; default: {rounds}"
    made.add_argument("--rounds", type=two_or_more, default=rounds, help=said)
    made.add_argument(
        "--results",
        dest="folder",
        type=Path,
        help="folder of the saved files; default: data/results",
    )
    return made


def two_or_more(text: str) -> int:
    if int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text} must be 2 or more")
    return int(text)

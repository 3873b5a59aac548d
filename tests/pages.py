"""The blocks of code on a page of text, and the files among them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the code of each block of a page, given by its path in the project."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(.*?)\n(.*?)^```", text, re.S | re.M)


def files(page: str) -> dict[str, str]:
    """The code of those blocks that begin with the name of a file, ``# name.py``."""
    named = re.compile(r"# (\w+\.py)\n")
    return {m[1]: code for _, code in blocks(page) if (m := named.match(code))}


def commands(page: str) -> list[str]:
    """What follows ``python -m tssbn`` in blocks of commands."""
    lines = [line for kind, code in blocks(page) if not kind for line in code.splitlines()]
    start = "python -m tssbn "
    return [
        line.removeprefix(start).partition("  #")[0] for line in lines if line.startswith(start)
    ]

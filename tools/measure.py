"""Measure each chapter: lines, words, minutes, the share of visible code that carries the idea.

    python tools/measure.py [NAME ...]
    python tools/measure.py --plumbing NAME    the visible lines that are counted as plumbing

Visible is the code of cells that are neither hidden nor removed, without blank lines and comments.
Plumbing is what a reader skips: imports, drawing, printing, assertions, tables of saved runs.
Everything else carries the idea. Minutes are words / 200 + visible lines / 25.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

import jupytext

sys.path.insert(0, str(Path(__file__).resolve().parent))
from book import chapters

LINES, MINUTES, SHARE = 400, 15, 0.7  # the limits of a chapter
FOLDED = {"hide-input", "hide-cell", "remove-cell", "remove-input"}
DRAWING = {"plt", "plots", "ax", "axes", "fig", "display", "pd", "Markdown", "records"}


class Measures(NamedTuple):
    lines: int
    words: int
    minutes: float
    code: int  # lines that are visible
    share: float  # of them, what carries the idea
    figures: int
    drawings: int
    exercises: int


def is_plumbing(statement: ast.stmt) -> bool:
    """Whether a statement imports, draws, prints, asserts or makes a table."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assert)):
        return True
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return any(_draws(node) for node in ast.walk(statement))
    if isinstance(statement, (ast.For, ast.With, ast.If)):
        return all(is_plumbing(inner) for inner in statement.body)
    return any(_draws(node) for node in ast.walk(statement)) or _prints(statement)


def _draws(node: ast.AST) -> bool:
    """Whether a node reads one of the names of drawing, such as `plt` in `plt.show()`."""
    if not isinstance(node, ast.Name):
        return False
    return node.id in DRAWING or node.id.endswith("_plots")


def _prints(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "id", "") == "print"


def lines_of(source: str, statements: list[ast.stmt]) -> list[str]:
    """The lines of the statements that are neither blank nor a comment."""
    text = source.splitlines()
    found = [line for each in statements for line in text[each.lineno - 1 : each.end_lineno]]
    return [line for line in found if line.strip() and not line.strip().startswith("#")]


def visible(notebook) -> list[str]:
    """The source of each code cell that a reader sees unasked."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)
        for cell in cells
        if not FOLDED & set(cell.metadata.get("tags", []))
    ]


def without_solutions(notebook):
    """The notebook without the code of solutions, which the site folds."""
    kept, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            marks = re.findall(r"\{solution-(start|end)\}", cell.source)
            inside = marks[-1] == "start" if marks else inside
        if cell.cell_type == "markdown" or not inside:
            kept.append(cell)
    notebook.cells = kept
    return notebook


def measure(chapter: Path) -> Measures:
    notebook = without_solutions(jupytext.read(chapter))
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = [
        (source, statement) for source in visible(notebook) for statement in ast.parse(source).body
    ]
    every = [line for source, each in code for line in lines_of(source, [each])]
    idea = [
        line for source, each in code if not is_plumbing(each) for line in lines_of(source, [each])
    ]
    prose = re.sub(r"\$\$.*?\$\$", "", prose, flags=re.DOTALL)
    said = re.sub(r"^ *:.*$", "", prose, flags=re.MULTILINE).split()
    words = sum(any(map(str.isalnum, word)) for word in said)
    text = chapter.read_text(encoding="utf-8")
    return Measures(
        lines=len(text.splitlines()),
        words=words,
        minutes=words / 200 + len(every) / 25,
        code=len(every),
        share=len(idea) / len(every) if every else 1.0,
        figures=text.count("mystnb="),
        drawings=len(re.findall(r"\{image\} images/[^ ]*(?<!-dark)\.svg", text)),
        exercises=text.count("{exercise}"),
    )


def table(names: list[str]) -> str:
    rows = [f"{'chapter':22}{'lines':>6}{'words':>7}{'min':>5}{'code':>6}{'idea':>6}  fig svg ex"]
    for chapter in chapters(names):
        m = measure(chapter)
        over = [
            word
            for word, is_over in (
                ("long", m.lines > LINES),
                ("slow", m.minutes > MINUTES),
                ("plumbing", m.share < SHARE),
            )
            if is_over
        ]
        rows.append(
            f"{chapter.stem:22}{m.lines:6}{m.words:7}{m.minutes:5.0f}{m.code:6}{m.share:6.0%}"
            f"{m.figures:5}{m.drawings:4}{m.exercises:3}  {' '.join(over)}"
        )
    return "\n".join(rows)


def plumbing(chapter: Path) -> str:
    """The visible lines that do not carry the idea."""
    sources = visible(without_solutions(jupytext.read(chapter)))
    return "\n".join(
        line
        for source in sources
        for each in ast.parse(source).body
        if is_plumbing(each)
        for line in lines_of(source, [each])
    )


def main(arguments: list[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all chapters")
    parser.add_argument(
        "--plumbing", action="store_true", help="list the lines counted as plumbing"
    )
    asked = parser.parse_args(arguments)
    if asked.plumbing:
        print("\n\n".join(map(plumbing, chapters(asked.names))))
    else:
        print(table(asked.names))


if __name__ == "__main__":
    main()

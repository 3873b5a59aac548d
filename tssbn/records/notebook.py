"""Notebooks that go on where there are no saved runs."""

import ast
import symtable
import sys
from typing import Any

from tssbn.records.store import NoSavedRuns, folders

__all__ = ["skip_cells"]

GUARD = "_without_saved_runs"


def skip_cells() -> None:
    """Let a notebook go on, on a machine without any saved runs.

    From here on a cell that asks for saved runs says in a sentence that there are none, instead
    of failing; and so does each cell that needs a name which such a cell would have given. Where
    there are saved runs, and outside of notebooks, nothing changes.

    Example:
        >>> skip_cells()  # no notebook
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and not folders():
        guard = _Guard(shell.user_ns)
        shell.user_ns[GUARD] = guard
        shell.ast_transformers.append(guard)


class _Guard(ast.NodeTransformer):
    """Puts a cell under ``with`` itself, and ends the cells that need saved runs."""

    def __init__(self, names: dict[str, Any]):
        self.names = names  # of the notebook
        self.lost: set[str] = set()
        self.given: set[str] = set()  # by the cell that runs

    def visit_Module(self, cell: ast.Module) -> ast.Module:
        if cell.body:
            table = symtable.symtable(ast.unparse(cell), "cell", "exec")
            named = [n for n in table.get_symbols() if n.is_assigned() and not n.is_imported()]
            self.given = {name.get_name() for name in named} - {GUARD}
            last = cell.body[-1]
            if isinstance(last, ast.Expr):  # is shown, as at the end of any cell
                show = ast.parse("__import__('sys').displayhook(0)").body[0].value
                show.args = [last.value]
                cell.body[-1] = ast.Expr(show)
            with_guard = ast.parse(f"with {GUARD}: pass").body[0]
            with_guard.body = cell.body
            cell.body = [with_guard]
        return cell

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> bool:
        missing = isinstance(error, NameError) and error.name in self.lost
        if not missing and not isinstance(error, NoSavedRuns):
            self.lost -= self.given
            return False
        self.lost |= self.given
        for name in self.given:  # of an earlier cell, they would be mistaken for this one's
            self.names.pop(name, None)
        if "matplotlib.pyplot" in sys.modules:  # a figure may be half drawn
            sys.modules["matplotlib.pyplot"].close("all")
        if missing:
            error = NoSavedRuns("this cell builds on saved runs, which are not on this machine")
        print(f"Skipped: {error}.")
        return True

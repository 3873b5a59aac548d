"""Table G: ways of balancing losses and gradients, on several methods, from saved runs.

Appendix G of arXiv 2512.20420 was not seen; the balancings of LibMTL's table are those that the
paper cites. Each method has its own baseline, the plain sum of the losses.
"""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tssbn.benchmarks import Benchmark, find_benchmark
from tssbn.claims.bed import Bed
from tssbn.claims.libmtl import DIRECTIONS, published
from tssbn.claims.verdict import Effect
from tssbn.columns import columns
from tssbn.methods import METHODS, find_method
from tssbn.records.caption import caption
from tssbn.records.comparable import balance_of
from tssbn.records.form import Row, Table
from tssbn.records.saved import SavedRun, SavedRuns
from tssbn.records.scores import delta
from tssbn.records.table import table
from tssbn.training.balancing import BALANCINGS

__all__ = ["PLAIN", "Cell", "Grid", "grid"]

PLAIN = "sum"
DEFAULT = "nyuv2_libmtl"  # of Appendix G
SAID = (
    "Δm against the plain sum of the same method; * where its 95 % interval leaves out 0: "
    "Dunnett's of all balancings of a method, from its runs alone (the claims page pools methods); "
    "seconds: of a run, the median, beside other work on the same machine"
)
THEIRS = (
    "LibMTL: its published single runs, the best epoch on the test images; its mgda, graddrop and "
    "imtl are of the gradients of features"
)


@dataclass(frozen=True)
class Cell:
    """A balancing on a method.

    Attributes:
        row: the scores of our runs by task, in the units of tables; None without runs.
        gain: Δm of their mean in percent against the plain sum of the method; None without runs
            of either.
        effect: the same with its interval; None with fewer than two runs of either.
        seconds: of a run, the median; None without runs.
        theirs: LibMTL's published scores, by task.
        their_gain: Δm of these against its plain sum; None where it published none.
    """

    row: Row | None
    gain: float | None
    effect: Effect | None
    seconds: float | None
    theirs: Mapping[str, float]
    their_gain: float | None

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.effect is not None and not self.effect.low <= 0 <= self.effect.high


@dataclass(frozen=True)
class Grid:
    """The cells; printed, Δm of all, and then the scores method by method.

    Attributes:
        caption: what our runs are, and of which data.
        table: our runs, see :func:`tssbn.records.table.table`.
        methods: the columns.
        balancings: the rows; the plain sum is the first.
        cells: by method and balancing, those that there are.
    """

    caption: str
    table: Table
    methods: Sequence[str]
    balancings: Sequence[str]
    cells: Mapping[tuple[str, str], Cell]

    def __str__(self) -> str:
        theirs = any(cell.theirs for cell in self.cells.values())
        said = "; ".join([self.caption, SAID, *[THEIRS] * theirs])
        parts = ["\n".join([f"{self.table.title}: balancings", *textwrap.wrap(said, 100)])]
        gains = [["Δm, %", *map(_title, self.methods)], *self._gains()]
        tables = [gains, *map(self._scores, self.methods)]
        parts += ["\n".join(columns(rows, head=1)) for rows in tables]
        return "\n\n".join(parts)

    def _gains(self) -> Iterable[list[str]]:
        for balance in self.balancings:
            cells = [self.cells.get((method, balance)) for method in self.methods]
            ours = [cell and _signed(cell.gain) + "*" * cell.sure for cell in cells]
            yield [balance, *(text or "-" for text in ours)]
            theirs = [cell and _signed(cell.their_gain) for cell in cells]
            if any(theirs):
                yield ["  LibMTL", *(text or "" for text in theirs)]

    def _scores(self, method: str) -> Iterable[list[str]]:
        tasks = self.table.tasks
        heads = [f"{task} {column.sign}" for task, column in tasks.items()]
        yield [_title(method), "seeds", *heads, "Δm, %", "95 %", "seconds"]
        for balance in self.balancings:
            cell = self.cells.get((method, balance))
            if cell and cell.row:
                values = [self.table.cell(task, cell.row.values[task]) for task in tasks]
                ends = f"[{cell.effect.low:+.2f}, {cell.effect.high:+.2f}]" if cell.effect else ""
                seconds = "" if cell.seconds is None else f"{cell.seconds:.0f}"
                n = str(len(cell.row.seeds))
                yield [balance, n, *values, _signed(cell.gain), ends, seconds]
            if cell and cell.theirs:
                values = [self.table.number(task, cell.theirs.get(task)) for task in tasks]
                name = "  LibMTL" if cell.row else f"{balance}, LibMTL"
                yield [name, "", *values, _signed(cell.their_gain), "", ""]


def grid(benchmark: str | Benchmark, records: Iterable[Mapping[str, Any]]) -> Grid:
    """Compare the balancings with the plain sum, method by method, from finished runs.

    Left out are single-task networks, which share nothing to balance, and methods of which there is
    nothing but the plain sum where others have more.

    Args:
        benchmark: its name, or itself where it is none of
            :data:`tssbn.benchmarks.BENCHMARKS`.
        records: saved runs of this benchmark alone, which must be comparable:
            :func:`tssbn.records.comparable.check_comparable`.

    Raises:
        ValueError: an unknown benchmark, or runs that do not belong in one table; says why.

    Example:
        >>> made = grid("nyuv2_libmtl", [])
        >>> cell = made.cells["hps", "cagrad"]
        >>> cell.theirs["segmentation"], round(cell.their_gain, 1)
        (53.77, 0.6)
    """
    known = find_benchmark(benchmark)() if isinstance(benchmark, str) else benchmark
    records = [record for record in records if record["method"] != "stl"]
    whole, theirs = table(known, records), published(known.name)
    rows = {(row.method, row.balance): row for row in whole.rows if row.seeds}
    up = {task: column.higher_is_better for task, column in whole.tasks.items()}
    cells = {}
    for method in dict.fromkeys(method for method, _ in [*rows, *theirs]):
        runs: dict[str, list] = {}
        for record in records:
            if record["method"] == method:
                runs.setdefault(balance_of(record), []).append(record)
        effects = _effects(runs, known.average)
        of_theirs = {balance: row for (name, balance), row in theirs.items() if name == method}
        means = {b: {t: rows[method, b].values[t].mean for t in up} for b in runs}
        for balance in dict.fromkeys([*runs, *of_theirs]):
            cells[method, balance] = Cell(
                rows.get((method, balance)),
                _gain(means, balance, up),
                effects.get(balance),
                _seconds(runs.get(balance, ())),
                of_theirs.get(balance, {}),
                _gain(of_theirs, balance, DIRECTIONS),
            )
    balanced = {method for method, balance in cells if balance != PLAIN}
    cells = {key: cell for key, cell in cells.items() if key[0] in balanced or not balanced}
    found = {method: None for method, _ in cells}, {balance: None for _, balance in cells}
    methods, balancings = (
        [*(name for name in order if name in of), *(name for name in of if name not in order)]
        for order, of in zip((METHODS, BALANCINGS), found, strict=True)
    )
    shown = [record for record in records if record["method"] in methods]
    return Grid(caption(shown, baseline=None), whole, methods, balancings, cells)


def _gain(
    scores: Mapping[str, Mapping[str, float]], balance: str, up: Mapping[str, bool]
) -> float | None:
    if balance not in scores or PLAIN not in scores:
        return None
    return delta(scores[balance], scores[PLAIN], up)


def _effects(runs: Mapping[str, Sequence[Mapping]], average: bool) -> dict[str, Effect]:
    """What each balancing of a method is better by than the plain sum, together."""
    saved = {
        balance: SavedRuns(tuple(SavedRun(f"{balance}-{r['seed']}", r) for r in of), (), average)
        for balance, of in runs.items()
    }
    finite = {
        balance: of
        for balance, of in saved.items()
        if all(math.isfinite(value) for run in of for value in run.scores().values())
    }
    others = [balance for balance in finite if balance != PLAIN]
    if PLAIN not in finite or not others:
        return {}
    found = Bed.of(finite, baseline=PLAIN).against(PLAIN, *others)
    return {balance: -effect for balance, effect in found.items() if effect}


def _seconds(runs: Sequence[Mapping]) -> float | None:
    known = [run["seconds"] for run in runs if "seconds" in run]
    return statistics.median(known) if known else None


def _title(method: str) -> str:
    return find_method(method).title if method in METHODS else method


def _signed(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2) + 0.0:+.2f}"

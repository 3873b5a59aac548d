"""Claims with their verdicts as tables, as a list, and as a matrix of questions and beds."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns
from tssbn.claims.intervals import critical_value
from tssbn.claims.verdict import Effect, Verdict

__all__ = ["Sheet", "count", "matrix", "short", "spreads", "table", "unrun"]

HEAD = (
    "claim",
    "bed",
    "verdict",
    "effect, 95 % interval",
    "claimed",
    "visible",
    "more than the null?",
)
WORDS = ("supported", "contradicted", "undecided", "not run")
Cell = str | tuple[str, str]  # a text, and the page that it links


@dataclass(frozen=True)
class Sheet:
    """Rows of text in groups; a notebook shows it as a table, and ``str`` gives plain lines.

    Attributes:
        head: the columns.
        groups: the title of each group, "" for none, and its rows.
    """

    head: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]]

    def __repr__(self) -> str:
        lines = [" | ".join(self.head)]
        for title, rows in self.groups:
            lines += [title] if title else []
            lines += [" | ".join(map(_text, row)) for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        lines = [_row(self.head, "th")]
        for title, rows in self.groups:
            if title:
                title = html.escape(title)
                lines.append(f'<tr><th colspan="{len(self.head)}">{title}</th></tr>')
            lines += [_row(row, "td") for row in rows]
        return f'<div style="overflow-x: auto"><table class="table">{"".join(lines)}</table></div>'


def table(claims: Iterable[Claim], word: str = "") -> Sheet:
    """Show each claim with its verdicts, grouped by the part of the paper.

    ``n`` are the runs of either side; ``visible`` is the smallest effect that so many runs show in
    four of five cases. The last column is the verdict against the null or the simpler account,
    which is named.

    Args:
        claims: those to show.
        word: of the verdict; only claims with this one are shown, without a column for it, and
            with ``visible`` where it is ``"undecided"``. All by default.

    Example:
        >>> print(table([Claim("Ours is better", part="Table 9", claimed=2.5)]))
        claim | bed | verdict | effect, 95 % interval | claimed | visible | more than the null?
        Table 9
        Ours is better |  | not run |  | +2.5 |  |
    """
    left_out = {"verdict"} if word else set()
    left_out |= {"visible"} if word not in ("", "undecided") else set()
    shown = [column for column, name in enumerate(HEAD) if name not in left_out]
    groups: dict[str, list] = {}
    for claim in claims:
        verdict = claim.verdict()
        if word in ("", verdict.word):
            cells = _cells(claim, verdict)
            groups.setdefault(claim.part, []).append([cells[column] for column in shown])
    return Sheet([HEAD[column] for column in shown], list(groups.items()))


def unrun(claims: Iterable[Claim]) -> str:
    """List in Markdown what is not run: a line for each part of the paper and each bed.

    Example:
        >>> print(unrun([Claim("Ours > theirs", bed="rooms", part="Table 9"), Claim("It is fast")]))
        - Table 9, rooms: Ours > theirs.
        - It is fast.
    """
    groups: dict[str, list[str]] = {}
    for claim in claims:
        if claim.verdict().word == "not run":
            part = f"{{doc}}`{claim.part} <{claim.chapter}>`" if claim.chapter else claim.part
            groups.setdefault(", ".join(filter(None, [part, claim.where])), []).append(claim.text)
    lines = (": ".join(filter(None, [at, "; ".join(of)])) for at, of in groups.items())
    return "\n".join(f"- {line}." for line in lines)


def matrix(claims: Iterable[Claim]) -> Sheet:
    """Show what each bed says to each question; the claims of one text are one question.

    Example:
        >>> beds = [Claim("Is ours better?", bed=bed) for bed in ("rooms", "faces")]
        >>> print(matrix(beds))
         | rooms | faces
        Is ours better? | not run | not run
    """
    claims = list(claims)
    beds = list(dict.fromkeys(claim.where for claim in claims))
    cells: dict[str, dict[str, str]] = {}
    for claim in claims:
        cells.setdefault(claim.text, {})[claim.where] = short(claim.verdict())
    rows = [[text, *(of.get(bed, "") for bed in beds)] for text, of in cells.items()]
    return Sheet(["", *beds], [("", rows)])


def count(claims: Iterable[Claim]) -> dict[str, int]:
    """Count the words of the verdicts.

    Example:
        >>> count([Claim("Ours is better"), Claim("Ours is faster")])
        {'supported': 0, 'contradicted': 0, 'undecided': 0, 'not run': 2}
    """
    found = Counter(claim.verdict().word for claim in claims)
    return {word: found[word] for word in WORDS}


def spreads(
    beds: Iterable[BedOfRuns], seeds: Sequence[int] = (3, 5, 7, 10), arms: int = 5
) -> Sheet:
    """Show how much the runs of each bed differ, and what differences of arms so many would show.

    The columns: the standard deviation of Δm of one run, pooled over the arms; within what the mean
    of the baseline is known, :meth:`tssbn.claims.Bed.band`; and the smallest effect that is called
    supported in four of five cases, by the runs of each arm.

    Args:
        beds: those without two runs of an arm are left out.
        seeds: runs of each arm.
        arms: of the bed that is thought of.
    """
    rows = []
    for of in beds:
        if (bed := of.bed) is None or not bed.arms:
            continue
        known = f"±{bed.band():.2g}" if bed.baseline in bed.arms else ""
        visible = [f"{_visible(bed.sd, n, arms):.2g}" for n in seeds]
        rows.append([of.title, f"{bed.sd:.2g}", known, *visible])
    head = ["bed", "SD of a run", "baseline", *(f"visible, n = {n}" for n in seeds)]
    return Sheet(head, [("", rows)])


def short(verdict: Verdict) -> str:
    """Write a verdict in a cell: the word, the effect with its interval, and the runs.

    Example:
        >>> short(Claim("Nobody ran this").verdict())
        'not run'
    """
    if verdict.effect is None:
        return verdict.said
    return f"{verdict.said}: {_value(verdict.effect)}{_runs(verdict.effect)}"


def _visible(sd: float, n: int, arms: int) -> float:
    df = arms * (n - 1)
    error = sd * (2 / n) ** 0.5
    return Effect(0.0, error, df, critical_value(df, 1, (1,)), (n, n)).visible


def _cells(claim: Claim, verdict: Verdict) -> list[Cell]:
    effect, claimed = verdict.effect, f"{claim.claimed:+.1f}" if claim.claimed else ""
    if claim.margin:
        claimed = f"above {-claim.margin:+.1f}"
    if verdict.said != verdict.word:
        claimed = f"{claimed}, ours is smaller"
    control = verdict.control
    against = f"{claim.null}: {short(control)}" if control and effect else ""
    return [
        (claim.text, f"{claim.chapter}.html") if claim.chapter else claim.text,
        claim.where,
        verdict.word,
        _measured(effect),
        claimed,
        f"{effect.visible:.{effect.digits}f}" if effect and effect.error else "",
        against,
    ]


def _measured(effect: Effect | None) -> str:
    """The value with its unit, and the runs."""
    if effect is None:
        return ""
    unit = f" {effect.unit}" if effect.unit else ""
    return f"{_value(effect)}{unit}{_runs(effect) or ', counted'}"


def _value(effect: Effect) -> str:
    """The interval; the number alone where it was counted, or where no run differs."""
    return effect.interval if effect.error else f"{effect.value:+.{effect.digits}f}"


def _runs(effect: Effect) -> str:
    if not effect.n:
        return ""
    runs = ", ".join(map(str, effect.n))
    return f", n = {runs}" if effect.error else f", in each of {runs} runs"


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _row(cells: Iterable[Cell], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_shown(cell)}</{tag}>" for cell in cells) + "</tr>"


def _shown(cell: Cell) -> str:
    text = html.escape(_text(cell))
    if not isinstance(cell, str):
        return f'<a href="{html.escape(cell[1])}">{text}</a>'
    return re.sub("|".join(WORDS), r"<b>\g<0></b>", text)

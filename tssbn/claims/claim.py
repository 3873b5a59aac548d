"""A claim: what is said, the evidence that it is asked of, and what the evidence says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from tssbn.claims.verdict import Effect, Verdict, judge, words

__all__ = ["Claim", "Evidence"]

ORDER = ("contradicted", "not run", "undecided", "supported")  # the worst for a claim first


class Evidence(Protocol):
    """What arms can be compared on: `BedOfRuns`, `Measured` or `Counted` of `tssbn.claims`."""

    title: str

    def against(self, arm: str, *others: str | float) -> dict[str | float, Effect | None]:
        """Give what an arm is better by than each of several others."""


@dataclass(frozen=True)
class Claim:
    """That an arm is better than another, or than several; or no worse by more than a margin.

    Args:
        text: what is claimed.
        evidence: what it is asked of; None where nothing was run that could tell.
        arm: the arm that is claimed to be better.
        than: the other arm or a known number; or several arms, all of which it is to be better
            than: the verdict is the worst for the claim, by Dunnett's intervals.
        claimed: the size of the claimed effect; 0 where none is claimed.
        null: an arm that is null or a simpler account; :meth:`verdict` judges the arm against it,
            too.
        margin: how much worse the arm may be; it then claims to be no worse.
        part: of the paper.
        bed: in words; by default the title of the evidence.
        chapter: of the book, where it is looked at.

    Example:
        >>> from tssbn.claims import Measured
        >>> runs = Measured("toys", {"ours": [3.1, 2.2, 2.9], "null": [3.0, 2.5, 2.4]})
        >>> claim = Claim("Ours is above 1", runs, "ours", 1.0, claimed=2, null="null")
        >>> claim.verdict()
        supported: +1.7 [+0.6, +2.9] (n = 3; claimed +2.0; visible from 1.5)
        >>> claim.verdict().control.word, Claim("Nobody ran this").verdict()
        ('undecided', not run)
    """

    text: str
    evidence: Evidence | None = field(default=None, repr=False)
    arm: str = "TSσBN"
    than: str | float | tuple[str, ...] = "HPS"
    claimed: float = 0.0
    null: str = ""
    margin: float = 0.0
    part: str = ""
    bed: str = ""
    chapter: str = ""

    def __post_init__(self) -> None:
        if self.margin and self.claimed:
            raise ValueError(
                f"{self.text}: claims no worse by {self.margin} and better by {self.claimed}"
            )
        if self.margin < 0:
            raise ValueError(f"{self.text}: margin={self.margin} must not be below 0")

    @property
    def where(self) -> str:
        """The evidence in words."""
        return self.bed or (self.evidence.title if self.evidence else "")

    def verdict(self) -> Verdict:
        """Judge the claim by the runs that there were when it was first asked."""
        return self._verdict

    @cached_property
    def _verdict(self) -> Verdict:
        if self.evidence is None:
            return judge(None, self.claimed)
        others = self.than if isinstance(self.than, tuple) else (self.than,)
        found = [self._of(effect) for effect in self.evidence.against(self.arm, *others).values()]
        worst = min(found, key=_for_the_claim)
        if not self.null:
            return worst
        control = self.evidence.against(self.arm, self.null)[self.null]
        return replace(worst, control=judge(control, self.claimed))

    def _of(self, effect: Effect | None) -> Verdict:
        verdict = judge(effect, self.claimed)
        if effect is None or not self.margin:
            return verdict
        ends = effect.low + self.margin, effect.high + self.margin
        return replace(verdict, word=words(*ends).item(), smaller=False)


def _for_the_claim(verdict: Verdict) -> tuple[int, float]:
    return ORDER.index(verdict.word), verdict.effect.low if verdict.effect else 0.0

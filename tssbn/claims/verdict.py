"""The rule: an effect with its interval, the claimed effect, and the word that they give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, log10

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import nct

__all__ = ["Effect", "Verdict", "judge", "words"]

POWER = 0.8


@dataclass(frozen=True)
class Effect:
    """A difference of two means, with what its 95 % interval is made of.

    Args:
        value: the difference.
        error: its standard error.
        df: the degrees of freedom of that error.
        critical: the interval is ``value ± critical · error``.
        n: the runs of either side; of one side alone, where the other is a known number.
        unit: what the numbers are, such as ``"Δm"``.

    Example:
        >>> effect = Effect(1.6, error=0.5, df=16, critical=2.12, n=(5, 5))
        >>> effect
        +1.6 [+0.5, +2.7]
        >>> -effect
        -1.6 [-2.7, -0.5]
    """

    value: float
    error: float
    df: float
    critical: float
    n: tuple[int, ...]
    unit: str = ""

    @property
    def half_width(self) -> float:
        """Half the length of the interval, which is ``value ± half_width``."""
        return self.critical * self.error

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.value - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.value + self.half_width

    @property
    def visible(self) -> float:
        """The smallest effect whose interval begins above zero in 80 % of cases."""
        return self.error * shift(self.critical, self.df) if self.error else 0.0

    @property
    def digits(self) -> int:
        """As many digits after the point as the width of the interval needs, 1 to 4."""
        half = self.half_width
        return 1 if half == 0 else min(max(1, 1 - floor(log10(4 * half))), 4)

    @property
    def interval(self) -> str:
        """The value and the ends of the interval, in words."""
        value, low, high = (f"{x:+.{self.digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def __neg__(self) -> Effect:
        return replace(self, value=-self.value, n=self.n[::-1])

    def __repr__(self) -> str:
        return f"{self.interval} of {self.unit}" if self.unit else self.interval


def shift(critical: float, df: float) -> float:
    """Give the non-centrality at which t lies above a critical value in 80 % of cases.

    Example:
        >>> round(shift(1.96, 1e6), 2)  # 1.96 + 0.84 of the normal distribution
        2.8
    """
    top = 4 * critical + 4
    return brentq(lambda x: nct.sf(critical, df, x) - POWER, 0, top)


def words(low: ArrayLike, high: ArrayLike, claimed: float = 0.0) -> np.ndarray:
    """Give the word of each interval by the rule of :mod:`tssbn.claims`.

    Args:
        low: the lower ends.
        high: the upper ends.
        claimed: the claimed effect; below 0 it claims an effect below 0. At 0 nothing is claimed
            but that there is an effect above 0.

    Example:
        >>> words([1, 1, -1, -1], [9, 2, 9, 2], claimed=6).tolist()
        ['supported', 'supported', 'undecided', 'contradicted']
    """
    beyond, short = _ends(low, high, claimed)
    return np.select([beyond, short], ["supported", "contradicted"], "undecided")


def _ends(low: ArrayLike, high: ArrayLike, claimed: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether each interval is beyond zero, and whether below half of what is claimed."""
    low, high = np.asarray(low), np.asarray(high)
    if claimed < 0:
        low, high, claimed = -high, -low, -claimed
    return low > 0, high < claimed / 2


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim.

    Args:
        word: ``"supported"``, ``"contradicted"``, ``"undecided"`` or ``"not run"``.
        effect: measured; None where it is not run.
        claimed: the claimed effect, 0 where none is.
        smaller: whether the interval is below half of a claimed effect.
        control: the verdict against the null or the simpler account, None without one.
    """

    word: str
    effect: Effect | None
    claimed: float = 0.0
    smaller: bool = False
    control: Verdict | None = None

    def __repr__(self) -> str:
        claimed = f"claimed {self.claimed:+.1f}" if self.claimed else ""
        if self.effect is None:
            return f"{self.said} ({claimed})" if claimed else self.said
        effect, runs = self.effect, ", ".join(map(str, self.effect.n))
        notes = (
            f"n = {runs}" if runs else "counted",
            claimed,
            f"visible from {effect.visible:.{effect.digits}f}" if effect.error else "",
        )
        return f"{self.said}: {effect} ({'; '.join(filter(None, notes))})"

    @property
    def said(self) -> str:
        """The word, and whether a sure effect is less than half as large as claimed."""
        smaller = self.smaller and self.word == "supported"
        return f"{self.word}, smaller than claimed" if smaller else self.word


def judge(
    effect: Effect | None, claimed: float = 0.0, control: Effect | Verdict | None = None
) -> Verdict:
    """Give the verdict on a claim by the rule of :mod:`tssbn.claims`.

    Args:
        effect: measured, None where there are not the runs.
        claimed: the claimed effect in the same unit; below 0 it claims an effect below 0. At 0
            nothing is claimed but that there is an effect above 0.
        control: the effect over the null or the simpler account, judged with the same claimed
            effect; or a verdict already, such as of a control that is not run.

    Example:
        >>> effect = Effect(1.6, error=0.55, df=16, critical=2.12, n=(5, 5), unit="Δm")
        >>> judge(effect, claimed=3)
        supported: +1.6 [+0.4, +2.8] of Δm (n = 5, 5; claimed +3.0; visible from 1.6)
        >>> judge(effect, claimed=5.9)
        supported, smaller than claimed: +1.6 [+0.4, +2.8] of Δm (n = 5, 5; claimed +5.9; ...)
        >>> judge(None, claimed=5.9)
        not run (claimed +5.9)
    """
    if isinstance(control, Effect):
        control = judge(control, claimed)
    if effect is None:
        return Verdict("not run", None, claimed, control=control)
    word = words(effect.low, effect.high, claimed).item()
    smaller = bool(_ends(effect.low, effect.high, claimed)[1])
    return Verdict(word, effect, claimed, smaller, control)

"""Does balancing of losses and gradients add to HPS and to TSσBN? Arms and claims.

The paper suggests that TSσBN needs none (its appendix G was not seen).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tssbn.claims.arms import ARMS
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns
from tssbn.claims.tables import ENOUGH

__all__ = ["FEW", "balanced", "balancings", "unneeded"]

#: For a costly bed, those of each kind that papers compare with most.
FEW = ("uw", "famo", "gradnorm", "pcgrad", "cagrad", "imtl", "nash-mtl", "fairgrad")
METHODS = "HPS", "TSσBN"


def balanced(
    title: str, benchmark: str, names: Iterable[str] | None = None, **settings: Any
) -> BedOfRuns:
    """Take the runs of HPS and TSσBN, by the plain sum and with each balancing.

    Args:
        title: of the bed, in words.
        benchmark: its name.
        names: of the balancings; all that there are by default.
        settings: of all runs.

    Example:
        >>> bed = balanced("rooms", "rooms", ["uw"])
        >>> list(bed.arms), bed.arms["TSσBN + uw"]
        (['STL', 'HPS', 'TSσBN', 'HPS + uw', 'TSσBN + uw'], ('tssbn', {'balance': 'uw'}))
    """
    if names is None:
        from tssbn.training.balancing import BALANCINGS

        names = [name for name in BALANCINGS if name != "sum"]
    names = tuple(names)
    arms = {arm: (ARMS[arm], settings) for arm in ("STL", *METHODS)}
    for method in METHODS:
        for name in names:
            arms[f"{method} + {name}"] = ARMS[method], {**settings, "balance": name}
    return BedOfRuns(title, benchmark, arms)


def balancings(bed: BedOfRuns, method: str) -> dict[str, str]:
    """Give the arms of a bed that balance the losses of a method, by balancing."""
    start = f"{method} + "
    return {arm.removeprefix(start): arm for arm in bed.arms if arm.startswith(start)}


def unneeded(bed: BedOfRuns, **row: str) -> Iterator[Claim]:
    """Claim that neither method needs a balancing, and that TSσBN beats HPS with any of them.

    "Needs none" is to be no more than half a point of Δm behind the best; the verdict is the worst
    of all balancings, by Dunnett's intervals.
    """
    for method in METHODS:
        arms = tuple(balancings(bed, method).values())
        text = f"No balancing lifts {method} by more than {ENOUGH}"
        yield Claim(text, bed, method, arms, margin=ENOUGH, **row)
    arms = tuple(balancings(bed, "HPS").values())
    yield Claim("TSσBN beats HPS with any balancing", bed, "TSσBN", arms, **row)

"""Figure 5 and Table 6: the gate rate, and what the bound of the gates protects from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tssbn.claims import measures
from tssbn.claims.arms import at_multipliers, gate_rate
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns, Measured
from tssbn.claims.paper.beds import FACES, ROOMS, nets
from tssbn.gates import Importance

__all__ = ["claims"]

FIGURE_5 = {"part": "Figure 5", "chapter": "13_knobs"}
TABLE_6 = {"part": "Table 6", "chapter": "13_knobs"}
#: By multiplier, what the paper has at about this gate rate.
PRINTED = {0.25: 0.0, 2.5: 2.51, 7.5: 0.0, 25: 7.29, 100: 0.0}
SWEEP = at_multipliers(ROOMS.title, "rooms", PRINTED, ["TSBN", "TSσBN"])
FAST = BedOfRuns(
    FACES.title,
    "faces",
    {"STL": ("stl", {}), "TSBN": ("tsbn-x100", {}), "TSσBN": ("tssbn", {})},
)


def claims() -> Iterator[Claim]:
    """Gates spread with their rate, and TSσBN is ahead of TSBN at each."""
    fast, slow = (gate_rate(SWEEP, f"TSσBN ×{times}") for times in (25, 0.25))
    text = f"Gates spread with the gate rate ({fast:g}, {slow:g})"
    yield Claim(text, by_rate(measures.spread), "25", "0.25", **FIGURE_5)
    text = f"Most gates are shut or open at the gate rate {fast:g}"
    yield Claim(text, by_rate(measures.binary, "points above 50 %"), "25", 50.0, **FIGURE_5)
    text = "TSσBN depends least on the scales of the losses"
    yield Claim(text, bed=ROOMS.title, **FIGURE_5)
    for times, claimed in PRINTED.items():
        ours, theirs = f"TSσBN ×{times}", f"TSBN ×{times}"
        rates = " and ".join(f"{gate_rate(SWEEP, arm):g}" for arm in (ours, theirs))
        text = f"TSσBN beats TSBN at ×{times} (gate rates {rates})"
        yield Claim(text, SWEEP, ours, theirs, claimed, **TABLE_6)
    yield Claim("TSσBN beats TSBN at ×100 (gate rate 0.4)", FAST, than="TSBN", **TABLE_6)


def by_rate(measure: Callable[[Importance], float], unit: str = "") -> Measured:
    """Measure the gates of each run, by multiplier."""
    values = {
        str(times): [measure(net) for net in nets(SWEEP, f"TSσBN ×{times}")] for times in PRINTED
    }
    return Measured(SWEEP.title, values, unit)

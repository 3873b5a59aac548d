"""Verdicts on claims, from runs with several seeds: the rule, its intervals, and how it errs.

A claim says that an arm (a method with its settings) is better than another, and mostly by how
much. The 95 % interval of the difference and the claimed effect decide:

=============================== ====================================== ================
the 95 % interval               begins above zero                      does not
=============================== ====================================== ================
reaches half the claimed effect **supported**                          **undecided**
ends below half of it           **supported**, smaller than claimed    **contradicted**
=============================== ====================================== ================

A claim is a sentence with a direction, and an interval beyond zero in that direction supports it;
that the effect is less than half as large is said beside the word. Where nothing is claimed of the
size, half of it is zero: contradicted is an interval beyond zero on the other side. With fewer than
two runs of an arm the claim is **not run**. A second verdict of the same rule, with the same
claimed effect, says whether the arm is better than a null or a simpler account, such as gates at
random.

One model for all: the arm is fixed, the seed random, runs of one bed (the same data, network and
recipe) have one standard deviation, pooled over all arms that have runs there. One test for a bed,
Bartlett's at 20 %, decides whether its arms have one; if not, each pair of arms has the wider of
this interval and Welch's. A spread that is small by luck never makes an interval narrower. An arm
against several others: Dunnett's interval. Runs are not paired by seed. Needs scipy.

A bed is thus all arms of a benchmark, and a few of them make another bed, with a spread of its own.

Without any effect the rule says supported in 2.5 % of cases; where one of five arms is two or
three times as noisy as the rest of the bed, in 4.5 % with five runs of each, 6 % with three. With
the claimed effect it says contradicted in 2.5 % at most. :func:`rates` simulates it.

Example:
    >>> bed = Bed({"ours": [3.1, 2.2, 2.9], "theirs": [1.1, 0.2, 0.9], "random": [2.2, 2.1, 3.0]})
    >>> judge(bed.compare("ours", "theirs"), claimed=2.5)
    supported: +2.0 [+1.0, +3.0] (n = 3, 3; claimed +2.5; visible from 1.3)
    >>> judge(bed.compare("ours", "random"), claimed=2.5)
    undecided: +0.3 [-0.7, +1.3] (n = 3, 3; claimed +2.5; visible from 1.3)

A :class:`Claim` names the arms and the claimed effect, and its evidence: a :class:`BedOfRuns`, or
numbers of runs (:class:`Measured`), such as those of :mod:`tssbn.claims.measures`. :func:`table`
and :func:`matrix` show many. Those of the paper are in :mod:`tssbn.claims.paper`.
"""

from tssbn.claims.bed import Bed
from tssbn.claims.beside import beside, constant_gain, effects
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns, Counted, Measured
from tssbn.claims.printed import delta_noise, standard_errors
from tssbn.claims.report import count, matrix, spreads, table, unrun
from tssbn.claims.sample import above, pseudo_values
from tssbn.claims.simulation import power, rates, simulate
from tssbn.claims.verdict import Effect, Verdict, judge, words

__all__ = [
    "Bed",
    "BedOfRuns",
    "Claim",
    "Counted",
    "Effect",
    "Measured",
    "Verdict",
    "above",
    "beside",
    "constant_gain",
    "count",
    "delta_noise",
    "effects",
    "judge",
    "matrix",
    "power",
    "pseudo_values",
    "rates",
    "simulate",
    "spreads",
    "standard_errors",
    "table",
    "unrun",
    "words",
]

"""Sweeps of the gate rate: what TSBN and TSσBN gain over HPS at each, and the one over the other.

A sweep is of saved runs with several seeds, where a method has enough rates; otherwise it is of the
trials of one seed on validation data that ``book/studies/tuning.py`` saved. The interval of such a
trial has the spread of the benchmark's saved runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log, sqrt
from typing import TYPE_CHECKING, Any

from tssbn.claims.bed import Bed
from tssbn.claims.tables import NYUV2
from tssbn.claims.verdict import Effect

if TYPE_CHECKING:
    import pandas

__all__ = ["Sweep", "bound", "in_paper", "overview", "summary", "sweep"]

HPS, METHODS, SEEDS = "hps", ("tsbn", "tssbn"), range(20)
ENOUGH = 3  # rates that make a sweep

#: Table 6 (captioned Figure 6) of arXiv 2512.20420, NYUv2, Δm over single-task networks, by gate
#: rate: the base rate of 1e-4 times 1, 10, 100 and 1000.
PRINTED = {
    "tsbn": {1e-4: 4.09, 1e-3: 4.80, 1e-2: 4.42, 1e-1: -2.96},
    "tssbn": {1e-4: 4.02, 1e-3: 5.67, 1e-2: 6.93, 1e-1: 4.33},
}


@dataclass(frozen=True, eq=False)
class Sweep:
    """The gate rates at which two methods were trained on one benchmark.

    Args:
        title: of the benchmark, in words.
        base: the base rate, which a multiplier multiplies.
        rates: by method, its gate rates from the slowest.
        minus: the difference of Δm between two arms, by their names as :meth:`arm` gives them.
        about: what was scored, and how often.

    Example:
        >>> paper = in_paper()
        >>> paper.best("tssbn"), paper.gains("tssbn")[0.01].interval
        (0.01, '+5.9 [+5.9, +5.9]')
        >>> {rate: round(effect.value, 2) for rate, effect in paper.bounded().items()}
        {0.0001: -0.07, 0.001: 0.87, 0.01: 2.51, 0.1: 7.29}
    """

    title: str
    base: float
    rates: Mapping[str, Sequence[float]]
    minus: Callable[[str, str], Effect] = field(repr=False)
    about: str = ""

    @staticmethod
    def arm(method: str, rate: float) -> str:
        """Name a method at a gate rate."""
        return f"{method} at {rate:g}"

    def gains(self, method: str) -> dict[float, Effect]:
        """Give by gate rate what a method gains over HPS, in points of Δm."""
        return {rate: self.minus(self.arm(method, rate), HPS) for rate in self.rates[method]}

    def best(self, method: str) -> float:
        """Give the gate rate with the largest gain."""
        gains = self.gains(method)
        return max(gains, key=lambda rate: gains[rate].value)

    def lost(self, method: str, rate: float) -> Effect:
        """Give what a method is better by at its best gate rate than at another one."""
        return self.minus(self.arm(method, self.best(method)), self.arm(method, rate))

    def bounded(self) -> dict[float, Effect]:
        """Give what TSσBN is better by than TSBN, at each gate rate that both have."""
        both = [rate for rate in self.rates["tssbn"] if rate in self.rates["tsbn"]]
        return {r: self.minus(self.arm("tssbn", r), self.arm("tsbn", r)) for r in both}

    def best_apart(self) -> Effect:
        """Give what TSσBN is better by than TSBN, each at its best gate rate."""
        return self.minus(*(self.arm(method, self.best(method)) for method in METHODS[::-1]))


def sweep(title: str, benchmark: str) -> Sweep | None:
    """Take the sweep of a benchmark: saved runs where three gate rates have two each, or trials.

    Returns:
        The sweep, None where there is neither.
    """
    from tssbn import records
    from tssbn.benchmarks import find_benchmark
    from tssbn.methods import METHODS as EVERY

    found = {HPS: records.of(benchmark, HPS, SEEDS)}
    rates: dict[str, list[float]] = {}
    for method in METHODS:
        runs = records.by_gate_rate(benchmark, method, SEEDS)
        if (faster := f"{method}-x100") in EVERY:
            runs |= records.by_gate_rate(benchmark, faster, SEEDS)
        runs = {rate: runs[rate] for rate in sorted(runs) if len(runs[rate]) > 1}
        rates[method] = [*runs]
        found |= {Sweep.arm(method, rate): of for rate, of in runs.items()}
    if len(found[HPS]) < 2:
        return None
    bed = Bed.of(found, HPS)
    if min(map(len, rates.values())) < ENOUGH:
        return _of_trials(title, benchmark, bed)
    n = sorted({len(of) for of in found.values()})
    base = find_benchmark(benchmark)().recipe.lr
    return Sweep(title, base, rates, bed.compare, f"test, n = {n[0]} to {n[-1]}")


def _of_trials(title: str, benchmark: str, bed: Bed) -> Sweep | None:
    """The trials at the base rate of the recipe, over the best trial of HPS."""
    from tssbn import records
    from tssbn.benchmarks import find_benchmark

    try:
        saved = {m: records.load(f"tuning/{benchmark}-{m}")["trials"] for m in (HPS, *METHODS)}
    except FileNotFoundError:
        return None
    base = find_benchmark(benchmark)().recipe.lr

    def gain(trial: Mapping[str, Any], over: Mapping[str, Any]) -> float:
        return records.delta(trial["val"], over["val"], trial["directions"])

    hps = max(saved[HPS], key=lambda trial: gain(trial, saved[HPS][0]))
    gains, rates = {HPS: 0.0}, {}
    for method in METHODS:
        trials = {
            round(base * trial["rates"]["multiplier"], 6): trial
            for trial in saved[method]
            if trial["rates"]["lr"] == base
        }
        rates[method] = sorted(trials)
        gains |= {Sweep.arm(method, rate): gain(of, hps) for rate, of in trials.items()}
    return Sweep(title, base, rates, _minus(gains, bed), "validation, one run each")


def _minus(gains: Mapping[str, float], bed: Bed) -> Callable[[str, str], Effect]:
    """Differences of single runs that spread as those of a bed do."""
    from scipy.stats import t

    df = sum(len(bed.scores[arm]) - 1 for arm in bed.arms)
    error, critical = sqrt(2) * bed.sd, float(t.ppf(0.975, df))
    return lambda one, other: Effect(
        gains[one] - gains[other], error, df, critical, (1, 1), "points of Δm"
    )


def in_paper() -> Sweep:
    """Give the paper's sweep on NYUv2, its Table 6, whose numbers have no printed spread."""
    gains = {Sweep.arm(m, rate): of for m, row in PRINTED.items() for rate, of in row.items()}
    gains[HPS] = NYUV2["HPS"]
    return Sweep(
        "NYUv2 (paper)",
        1e-4,
        {method: list(row) for method, row in PRINTED.items()},
        lambda one, other: Effect(gains[one] - gains[other], 0.0, inf, 0.0, (), "points of Δm"),
        "as printed",
    )


def overview(sweeps: Sequence[Sweep], near: float = 0.03) -> pandas.DataFrame:
    """Show where TSσBN was best, and what it is behind that at other gate rates.

    A row for each sweep: its base rate, the best multiplier and gate rate, and the points of Δm,
    with 95 % intervals, that the slowest rate, one in the middle and the fastest are behind.

    Args:
        sweeps: those to show.
        near: the middle; of each sweep the rate that is nearest to it, by their ratio.

    Example:
        >>> print(overview([in_paper()]).iloc[0].to_dict())
        {'base rate': '0.0001', 'best multiplier': '100', 'best gate rate': '0.01', 'slowest':
        '0.0001: -2.91', 'near 0.03': '0.01: best', 'fastest': '0.1: -2.60'}
    """
    import pandas

    rows = {}
    for sweep in sweeps:
        rates, best = sweep.rates["tssbn"], sweep.best("tssbn")
        middle = min(rates, key=lambda rate: abs(log(rate / near)))
        rows[sweep.title] = {
            "base rate": f"{sweep.base:g}",
            "best multiplier": f"{best / sweep.base:.3g}",
            "best gate rate": f"{best:g}",
            "slowest": _behind(sweep, min(rates)),
            f"near {near:g}": _behind(sweep, middle),
            "fastest": _behind(sweep, max(rates)),
        }
    return pandas.DataFrame(rows).T


def _behind(sweep: Sweep, rate: float) -> str:
    if rate == sweep.best("tssbn"):
        return f"{rate:g}: best"
    return f"{rate:g}: {_shown(-sweep.lost('tssbn', rate))}"


def summary(sweeps: Sequence[Sweep]) -> str:
    """Say in a sentence at which gate rates TSσBN was best, of two sweeps or more.

    Example:
        >>> print(summary([in_paper(), in_paper()]))
        With Adam a gate learns at multiplier times base rate; of the rates tried, the best mean of
        TSσBN is at 0.01 on NYUv2 (paper) and 0.01 on NYUv2 (paper).
    """
    best = [f"{sweep.best('tssbn'):g} on {sweep.title}" for sweep in sweeps]
    return (
        "With Adam a gate learns at multiplier times base rate; of the rates tried, the best mean "
        f"of TSσBN is at {', '.join(best[:-1])} and {best[-1]}."
    )


def bound(sweep: Sweep) -> str:
    """Say what TSσBN is better by than TSBN at the fastest common gate rate, and at the best ones.

    Example:
        >>> print(bound(in_paper()))
        NYUv2 (paper): TSσBN is ahead of TSBN by +7.29 points at the gate rate 0.1, and by +2.13
        with each at its best.
    """
    apart = sweep.bounded()
    fastest, best = apart[max(apart)], sweep.best_apart()
    return (
        f"{sweep.title}: TSσBN is ahead of TSBN by {_shown(fastest)} points at the gate rate "
        f"{max(apart):g}, and by {_shown(best)} with each at its best."
    )


def _shown(effect: Effect) -> str:
    """Its interval, or the value alone where there is none."""
    return effect.interval if effect.error else f"{effect.value:+.2f}"

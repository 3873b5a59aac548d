"""How the rule errs: verdicts on drawn runs whose true effect is known."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import nct

from tssbn.claims.intervals import alike, choose, critical_value, pool
from tssbn.claims.verdict import words

__all__ = ["power", "rates", "simulate"]


def simulate(
    effect: float,
    n: int | Sequence[int] = 5,
    sd: float | Sequence[float] = 1.0,
    arms: int = 2,
    family: int = 1,
    claimed: float = 0.0,
    cases: int = 10_000,
    seed: int = 0,
) -> np.ndarray:
    """Draw beds and judge each as :mod:`tssbn.claims` does.

    Runs are normal around the mean of their arm, which is 0 but for the first arm. That arm is
    compared with the next ones. The baseline of Δm is one of the arms: near to it Δm is linear in
    the scores, and its error that of one more mean.

    Args:
        effect: the true effect, the mean of the first arm.
        n: the runs of each arm, or of all.
        sd: of one run, by arm, or of all.
        arms: on the bed; all of them tell the spread.
        family: how many arms the first is compared with, at once.
        claimed: the claimed effect.
        cases: how many beds are drawn.
        seed: of the draws.

    Returns:
        The words, (cases, family).

    Example:
        >>> simulate(10.0, family=2, arms=3, cases=2).tolist()
        [['supported', 'supported'], ['supported', 'supported']]
    """
    runs, sds = np.broadcast_to(n, arms), np.broadcast_to(sd, arms)
    if not 1 <= family < arms:
        raise ValueError(f"family={family} must be from 1 to {arms - 1}, one less than the arms")
    if min(runs) < 2:
        raise ValueError(f"n={n} must be two runs or more of each arm")
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(0, scale, (cases, each)) for each, scale in zip(runs, sds, strict=True)]
    means = np.stack([of_arm.mean(1) for of_arm in drawn], 1)
    variances = np.stack([of_arm.var(1, ddof=1) for of_arm in drawn], 1)
    means[:, 0] += effect
    df, others = int((runs - 1).sum()), runs[1 : family + 1]
    critical = critical_value(df, int(runs[0]), tuple(int(each) for each in others))
    pooled, one_spread = pool(variances, runs), alike(variances, runs - 1)
    found = []
    for other in range(1, family + 1):
        pair = [0, other]
        shared = pooled * (1 / runs[pair]).sum()
        own, free = variances[:, pair] / runs[pair], runs[pair] - 1
        error, _, factor = choose(own, free, shared, df, critical, one_spread, family)
        difference = means[:, 0] - means[:, other]
        found.append(words(difference - factor * error, difference + factor * error, claimed))
    return np.stack(found, 1)


def rates(effect: float, **bed) -> dict[str, float]:
    """Give how often each word is said of the first comparison, :func:`simulate`.

    Args:
        effect: the true effect.
        bed: the other arguments of :func:`simulate`.

    Example:
        >>> found = rates(0.0, claimed=1.5)  # without an effect
        >>> found["supported"] < 0.03 < found["contradicted"] < found["undecided"]
        True
    """
    said = simulate(effect, **bed)[:, 0]
    return {
        word: round(float((said == word).mean()), 4)
        for word in ("supported", "contradicted", "undecided")
    }


def power(
    effects: Sequence[float],
    seeds: Sequence[int],
    sd: float = 1.0,
    arms: int = 2,
    family: int = 1,
) -> dict[int, dict[float, float]]:
    """Give the chance of ``"supported"`` by runs of each arm and true effect.

    It is exact for a claim about one comparison of a bed with one standard deviation:
    a non-central t.

    Args:
        effects: true ones.
        seeds: the runs of each arm.
        sd: of one run.
        arms: on the bed.
        family: how many arms one is compared with, at once.

    Example:
        >>> for n, row in power([1, 2, 3], seeds=[3, 5, 10], sd=1.27).items():
        ...     print(n, row)
        3 {1: 0.11, 2: 0.32, 3: 0.59}
        5 {1: 0.19, 2: 0.59, 3: 0.9}
        10 {1: 0.38, 2: 0.91, 3: 1.0}
    """
    table = {}
    for n in seeds:
        df = arms * (n - 1)
        critical = critical_value(df, n, (n,) * family)
        error = sd * np.sqrt(2 / n)
        table[n] = {x: round(float(nct.sf(critical, df, x / error)), 2) for x in effects}
    return table

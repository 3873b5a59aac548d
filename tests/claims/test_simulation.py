"""How often the rule errs, by simulation."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.stats import binomtest

from tssbn.claims import Bed, judge, power, rates, simulate

CASES = 20_000
BEDS = {
    "two arms, three runs": {"n": 3, "arms": 2},
    "two arms, seven runs": {"n": 7, "arms": 2},
    "five arms, three runs": {"n": 3, "arms": 5},
    "five arms, five runs": {"n": 5, "arms": 5},
    "unequal runs": {"n": (7, 3, 3, 5), "arms": 4},
    "four comparisons": {"n": 5, "arms": 5, "family": 4},
    "unequal runs, three comparisons": {"n": (7, 3, 3, 5), "arms": 4, "family": 3},
}


def surely_at_most(limit, hits):
    """The upper end of the binomial 99.8 % interval is below the limit."""
    return binomtest(int(hits), CASES).proportion_ci(0.998).high <= limit


@pytest.mark.parametrize("bed", BEDS.values(), ids=BEDS)
def test_without_an_effect_hardly_anything_is_supported(bed):
    said = simulate(0.0, cases=CASES, claimed=3.0, **bed)
    assert surely_at_most(0.03, (said == "supported").any(1).sum())


@pytest.mark.parametrize("bed", BEDS.values(), ids=BEDS)
def test_a_true_claim_is_hardly_ever_contradicted(bed):
    for claimed in (0.2, 1.0, 5.0):
        said = simulate(claimed, cases=CASES, claimed=claimed, **bed)
        assert surely_at_most(0.03, (said[:, 0] == "contradicted").sum())


@pytest.mark.parametrize("noisy", [0, 1])
@pytest.mark.parametrize("times", [2, 3, 10])
@pytest.mark.parametrize(("n", "limit"), [(3, 0.075), (5, 0.05)])
def test_an_arm_noisier_than_the_bed_is_not_taken_for_a_quiet_one(n, limit, noisy, times):
    sd = [times if arm == noisy else 1 for arm in range(5)]
    said = simulate(0.0, n=n, sd=sd, arms=5, cases=CASES)
    assert surely_at_most(limit, (said == "supported").sum())


#: The spreads of the arms of a bed with three runs of each, synthetic rooms.
UNLIKE = (0.5, 1.0, 0.8, 0.1, 0.2, 0.2, 0.8, 0.7)


@pytest.mark.parametrize("pair", [(1, 2), (3, 1), (0, 7)])
def test_arms_of_many_spreads_are_hardly_ever_told_apart(pair):
    rest = [sd for arm, sd in enumerate(UNLIKE) if arm not in pair]
    sd = [*(UNLIKE[arm] for arm in pair), *rest]
    said = simulate(0.0, n=3, sd=sd, arms=len(sd), cases=CASES)
    assert surely_at_most(0.03, (said == "supported").sum())


def test_words_are_those_of_the_beds_that_were_drawn():
    """The draws again, judged one by one."""
    runs, sds, cases = (3, 4, 5), (1.0, 4.0, 1.0), 200
    said = simulate(2.0, runs, sds, arms=3, family=2, claimed=3.0, cases=cases, seed=7)
    rng = np.random.default_rng(7)
    drawn = [rng.normal(0, sd, (cases, n)) for n, sd in zip(runs, sds, strict=True)]
    drawn[0] += 2.0
    for case in range(cases):
        bed = Bed({str(arm): rows[case] for arm, rows in enumerate(drawn)})
        effects = bed.against("0", "1", "2").values()
        assert said[case].tolist() == [judge(effect, claimed=3.0).word for effect in effects]
    assert len(np.unique(said)) == 3


@pytest.mark.parametrize(("n", "arms", "family"), [(3, 2, 1), (5, 5, 1), (5, 4, 3)])
def test_power_is_how_often_a_true_effect_is_supported(n, arms, family):
    table = power([0.5, 1.5, 3.0], [n], sd=1.2, arms=arms, family=family)[n]
    for effect, chance in table.items():
        found = rates(effect, n=n, sd=1.2, arms=arms, family=family)["supported"]
        assert chance - 0.06 < found < chance + 0.015  # Welch's wider intervals cost a little


def test_rates_add_up_and_the_claim_decides_between_no_and_perhaps():
    none, small, large = (rates(0.0, n=5, claimed=claimed) for claimed in (0.0, 1.0, 4.0))
    for found in (none, small, large):
        assert sum(found.values()) == pytest.approx(1, abs=1e-3)
    assert none["supported"] == small["supported"] == large["supported"]
    assert none["contradicted"] < 0.03 < small["contradicted"] < 0.5 < large["contradicted"]


def test_beds_that_cannot_be_judged_are_refused():
    with pytest.raises(ValueError, match="family=2 must be from 1 to 1"):
        simulate(0.0, arms=2, family=2)
    with pytest.raises(ValueError, match="n=1 must be two runs or more"):
        simulate(0.0, n=1)

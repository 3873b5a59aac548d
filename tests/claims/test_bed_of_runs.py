"""Beds of saved runs."""

import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")

from scored import as_runs, scored

from tssbn.claims import Bed


def runs(method, *rows, benchmark="mine", average=False):
    """Saved runs of two tasks, the second of which is an error."""
    up, known = {"a": True, "b": average}, {"benchmark": benchmark, "method": method}
    scores = [dict(zip(up, row, strict=True)) for row in rows]
    return as_runs([scored(row, up, seed=k, **known) for k, row in enumerate(scores)], average)


ROWS = (0.4, 3.0), (0.6, 1.0), (0.5, 2.3)


@pytest.mark.parametrize("average", [False, True])
def test_effects_on_the_baseline_are_delta_of_the_runs(average):
    single = runs("stl", *ROWS, average=average)
    ours = runs("tssbn", (0.6, 2.0), (0.7, 1.5), average=average)
    bed = Bed.of({"stl": single, "gates": ours, "hps": runs("hps")})
    found = bed.compare("gates", "stl")
    assert found.value == pytest.approx(ours.delta(single).mean())
    assert found.n == (2, 3) and bed.compare("gates", "hps") is None
    assert bed.separate == ("stl",) and bed.average is average


def test_the_baselines_error_is_that_of_its_runs():
    single = runs("stl", *ROWS)
    alone = Bed.of({"stl": single})
    joint = Bed(alone.scores, alone.up, "stl")
    assert joint.sd == pytest.approx(single.delta(single).std())


def test_other_benchmarks_and_no_runs_make_no_bed():
    with pytest.raises(ValueError, match="your/hps-0 and mine/stl-0 differ in their benchmark"):
        Bed.of({"stl": runs("stl", *ROWS), "hps": runs("hps", *ROWS, benchmark="your")})
    with pytest.raises(ValueError, match="there is no saved run of stl, hps"):
        Bed.of({"stl": runs("stl"), "hps": runs("hps")})

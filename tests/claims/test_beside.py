"""Arms beside one of them: Δm, intervals and costs of saved runs."""

from dataclasses import replace

import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")

from scored import as_runs, scored

from tssbn.claims import Bed, beside, constant_gain, effects


def runs(method, *scores, size=100, **more):
    """Saved runs of one task, whose score is better when higher."""
    known = {"method": method, "parameters": size, "macs": 2 * size, **more}
    return as_runs([scored({"a": x}, seed=seed, **known) for seed, x in enumerate(scores)])


@pytest.fixture
def arms():
    return {
        "stl": runs("stl", 0.4, 0.6, size=200, constant={"a": {"f1": 0.25}}),
        "hps": runs("hps", 0.5, 0.54),
        "tssbn": runs("tssbn", 0.6, 0.62, 0.58, size=101),
        "mmoe": runs("mmoe", 0.7, size=150),
        "cgc": runs("cgc"),
    }


def test_effects_are_those_of_the_bed(arms):
    found = effects(arms, "hps")
    assert list(found) == ["stl", "tssbn"]  # mmoe has one run, cgc none
    assert found["tssbn"].value == pytest.approx(100 * (0.6 - 0.52) / 0.5)
    assert found["tssbn"].n == (3, 2)
    assert found["stl"] == -Bed.of(arms).against("hps", "stl", "tssbn")["stl"]
    assert effects({**arms, "hps": runs("hps", 0.5)}, "hps") == {}


def test_a_row_for_each_arm_with_runs(arms):
    table = beside(arms, "hps")
    assert list(table.index) == ["constant baseline", "stl", "hps", "tssbn", "mmoe"]
    assert list(table.columns) == ["n", "Δm", "minus hps", "#P", "#F"]
    assert list(table.loc["constant baseline"]) == ["", "-50.00", "", "", ""]
    assert list(table.loc["hps"]) == ["2", "+4.00", "", "1.00", "1.00"]
    row = table.loc["tssbn"]
    assert (row["n"], row["Δm"], row["#P"], row["#F"]) == ("3", "+20.00", "1.01", "1.01")
    assert row["minus hps"] == effects(arms, "hps")["tssbn"].interval
    assert table.loc["mmoe", "minus hps"] == ""
    both = beside(arms, "hps", "tssbn")
    assert list(both.columns[2:4]) == ["minus hps", "minus tssbn"]
    assert both.drop(columns="minus tssbn").equals(table)
    assert both.loc["hps", "minus tssbn"] == effects(arms, "tssbn")["hps"].interval


def test_the_gain_of_the_constant_baseline():
    constant = {"a": {"f1": 0.2}, "b": {"f1": 0.4}}
    single = as_runs([scored({"a": 0.4, "b": 0.5}, constant=constant)])
    assert constant_gain(single) == pytest.approx(-(50 + 20) / 2)
    averaged = replace(single, average=True)
    assert constant_gain(averaged) == pytest.approx(100 * (0.3 / 0.45 - 1))
    assert constant_gain(runs("stl", 0.4)) is None and constant_gain(runs("stl")) is None


def test_runs_saved_without_a_constant_have_no_such_row(arms):
    assert "constant baseline" not in beside({**arms, "stl": runs("stl", 0.4, 0.6)}, "hps").index
    with pytest.raises(FileNotFoundError, match="none of these runs is saved"):
        beside(arms, "cgc")[0]

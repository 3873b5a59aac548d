"""The made tasks of the capacity study are what they say, and its records are whole."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tssbn.records import unpack_gates

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("study", ROOT / "book/studies/capacity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("knob", ["units", "frequency", "noise", "cosine", "overlap"])
def test_teachers_are_standardised(study, knob, generator):
    make, values, _ = study.KNOBS[knob]
    x = torch.randn(20_000, study.INPUTS, generator=torch.Generator().manual_seed(1))
    for value in values:
        for teacher in make(value, generator).teachers.values():
            y = teacher(x)
            assert y.shape == (20_000, 1)
            assert abs(y.mean()) < 0.1 and abs(y.std() - 1) < 0.1


@pytest.mark.parametrize("wanted", [0, 0.25, 0.5, 1])
def test_turned_directions_have_the_cosine(study, wanted, generator):
    weights = study.directions(8, generator)
    others = study.turned(weights, wanted, generator)
    expected = torch.full((8,), float(wanted))
    torch.testing.assert_close((weights * others).sum(1), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(others.norm(dim=1), torch.ones(8))


def test_equal_tasks_are_equal(study, generator):
    x = torch.randn(50, study.INPUTS)
    for knob in "cosine", "overlap":
        first, second = study.KNOBS[knob][0](1, generator).teachers.values()
        torch.testing.assert_close(first(x), second(x))


def test_noise_changes_the_labels_only(study):
    x = torch.randn(50, study.INPUTS)
    quiet, loud = (study.noise(value, torch.Generator().manual_seed(3)) for value in (0, 4))
    assert (quiet.noise, loud.noise) == (0, 4)
    for task in study.TASKS:
        assert torch.equal(quiet.teachers[task](x), loud.teachers[task](x))


@pytest.mark.parametrize(("value", "both"), [(0, 0), (0.25, 2), (0.5, 4), (0.75, 6), (1, 8)])
def test_overlapping_teachers_are_sums_of_the_needed_units(study, value, both, generator):
    problem = study.overlap(value, generator)
    first, second = (set(problem.needed[task]) for task in study.TASKS)
    assert len(first) == len(second) == 8 and len(first & second) == both
    x = torch.randn(500, study.INPUTS, dtype=torch.float64)
    features = F.relu(x @ problem.bank.double().T)
    for task in study.TASKS:
        needed = features[:, problem.needed[task]]
        design = torch.cat([needed, torch.ones(500, 1).double()], 1)
        y = problem.teachers[task](x.float()).double()
        fitted = design @ torch.linalg.lstsq(design, y).solution
        torch.testing.assert_close(fitted, y, rtol=0, atol=1e-4)


def test_the_given_units_are_not_trained(study, generator):
    problem = study.overlap(0.5, generator)
    before = problem.bank.clone()
    study.regress(problem, seed=0, steps=3)
    assert torch.equal(problem.bank, before)


def test_a_run_can_be_repeated_and_moves_the_gates(study):
    def run():
        return study.regress(study.cosine(0.5, torch.Generator().manual_seed(2)), 2, steps=5)

    (gates, errors), (again, same) = run(), run()
    assert torch.equal(gates.values, again.values) and errors == same
    assert gates.tasks == study.TASKS and list(gates.layers.values()) == [32, 32]
    assert 0.01 < (gates.values - 0.5).abs().max() < 0.2


def test_labels_of_the_digits_follow_from_the_digits(study):
    pytest.importorskip("sklearn")
    found = study.canvases("test")
    assert torch.equal(found["left again"], found["left"])
    assert torch.equal(found["right under 5"] == 1, found["right"] < 5)
    gates, errors = study.read_digits("left under 5", seed=0, steps=2)
    assert list(gates.layers.values()) == [20, 20]
    assert all(0 <= error <= 1 for error in errors.values())


def test_a_knob_is_written_as_a_record(study, tmp_path, monkeypatch):
    short = study.regress
    monkeypatch.setattr(study, "regress", lambda p, s, m: short(p, s, m, steps=1))
    path = study.study("overlap", seeds=1, folder=tmp_path)
    record = json.loads(path.read_text())
    assert [run["value"] for run in record["runs"]] == record["values"]
    run = record["runs"][2]
    assert set(run["error"]) == set(study.TASKS) and len(run["needed"]["first"]) == 8
    assert unpack_gates(run["gates"])[1].values.shape == (2, 64)
    assert record["versions"]["torch"] == torch.__version__


def test_an_unknown_knob_is_refused(study, capsys):
    with pytest.raises(SystemExit):
        study.main(["cosinus"])
    assert "unknown: cosinus; there are units" in capsys.readouterr().err


@pytest.mark.parametrize("knob", ["units", "frequency", "noise", "cosine", "overlap", "digits"])
def test_the_records_are_whole(study, knob):
    record = json.loads((ROOT / f"data/results/capacity/{knob}.json").read_text())
    _, values, multipliers = study.KNOBS[knob]
    assert record["values"] == list(values) and record["multipliers"] == list(multipliers)
    found = [(run["multiplier"], run["value"], run["seed"]) for run in record["runs"]]
    assert sorted(map(str, found)) == sorted(
        str((m, v, s)) for m in multipliers for v in values for s in range(record["seeds"])
    )
    assert record["seeds"] >= 5

"""Saved runs by gate rate, of a benchmark that is tuned for its methods."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torchvision")
pytest.importorskip("timm")

from tssbn import records
from tssbn.benchmarks import find_benchmark
from tssbn.training.run import Run


@pytest.fixture
def tuned():
    mine = replace(find_benchmark("faces")(), name="mine")
    tuned = {"tssbn": {"lr": 0.002, "multiplier": 5.0}}
    return replace(mine, tuned=tuned)


def test_the_gate_rate_is_base_rate_times_multiplier(tuned):
    lr = tuned.recipe.lr
    assert records.gate_rate(Run(tuned, "tssbn")) == 0.01
    assert records.gate_rate(Run(tuned, "tssbn", 0, {"multiplier": 30})) == 0.06
    assert records.gate_rate(Run(tuned, "tsbn")) == lr  # its multiplier is 1
    assert records.gate_rate(Run("nyuv2", "tssbn")) == 0.01
    assert records.gate_rate(Run(tuned, "hps")) is None


def test_runs_are_found_at_the_tuned_rate_and_at_others(tuned, folder):
    (folder / "mine").mkdir(parents=True)
    names = "0", "1", "0-multiplier=30", "2-multiplier=0.5", "0-epochs=2-multiplier=3"
    for name in names:
        (folder / f"mine/tssbn-{name}.json").write_text(json.dumps({"seed": int(name[0])}))
    found = records.by_gate_rate(tuned, "tssbn", iter(range(3)))
    assert list(found) == [0.001, 0.01, 0.06]
    assert [runs.seeds for runs in found.values()] == [(2,), (0, 1), (0,)]
    assert list(records.by_gate_rate(tuned, "tssbn", [1])) == [0.01]
    assert records.by_gate_rate(tuned, "tsbn") == {}
    with pytest.raises(ValueError, match="method=hps has no gate rate"):
        records.by_gate_rate(tuned, "hps")

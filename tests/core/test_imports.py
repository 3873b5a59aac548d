"""What the core draws in when it is imported."""

import json
import subprocess
import sys

import pytest

CORE = (
    "tssbn",
    "tssbn.export",
    "tssbn.gates",
    "tssbn.clusters",
    "tssbn.pruning",
    "tssbn.cost",
    "tssbn.gate_plots",
)
STEPS = (
    "import tssbn",
    f"import {', '.join(CORE)}",
    "from torch import nn, zeros\nfrom tssbn.networks.stages import stages\n"
    "assert len(list(stages(nn.Sequential(nn.ReLU()), zeros(1)))) == 1",
    "from tssbn import records\nassert records.of('census', 'tssbn')",
)


@pytest.fixture(scope="module")
def imported():
    """The names of all modules that one fresh Python has after each of the steps."""
    look = "\nprint(json.dumps(list(sys.modules)))\n"
    code = "import json, sys\n" + "".join(step + look for step in STEPS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(STEPS, map(set, map(json.loads, done.stdout.splitlines())), strict=True))


@pytest.fixture
def core(imported):
    return imported[STEPS[1]]


def test_the_core_and_export_need_neither_trainer_nor_benchmarks(core):
    outer = ("training", "benchmarks", "methods", "metrics", "records", "data", "timing")
    assert set(CORE) <= core
    assert not {name for name in core if name.startswith(tuple(f"tssbn.{o}" for o in outer))}


def test_one_import_brings_export(imported):
    assert "tssbn.export" in imported[STEPS[0]]


@pytest.mark.parametrize("extra", ["matplotlib", "seaborn", "pandas", "sklearn", "torch_pruning"])
def test_extras_are_imported_where_they_are_used(core, extra):
    assert extra not in core


def test_timm_is_imported_by_none_but_who_made_the_trunk(imported):
    """Stages of a trunk are found without the libraries that trunks may come from."""
    assert "tssbn.networks.stages" in imported[STEPS[2]]
    assert not {"timm", "torchvision"} & imported[STEPS[2]]


def test_saved_runs_are_read_without_trainer_and_metrics(imported):
    assert not {"torchmetrics", "lightning_fabric"} & imported[STEPS[3]]

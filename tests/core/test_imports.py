"""What the core draws in when it is imported."""

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


def imported(modules):
    """The names of all modules that a fresh Python has after these imports."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def core():
    return imported(CORE)


def test_the_core_and_export_need_neither_trainer_nor_benchmarks(core):
    outer = ("training", "benchmarks", "methods", "metrics", "records", "data", "timing")
    assert set(CORE) <= core
    assert not {name for name in core if name.startswith(tuple(f"tssbn.{o}" for o in outer))}


def test_one_import_brings_export():
    assert "tssbn.export" in imported(["tssbn"])


@pytest.mark.parametrize("extra", ["matplotlib", "seaborn", "pandas", "sklearn", "torch_pruning"])
def test_extras_are_imported_where_they_are_used(core, extra):
    assert extra not in core


def test_saved_runs_are_read_without_trainer_and_metrics():
    code = (
        "import sys\nfrom tssbn import records\n"
        "print(len(records.of('census', 'tssbn')), *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert found[0] != "0" and not {"torchmetrics", "lightning_fabric"} & set(found)

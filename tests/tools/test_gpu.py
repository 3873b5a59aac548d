"""A GPU that is lent for minutes: packed here, used there, and back, on a CPU and a tiny plan."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import gpu  # noqa: E402

TINY = "n = 8, height = 32, width = 32, filters = 2, batch = 4, epochs = 2"
PLAN = f"""
runs = [
    {{ benchmark = "nyuv2_huge", method = "hps", minutes = 1 }},
    {{ benchmark = "nyuv2", method = "hps", minutes = 1 }},
    {{ benchmark = "rooms", method = "hps", minutes = 1, settings = {{ {TINY}, lr = 1e30 }} }},
    {{ benchmark = "rooms", method = "tssbn", minutes = 1, settings = {{ {TINY} }} }},
]
"""


def run(*command, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_cannot_be_trained_is_left_out_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "gpu.toml").write_text(PLAN)
    monkeypatch.setattr(gpu, "PLAN", tmp_path / "gpu.toml")
    listed, left_out = gpu.plan(())
    assert [item.benchmark for item in listed] == ["rooms", "rooms"]
    assert [line.rpartition(": ")[2] for line in left_out] == [
        "the package has no such benchmark",
        "no data/nyuv2",
    ]
    assert [item.benchmark for item in gpu.plan(["nyuv2"])[0]] == ["nyuv2", "rooms", "rooms"]


def test_the_plan_of_this_checkout_is_sound():
    _, left_out = gpu.plan(("celeba", "nyuv2"))
    assert all(line.endswith("no such benchmark") for line in left_out)


def test_there_and_back(tmp_path):
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    assert run(ROOT / "tools/gpu.py", "pack", tmp_path / "PACK", cwd=tmp_path)[0] == 0
    assert run("PACK/pack.py", "open", "PACK", "work", cwd=tmp_path)[0] == 0
    work = tmp_path / "work"
    (work / "data/gpu.toml").write_text(PLAN)
    on_cpu = ("--device", "cpu", "--precision", "32")

    status, said = run("tools/gpu.py", "run", "--minutes", 3, *on_cpu, cwd=work)
    assert status == 1, said  # one of the two fails, and the other goes on
    lines = said.splitlines()
    assert sum(line.startswith("left out ") for line in lines) == 2
    assert [line.split()[0] for line in lines if " rooms/" in line] == [
        *("fails", "works"),  # the check
        "finished",
    ]
    assert any(line.startswith("fails") and "is nan in step" in line for line in lines)
    assert run("tools/gpu.py", "collect", "../BACK", cwd=work)[0] == 0
    assert run("BACK/pack.py", "open", "BACK", "home", cwd=tmp_path)[0] == 0
    (record,) = (tmp_path / "home/data/results/rooms").glob("tssbn-0-*filters=2*.json")
    assert json.loads(record.read_text())["finished"]
    assert list((tmp_path / "home/runs/gpu").glob("*.log"))

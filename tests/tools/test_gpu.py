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
    {{ benchmark = "rooms", method = "tssbn", minutes = 1, settings = {{ {TINY} }} }},
]
"""
SEVERAL = """
runs = [
    { benchmark = "rooms", method = "hps", minutes = 1 },
    { benchmark = "rooms", method = "tssbn", minutes = 1 },
    { benchmark = "rooms", method = "stl", minutes = 1 },
    { benchmark = "rooms", method = "tsbn", minutes = 1 },
]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder in place of the checkout."""
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    monkeypatch.setattr(gpu, "FOLDER", tmp_path / "runs/gpu")
    monkeypatch.setattr(gpu, "PLAN", tmp_path / "data/gpu.toml")
    return tmp_path


def test_what_cannot_be_trained_is_left_out_with_the_reason(here):
    gpu.PLAN.write_text(PLAN)
    listed, left_out = gpu.plan()
    assert [item.benchmark for item in listed] == ["rooms"]
    assert [line.rpartition(": ")[2] for line in left_out] == [
        "the package has no such benchmark",
        "no data/nyuv2",
    ]
    assert [item.benchmark for item in gpu.plan(["nyuv2"])[0]] == ["nyuv2", "rooms"]
    (here / "data/nyuv2").mkdir()
    assert [item.benchmark for item in gpu.plan()[0]] == ["nyuv2", "rooms"]


def test_the_plan_of_this_checkout_is_sound():
    _, left_out = gpu.plan(("celeba", "nyuv2"))
    assert all(line.endswith("no such benchmark") for line in left_out)


def test_the_list_goes_round_until_all_is_done_or_failed(here, monkeypatch, capsys):
    """One run fails when tried, one later; one is finished at once, one at the second call."""
    gpu.PLAN.write_text(SEVERAL)
    calls = []

    def call(command, log, seconds):
        method, tried = command[6], "--epochs" in command
        calls.append((method, "check" if tried else "run"))
        folder = Path(command[command.index("--results") + 1]) if tried else here / "data/results"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("error: a word")
        if method == "hps" or (method == "stl" and not tried):
            return False
        if tried or method == "tsbn" or calls.count((method, "run")) == 2:
            (folder / "rooms").mkdir(parents=True, exist_ok=True)
            (folder / f"rooms/{method}-0.json").write_text('{"epochs": [{"seconds": 0.5}]}')
        return True

    monkeypatch.setattr(gpu, "call", call)
    assert gpu.run(10, []) == 1
    said = capsys.readouterr().out.splitlines()
    assert [method for method, kind in calls if kind == "check"] == ["hps", "tssbn", "stl", "tsbn"]
    assert [method for method, kind in calls if kind == "run"] == ["tssbn", "stl", "tsbn", "tssbn"]
    assert sum(line.startswith("fails ") and "a word" in line for line in said) == 2
    assert sum(line.startswith("finished ") for line in said) == 2

    calls.clear()
    assert gpu.run(0, []) == 1 and not calls  # no time is left, and what failed has failed


def run(*command, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_there_and_back(tmp_path, monkeypatch, capsys):
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    assert gpu.main(["pack", str(tmp_path / "PACK")]) == 0
    assert "pack.py open PACK work" in capsys.readouterr().out
    run("PACK/pack.py", "open", "PACK", "work", cwd=tmp_path)
    work = tmp_path / "work"
    (work / "data/gpu.toml").write_text(PLAN)
    on_cpu = ("--device", "cpu", "--precision", "32")
    for name in "ROOT", "FOLDER", "PLAN":  # there, but in this process, which has imported all
        monkeypatch.setattr(gpu, name, work / getattr(gpu, name).relative_to(ROOT))
    assert gpu.main(["run", "--minutes", "5", *on_cpu]) == 0
    lines = capsys.readouterr().out.splitlines()
    states = [line.split()[0] for line in lines if line.startswith(("left", "works", "finished"))]
    assert states == ["left", "left", "works", "finished"]

    run("tools/gpu.py", "collect", "../BACK", cwd=work)
    run("BACK/pack.py", "open", "BACK", "home", cwd=tmp_path)
    (record,) = (tmp_path / "home/data/results/rooms").glob("tssbn-0-*filters=2*.json")
    assert json.loads(record.read_text())["finished"]
    assert list((tmp_path / "home/runs/gpu").glob("*.log"))

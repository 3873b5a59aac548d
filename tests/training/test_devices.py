"""`--devices 2` starts a second process by itself."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

from tssbn import records
from tssbn.training.devices import make_fabric

ROOT = Path(__file__).resolve().parents[2]


def test_the_option_devices_trains_with_as_many_processes_once(tmp_path):
    """The command is that of the page, on fewer images, and warns of nothing."""
    command = records.load("ddp/run")["commands"]["devices"]["command"]
    assert command.startswith("python -m tssbn train ") and " --devices 2 " in command
    short = "--set", "n=16", "batch=4", "epochs=1"
    done = subprocess.run(
        [sys.executable, "-W", "error", *shlex.split(command)[1:], *short],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
            ),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
    )
    printed, said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0 and "Warning" not in said, said
    (path,) = tmp_path.glob("data/results/rooms/*.json")
    record = json.loads(path.read_text())
    assert record["devices"] == 2 and record["finished"]
    assert printed.count("epoch 1/1 ") == 1 and printed.strip().endswith(path.name)
    assert "\r" not in printed  # which is a pipe


@pytest.mark.parametrize(
    ("variables", "devices", "message"),
    [
        ({}, 1, "SLURM has 4 tasks: ask for them by --ntasks-per-node"),
        ({"SLURM_NTASKS_PER_NODE": "2"}, 4, "devices=4, but SLURM has 2 tasks on each node"),
        ({"SLURM_NTASKS": "1"}, 2, "devices=2, but SLURM has 1 tasks on each node"),
    ],
)
def test_what_slurm_does_not_tell_is_asked_for(monkeypatch, variables, devices, message):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        make_fabric("cpu", devices, "32")

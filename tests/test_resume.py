"""Kill, resume, compare with the run that nobody killed; and a disk that is full."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

import tiny

from tssbn.data import augment
from tssbn.training import checkpoint, loop, records
from tssbn.training.loop import train
from tssbn.training.watch import Silent


class Tell(Silent):
    """Says on standard output which step was made."""

    def step(self, epoch, step, losses):
        print(epoch, step, flush=True)


class Dropped(nn.BatchNorm2d):
    """BatchNorm after dropout."""

    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


def run():
    """Everything random: order, augmentation, dropout; and a scheduler, and Adam's moments."""
    return tiny.run(
        norm=Dropped, augment=augment.nyuv2, optimiser="adam", lr=0.01, schedule="cosine", batch=3
    )


def start(*arguments):
    """This file as a program."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-W", "error", __file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    with start("train", tmp_path) as process:
        for line in process.stdout:
            if line == "2 2\n":  # in the middle of the second of three epochs
                process.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail(process.stderr.read())
    assert process.returncode == -signal.SIGKILL
    assert len(checkpoint.load(tmp_path)["record"]["epochs"]) == 1

    resumed = train(run(), tmp_path, resume=True, accelerator="cpu")
    whole = train(run(), tmp_path / "whole", accelerator="cpu")
    for folder in tmp_path, tmp_path / "whole":
        assert not list(folder.glob("*.part"))
    ours, theirs = checkpoint.load(tmp_path), checkpoint.load(tmp_path / "whole")
    for part in "net", "optimiser", "scheduler":
        found, expected = (torch.utils._pytree.tree_leaves(state[part]) for state in (ours, theirs))
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    for one, other in zip(resumed.record["epochs"], whole.record["epochs"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert resumed.record["gates"] == whole.record["gates"] and resumed.record["finished"]


class Once(Silent):
    """Ctrl-C after an epoch."""

    def epoch(self, entry):
        raise KeyboardInterrupt


def test_a_record_is_of_the_last_start_and_counts_them(tmp_path, monkeypatch):
    def start(device, commit, note, watch=None):
        monkeypatch.setattr(loop, "device_name", lambda _: device)
        monkeypatch.setattr(records, "_git", lambda: commit)
        return train(run(), tmp_path, accelerator="cpu", note=note, resume=True, watch=watch)

    with pytest.raises(KeyboardInterrupt):
        start("a", "1", "first", Once())
    with pytest.raises(KeyboardInterrupt):
        start("b", "2-dirty", "second", Once())
    record = start("c", "3-dirty", "").record
    assert record["finished"] and len(record["epochs"]) == 3
    found = [record[key] for key in ("device", "commit", "dirty", "note", "starts")]
    assert found == ["c", "3", True, "second", 3]  # who says nothing new leaves the note


def test_everything_random_is_in_the_comparison():
    """The test above would pass without any of it."""
    states = [
        train(changed, accelerator="cpu").net.state_dict()
        for changed in (
            run(),
            tiny.run(norm=Dropped, optimiser="adam", lr=0.01, schedule="cosine", batch=3),
            tiny.run(augment=augment.nyuv2, optimiser="adam", lr=0.01, schedule="cosine", batch=3),
        )
    ]
    weights = [state["trunk.0.weight"] for state in states]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path):
    with start("fill", tmp_path) as process:
        errors = process.communicate()[1]
    assert process.returncode == 1
    said = next(line for line in errors.splitlines() if line.startswith("OSError: no checkpoint"))
    assert "could be written: [Errno " in said
    assert f"{tmp_path / checkpoint.LAST}, of the epoch before, is whole" in said
    assert {path.name for path in tmp_path.iterdir()} <= {checkpoint.LAST, "lock"}
    assert len(checkpoint.load(tmp_path)["record"]["epochs"]) == 1
    resumed = train(run(), tmp_path, resume=True, accelerator="cpu")
    assert resumed.record["finished"]


class Fill(Silent):
    """After the first epoch, no file can grow beyond a few bytes."""

    def epoch(self, entry):
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


if __name__ == "__main__":
    torch.set_num_threads(1)
    watch = {"train": Tell, "fill": Fill}[sys.argv[1]]()
    train(run(), Path(sys.argv[2]), accelerator="cpu", watch=watch)

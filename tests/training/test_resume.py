"""Kill, resume, compare with the run that nobody killed; a full disk, a damaged checkpoint."""

import os
import random
import re
import shutil
import signal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

import decayed
import forks
import tiny
from balancings import needing

from tssbn import sealed
from tssbn.data import augment
from tssbn.records import software
from tssbn.training import checkpoint, trainer
from tssbn.training.loop import train
from tssbn.training.progress import NoCallback


class Kill(NoCallback):
    """Kills its own process in the middle of the second of three epochs."""

    def step(self, epoch, step, losses):
        if (epoch, step) == (2, 2):
            os.kill(os.getpid(), signal.SIGKILL)


class Dropped(nn.BatchNorm2d):
    """BatchNorm after dropout."""

    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


BALANCES = ("sum", "uw", "dwa", "famo", "gradnorm", "cosreg", "pcgrad", "graddrop", "db-mtl")
VACCINE = Path(__file__).parents[1] / "vaccine.py"


def run(name="sum"):
    """Everything random: order, augmentation, dropout; and a schedule, and Adam's moments.

    Args:
        name: of a balancing; or "penalty", of a network that has one and is told the progress.
    """
    recipe = {"optimiser": "adam", "lr": 0.01, "schedule": "cosine", "batch": 3}
    more = {"schedule": "one-cycle", "interval": "step", "warmup": 0.5, "clip": 0.1}
    penalised = name == "penalty"
    return tiny.run(
        decayed.METHOD if penalised else "tssbn",
        norm=Dropped,
        augment=augment.nyuv2,
        settings={} if penalised else {"balance": name},
        **(recipe | more if penalised else recipe),
    )


def killed(balance, folder):
    """A process of its own, until its end."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    train(run(balance), folder, accelerator="cpu", callback=Kill())


@pytest.mark.skipif(sys.platform != "linux", reason="a loaded torch may not be forked")
@pytest.mark.parametrize("balance", [*needing(BALANCES), str(VACCINE), "penalty"])
def test_a_killed_run_goes_on_bit_for_bit(balance, tmp_path):
    if balance == str(VACCINE):
        pytest.importorskip("torchjd")
    assert forks.run(killed, balance, tmp_path) == -signal.SIGKILL
    assert len(checkpoint.load(tmp_path)["record"]["epochs"]) == 1

    resumed = train(run(balance), tmp_path, resume=True, accelerator="cpu")
    whole = train(run(balance), tmp_path / "whole", accelerator="cpu")
    for folder in tmp_path, tmp_path / "whole":
        assert not list(folder.glob("*.part"))
    ours, theirs = checkpoint.load(tmp_path), checkpoint.load(tmp_path / "whole")
    for part in "net", "balancing", "optimiser":
        found, expected = (torch.utils._pytree.tree_leaves(state[part]) for state in (ours, theirs))
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    for one, other in zip(resumed.record["epochs"], whole.record["epochs"], strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert resumed.record["gates"] == whole.record["gates"] and resumed.record["finished"]
    if balance == "penalty":
        assert resumed.net.progress == whole.net.progress == 1.0
        assert [entry["penalty"] > 0 for entry in resumed.record["epochs"]] == [True] * 3


def test_a_checkpoint_of_the_names_of_before_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(run(), tmp_path, accelerator="cpu", callback=Once())
    state = checkpoint.load(tmp_path)
    names = {"halve_every": "half", "min_last_batch": "least", "report": "select"}
    old = {names.get(key, key): value for key, value in state["run"].items()}
    checkpoint.save(tmp_path, {**state, "run": old})
    last = tmp_path / checkpoint.LAST
    with pytest.raises(ValueError, match=rf"^{last} is of an earlier version, whose recipes have"):
        train(run(), tmp_path, resume=True, accelerator="cpu")


class Once(NoCallback):
    """Ctrl-C after an epoch."""

    def epoch(self, entry):
        raise KeyboardInterrupt


def test_a_record_is_of_the_last_start_and_counts_them(tmp_path, monkeypatch):
    def start(device, commit, note, callback=None):
        monkeypatch.setattr(trainer, "device_name", lambda _: device)
        monkeypatch.setattr(software, "_git", lambda: commit)
        return train(run(), tmp_path, accelerator="cpu", note=note, resume=True, callback=callback)

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


class Fill(NoCallback):
    """After the first epoch, no file can grow beyond a few bytes."""

    def epoch(self, entry):
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def filled(folder):
    """Why a process of its own could not go on."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    with pytest.raises(OSError, match=r"^no checkpoint") as error:
        train(run(), folder, accelerator="cpu", callback=Fill())
    return str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes")
def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path):
    with ProcessPoolExecutor(1, mp_context=forks.CONTEXT) as pool:
        said = pool.submit(filled, tmp_path).result()
    last = tmp_path / checkpoint.LAST
    numbers = re.search(
        rf"{last} could not be written: \[Errno \d+\] .*; it needs about (.*) MB, and (.*) MB are",
        said,
    )
    leaves = torch.utils._pytree.tree_leaves(checkpoint.load(tmp_path))
    needed = sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))
    assert 0 <= 1e6 * float(numbers[1]) - needed < 1e5 and float(numbers[2]) > 0
    assert f"{last}, of the epoch before, is whole" in said and "unexpected pos" not in said
    assert {path.name for path in tmp_path.iterdir()} <= {checkpoint.LAST, "lock"}
    assert len(checkpoint.load(tmp_path)["record"]["epochs"]) == 1
    resumed = train(run(), tmp_path, resume=True, accelerator="cpu")
    assert resumed.record["finished"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run after the second of its three epochs, with both checkpoints."""
    folder = tmp_path_factory.mktemp("stopped")
    callback = NoCallback()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "PATIENCE", 0)  # one after each epoch
        patch.setattr(callback, "epoch", stop_after_two)
        with pytest.raises(KeyboardInterrupt):
            train(run(), folder, accelerator="cpu", callback=callback)
    return folder


def stop_after_two(entry):
    if entry["epoch"] == 2:
        raise KeyboardInterrupt


@pytest.fixture
def folder(stopped, tmp_path):
    """A copy, to be spoilt."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def test_any_flipped_bit_is_found(folder):
    last, chance = folder / checkpoint.LAST, random.Random(0)
    whole = last.read_bytes()
    ends = [*range(0, 100, 7), *range(8 * len(whole) - 800, 8 * len(whole), 7)]  # one in each byte
    for bit in ends + chance.sample(range(8 * len(whole)), 50):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        last.write_bytes(spoilt)
        with pytest.raises(ValueError, match=rf"^{last} cannot be read .*: rename {folder}/before"):
            checkpoint.load(folder)


def test_a_checkpoint_that_is_cut_short_is_found(folder):
    last, chance = folder / checkpoint.LAST, random.Random(0)
    whole = last.read_bytes()
    seal = len(sealed.MARK) + 64
    lengths = [*range(0, 100, 7), *range(len(whole) - seal + 1, len(whole)), len(whole) - seal - 1]
    for length in lengths + chance.sample(range(len(whole) - seal), 50):
        last.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"^{last} cannot be read "):
            checkpoint.load(folder)
    last.write_bytes(whole + b"x")
    with pytest.raises(ValueError, match=rf"^{last} cannot be read "):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "a checkpoint is a dict, this is of type list"),
        (torch.zeros(3), "a checkpoint is a dict, this is of type Tensor"),
        ({}, "run is not in it"),
        (complex, "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_of_a_run_is_named(folder, content, said):
    torch.save(content, folder / checkpoint.LAST)
    with pytest.raises(ValueError, match=rf"^{folder / checkpoint.LAST} cannot be read .*rename"):
        train(run(), folder, resume=True, accelerator="cpu")
    with pytest.raises(ValueError, match=said):
        train(run(), folder, resume=True, accelerator="cpu")


@pytest.mark.parametrize("part", ["net", "optimiser", "record"])
def test_parts_that_do_not_fit_are_named(folder, part):
    checkpoint.save(folder, checkpoint.load(folder) | {part: {}})
    with pytest.raises(ValueError, match=rf"^{folder / checkpoint.LAST} does not fit this version"):
        train(run(), folder, resume=True, accelerator="cpu")


def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(folder):
    last, before = folder / checkpoint.LAST, folder / checkpoint.BEFORE
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"rename {before}, which is complete, to last.pt"):
        train(run(), folder, resume=True, accelerator="cpu")
    before.rename(last)
    assert len(checkpoint.load(folder)["record"]["epochs"]) == 1
    resumed = train(run(), folder, resume=True, accelerator="cpu")
    whole = train(run(), accelerator="cpu")
    states = resumed.net.state_dict(), whole.net.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])


def test_a_checkpoint_before_that_is_no_help_is_not_named(folder):
    for name in checkpoint.LAST, checkpoint.BEFORE:
        (folder / name).write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"no such file at all\): delete it to begin again$"):
        checkpoint.load(folder)


def test_a_checkpoint_of_a_version_without_checksums_is_read_and_checked(folder):
    last, chance = folder / checkpoint.LAST, random.Random(0)
    expected, unlike = checkpoint.load(folder), 0
    old = last.read_bytes()[: -len(sealed.MARK) - 64]
    last.write_bytes(old)
    assert same(checkpoint.load(folder), expected)
    for bit in chance.sample(range(8 * len(old)), 200):
        spoilt = bytearray(old)
        spoilt[bit // 8] ^= 1 << bit % 8
        last.write_bytes(spoilt)
        try:
            assert same(checkpoint.load(folder), expected)  # such as in what only fills up
        except ValueError as error:
            assert str(last) in str(error)
            unlike += 1
    assert unlike > 50


def same(one, other):
    leaves, shapes = zip(*map(torch.utils._pytree.tree_flatten, (one, other)), strict=True)
    return shapes[0] == shapes[1] and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(*leaves, strict=True)
    )


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    for epoch in 1, 2, 3:
        checkpoint.save(tmp_path, {"epoch": epoch})
    assert checkpoint.load(tmp_path) == {"epoch": 3}
    (tmp_path / checkpoint.BEFORE).rename(tmp_path / checkpoint.LAST)
    assert checkpoint.load(tmp_path) == {"epoch": 2}


def test_a_run_that_begins_anew_has_no_checkpoint_of_before(tmp_path):
    for epoch in 1, 2:
        checkpoint.save(tmp_path, {"epoch": epoch})
    (tmp_path / checkpoint.LAST).unlink()
    checkpoint.save(tmp_path, {"epoch": 1})
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.LAST]


def test_too_little_memory_is_not_taken_for_damage(folder, monkeypatch):
    def load(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(RuntimeError, match=r"^DefaultCPUAllocator"):
        checkpoint.load(folder)


def test_a_field_of_the_recipe_that_came_later_has_its_default_in_a_checkpoint(tmp_path):
    saved = {"lr": 0.1, "clip": 1.0}
    checkpoint.check_same_run(saved, {**saved, "decay_vectors": True, "drop_last": False}, tmp_path)
    with pytest.raises(ValueError, match="decay_vectors is True there and False here"):
        checkpoint.check_same_run(saved, {**saved, "decay_vectors": False}, tmp_path)
    with pytest.raises(ValueError, match=r"clip is .* there and None here"):
        checkpoint.check_same_run(saved, {"lr": 0.1, "clip": None}, tmp_path)

"""``python -m tssbn data ...``, from the outside, and sets by their names."""

import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from tssbn.__main__ import main
from tssbn.data import SETS, command, load, real_set
from tssbn.data.real.dataset import RealSet
from tssbn.data.real.fetch import Remote
from tssbn.data.real.nyuv2 import NYUv2

NEEDS = {"celeba": "PIL", "cityscapes": "PIL", "cityscapes-small": "PIL", "pascal": "scipy"}


def tree(root):
    """Two samples of NYUv2 in each split."""
    values = {
        "image": np.full((2, 3, 3), 0.5),
        "label": np.full((2, 3), 4),
        "depth": np.full((2, 3, 1), 2.0),
        "normal": np.tile([0.0, 0.0, -1.0], (2, 3, 1)),
    }
    for split in NYUv2.official:
        for name, value in values.items():
            (root / split / name).mkdir(parents=True)
            for i in range(2):
                np.save(root / split / name / f"{i}.npy", value)
    return root


@pytest.fixture
def nyuv2(tmp_path):
    return tree(tmp_path / "nyuv2")


def test_check_from_the_shell(nyuv2):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tssbn", "data", "check", "nyuv2", "--root", nyuv2],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"NYUv2 in {nyuv2}\n  train: 2 samples, official 795 (a subset)\n"
    )
    assert done.stdout.endswith("usable, 4 samples opened\n") and not done.stderr


def test_check_of_a_broken_set(nyuv2, capsys):
    path = nyuv2 / "val/depth/1.npy"
    np.save(path, np.full((2, 3, 1), np.nan))
    assert main(["data", "check", "nyuv2", "--root", str(nyuv2)]) == 1
    out = capsys.readouterr().out
    assert f"val: 1 of 2 samples broken, the first: {path}: depth has values nan..nan" in out
    assert out.endswith("NOT usable, 4 samples opened\n")
    assert main(["data", "check", "nyuv2", "--root", str(nyuv2), "--quick"]) == 0
    assert " m, 100.0% of the pixels counted in the 2 opened\n" in capsys.readouterr().out
    assert main(["data", "check", "nyuv2", "--root", str(nyuv2 / "val")]) == 1
    assert capsys.readouterr().out.count(f"but {nyuv2} is such a folder: check that one") == 1


def test_check_finds_the_folder(nyuv2, capsys, monkeypatch):
    monkeypatch.chdir(nyuv2.parent)
    monkeypatch.delenv("TSSBN_DATA", raising=False)
    assert main(["data", "check", "nyuv2"]) == 1
    error = capsys.readouterr().err
    assert "no folder data/nyuv2; name it by --root" in error and "data where nyuv2" in error
    monkeypatch.setenv("TSSBN_DATA", str(nyuv2.parent))
    assert main(["data", "check", "nyuv2"]) == 0


@pytest.mark.parametrize("name", SETS)
def test_where(name, capsys):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    assert main(["data", "where", name]) == 0
    out = capsys.readouterr().out
    for word in ("http", "Licence", "Size", "Layout"):
        assert word.lower() in out.lower(), word
    assert max(map(len, real_set(name).where.splitlines())) <= 100
    for remote in real_set(name).downloads:
        assert remote.url in out and (remote.checksum or "no published checksum") in out


def test_a_set_or_an_action_that_does_not_exist(capsys):
    for arguments in (["data", "check", "imagenet"], ["data", "fetch", "nyuv2"], ["data"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
    assert "invalid choice: 'imagenet'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"name must be one of \('nyuv2', .*got 'imagenet'"):
        real_set("imagenet")


@pytest.fixture
def address(tmp_path):
    """A server of the files in ``served``."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "served").mkdir()
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_download(address, tmp_path, capsys, monkeypatch):
    (tmp_path / "served/a.bin").write_bytes(b"a")
    (tmp_path / "served/b.bin").write_bytes(b"b")
    sha256 = hashlib.sha256(b"a").hexdigest()
    a = Remote(f"{address}/a.bin", "a.bin", 1, f"sha256:{sha256}")
    b = Remote(f"{address}/b.bin", "b.bin")
    monkeypatch.setattr(NYUv2, "downloads", (a, b))
    dest = tmp_path / "dest"
    assert main(["data", "download", "nyuv2", str(dest)]) == 0
    out = capsys.readouterr().out
    assert f"{dest / 'a.bin'}: checksum right; sha256 {sha256}\n" in out
    assert f"{dest / 'b.bin'}: no published checksum to compare with; sha256 " in out
    assert (dest / "b.bin").read_bytes() == b"b"

    monkeypatch.setattr(NYUv2, "downloads", (Remote(f"{address}/c.bin", "c.bin"),))
    assert main(["data", "download", "nyuv2", str(dest)]) == 1
    assert f"error: {address}/c.bin answers 404" in capsys.readouterr().err
    monkeypatch.setattr(NYUv2, "downloads", ())
    assert main(["data", "download", "nyuv2", str(dest)]) == 1
    assert "nyuv2 has no direct official address" in capsys.readouterr().err


def test_prepare_ends_with_a_check(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(NYUv2, "prepare", lambda src, dest: tree(dest))
    assert main(["data", "prepare", "nyuv2", str(tmp_path), str(tmp_path / "dest")]) == 0
    assert capsys.readouterr().out.endswith("usable, 4 samples opened\n")
    assert main(["data", "prepare", "nyuv2", str(tmp_path / "nowhere"), str(tmp_path)]) == 1
    assert "no folder SRC=" in capsys.readouterr().err
    monkeypatch.setattr(NYUv2, "prepare", RealSet.prepare)
    assert main(["data", "prepare", "nyuv2", str(tmp_path), str(tmp_path / "dest")]) == 1
    assert "is read as it is published" in capsys.readouterr().err


def test_an_interrupted_command(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_where", stop)
    assert main(["data", "where", "nyuv2"]) == 130
    assert capsys.readouterr().err == "stopped; the same command continues from here\n"
    monkeypatch.setattr("tssbn.training.run.Run", stop)
    assert main(["train", "rooms", "--method", "hps"]) == 130  # before it has begun
    assert capsys.readouterr().err == "stopped\n"


@pytest.fixture
def nothing_found(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("TSSBN_DATA", raising=False)


@pytest.mark.usefixtures("nothing_found")
def test_load_gives_the_real_set_where_it_is_found(nyuv2, monkeypatch):
    monkeypatch.setenv("TSSBN_DATA", str(nyuv2.parent))
    for data in (load("nyuv2"), load("nyuv2", root=nyuv2)):
        assert isinstance(data, NYUv2) and (data.root, data.split) == (nyuv2, "train")
    assert repr(load("nyuv2")) == f"NYUv2(root={str(nyuv2)!r}, split='train', 2 samples)"
    for split in ("val", "test"):  # one part: what published numbers are measured on
        assert load("nyuv2", split).split == "val"
    assert not isinstance(load("nyuv2", root=None, n=1), NYUv2)
    with pytest.raises(ValueError, match=r"split must be 'train', 'val' or 'test', got 'dev'"):
        load("nyuv2", "dev")
    with pytest.raises(TypeError, match="nn"):
        load("nyuv2", root=nyuv2, nn=3)
    with pytest.raises(TypeError, match="tasks"):  # the small set has its two
        load("cityscapes-small", root=None, n=1, tasks=("segmentation", "depth"))
    with pytest.raises(FileNotFoundError, match="no folder root='nowhere'"):
        load("nyuv2", root="nowhere")


@pytest.mark.usefixtures("nothing_found")
@pytest.mark.parametrize("name", [name for name in SETS if name != "treebank"])
def test_the_twin_has_the_tasks_of_the_real_set(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    train, test = (load(name, split, n=2) for split in ("train", "test"))
    assert len(train) == len(test) == 2
    assert not torch.equal(train[0]["image"], test[0]["image"])
    dataset = real_set(name)
    if name == "celeba":
        assert set(train.targets) <= set(dataset.targets)
        assert repr(train) == "Stored(2 samples: image 3x64x64, 36 attributes)"
    elif name == "pascal":
        assert set(train.targets) == {"segmentation", "parts", "saliency", "normal", "boundary"}
    else:
        assert set(train.targets) == set(dataset.targets)
    for entry, target in getattr(dataset, "targets", {}).items():
        if entry in train.targets:
            assert train.targets[entry].kind == target.kind

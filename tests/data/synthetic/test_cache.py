"""Rendered once, found again; nothing half-written is ever read."""

import os
import random
from pathlib import Path

import pytest
import torch

from tssbn.data.synthetic import cache


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TSSBN_CACHE", str(tmp_path / "synthetic"))


class Maker:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"x": torch.arange(5), "y": torch.ones(2, dtype=torch.float16)}


def test_the_second_call_reads_the_file():
    make = Maker()
    first, second = cache.cached("a", make), cache.cached("a", make)
    assert make.calls == 1
    assert all(torch.equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in "xy")
    cache.cached("b", make)
    assert make.calls == 2
    assert sorted(path.name for path in cache.folder().iterdir()) == ["a.pt", "b.pt"]


@pytest.mark.parametrize("cut", [0, 100])
def test_a_damaged_file_is_rendered_again(cut):
    make = Maker()
    cache.cached("a", make)
    path = cache.folder() / "a.pt"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.warns(UserWarning, match="a.pt cannot be read"):
        assert torch.equal(cache.cached("a", make)["x"], torch.arange(5))
    assert torch.equal(cache.cached("a", make)["x"], torch.arange(5))
    assert make.calls == 2


def test_any_flipped_bit_is_found():
    make, chance = Maker(), random.Random(0)
    cache.cached("a", make)
    path = cache.folder() / "a.pt"
    whole = path.read_bytes()
    for calls, bit in enumerate(chance.sample(range(8 * len(whole)), 80), 2):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        with pytest.warns(UserWarning, match=r"a\.pt cannot be read"):
            cache.cached("a", make)
        assert make.calls == calls and path.read_bytes() == whole


@pytest.mark.parametrize("content", [torch.arange(5), {"x": 3}, {0: torch.arange(5)}, ["x"]])
def test_a_file_of_something_else_is_rendered_again(content):
    make = Maker()
    cache.folder().mkdir(parents=True)
    torch.save(content, cache.folder() / "a.pt")
    with pytest.warns(UserWarning, match="a.pt cannot be read"):
        assert torch.equal(cache.cached("a", make)["x"], torch.arange(5))
    cache.cached("a", make)
    assert make.calls == 1


def test_an_interrupted_write_leaves_nothing(monkeypatch):
    def stop(tensors, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        cache.cached("a", Maker())
    assert not list(cache.folder().iterdir())


def test_a_full_disk_costs_the_copy_and_not_the_data(monkeypatch):
    def full(tensors, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(UserWarning, match="cannot be stored: .*No space left"):
        made = cache.cached("a", Maker())
    assert torch.equal(made["x"], torch.arange(5))
    assert not list(cache.folder().iterdir())


@pytest.mark.parametrize(
    ("owner", "step"), [(Path, "mkdir"), (torch, "save"), (os, "replace")], ids=str
)
def test_a_read_only_folder_costs_the_copy_and_not_the_data(monkeypatch, owner, step):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(owner, step, refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.warns(UserWarning, match="cannot be stored: .*Read-only"):
        assert torch.equal(cache.cached("a", Maker())["x"], torch.arange(5))


def test_a_file_in_the_folders_place_costs_the_copy_and_not_the_data():
    cache.folder().touch()
    with pytest.warns(UserWarning) as told:
        assert torch.equal(cache.cached("a", Maker())["x"], torch.arange(5))
    assert len(told) == 1 and "cannot be stored" in str(told[0].message)


def test_the_name_says_all_that_decides_the_content(monkeypatch, tmp_path):
    sources = tmp_path / "rooms"
    sources.mkdir()
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    names = [cache.digest(("val", n), sources) for n in (8, 8, 9)]
    for folder in (sources, tmp_path):  # what renders, and what all sets share
        (folder / "make.py").write_text("n = 8")
        names.append(cache.digest(("val", 8), sources))
    monkeypatch.setattr(torch, "__version__", "99.0")
    names.append(cache.digest(("val", 8), sources))
    assert names[0] == names[1] and len(set(names)) == 5


def test_a_pickle_is_not_executed():
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(cache.folder() / "owned"),)

    cache.folder().mkdir(parents=True)
    torch.save({"x": Evil()}, cache.folder() / "a.pt")
    with pytest.warns(UserWarning, match="cannot be read"):
        cache.cached("a", Maker())
    assert not (cache.folder() / "owned").exists()


def test_where_it_lies(monkeypatch, tmp_path):
    assert cache.folder() == tmp_path / "synthetic"
    monkeypatch.delenv("TSSBN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "tssbn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "tssbn"

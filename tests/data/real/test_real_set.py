"""What every real data set goes by: samples are held against their targets, and folders checked."""

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from tssbn.__main__ import main
from tssbn.data.real import check as checking
from tssbn.data.real import files
from tssbn.data.real.check import check
from tssbn.data.real.dataset import RealSet, verify
from tssbn.data.target import Target

TARGETS = {
    "labels": Target("classes", ("a", "b", "c"), ignore=-1),
    "mask": Target("classes", ("no", "yes")),
    "depth": Target("depth", ignore=0),
    "disparity": Target("disparity", ignore=-1),
    "inverse": Target("disparity", ignore=0),
    "normal": Target("normal", ignore=0),
    "smile": Target("attribute"),
    "breed": Target("class", ("a", "b", "c")),
    "age": Target("number", unit="years"),
}


def sample():
    normal = torch.zeros(3, 2, 2)
    normal[2, 0], normal[:, 1, 1] = -1, torch.tensor([0.6, 0, -0.8])
    return {
        "image": torch.rand(3, 2, 2),
        "labels": torch.tensor([[0, 1], [2, -1]]),
        "mask": torch.tensor([[0, 1], [1, 0]]),
        "depth": torch.tensor([[[0, 0.5], [10, 80]]]),
        "disparity": torch.tensor([[[-1, 0], [0.5, 3]]]),
        "inverse": torch.tensor([[[0, 0.1], [0.5, 3]]]),
        "normal": normal,
        "smile": torch.tensor(1),
        "breed": torch.tensor(2),
        "age": torch.tensor(-3.5),
    }


def faulty(name, change):
    found = sample()
    value = found[name] = found[name].clone()
    change(value)
    return found


def verified(found):
    verify(found, TARGETS, lambda: {name: Path(f"{name}/7.npy") for name in found})


def test_a_right_sample_passes():
    verified(sample())


@pytest.mark.parametrize(
    ("name", "index", "value", "says"),
    [
        ("image", (0, 0, 0), 1.01, "expected 0..1"),
        ("image", (0, 0, 0), -0.01, "expected 0..1"),
        ("image", (0, 0, 0), math.nan, "values nan..nan, expected 0..1"),
        ("labels", (0, 0), 3, "values -1..3, expected 0..2, -1 for void"),
        ("labels", (0, 0), -2, "values -2..2, expected 0..2, -1 for void"),
        ("mask", (0, 0), -1, "values -1..1, expected 0..1"),
        ("depth", (0, 0, 0), -0.1, "expected 0 or more, 0 for void"),
        ("depth", (0, 0, 0), math.nan, "values nan..nan, expected 0 or more"),
        ("depth", (0, 0, 0), math.inf, "expected 0 or more"),
        ("disparity", (0, 0, 1), -0.5, "values -1..3, expected 0 or more, -1 for void"),
        ("disparity", (0, 0, 1), -2, "values -2..3, expected 0 or more, -1 for void"),
        ("disparity", (0, 0, 1), math.nan, "values nan..nan, expected 0 or more, -1 for void"),
        ("disparity", (0, 0, 1), math.inf, "expected 0 or more, -1 for void"),
        ("inverse", (0, 0, 0), -1, "expected 0 or more, 0 for void"),
        ("normal", (2, 0, 0), -0.95, "1 vectors of lengths 0.95..0.95, expected unit normals"),
        ("normal", (2, 0, 0), -1.05, "1 vectors of lengths 1.05..1.05, expected unit normals"),
        ("normal", (2, 0, 0), math.nan, "1 vectors of lengths nan..nan, expected unit normals"),
        ("smile", (), 2, "smile has values 2..2, expected 0..1"),
        ("smile", (), -1, "smile has values -1..-1, expected 0..1"),
        ("breed", (), 3, "breed has values 3..3, expected 0..2"),
        ("age", (), math.inf, "age has values inf..inf, expected a finite number"),
        ("age", (), math.nan, "age has values nan..nan, expected a finite number"),
    ],
)
def test_a_value_that_cannot_be(name, index, value, says):
    def change(entry):
        entry[index] = value

    with pytest.raises(ValueError) as raised:
        verified(faulty(name, change))
    assert says in str(raised.value) and str(raised.value).startswith(str(Path(f"{name}/7.npy")))


@pytest.mark.parametrize("name", [*TARGETS, "image"])
def test_another_shape_or_type(name):
    found = sample()
    for wrong in (found[name][None], found[name].to(torch.float16)):
        with pytest.raises(ValueError, match=rf"{name}.7\.npy: {name} has .*expected"):
            verified({**found, name: wrong})


class Numbers(RealSet):
    """A tiny set: ``<split>/<i>.npy`` holds one grey value; ``list.txt`` belongs to all."""

    official: ClassVar = {"train": 4, "val": 2}
    where = "nowhere"
    targets: ClassVar = {"depth": Target("depth", ignore=0)}

    def __init__(self, root, split, transform=None):
        super().__init__(root, split, transform)
        self.length = files.numbered([self.root / split], ".npy")

    def __len__(self):
        return self.length

    def files(self, index):
        path = self.root / self.split / f"{index}.npy"
        return {"image": path, "depth": path, "list": self.root / "list.txt"}

    def read(self, index):
        value = torch.from_numpy(files.array(self.files(index)["image"], 1))
        return {"image": value.expand(3, 2, 2 + index % 2) / 10, "depth": value.expand(1, 2, 2)}


@pytest.fixture
def root(tmp_path):
    for split, count in Numbers.official.items():
        (tmp_path / split).mkdir()
        for i in range(count):
            np.save(tmp_path / split / f"{i}.npy", np.float32([i]))
    (tmp_path / "list.txt").write_text("a list")
    return tmp_path


class Even(Numbers):
    """All of one size."""

    def read(self, index):
        value = torch.from_numpy(files.array(self.files(index)["image"], 1))
        return {"image": value.expand(3, 2, 2) / 10, "depth": value.expand(1, 2, 2)}


def test_indices_and_the_transform(root):
    data = Even(root, "train", transform=lambda sample: {**sample, "seen": True})
    assert data[-1]["depth"][0, 0, 0] == 3 and data[0]["seen"]
    assert [entry["depth"].max().item() for entry in data] == [0, 1, 2, 3]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 4 samples"):
            data[index]
    with pytest.raises(ValueError, match=r"split must be one of \('train', 'val'\), got 'test'"):
        Even(root, "test")
    with pytest.raises(FileNotFoundError, match="no folder root='nowhere' for Even"):
        Even("nowhere", "val")
    with pytest.raises(NotImplementedError, match="Even is read as it is published"):
        Even.prepare(root, root)


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, torch.tensor])
def test_every_kind_of_integer_is_an_index(root, kind):
    data = Even(root, "train")
    assert data[kind(2)]["depth"].max() == 2
    with pytest.raises(IndexError, match="index 4 is out of range for 4 samples"):
        data[kind(4)]


@pytest.mark.parametrize(
    "index",
    [slice(0, 2), [0, 1], (0, 1), 1.0, "1", None, torch.tensor([1]), torch.tensor(1.0), np.ones(1)],
    ids=lambda index: type(index).__name__,
)
def test_what_is_no_integer_is_no_index(root, index):
    message = f"must be one integer, got {type(index).__name__}: .*Subset"
    with pytest.raises(TypeError, match=message):
        Even(root, "train")[index]


def test_it_says_what_it_is(root):
    assert repr(Even(root, "val")) == f"Even(root={str(root)!r}, split='val', 2 samples)"


def test_a_right_folder(root):
    report = check(Even, root)
    assert report.usable and not report.quick
    assert {name: part.samples for name, part in report.parts.items()} == Even.official
    assert (report.files, report.sizes) == (7, {(2, 2)})
    assert report.size == sum(path.stat().st_size for path in root.rglob("*.*"))
    depth = report.values["depth"]
    assert (depth.low, depth.high, depth.counted, depth.total) == (1, 3, 16, 24)
    text = str(report)
    assert "train: 4 samples, official 4\n" in text and "images: 2 x 2\n" in text
    assert "depth: 1..3 m, 66.7% of the pixels counted" in text and "image: 0..0.3" in text
    assert text.endswith("\nusable, 6 samples opened")


def test_the_hash_covers_names_and_contents_and_nothing_else(root, tmp_path_factory):
    first = check(Even, root).digest
    assert check(Even, root).digest == first
    copy = tmp_path_factory.mktemp("copy")
    for path in sorted(root.rglob("*.*"), reverse=True):
        (copy / path.relative_to(root)).parent.mkdir(exist_ok=True)
        (copy / path.relative_to(root)).write_bytes(path.read_bytes())
    (copy / "train/notes.txt").write_text("not of the set")
    assert check(Even, copy).digest == first

    quick = check(Even, copy, quick=True)
    assert "names and sizes" in str(quick) and quick.digest != first
    assert "depth: 0..0, " not in str(quick) and " opened\n" not in str(check(Even, copy))
    assert "images: 2 x 2 in the 2 opened\n  image: 0..0 in the 2 opened\n" in str(quick)
    np.save(copy / "train/3.npy", np.float32([2.5]))
    assert check(Even, copy).digest != first
    assert check(Even, copy, quick=True).digest == quick.digest
    np.save(copy / "train/3.npy", np.float32([3]))
    (copy / "list.txt").write_text("b list")
    assert check(Even, copy).digest != first


def test_broken_samples_are_counted_and_the_first_one_named(root):
    for i in (1, 3):
        np.save(root / f"train/{i}.npy", np.float32([-i]))
    (root / "val/1.npy").write_bytes(b"")
    report = check(Even, root)
    assert not report.usable and str(report).endswith("\nNOT usable, 6 samples opened")
    assert "train: 2 of 4 samples broken, the first: " in str(report)
    assert f"{root / 'train/1.npy'}: image has values" in report.parts["train"].fault
    assert f"{root / 'val/1.npy'} is not a whole" in report.parts["val"].fault
    assert check(Even, root, quick=True).usable  # it opens the first of each alone
    (root / "val/0.npy").write_bytes(b"")
    assert "image: 0..0 in the 1 opened" in str(check(Even, root, quick=True))


def test_a_missing_split_a_missing_file_and_a_subset(root):
    (root / "train/3.npy").unlink()
    report = check(Even, root)
    assert report.usable and "train: 3 samples, official 4 (a subset)" in str(report)
    (root / "train/1.npy").unlink()
    for path in (root / "val").iterdir():
        path.unlink()
    report = check(Even, root)
    assert not report.usable and "val: missing, official 2" in str(report)
    assert str(root / "train/1.npy") in report.parts["train"].fault
    assert f"{root / 'val'} holds no file 0.npy" in report.parts["val"].fault
    (root / "list.txt").unlink()
    np.save(root / "val/0.npy", np.float32([0]))
    assert str(root / "list.txt") in check(Even, root).parts["val"].fault


def test_the_right_folder_nearby_is_named_once(root):
    even = root / "sets" / "even"
    even.mkdir(parents=True)
    for name in ("train", "val", "list.txt"):
        (root / name).rename(even / name)
    for wrong in (even / "val", even.parent):
        report = check(Even, wrong)
        assert not report.usable and report.elsewhere == even
        assert str(report).count(f"but {even} is such a folder") == 1
    (even / "val/0.npy").unlink()
    for wrong in (even, root, even / "nowhere", even / "train/0.npy"):  # the first has a split
        assert check(Even, wrong).elsewhere is None


def test_a_hidden_folder_is_not_the_right_one(root):
    inner = root / ".Trash"
    inner.mkdir()
    for name in ("train", "val", "list.txt"):
        (root / name).rename(inner / name)
    assert check(Even, root).elsewhere is None


def test_images_of_several_sizes(root):
    class Odd(Numbers):
        def read(self, index):
            value = torch.full((1, 2, 2 + index % 2), 0.5)
            return {"image": value.expand(3, -1, -1), "depth": value}

    assert "images: 2 x 2 to 2 x 3 (2 sizes)" in str(check(Odd, root))


def test_what_stands_in_the_report_of_normals_and_attributes():
    found = sample()
    normal = checking.Values.of(found["normal"], TARGETS["normal"])
    assert str(normal) == "unit vectors, 100.0% of them with z < 0, 75.0% of the pixels counted"
    smile = checking.Values.of(found["smile"], TARGETS["smile"])
    smile.add(checking.Values.of(torch.tensor(0), TARGETS["smile"]))
    report = checking.Report("faces", False, values={"smile": smile})
    assert "1 attributes: present in 50.0% (smile) to 50.0% (smile)" in str(report)
    void = checking.Values.of(torch.zeros(1, 2, 2), TARGETS["depth"])
    assert str(void) == "nothing to be counted"


def test_where_prepared_data_is_from_stands_in_the_report(root):
    (root / "ORIGIN.txt").write_text("made by hand\n")
    assert "\n  made by hand\n" in str(check(Even, root))


def test_a_note_in_another_encoding_does_not_end_the_check(root):
    (root / "ORIGIN.txt").write_bytes("\ufeffm\xe4de\n".encode("utf-8"))
    assert "\n  m\xe4de\n" in str(check(Even, root))
    (root / "ORIGIN.txt").write_bytes(b"m\xe4de\n")
    assert "\n  m\ufffdde\n" in str(check(Even, root))


def test_a_file_in_the_place_of_src(tmp_path, capsys):
    (tmp_path / "archive.zip").touch()
    assert main(["data", "prepare", "celeba", str(tmp_path / "archive.zip"), str(tmp_path)]) == 1
    assert "archive.zip' is a file, expected its folder" in capsys.readouterr().err

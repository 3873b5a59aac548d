"""The digit images: what a split holds, and where the digits stand."""

import struct
import sys

import pytest
import torch

from tssbn.data.synthetic import digits

pytest.importorskip("sklearn")  # the digits ship inside it


def test_single_is_the_file_in_its_order():
    from sklearn.datasets import load_digits

    scans = load_digits()
    parts = [digits.single(split, root=None) for split in digits.SPLITS]
    image, digit = (torch.cat([part[key] for part in parts]) for key in ("image", "digit"))
    assert image.dtype == torch.float32 and digit.dtype == torch.int64
    assert torch.equal(image.double() * 16, torch.from_numpy(scans.images).unsqueeze(1))
    assert torch.equal(digit, torch.from_numpy(scans.target))


@pytest.mark.parametrize("split", digits.SPLITS)
def test_a_split_starts_where_a_form_starts(split):
    form = [*range(10)] * 3 + [0, 9, 5, 5, 6, 5, 0, 9, 8, 9]
    assert digits.single(split, root=None)["digit"][:40].tolist() == form


@pytest.mark.parametrize("parity", [True, False])
def test_a_pair_is_in_one_split_only(parity):
    parts = [digits.pairs_in(split, parity) for split in digits.SPLITS]
    table = [pair for part in parts for pair in part]
    left, right = (range(0, 10, 2), range(1, 10, 2)) if parity else (range(10), range(10))
    assert sorted(table) == [(a, b) for a in left for b in right]
    assert [len(part) for part in parts] == ([16, 4, 5] if parity else [64, 16, 20])
    for side, classes in enumerate((left, right)):
        assert {pair[side] for pair in parts[0]} == set(classes)
        test = [pair[side] for pair in parts[2]]
        assert {test.count(digit) for digit in classes} == {1 if parity else 2}


@pytest.mark.parametrize("parity", [True, False])
@pytest.mark.parametrize("split", digits.SPLITS)
def test_each_half_holds_one_scan_of_its_digit_and_of_its_split(split, parity):
    data = digits.pairs(split, parity, per_pair=6, root=None)
    scans = digits.single(split, root=None)
    known = {
        scan.numpy().tobytes(): digit.item()
        for scan, digit in zip(scans["image"].squeeze(1), scans["digit"], strict=True)
    }
    found = []
    for image, left, right in zip(*data.values(), strict=True):
        digit = []
        for half in image.squeeze(0).chunk(2, dim=1):
            windows = half.unfold(0, 8, 1).unfold(1, 8, 1).reshape(-1, 8, 8)
            inside = windows[(windows.sum((1, 2)) == half.sum())]  # nothing lies outside it
            digit += {known[w.numpy().tobytes()] for w in inside if w.numpy().tobytes() in known}
        assert digit == ([2 * left, 2 * right + 1] if parity else [left, right])
        found.append(tuple(digit))
    assert all(found.count(pair) == 6 for pair in digits.pairs_in(split, parity))
    assert len(found) == 6 * len(digits.pairs_in(split, parity))


def test_embedded_scans_stand_at_12_rows():
    image = digits.pairs(root=None)["image"]
    assert image.shape == (3200, 1, 20, 20) and image.min() == 0 and image.max() == 1
    rows = image.sum((0, 1, 3)).nonzero().squeeze(1)
    assert rows.tolist() == [*range(12 + 8 - 1)]


def test_the_seed_decides():
    first, again, other = (digits.pairs(per_pair=5, seed=s, root=None) for s in (0, 0, 1))
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])
    state = torch.random.get_rng_state()
    digits.pairs(per_pair=5, root=None)
    assert torch.equal(state, torch.random.get_rng_state())


# --- real MNIST -----------------------------------------------------------------------------------


def write_idx(path, array):
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.numpy().tobytes())


@pytest.fixture
def mnist(tmp_path):
    """Files in MNIST's layout: 60 + 20 scans, all pixels of scan i being i + 1."""
    pytest.importorskip("torchvision")
    raw = tmp_path / "data" / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 60), ("t10k", 20)):
        scans = torch.arange(1, count + 1, dtype=torch.uint8)
        write_idx(raw / f"{name}-images-idx3-ubyte", scans[:, None, None].expand(-1, 28, 28))
        write_idx(raw / f"{name}-labels-idx1-ubyte", (scans - 1) % 10)
    return tmp_path / "data" / "mnist"


@pytest.mark.parametrize(
    ("split", "first", "count"), [("train", 1, 50), ("val", 51, 10), ("test", 1, 20)]
)
def test_mnist_splits(mnist, split, first, count):
    data = digits.single(split, root=mnist)
    expected = torch.arange(first, first + count)
    assert data["image"].shape == (count, 1, 28, 28)
    assert torch.equal(data["image"].amax((1, 2, 3)), expected.float() / 255)
    assert torch.equal(data["digit"], (expected - 1) % 10)


def test_mnist_pairs_have_the_geometry_of_double_mnist(mnist):
    data = digits.pairs(per_pair=100, root=mnist)
    image = data["image"]
    assert image.shape == (1600, 1, 64, 64)
    for half in image.chunk(2, dim=3):
        assert ((half > 0).sum((1, 2, 3)) == 28 * 28).all()
        row, column = (half.amax(dim).squeeze(1).gt(0).int().argmax(-1) for dim in (3, 2))
        assert row.unique().tolist() == [*range(36)]
        assert column.unique().tolist() == [*range(4)]


@pytest.mark.parametrize("folder", [".", "book"])
def test_auto_finds_mnist_from_the_root_and_from_the_book(mnist, monkeypatch, folder):
    start = mnist.parents[1] / folder
    start.mkdir(exist_ok=True)
    monkeypatch.chdir(start)
    assert digits.single()["image"].shape == (50, 1, 28, 28)
    assert digits.single(root=None)["image"].shape == (1157, 1, 8, 8)


def test_auto_falls_back_on_the_embedded_scans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert digits.single()["image"].shape == (1157, 1, 8, 8)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [digits.single, digits.pairs, digits.pairs_in])
def test_unknown_split(call):
    with pytest.raises(ValueError, match=r"split must be one of .* got 'valid'"):
        call("valid")


def test_no_images_asked_for():
    with pytest.raises(ValueError, match="per_pair must be an integer from 1 up, got 0"):
        digits.pairs(per_pair=0)


def test_a_root_without_mnist(tmp_path):
    pytest.importorskip("torchvision")
    with pytest.raises(FileNotFoundError, match=r"no MNIST files .*train-images-idx3-ubyte"):
        digits.single(root=tmp_path)


def test_a_class_without_scans(mnist):
    labels = torch.zeros(60, dtype=torch.uint8)
    write_idx(mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match="holds no scan of the digit 2"):
        digits.pairs(root=mnist)


@pytest.mark.parametrize(
    ("module", "root", "message"),
    [("sklearn.datasets", None, "scikit-learn"), ("torchvision.datasets", ".", "torchvision")],
)
def test_a_missing_library_is_named_with_the_extra(monkeypatch, module, root, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message + r'.*pip install "tssbn\[book\]'):
        digits.single(root=root)

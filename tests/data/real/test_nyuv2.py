"""NYUv2: the layout read back, and broken one way at a time."""

import math

import numpy as np
import pytest
import torch

from tssbn.data.real.check import check
from tssbn.data.real.nyuv2 import CLASSES, NYUv2

COUNTS = {"train": 3, "val": 2}


def arrays(seed, size=(4, 6)):
    """One sample as the files hold it."""
    random = np.random.default_rng(seed)
    normal = random.normal(size=(*size, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    normal[0, 0] = 0
    return {
        "image": random.random((*size, 3)),
        "label": random.integers(-1, 13, size),
        "depth": random.uniform(0.7, 10, (*size, 1)),
        "normal": normal,
    }


@pytest.fixture
def root(tmp_path):
    """3 and 2 samples; every file of another number type."""
    types = {"image": "f8", "label": "f8", "depth": "f4", "normal": "f8"}
    for split, count in COUNTS.items():
        for i in range(count):
            for name, value in arrays(i + 10 * (split == "val")).items():
                (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
                np.save(tmp_path / split / name / f"{i}.npy", value.astype(types[name]))
    return tmp_path


def test_the_very_values_come_back(root):
    assert NYUv2.official == {"train": 795, "val": 654}
    for split, count in COUNTS.items():
        data = NYUv2(root, split)
        assert len(data) == count and data.split == split and data.root == root
        for i in range(count):
            sample, stored = data[i], arrays(i + 10 * (split == "val"))
            for entry, name in (("image", "image"), ("depth", "depth"), ("normal", "normal")):
                assert sample[entry].dtype == torch.float32
                assert np.array_equal(sample[entry], stored[name].astype("f4").transpose(2, 0, 1))
            assert sample["segmentation"].dtype == torch.int64
            assert np.array_equal(sample["segmentation"], stored["label"])


@pytest.mark.parametrize("dtype", ["int8", "int64", "float16", "float64", ">i4"])
def test_labels_of_every_type(root, dtype):
    label = np.arange(-1, 13).repeat(2)[:24].reshape(4, 6)
    np.save(root / "val/label/0.npy", label.astype(dtype))
    assert np.array_equal(NYUv2(root, "val")[0]["segmentation"], label)


def test_images_and_labels_of_8_bits(root):
    image = np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3
    label = np.uint8([0, 12, 255, 5, 6, 7]).repeat(4).reshape(4, 6)
    np.save(root / "val/image/0.npy", image)
    np.save(root / "val/label/0.npy", label)
    sample = NYUv2(root, "val")[0]
    assert torch.equal(sample["image"], torch.from_numpy(image).permute(2, 0, 1) / 255)
    assert np.array_equal(sample["segmentation"], np.where(label == 255, -1, label.astype(int)))


def test_the_transform_gets_the_sample(root):
    seen = NYUv2(root, "val", transform=lambda sample: list(sample))[0]
    assert seen == ["image", *NYUv2.targets]
    assert NYUv2.targets["segmentation"].classes == CLASSES and len(CLASSES) == 13


def test_a_tree_of_the_layout_is_usable(root):
    report = check(NYUv2, root)
    assert report.usable and report.files == 20 and report.sizes == {(4, 6)}
    assert {name: part.samples for name, part in report.parts.items()} == COUNTS


def spoil(path, change):
    value = np.load(path)
    change(value)
    np.save(path, value)


def put(index, value):
    return lambda array: array.__setitem__(index, value)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("image", put((0, 0, 0), 1.5), "image has values .*, expected 0..1"),
        ("image", put((0, 0, 0), math.nan), "image has values nan..nan, expected 0..1"),
        ("label", put((0, 0), 13), "segmentation has values .*..13, expected 0..12, -1 for void"),
        ("label", put((0, 0), -2), "segmentation has values -2..1., expected 0..12, -1 for void"),
        ("label", put((0, 0), 0.5), "holds float64 values that are no labels"),
        ("label", put((0, 0), math.nan), "holds float64 values that are no labels"),
        ("depth", put((0, 0, 0), math.nan), "depth has values nan..nan, expected 0 or more"),
        ("depth", put((0, 0, 0), -1), "depth has values -1..*, expected 0 or more"),
        ("normal", put((1, 1), (0, 0, 2)), "normal has 1 vectors .*, expected unit normals"),
        ("normal", put((0, 0, 0), math.nan), "normal has 1 vectors .*, expected unit normals"),
    ],
)
def test_a_wrong_value(root, name, change, says):
    path = root / "train" / name / "1.npy"
    spoil(path, change)
    with pytest.raises(ValueError, match=says) as raised:
        NYUv2(root, "train")[1]
    assert str(path) in str(raised.value)
    report = check(NYUv2, root)
    assert not report.usable and report.parts["train"].broken == 1
    assert str(path) in str(report)


@pytest.mark.parametrize("name", ["image", "label", "depth", "normal"])
def test_a_wrong_shape_or_a_file_cut_short(root, name):
    path = root / "train" / name / "1.npy"
    whole = np.load(path)
    for wrong in (whole[:3], whole[None], whole.ravel()):
        np.save(path, wrong)
        with pytest.raises(ValueError, match=r"shape .*expected") as raised:
            NYUv2(root, "train")[1]
        assert "1.npy" in str(raised.value)  # of one file that is smaller, another may be named
    np.save(path, whole)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"is not a whole \.npy file") as raised:
        NYUv2(root, "train")[1]
    assert str(path) in str(raised.value)


def test_what_systems_leave_is_no_sample(root):
    digest = check(NYUv2, root).digest
    for folder in [*root.glob("*/*"), root / "train", root]:
        for name in ("._0.npy", "._3.npy", ".DS_Store", "Thumbs.db"):
            (folder / name).write_bytes(b"\0\5\x16\7")
    assert {split: len(NYUv2(root, split)) for split in COUNTS} == COUNTS
    assert check(NYUv2, root).digest == digest


def test_a_folder_in_the_place_of_a_file(root):
    (root / "train/depth/1.npy").unlink()
    (root / "train/depth/1.npy").mkdir()
    with pytest.raises(OSError, match=r"depth/1\.npy"):
        NYUv2(root, "train")[1]


def test_a_pickled_file(root):
    np.save(root / "train/label/1.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"1\.npy is not a whole \.npy file of numbers"):
        NYUv2(root, "train")[1]


def test_a_missing_folder_and_a_gap(root):
    (root / "train/depth/1.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"depth.1\.npy is missing: the numbers go up to 2"):
        NYUv2(root, "train")
    (root / "val/normal").rename(root / "val/normals")
    with pytest.raises(FileNotFoundError, match=r"no folder .*normal, expected files 0\.npy"):
        NYUv2(root, "val")

"""The small Cityscapes set on a tiny tree, written here in the exact layout."""

import shutil

import numpy as np
import pytest
import torch

from tssbn.data.real.check import check
from tssbn.data.real.cityscapes_small import CityscapesSmall


def cut(path):
    path.write_bytes(path.read_bytes()[:-80])


def arrays(seed):
    draw = np.random.default_rng(seed)
    return {
        "image": draw.integers(0, 256, (128, 256, 3)) / 255,
        "label_7": draw.integers(-1, 7, (128, 256)).astype(np.float32),
        "depth": draw.integers(0, 32258, (128, 256, 1)) / 65536,
    }


@pytest.fixture
def small(tmp_path):
    root = tmp_path / "small"
    for split, count in (("train", 2), ("val", 1)):
        for i in range(count):
            for name, value in arrays(i).items():
                (root / split / name).mkdir(parents=True, exist_ok=True)
                np.save(root / split / name / f"{i}.npy", value)
    return root


def test_the_depth_is_inverse_and_void_is_0():
    depth, segmentation = (CityscapesSmall.targets[name] for name in ("depth", "segmentation"))
    assert (depth.kind, depth.ignore, len(segmentation.classes)) == ("disparity", 0, 7)


def test_small_samples_hold_exact_values(small):
    data, stored = CityscapesSmall(small, "train"), arrays(1)
    assert len(data) == 2 and list(data[1]) == ["image", "segmentation", "depth"]
    image = torch.from_numpy(stored["image"]).permute(2, 0, 1).float()
    assert torch.equal(data[1]["image"], image)
    assert torch.equal(data[1]["segmentation"], torch.from_numpy(stored["label_7"]).long())
    assert torch.equal(data[1]["depth"], torch.from_numpy(stored["depth"]).permute(2, 0, 1).float())
    assert check(CityscapesSmall, small).usable
    labels = data[1]["segmentation"]
    (small / "train/label_7").rename(small / "train/label")
    assert torch.equal(CityscapesSmall(small, "train")[1]["segmentation"], labels)


SMALL_BREAKS = {
    "truncated": (lambda t: cut(t / "depth/1.npy"), "depth/1.npy is not a whole .npy"),
    "objects": (
        lambda t: np.save(t / "depth/1.npy", np.array([{}], object), allow_pickle=True),
        "depth/1.npy is not a whole .npy file of numbers",
    ),
    "class 7": (
        lambda t: np.save(t / "label_7/1.npy", np.full((128, 256), 7)),
        "label_7/1.npy: segmentation has values 7..7, expected ",
    ),
    "half a class": (
        lambda t: np.save(t / "label_7/1.npy", np.full((128, 256), 0.5)),
        "label_7/1.npy holds fractions",
    ),
    "no class": (
        lambda t: np.save(t / "label_7/1.npy", np.full((128, 256), np.nan)),
        "label_7/1.npy holds fractions",
    ),
    "256x512": (
        lambda t: np.save(t / "image/1.npy", np.zeros((256, 512, 3))),
        r"image/1.npy has shape \(256, 512, 3\), expected \(128, 256, 3\)",
    ),
    "8-bit image": (
        lambda t: np.save(t / "image/1.npy", np.full((128, 256, 3), 255)),
        "image/1.npy: image has values 255..255, expected ",
    ),
    "negative depth": (
        lambda t: np.save(t / "depth/1.npy", np.full((128, 256, 1), -1.0)),
        "depth/1.npy: depth has values -1..-1, expected ",
    ),
}


@pytest.mark.parametrize("name", SMALL_BREAKS)
def test_small_broken_files_are_named(small, name):
    spoil, message = SMALL_BREAKS[name]
    spoil(small / "train")
    data = CityscapesSmall(small, "train")
    data[0]
    with pytest.raises(ValueError, match=message):
        data[1]


@pytest.mark.parametrize(
    ("lost", "message"),
    [("label_7", "no folder .*train/label_7"), ("image/1.npy", "image/1.npy is missing")],
)
def test_small_missing_files_are_named(small, lost, message):
    path = small / "train" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        CityscapesSmall(small, "train")


def test_small_is_read_as_published(small, tmp_path):
    with pytest.raises(NotImplementedError, match="CityscapesSmall is read as it is published"):
        CityscapesSmall.prepare(small, tmp_path / "new")

"""Cityscapes on tiny trees, written here in the exact layout, and on tiny official packages."""

import itertools
import shutil
from pathlib import Path

import pytest

pytest.importorskip("PIL")

import numpy as np
import torch
from PIL import Image

from tssbn.data.real.check import check
from tssbn.data.real.cityscapes import CLASSES, PARTS, Cityscapes

# From the table of labels of cityscapesScripts: id and train id.
TRAIN_ID = {
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11},
    **{25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
}
PART = {  # uid: class
    **dict.fromkeys((0, 7, 23, 24, 26, 24000, 26014, 2400000, 2600100, 2900101, 3300002), 0),
    **{2400001: 1, 2500002: 2, 2401203: 3, 2599904: 4},
    **dict.fromkeys((2400005, 2500106, 2600006, 2700099), 0),  # not in the list of parts
    **{2600001: 5, 2700102: 6, 2801203: 7, 2699904: 8, 2800005: 9},
}


def by_digits(uid):
    """The slow way: cut the decimal digits."""
    digits = str(uid)
    if len(digits) < 6:
        return 0
    kind, part = int(digits[:-5]), int(digits[-2:])
    if kind in (24, 25) and part in (1, 2, 3, 4):
        return part
    return part + 4 if kind in (26, 27, 28) and part in (1, 2, 3, 4, 5) else 0


def pixels(seed, height=256, width=512):
    """What one frame stores, in blocks of 32 pixels so that files stay small."""
    draw = np.random.default_rng(seed)

    def blocks(choices, kind):
        small = draw.choice(choices, (height // 32, width // 32))
        return small.repeat(32, 0).repeat(32, 1).astype(kind)

    rgb = np.stack([blocks(256, np.uint8) for _ in range(3)], 2)
    return {
        "image": rgb,
        "seg": blocks(34, np.uint8),
        "part_seg": blocks(list(PART), np.int32),
        "depth": blocks([0, 1, 2, 1025, 32257, 65535], np.uint16),
    }


def save(path, value, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(value).save(path, **options)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("cityscapes")
    for split, count in (("train", 2), ("val", 1)):
        for i in range(count):
            for name, value in pixels(i).items():
                suffix = "tif" if name == "part_seg" else "png"
                save(root / split / name / f"{i}.{suffix}", value)
    return root


@pytest.fixture
def tree(written, tmp_path):
    return shutil.copytree(written, tmp_path / "tree")


def test_samples_hold_exact_values(written):
    data = Cityscapes(written, "train")
    assert len(data) == 2 and len(Cityscapes(str(written), "val")) == 1
    for i in range(2):
        sample, stored = data[i], pixels(i)
        assert list(sample) == ["image", *data.targets]
        image = torch.from_numpy(stored["image"]).permute(2, 0, 1)
        assert torch.equal(sample["image"], image.float() / 255)
        classes = np.vectorize(lambda k: TRAIN_ID.get(k, -1))(stored["seg"])
        assert torch.equal(sample["segmentation"], torch.from_numpy(classes))
        parts = np.vectorize(PART.get)(stored["part_seg"])
        assert torch.equal(sample["parts"], torch.from_numpy(parts))
        exact = {0: -1, 1: 0, 2: 1 / 1024, 1025: 1, 32257: 31.5, 65535: 65534 / 1024}
        disparity = np.vectorize(exact.get, otypes=[np.float32])(stored["depth"])
        assert torch.equal(sample["disparity"], torch.from_numpy(disparity)[None])
    assert torch.equal(data[-1]["image"], data[1]["image"])
    with pytest.raises(IndexError, match="index 2 is out of range for 2"):
        data[2]


def test_every_label_id_and_every_kind_of_part_id(tree):
    ids = np.zeros((256, 512), np.uint8)
    ids[0, :34] = range(34)
    save(tree / "val/seg/0.png", ids)
    uids = np.zeros((256, 512), np.int32)
    every = [k * 100_000 + 700 + p for k in range(1, 34) for p in range(10)]
    uids[1, : len(every)] = every
    uids[0, : len(PART)] = list(PART)
    save(tree / "val/part_seg/0.tif", uids)
    sample = Cityscapes(tree, "val")[0]
    assert sample["segmentation"][0, :34].tolist() == [TRAIN_ID.get(i, -1) for i in range(34)]
    assert sample["parts"][0, : len(PART)].tolist() == list(PART.values())
    assert sample["parts"][1, : len(every)].tolist() == [by_digits(uid) for uid in every]
    assert all(by_digits(uid) == part for uid, part in PART.items())


def test_targets():
    assert len(CLASSES) == 19 and CLASSES[TRAIN_ID[26]] == "car" and CLASSES[18] == "bicycle"
    assert len(PARTS) == 10 and PARTS[PART[2801203]] == "light" and PARTS[1:3] == ("torso", "head")
    assert {t.kind for t in Cityscapes.targets.values()} == {"classes", "disparity"}
    assert Cityscapes.targets["disparity"].ignore == -1


def test_transform_and_check(written):
    data = Cityscapes(written, "train", transform=lambda sample: {"sum": sample["image"].sum()})
    assert list(data[0]) == ["sum"]
    report = check(Cityscapes, written)
    assert report.usable and report.sizes == {(256, 512)}
    assert "train: 2 samples, official 2,975" in str(report) and report.files == 12


def cut(path):
    path.write_bytes(path.read_bytes()[:-80])


BREAKS = {
    "truncated image": (lambda t: cut(t / "train/image/1.png"), "train/image/1.png is not a whole"),
    "no image": (lambda t: (t / "train/seg/1.png").write_text("x"), "seg/1.png is not a whole"),
    "truncated parts": (lambda t: cut(t / "train/part_seg/0.tif"), "part_seg/0.tif is not a whole"),
    "grey image": (
        lambda t: save(t / "train/image/0.png", np.zeros((256, 512), np.uint8)),
        r"image/0.png has uint8 pixels of shape \(256, 512\), expected uint8 .*\(256, 512, 3\)",
    ),
    "wrong size": (
        lambda t: save(t / "train/seg/0.png", np.zeros((128, 256), np.uint8)),
        r"seg/0.png has uint8 pixels of shape \(128, 256\), expected uint8 of shape \(256, 512\)",
    ),
    "coloured labels": (
        lambda t: save(t / "train/seg/0.png", np.zeros((256, 512, 4), np.uint8)),
        r"seg/0.png has uint8 pixels of shape \(256, 512, 4\)",
    ),
    "8-bit disparity": (
        lambda t: save(t / "train/depth/0.png", np.zeros((256, 512), np.uint8)),
        "depth/0.png has uint8 pixels .* expected uint16",
    ),
    "8-bit parts": (
        lambda t: save(t / "train/part_seg/0.tif", np.zeros((256, 512), np.uint8)),
        "part_seg/0.tif has uint8 pixels .* expected int32",
    ),
    "train ids": (
        lambda t: save(t / "train/seg/1.png", np.full((256, 512), 255, np.uint8)),
        "seg/1.png holds the label id 255, expected 0..33",
    ),
    "part id of 3 digits": (
        lambda t: save(t / "train/part_seg/1.tif", np.full((256, 512), 240, np.int32)),
        "part_seg/1.tif holds the panoptic-parts id 240, expected 1, 2 or 4 to 7 digits",
    ),
    "part id of 8 digits": (
        lambda t: save(t / "train/part_seg/1.tif", np.full((256, 512), 24_000_010, np.int32)),
        "part_seg/1.tif holds the panoptic-parts id 24000010",
    ),
    "negative part id": (
        lambda t: save(t / "train/part_seg/1.tif", np.full((256, 512), -1, np.int32)),
        "part_seg/1.tif holds the panoptic-parts id -1",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_files_are_named(tree, name):
    spoil, message = BREAKS[name]
    spoil(tree)
    data = Cityscapes(tree, "train")
    with pytest.raises(ValueError, match=message):
        for i in range(2):
            data[i]
    report = check(Cityscapes, tree)
    assert not report.usable and report.parts["train"].broken == 1
    assert report.parts["val"].fault is None


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("train/seg", "no folder .*train/seg"),
        ("train/part_seg", "no folder .*train/part_seg"),
        ("train/depth/0.png", "train/depth/0.png is missing"),
        ("train/depth/1.png", "train/depth/1.png is missing"),
        ("train/part_seg/1.tif", "train/part_seg/1.tif is missing"),
        ("train/part_seg/0.tif", "train/part_seg/0.tif is missing"),
        ("train/image/1.png", "train/image/1.png is missing"),
    ],
)
def test_missing_files_are_named(tree, lost, message):
    path = tree / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        Cityscapes(tree, "train")


def test_an_image_too_few(tree):
    for name in ("image", "seg", "depth"):
        (tree / f"train/{name}/1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"image/1.png is missing: part_seg holds 2"):
        Cityscapes(tree, "train")


def test_unknown_split_and_root(written, tmp_path):
    with pytest.raises(ValueError, match=r"split must be one of .*'train', 'val'.* got 'test'"):
        Cityscapes(written, "test")
    with pytest.raises(FileNotFoundError, match="no folder root="):
        Cityscapes(tmp_path / "nowhere", "train")


PACKAGES = {
    "leftImg8bit": ("image", "_leftImg8bit.png"),
    "gtFine": ("seg", "_gtFine_labelIds.png"),
    "gtFinePanopticParts": ("part_seg", "_gtFinePanopticParts.tif"),
    "disparity": ("depth", "_disparity.png"),
}
FRAMES = {
    "train": ["zurich/zurich_000000_000019", "aachen/aachen_000001_000019"],
    "val": ["munster/munster_000005_000019"],
}
ORDER = {"train": [1, 0], "val": [0]}  # by city, not as written


def official(seed):
    """Full size, with single pixels that differ from those around them."""
    full = pixels(seed, 1024, 2048)
    full["image"][::2, ::2] //= 2
    for name in ("seg", "part_seg", "depth"):
        full[name][::4, ::4] = 1
    return full


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    src = tmp_path_factory.mktemp("official")
    for split, frames in FRAMES.items():
        for seed, frame in enumerate(frames):
            full = official(seed)
            for package, (name, ending) in PACKAGES.items():
                options = {"compress_level": 1} if ending.endswith("png") else {}
                place = src / package / split
                save(place / f"{frame}{ending}", full[name], **options)
    (src / "gtFine/test/berlin").mkdir(parents=True)  # unlabelled in the official packages
    return src


@pytest.fixture(scope="module")
def prepared(packages, tmp_path_factory):
    dest = tmp_path_factory.mktemp("prepared") / "new"
    Cityscapes.prepare(packages, dest)
    return dest


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_prepare(packages, prepared):
    for split, frames in FRAMES.items():
        data = Cityscapes(prepared, split)
        assert len(data) == len(frames)
        listed = (prepared / split / "frames.txt").read_text().split()
        assert listed == [frames[k] for k in ORDER[split]]
        for i, seed in enumerate(ORDER[split]):
            full, files = official(seed), data.files(i)
            for entry, name in (("segmentation", "seg"), ("disparity", "depth")):
                assert (np.array(Image.open(files[entry])) == full[name][2::4, 2::4]).all()
            uids = np.array(Image.open(files["parts"]))
            assert uids.dtype == np.int32 and (uids == full["part_seg"][2::4, 2::4]).all()
            assert set(data[i]["parts"].unique().tolist()) > {0}
            image = Image.fromarray(full["image"]).resize((512, 256), Image.Resampling.BICUBIC)
            assert (np.array(Image.open(files["image"])) == np.array(image)).all()
    report = check(Cityscapes, prepared)
    assert report.usable and "official packages" in report.origin


class Stopped(BaseException):
    """As when somebody interrupts the run."""


def test_prepare_goes_on_where_it_stopped(packages, prepared, tmp_path, monkeypatch):
    dest, calls = tmp_path / "new", itertools.count(1)
    real = Path.write_bytes

    def fails_at_the_sixth(self, content):
        if next(calls) >= 6:
            real(self, content[: len(content) // 2])
            raise Stopped
        real(self, content)

    monkeypatch.setattr(Path, "write_bytes", fails_at_the_sixth)
    with pytest.raises(Stopped):
        Cityscapes.prepare(packages, dest)
    monkeypatch.setattr(Path, "write_bytes", real)
    before = contents(dest)
    listing = before.pop(Path("train/frames.txt")).decode().split()
    assert listing == [FRAMES["train"][k] for k in ORDER["train"]]
    assert len(before) == 5 and before.items() < contents(prepared).items()
    times = {k: (dest / k).stat().st_mtime_ns for k in before}
    Cityscapes.prepare(packages, dest)
    assert contents(dest) == contents(prepared)
    assert {k: (dest / k).stat().st_mtime_ns for k in times} == times


def test_prepare_from_folders_of_the_archives(packages, prepared, tmp_path):
    src = tmp_path / "src"
    for package in PACKAGES:
        archive = f"{package}_trainval" + "test" * (package != "gtFinePanopticParts")
        (src / archive).mkdir(parents=True)
        (src / archive / package).symlink_to(packages / package)
    Cityscapes.prepare(src, tmp_path / "new")
    assert contents(tmp_path / "new") == contents(prepared)


def test_prepare_refuses_a_folder_of_other_frames(packages, prepared, written, tmp_path):
    dest = shutil.copytree(prepared, tmp_path / "new")
    listing = dest / "train/frames.txt"
    listing.write_text("bremen/bremen_000001_000019\n")
    with pytest.raises(ValueError, match=r"train/frames.txt lists other frames"):
        Cityscapes.prepare(packages, dest)
    listing.write_text("aachen/aachen_000001_000019\n")  # of two: the second might be any
    with pytest.raises(ValueError, match=r"1\.\w+ is of a frame that .*train/frames.txt lacks"):
        Cityscapes.prepare(packages, dest)
    other = shutil.copytree(written, tmp_path / "other")
    with pytest.raises(ValueError, match=r"is of a frame that .*train/frames.txt lacks: choose"):
        Cityscapes.prepare(packages, other)
    assert contents(other) == contents(written)


def test_a_list_of_frames_that_an_editor_saved(packages, prepared, tmp_path):
    dest = shutil.copytree(prepared, tmp_path / "new")
    listing = dest / "train/frames.txt"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes().replace(b"\n", b"\r\n"))
    Cityscapes.prepare(packages, dest)


LEFT = b"\0\5\x16\7" + bytes(60)  # as macOS keeps on a foreign disk what belongs to a file


@pytest.mark.parametrize("where", [[*PACKAGES], ["leftImg8bit"]], ids=["all", "one"])
def test_what_systems_leave_is_no_frame(packages, prepared, tmp_path, where):
    src = shutil.copytree(packages, tmp_path / "src")
    for package in where:
        for path in [*(src / package).glob("*/*/*")]:
            path.with_name(f"._{path.name}").write_bytes(LEFT)
            (path.parent / ".DS_Store").write_bytes(LEFT)
            hidden = path.parent.parent / ".Trashes" / path.name
            hidden.parent.mkdir(exist_ok=True)
            hidden.write_bytes(LEFT)
    dest = tmp_path / "new"
    for _ in range(2):
        Cityscapes.prepare(src, dest)
        assert contents(dest) == contents(prepared)
        for path in [*dest.glob("*/*/*")]:  # the new folder lies on such a disk, too
            path.with_name(f"._{path.name}").write_bytes(LEFT)
        (dest / "train/image/.DS_Store").write_bytes(LEFT)
        assert [len(Cityscapes(dest, split)) for split in FRAMES] == [2, 1]
        assert check(Cityscapes, dest).digest == check(Cityscapes, prepared).digest
        for path in [*dest.rglob(".*")]:
            path.unlink()
    (tmp_path / "other/train/image").mkdir(parents=True)
    (tmp_path / "other/train/image/._0.png").write_bytes(LEFT)
    Cityscapes.prepare(src, tmp_path / "other")


def test_a_call_that_failed_is_gone_on_with_whatever_becomes_of_the_broken_frame(
    packages, prepared, tmp_path
):
    """Frames are listed when they were read: the broken one has no number yet."""
    for name in ("mended", "left out"):
        src, dest = shutil.copytree(packages, tmp_path / f"src {name}"), tmp_path / name
        broken = src / f"gtFine/train/{FRAMES['train'][0]}_gtFine_labelIds.png"
        whole = broken.read_bytes()
        broken.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r"labelIds.png is not a whole image"):
            Cityscapes.prepare(src, dest)
        assert (dest / "train/frames.txt").read_text().split() == FRAMES["train"][1:]
        assert len(Cityscapes(dest, "train")) == 1 and not (dest / "val").exists()
        times = {path: path.stat().st_mtime_ns for path in dest.rglob("0.*")}
        if name == "mended":
            broken.write_bytes(whole)
        else:
            for package, (_, ending) in PACKAGES.items():
                (src / package / "train" / f"{FRAMES['train'][0]}{ending}").unlink()
        Cityscapes.prepare(src, dest)
        assert {path: path.stat().st_mtime_ns for path in times} == times and len(times) == 4
        expected = contents(prepared)
        if name == "left out":
            expected = {k: v for k, v in expected.items() if k.stem != "1"}
            expected[Path("train/frames.txt")] = f"{FRAMES['train'][1]}\n".encode()
        assert contents(dest) == expected


def test_a_first_frame_that_is_broken_leaves_nothing(packages, tmp_path):
    src = shutil.copytree(packages, tmp_path / "src")
    (src / f"leftImg8bit/{FRAME}_leftImg8bit.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"000019_leftImg8bit.png is not a whole image"):
        Cityscapes.prepare(src, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["image/1.png", "part_seg/1.tif"])
def test_a_folder_in_the_place_of_a_file(tree, name):
    (tree / "train" / name).unlink()
    (tree / "train" / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} is not a whole image file: .*directory"):
        Cityscapes(tree, "train")[1]


def test_endings_in_capitals_are_other_files(tree):
    for path in [*(tree / "train/seg").iterdir()]:
        path.rename(path.with_suffix(".PNG"))
    with pytest.raises(FileNotFoundError, match=r"seg holds no file 0\.png"):
        Cityscapes(tree, "train")


FRAME = "train/aachen/aachen_000001_000019"


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("disparity", "no folder .*disparity: unpack disparity_trainvaltest.zip"),
        (f"gtFine/{FRAME}_gtFine_labelIds.png", "aachen_000001_000019_gtFine_labelIds.png is miss"),
        (f"leftImg8bit/{FRAME}_leftImg8bit.png", "aachen_000001_000019_leftImg8bit.png is missing"),
        ("gtFinePanopticParts/val", "munster_000005_000019_gtFinePanopticParts.tif is missing"),
    ],
)
def test_prepare_names_what_is_missing(packages, tmp_path, lost, message):
    src = shutil.copytree(packages, tmp_path / "src")
    path = src / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=message):
        Cityscapes.prepare(src, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_prepare_names_a_broken_file(packages, tmp_path):
    src = shutil.copytree(packages, tmp_path / "src")
    path = src / f"disparity/{FRAME}_disparity.png"
    cut(path)
    with pytest.raises(ValueError, match=r"000019_disparity.png is not a whole image"):
        Cityscapes.prepare(src, tmp_path / "new")
    save(path, np.zeros((512, 1024), np.uint16))
    with pytest.raises(ValueError, match=r"disparity.png .* expected uint16 of .*\(1024, 2048\)"):
        Cityscapes.prepare(src, tmp_path / "new")
    assert not (tmp_path / "new/train/depth/0.png").exists()


def test_prepare_without_any_frame(packages, tmp_path):
    for package in PACKAGES:
        (tmp_path / "src" / package / "train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"train holds no <city>/\*_leftImg8bit.png"):
        Cityscapes.prepare(tmp_path / "src", tmp_path / "new")

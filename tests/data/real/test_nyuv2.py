"""NYUv2: the layout read back, broken one way at a time, and made from the official file."""

import math

import numpy as np
import pytest
import torch

from tssbn.data.real.check import check
from tssbn.data.real.normals import from_depth
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


def plane(normal, distance, size, camera):
    """The depth of the plane n · p = -distance, in float64."""
    fx, fy, cx, cy = camera
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    ray = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(size)])
    return -distance / np.tensordot(normal, ray, 1)


@pytest.mark.parametrize(
    "normal", [(0, 0, -1), (0.6, 0, -0.8), (0, -0.8, -0.6), (-0.48, 0.6, -0.64)]
)
def test_normals_of_planes_are_exact(normal):
    camera = (60, 55, 19, 14)
    depth = torch.from_numpy(plane(np.array(normal), 2.0, (30, 40), camera))
    assert (depth > 0).all()
    found = from_depth(depth, camera)
    assert found.dtype == torch.float32
    error = (found - torch.tensor(normal)[:, None, None]).norm(dim=0)
    assert error.max() < 1e-5  # up to the border, of float32


def test_normals_are_void_across_an_edge_and_where_depth_is_unknown():
    camera = (60, 55, 19, 14)
    depth = torch.full((30, 40), 2.0)
    depth[:, 20:] = 3.0
    known = from_depth(depth, camera).norm(dim=0) > 0
    assert known[:, :15].all() and known[:, 25:].all() and not known[:, 17:23].any()
    depth = torch.full((30, 40), 2.0)
    depth[10:20, 10:30] = 0
    known = from_depth(depth, camera, window=5).norm(dim=0) > 0
    assert not known[13:17, 13:27].any() and known[:7].all() and known[23:].all()
    assert torch.isfinite(from_depth(torch.zeros(8, 8), camera)).all()
    with pytest.raises(ValueError, match=r"depth must be \(H, W\), got \(1, 8, 8\)"):
        from_depth(torch.zeros(1, 8, 8), camera)
    for window in (1, 4):
        with pytest.raises(ValueError, match=f"window must be an odd number .* got {window}"):
            from_depth(depth, camera, window)


NUMBERS = {"trainNdxs": [3, 1], "testNdxs": [2]}


def frame(k):
    """RGB, depth and label of frame ``k`` (from 0) of the official file, upright."""
    v, u = np.mgrid[:480, :640]
    image = np.stack([u * 255 // 639, v * 255 // 479, np.full_like(u, 60 * k)], 2).astype(np.uint8)
    label = ((u // 40 + v // 40 * 16 + k) % 895).astype(np.uint16)
    wall = plane(
        np.array([0.6, 0, -0.8]), 2.0 + k, (480, 640), (518.858, 519.470, 325.582, 253.736)
    )
    return image, wall.astype(np.float32), label


@pytest.fixture
def official(tmp_path):
    """The four official files, of three frames."""
    h5py = pytest.importorskip("h5py")
    scipy_io = pytest.importorskip("scipy.io")
    pytest.importorskip("PIL")
    src = tmp_path / "official"
    src.mkdir()
    images, depths, labels = zip(*map(frame, range(3)), strict=True)
    with h5py.File(src / "nyu_depth_v2_labeled.mat", "w") as made:  # MATLAB's axes in reverse
        made["images"] = np.stack(images).transpose(0, 3, 2, 1)
        made["depths"] = np.stack(depths).transpose(0, 2, 1)
        made["labels"] = np.stack(labels).transpose(0, 2, 1)
    scipy_io.savemat(src / "splits.mat", {k: np.uint16(v)[:, None] for k, v in NUMBERS.items()})
    forty, thirteen = np.arange(894) % 40 + 1, np.arange(40) % 13 + 1
    scipy_io.savemat(src / "classMapping40.mat", {"mapClass": np.uint8(forty)[None]})
    scipy_io.savemat(
        src / "class13Mapping.mat", {"classMapping13": {"labels13": np.uint8(thirteen)[None]}}
    )
    return src


def test_prepared_from_the_official_file(official, tmp_path):
    dest = tmp_path / "nyuv2"
    NYUv2.prepare(official, dest)
    assert (len(NYUv2(dest, "train")), len(NYUv2(dest, "val"))) == (2, 1)
    assert check(NYUv2, dest).usable
    assert "DERIVED from the depth" in (dest / "ORIGIN.txt").read_text()

    # The pixel under the centre of pixel (r, c): 480/288 = 640/384 = 5/3.
    rows, columns = ((5 * (2 * np.arange(n) + 1)) // 6 for n in (288, 384))
    for split, numbers in (("train", NUMBERS["trainNdxs"]), ("val", NUMBERS["testNdxs"])):
        for i, number in enumerate(numbers):
            image, depth, label = frame(number - 1)
            sample = NYUv2(dest, split)[i]
            nearest = label[rows][:, columns].astype(int)
            expected = np.where(nearest == 0, -1, (nearest - 1) % 40 % 13)
            assert np.array_equal(sample["segmentation"], expected)
            assert np.array_equal(sample["depth"][0], depth[rows][:, columns])
            # A ramp keeps its values when it is resized, up to the 8 bits.
            there = torch.from_numpy(image[rows][:, columns]).permute(2, 0, 1) / 255
            assert (sample["image"] - there).abs().max() < 1.5 / 255
            wall = torch.tensor([0.6, 0, -0.8])[:, None, None]
            assert (sample["normal"] - wall).norm(dim=0).max() < 1e-3


def test_prepare_goes_on_where_it_stopped(official, tmp_path):
    dest = tmp_path / "nyuv2"
    NYUv2.prepare(official, dest)
    kept, lost = dest / "train/depth/0.npy", dest / "val/normal/0.npy"
    spoil(kept, put((0, 0, 0), 7))
    lost.unlink()
    NYUv2.prepare(official, dest)
    assert np.load(kept)[0, 0, 0] == 7 and lost.exists()
    assert not list(dest.rglob("*part*"))


def normals_gt(official, vectors, axes):
    """The folder of normals: ``vectors`` (480, 640, 3) in other axes, masked at the left."""
    Image = pytest.importorskip("PIL.Image")
    for name in ("normals", "masks"):
        (official / "normals_gt" / name).mkdir(parents=True, exist_ok=True)
    mask = np.full((480, 640), 255, np.uint8)
    mask[:, :100] = 0
    stored = np.round((vectors * axes + 1) * 127.5).astype(np.uint8)
    for k in range(3):
        Image.fromarray(stored).save(official / f"normals_gt/normals/{k:04d}.png")
        Image.fromarray(mask).save(official / f"normals_gt/masks/{k:04d}.png")


def test_given_normals_are_turned_to_our_axes(official, tmp_path):
    wall = np.broadcast_to([0.6, 0, -0.8], (480, 640, 3))
    normals_gt(official, wall, [-1, -1, -1])
    NYUv2.prepare(official, tmp_path / "nyuv2")
    normal = NYUv2(tmp_path / "nyuv2", "train")[0]["normal"]
    assert (normal[:, :, :60] == 0).all()
    assert (normal[:, :, 60:] - torch.tensor([0.6, 0, -0.8])[:, None, None]).abs().max() < 0.01
    assert check(NYUv2, tmp_path / "nyuv2").usable
    assert "ground truth" in (tmp_path / "nyuv2/ORIGIN.txt").read_text()


def test_normals_that_do_not_belong_to_the_depth_are_refused(official, tmp_path):
    normals_gt(official, np.broadcast_to([0, -1, 0], (480, 640, 3)), [1, 1, 1])
    with pytest.raises(ValueError, match="normals_gt do not agree with the depth: median angle"):
        NYUv2.prepare(official, tmp_path / "nyuv2")
    assert not (tmp_path / "nyuv2").exists()
    (official / "normals_gt").rename(official / "others")  # nothing was made of them
    NYUv2.prepare(official, tmp_path / "nyuv2")
    assert check(NYUv2, tmp_path / "nyuv2").usable


def test_given_normals_of_another_size_are_named(official, tmp_path):
    normals_gt(official, np.broadcast_to([0.6, 0, -0.8], (480, 640, 3)), [1, 1, 1])
    path = official / "normals_gt/masks/0000.png"
    pytest.importorskip("PIL.Image").new("L", (561, 427)).save(path)
    with pytest.raises(
        ValueError, match=r"masks/0000\.png has \(427, 561\) pixels, expected \(480"
    ):
        NYUv2.prepare(official, tmp_path / "nyuv2")
    assert not (tmp_path / "nyuv2").exists()


def test_files_of_unknown_origin_are_not_added_to(official, root, tmp_path):
    with pytest.raises(
        ValueError, match=r"\.npy lies there without .*ORIGIN\.txt: choose an empty"
    ):
        NYUv2.prepare(official, root)
    (tmp_path / "new/train/depth").mkdir(parents=True)
    (tmp_path / "new/train/depth/._0.npy").touch()  # this is no sample
    NYUv2.prepare(official, tmp_path / "new")


def test_a_note_that_an_editor_saved(official, tmp_path):
    NYUv2.prepare(official, tmp_path / "nyuv2")
    note = tmp_path / "nyuv2/ORIGIN.txt"
    note.write_bytes(b"\xef\xbb\xbf" + note.read_bytes().replace(b"\n", b"\r\n"))
    NYUv2.prepare(official, tmp_path / "nyuv2")


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"trainNdxs": [0, 1], "testNdxs": [2]}, r"splits\.mat names frame 0 of 3"),
        ({"trainNdxs": [4, 1], "testNdxs": [2]}, r"splits\.mat names frame 4 of 3"),
        ({"trainNdxs": [3, 1], "testNdxs": [3]}, r"splits\.mat names a frame twice"),
    ],
)
def test_splits_that_cannot_be(official, tmp_path, numbers, says):
    path = official / "splits.mat"
    pytest.importorskip("scipy.io").savemat(path, {k: np.uint16(v) for k, v in numbers.items()})
    with pytest.raises(ValueError, match=says):
        NYUv2.prepare(official, tmp_path / "nyuv2")
    assert not (tmp_path / "nyuv2").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("classMapping40", {"mapClass": np.uint8([41] * 894)}, "mapClass is no table of 894 numb"),
        ("classMapping40", {"mapClass": np.uint8([0] * 894)}, "mapClass is no table of 894 numbe"),
        ("classMapping40", {"mapClass": np.uint8([1] * 893)}, "mapClass is no table of 894 numbe"),
        ("classMapping40", {"map": 1}, "is not a MATLAB file with 'mapClass'"),
        (
            "class13Mapping",
            {"classMapping13": {"labels13": np.uint8([14] * 40)}},
            "labels13 is no table of 40 numbers from 1 to 13",
        ),
        ("class13Mapping", {"classMapping13": 5}, "is not a MATLAB file with 'classMapping13'"),
    ],
)
def test_tables_that_cannot_be(official, tmp_path, name, content, says):
    path = official / f"{name}.mat"
    pytest.importorskip("scipy.io").savemat(path, content)
    with pytest.raises(ValueError, match=says) as raised:
        NYUv2.prepare(official, tmp_path / "nyuv2")
    assert str(path) in str(raised.value) and not (tmp_path / "nyuv2").exists()


def test_a_damaged_frame_of_the_official_file_is_named(official, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = official / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "r+") as made:
        labels = made["labels"][:]
        depths = made["depths"][:]
        del made["labels"], made["depths"]
        labels[2, 5::10, 5::10] = 895
        made["labels"] = labels
        made.create_dataset("depths", data=depths, chunks=(1, 640, 480), compression="gzip")
    with pytest.raises(ValueError, match=r"labeled\.mat: frame 3 holds the label 895, expected 0"):
        NYUv2.prepare(official, tmp_path / "nyuv2")
    with h5py.File(path, "r") as made:
        place = made["depths"].id.get_chunk_info(2).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 1000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"depths of frame 3 in .*labeled\.mat cannot be read"):
        NYUv2.prepare(official, tmp_path / "nyuv2")
    with h5py.File(path, "r+") as made:
        del made["depths"]
        made["depths"] = depths[:2]
    with pytest.raises(
        ValueError, match=r"labeled\.mat: expected depths of shape \(3, 640, 480\), got"
    ):
        NYUv2.prepare(official, tmp_path / "nyuv2")
    assert not (tmp_path / "nyuv2").exists()


def test_two_kinds_of_normals_are_not_mixed(official, tmp_path):
    NYUv2.prepare(official, tmp_path / "nyuv2")
    (official / "normals_gt").mkdir()
    with pytest.raises(ValueError, match=r"ORIGIN\.txt says .*DERIVED.*: choose another folder"):
        NYUv2.prepare(official, tmp_path / "nyuv2")


def test_official_files_that_are_missing_or_broken(official, tmp_path):
    h5py = pytest.importorskip("h5py")
    mat, dest = official / "nyu_depth_v2_labeled.mat", tmp_path / "nyuv2"
    whole = mat.read_bytes()
    mat.write_bytes(whole[:100_000])
    with pytest.raises(ValueError, match=r"labeled\.mat is not a whole MATLAB 7\.3"):
        NYUv2.prepare(official, dest)
    mat.unlink()
    with h5py.File(mat, "w") as made:
        made["images"] = np.zeros((1, 480, 640, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 3, 640, 480\), got"):
        NYUv2.prepare(official, dest)
    mat.write_bytes(whole)
    splits = (official / "splits.mat").read_bytes()
    (official / "splits.mat").write_bytes((official / "classMapping40.mat").read_bytes())
    with pytest.raises(ValueError, match=r"splits\.mat is not a MATLAB file with 'trainNdxs'"):
        NYUv2.prepare(official, dest)
    (official / "splits.mat").write_bytes(splits)
    with h5py.File(mat, "r+") as made:
        for name in ("images", "depths", "labels"):
            value = made[name][:2]
            del made[name]
            made[name] = value
    with pytest.raises(ValueError, match=r"splits\.mat names frame 3 of 2"):
        NYUv2.prepare(official, dest)
    (official / "splits.mat").write_bytes(splits[:100])
    with pytest.raises(ValueError, match=r"splits\.mat is not a MATLAB file with 'trainNdxs'"):
        NYUv2.prepare(official, dest)
    (official / "splits.mat").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks splits\.mat: python -m tssbn data download"
    ):
        NYUv2.prepare(official, dest)
    assert not dest.exists() or not list(dest.rglob("*.npy"))

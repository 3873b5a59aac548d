"""NYUv2 prepared from the official file, and what is wrong with it."""

import numpy as np
import pytest
import torch
from planes import plane

from tssbn.data.real.check import check
from tssbn.data.real.nyuv2 import NYUv2

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
    changed = np.load(kept)
    changed[0, 0, 0] = 7
    np.save(kept, changed)
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


def test_files_of_unknown_origin_are_not_added_to(official, tmp_path):
    (tmp_path / "old/train/depth").mkdir(parents=True)
    np.save(tmp_path / "old/train/depth/0.npy", np.ones((4, 6, 1)))
    with pytest.raises(
        ValueError, match=r"\.npy lies there without .*ORIGIN\.txt: choose an empty"
    ):
        NYUv2.prepare(official, tmp_path / "old")
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

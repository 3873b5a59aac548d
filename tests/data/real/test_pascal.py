"""PASCAL-Context, on a tiny tree written here in the exact layout of PASCAL_MT."""

import shutil

import pytest

pytest.importorskip("PIL")
pytest.importorskip("scipy")
pytest.importorskip("skimage")

import numpy as np
import torch
from pascal_files import DOG, PERSON, annotation, mask, save, struct
from PIL import Image

from tssbn.data.real.check import check
from tssbn.data.real.pascal import HAS_NORMAL, PARTS, TASKS, PascalContext

SIZES = {"2008_000002": (12, 17), "2008_000003": (9, 8), "2010_006993": (16, 11)}
IDS = list(SIZES)
WALL, SKY, TV = 440, 360, 427  # of the Context classes


def things(name):
    """People, parts that cover each other, a dog with a person's name of a part; nobody in one."""
    size = SIZES[name]
    top, left = slice(0, 4), slice(0, 3)
    if name == IDS[0]:
        return [
            (PERSON, [("torso", mask(size, slice(2, 9), left)), ("lhand", mask(size, 8, left))]),
            (DOG, [("head", mask(size, slice(None), slice(10, None)))]),
            (PERSON, [("reye", mask(size, top, left)), ("rfoot", mask(size, 11, 5))]),
        ]
    return [(DOG, [("head", mask(size, top, left))]), (PERSON, [])]


def stored(name):
    draw = np.random.default_rng(IDS.index(name))
    size = SIZES[name]
    normal = draw.normal(size=(*size, 3))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    context = draw.choice([WALL, SKY, TV, 0, 459], size=(size[0] // 3 + 1, size[1] // 3 + 1))
    context = context.repeat(3, 0).repeat(3, 1)[: size[0], : size[1]]
    return {
        "image": draw.integers(0, 256, (*size, 3), np.uint8),
        "semseg": draw.choice([*range(21), 255], size=size).astype(np.uint8),
        "sal": draw.choice([0, 1, 127, 128, 255], size=size).astype(np.uint8),
        "normals": np.round((normal + 1) * 127.5).astype(np.uint8),
        "context": context.astype(np.uint16),
        "anno": annotation(things(name), size),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("pascal")
    for name in IDS:
        value = stored(name)
        folder = "VOC12" if name == IDS[0] else "pascal-context"
        save(root / f"JPEGImages/{name}.jpg", value["image"])
        save(root / f"semseg/{folder}/{name}.png", value["semseg"])
        save(root / f"sal_distill/{name}.png", value["sal"])
        save(root / f"normals_distill/{name}.png", value["normals"])
        save(root / f"pascal-context/trainval/{name}.mat", {"LabelMap": value["context"]})
        save(root / f"human_parts/{name}.mat", {"anno": value["anno"]})
    # of both folders with a segmentation, VOC12 goes first
    wrong = np.zeros(SIZES[IDS[0]], np.uint8)
    save(root / f"semseg/pascal-context/{IDS[0]}.png", wrong)
    lists = root / "ImageSets/Context"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text(f"{IDS[0]}\n{IDS[1]}\n")
    (lists / "val.txt").write_text(f"{IDS[2]}\n")
    return root


@pytest.fixture
def tree(written, tmp_path):
    return shutil.copytree(written, tmp_path / "tree")


def laplacian(values):
    """Edges pixel by pixel: a neighbour outside is the one on the other side."""
    height, width = values.shape
    edges = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            total = -4 * int(values[y, x])
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                v, u = y + dy, x + dx
                v = y - dy if not 0 <= v < height else v
                u = x - dx if not 0 <= u < width else u
                total += int(values[v, u])
            edges[y, x] = total != 0
    return edges


def thinned(edges):
    """Guo and Hall (1989), pixel by pixel, by the conditions of their paper."""
    pixels = {(y, x) for y, x in np.argwhere(edges).tolist()}
    ring = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    while True:
        before = len(pixels)
        for half in (0, 1):
            gone = set()
            for y, x in pixels:
                p = [(y + dy, x + dx) in pixels for dy, dx in ring]  # p[k] is their x(k+1)
                crossings = sum(not p[k] and (p[k + 1] or p[(k + 2) % 8]) for k in (0, 2, 4, 6))
                one = sum(p[k] or p[k + 1] for k in (0, 2, 4, 6))
                two = sum(p[k + 1] or p[(k + 2) % 8] for k in (0, 2, 4, 6))
                side = (
                    (p[5] or p[6] or not p[3]) and p[4]
                    if half
                    else (p[1] or p[2] or not p[7]) and p[0]
                )
                if crossings == 1 and 2 <= min(one, two) <= 3 and not side:
                    gone.add((y, x))
            pixels -= gone
        if len(pixels) == before:
            break
    result = np.zeros(edges.shape, np.int64)
    for y, x in pixels:
        result[y, x] = 1
    return result


def by_name(name):
    """A group from the letters of a part's name: l or r, u(pper) or l(ower), arm or leg."""
    if name in ("neck", "torso"):
        return PARTS.index("torso")
    for ending, group in (("uarm", "upper arm"), ("larm", "lower arm"), ("hand", "lower arm")):
        if name[1:] == ending:
            return PARTS.index(group)
    for ending, group in (("uleg", "upper leg"), ("lleg", "lower leg"), ("foot", "lower leg")):
        if name[1:] == ending:
            return PARTS.index(group)
    return PARTS.index("head")


def test_samples_hold_exact_values(written):
    for split, names in (("train", IDS[:2]), ("val", IDS[2:])):
        data = PascalContext(written, split)
        assert len(data) == len(names) and data.ids == names and tuple(data.targets) == TASKS
        for sample, name in zip(data, names, strict=True):
            value, size = stored(name), SIZES[name]
            assert list(sample) == ["image", *TASKS]
            assert all(entry.shape[-2:] == size for entry in sample.values())
            jpeg = np.array(Image.open(written / f"JPEGImages/{name}.jpg"))
            image = torch.from_numpy(jpeg).permute(2, 0, 1)
            assert torch.equal(sample["image"], image.float() / 255)
            classes = np.where(value["semseg"] == 255, -1, value["semseg"].astype(int))
            assert torch.equal(sample["segmentation"], torch.from_numpy(classes))
            salient = np.isin(value["sal"], (128, 255)).astype(int)
            assert torch.equal(sample["saliency"], torch.from_numpy(salient))
            edges = thinned(laplacian(value["context"]))
            assert 0 < edges.sum() < laplacian(value["context"]).sum()
            assert torch.equal(sample["boundary"], torch.from_numpy(edges))


def test_boundaries_of_maps_that_are_all_edges(tree):
    """Few neighbouring numbers: sums of neighbours cancel, at the border too."""
    draw, size = np.random.default_rng(0), SIZES[IDS[2]]
    for _ in range(5):
        context = draw.integers(0, 4, size).astype(np.uint8)
        save(tree / f"pascal-context/trainval/{IDS[2]}.mat", {"LabelMap": context})
        found = PascalContext(tree, "val", tasks=["boundary"])[0]["boundary"]
        assert torch.equal(found, torch.from_numpy(thinned(laplacian(context))))


def test_normals_of_indoor_classes_are_turned_to_our_axes(written):
    sample = PascalContext(written, "val", tasks=["normal"])[0]
    assert list(sample) == ["image", "normal"]
    value = stored(IDS[2])
    kept = np.isin(value["context"], (WALL, TV))
    assert 0.2 < kept.mean() < 0.8
    length = sample["normal"].norm(dim=0)
    assert torch.equal(length > 0, torch.from_numpy(kept))
    torch.testing.assert_close(length[kept], torch.ones(int(kept.sum())))
    original = value["normals"].astype(float) * 2 / 255 - 1
    original /= np.linalg.norm(original, axis=2, keepdims=True)
    expected = torch.from_numpy(-original[kept].T).float()
    torch.testing.assert_close(sample["normal"][:, kept], expected)


def test_a_wall_in_front_has_its_normal_towards_us(tree):
    size = SIZES[IDS[2]]
    blue = np.full((*size, 3), (128, 128, 255), np.uint8)  # as networks' figures show such a wall
    blue[0, 0] = 127, 128, 127  # no direction at all
    save(tree / f"normals_distill/{IDS[2]}.png", blue)
    save(tree / f"pascal-context/trainval/{IDS[2]}.mat", {"LabelMap": np.full(size, WALL)})
    normal = PascalContext(tree, "val")[0]["normal"]
    assert normal[:, 0, 0].tolist() == [0, 0, 0]
    assert (normal[2, 1:] < -0.999).all() and (normal[:2, 1:].abs() < 0.01).all()


def test_the_classes_with_normals():
    assert HAS_NORMAL.sum() == 170 and HAS_NORMAL.shape == (460,)
    floor, ceiling, person, chair, sofa = 158, 68, 284, 72, 368
    assert HAS_NORMAL[[WALL, TV, floor, ceiling, person, chair, sofa]].all()
    grass, tree, road, building, unknown = 187, 420, 324, 44, 431
    assert not HAS_NORMAL[[0, SKY, grass, tree, road, building, unknown]].any()
    assert HAS_NORMAL.nonzero()[0].sum() == 37556  # no digit of the table changed by accident


def test_parts(written):
    sample = PascalContext(written, "train")[0]["parts"]
    expected = torch.zeros(SIZES[IDS[0]], dtype=torch.long)
    for kind, parts in things(IDS[0]):
        if kind == PERSON:
            for name, where in parts:
                expected[torch.from_numpy(where) > 0] = by_name(name)
    assert set(expected.unique().tolist()) == {0, 1, 2, 4, 6}
    assert torch.equal(sample, expected)
    # a dog's head is no part, and a person without parts gives none: then nothing counts
    assert (PascalContext(written, "train")[1]["parts"] == -1).all()


def test_every_name_of_a_part(tree):
    one_of_two = ("eye", "ear", "ebrow", "foot", "hand", "larm", "uarm", "lleg", "uleg")
    names = [side + part for side in "lr" for part in one_of_two]
    names += ["hair", "head", "mouth", "neck", "nose", "torso"]
    size = SIZES[IDS[1]]
    parts = [(part, mask(size, *np.unravel_index(k, size))) for k, part in enumerate(names)]
    save(tree / f"human_parts/{IDS[1]}.mat", {"anno": annotation([(PERSON, parts)], size)})
    labels = PascalContext(tree, "train", tasks=("parts",))[1]["parts"].ravel()
    assert len(names) == 24
    assert labels.tolist() == [by_name(part) for part in names] + [0] * (len(labels) - 24)


def test_no_object_at_all(tree):
    anno = struct(("imname", "objects"), [("x", np.zeros((0, 0)))])
    save(tree / f"human_parts/{IDS[1]}.mat", {"anno": anno})
    assert (PascalContext(tree, "train")[1]["parts"] == -1).all()


def test_tasks(tree):
    assert tuple(PascalContext(tree, "val", tasks=4).targets) == TASKS[:4]
    assert tuple(PascalContext(tree, "val", tasks=5).targets) == TASKS
    both = PascalContext(tree, "val", tasks=("boundary", "parts"))
    assert list(both[0]) == ["image", "boundary", "parts"]
    for folder in ("pascal-context", "sal_distill", "normals_distill"):
        shutil.rmtree(tree / folder)
    assert list(PascalContext(tree, "val", tasks=["parts"])[0]) == ["image", "parts"]
    with pytest.raises(FileNotFoundError, match=r"sal_distill/2010_006993.png is missing"):
        PascalContext(tree, "val", tasks=4)


@pytest.mark.parametrize("tasks", [3, 0, (), "parts", ("parts", "parts"), ("parts", "depth"), [5]])
def test_tasks_that_do_not_exist(written, tasks):
    with pytest.raises(ValueError, match="tasks must be 5, 4 or some of"):
        PascalContext(written, "train", tasks=tasks)


def test_transform_and_check(written):
    data = PascalContext(written, "train", transform=lambda sample: sample["image"].shape[1:])
    assert [tuple(shape) for shape in data] == [SIZES[IDS[0]], SIZES[IDS[1]]]
    report = check(PascalContext, written)
    assert report.usable and report.sizes == set(SIZES.values())
    assert "train: 2 samples, official 4,998" in str(report)
    assert "val: 1 samples, official 5,105" in str(report)
    assert report.files == 3 * 6


def cut(path):
    path.write_bytes(path.read_bytes()[:-60])


SIZE = SIZES[IDS[1]]
BREAKS = {  # of the second image of train
    "truncated jpg": ("JPEGImages", cut, "is not a whole image"),
    "truncated png": ("normals_distill", cut, "is not a whole image"),
    "truncated labels": ("pascal-context/trainval", cut, "is not a whole .mat file"),
    "truncated parts": ("human_parts", cut, "is not a whole .mat file"),
    "empty mat": ("human_parts", lambda p: p.write_bytes(b""), "is not a whole .mat file"),
    "21 classes": (
        "semseg/pascal-context",
        np.full(SIZE, 21, np.uint8),
        "segmentation has values 21..21, expected ",
    ),
    "coloured classes": (
        "semseg/pascal-context",
        np.zeros((*SIZE, 3), np.uint8),
        "has the Pillow mode RGB, expected",
    ),
    "other size": ("sal_distill", np.zeros((4, 4), np.uint8), "saliency has shape (4, 4)"),
    "1-bit saliency": ("sal_distill", np.zeros(SIZE, bool), "has the Pillow mode 1, expected"),
    "grey normals": ("normals_distill", np.zeros(SIZE, np.uint8), "has the Pillow mode L"),
    "normals' size": (
        "normals_distill",
        np.zeros((4, 4, 3), np.uint8),
        f"has (4, 4) pixels, expected {SIZE}",
    ),
    "no unit normals": (
        "normals_distill",
        np.zeros((*SIZE, 3), np.uint8),
        "holds vectors of length 1.73, expected unit normals",
    ),
    "other variable": (
        "pascal-context/trainval",
        {"labels": np.ones(SIZE)},
        "holds no variable 'LabelMap'",
    ),
    "labels' size": (
        "pascal-context/trainval",
        {"LabelMap": np.ones((4, 4), np.uint16)},
        f"LabelMap has uint16 values of shape (4, 4), expected integers of shape {SIZE}",
    ),
    "fractions": (
        "pascal-context/trainval",
        {"LabelMap": np.ones(SIZE)},
        "LabelMap has float64 values",
    ),
    "class 460": (
        "pascal-context/trainval",
        {"LabelMap": np.full(SIZE, 460, np.uint16)},
        "LabelMap has values 460..460, expected 0..459",
    ),
    "no anno": ("human_parts", {"parts": np.ones(SIZE)}, "holds no variable 'anno'"),
    "anno of numbers": ("human_parts", {"anno": np.ones(SIZE)}, "has not the form of PASCAL-Part"),
    "anno without objects": (
        "human_parts",
        {"anno": struct(("imname",), [("x",)])},
        "has not the form of PASCAL-Part",
    ),
    "unknown part": (
        "human_parts",
        {"anno": annotation([(PERSON, [("tail", np.ones(SIZE, np.uint8))])], SIZE)},
        "holds a person's part 'tail', expected one of ('head', ",
    ),
    "mask's size": (
        "human_parts",
        {"anno": annotation([(PERSON, [("head", np.ones((4, 4), np.uint8))])], SIZE)},
        f"holds a mask of shape (4, 4), expected {SIZE}",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_files_are_named(tree, name):
    folder, spoil, message = BREAKS[name]
    path = next(tree.glob(f"{folder}/{IDS[1]}.*"))
    spoil(path) if callable(spoil) else save(path, spoil)
    data = PascalContext(tree, "train")
    data[0]
    with pytest.raises(ValueError) as caught:
        data[1]
    assert message in str(caught.value) and str(path) in str(caught.value)
    report = check(PascalContext, tree)
    assert report.parts["train"].broken == 1 and str(path) in report.parts["train"].fault


@pytest.mark.parametrize(
    "lost",
    [
        *(f"JPEGImages/{IDS[0]}.jpg", f"semseg/pascal-context/{IDS[1]}.png"),
        *(f"human_parts/{IDS[1]}.mat", f"sal_distill/{IDS[1]}.png", "normals_distill"),
        *("pascal-context", "ImageSets/Context/train.txt", "JPEGImages"),
    ],
)
def test_missing_files_are_named(tree, lost):
    path = tree / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        PascalContext(tree, "train")
    assert str(path) in str(caught.value)


def test_a_segmentation_is_looked_for_in_both_folders(tree):
    (tree / f"semseg/pascal-context/{IDS[1]}.png").unlink()
    with pytest.raises(FileNotFoundError, match=f"VOC12/{IDS[1]}.png or .*-context/{IDS[1]}.png"):
        PascalContext(tree, "train")
    (tree / f"semseg/VOC12/{IDS[0]}.png").unlink()
    (tree / f"semseg/pascal-context/{IDS[1]}.png").touch()
    assert PascalContext(tree, "train").files(0)["segmentation"].parent.name == "pascal-context"


@pytest.mark.parametrize(
    ("text", "message"),
    [("\n", "train.txt is empty"), (f"{IDS[0]}\n{IDS[1]}\n{IDS[0]}\n", f"lists {IDS[0]} twice")],
)
def test_lists(tree, text, message):
    (tree / "ImageSets/Context/train.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        PascalContext(tree, "train")


def test_lists_as_editors_leave_them(tree):
    path = tree / "ImageSets/Context/train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"{IDS[0]} \r\n{IDS[1]}\r\n\r\n".encode())
    assert PascalContext(tree, "train").ids == IDS[:2]
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("utf-16"))
    with pytest.raises(ValueError, match=r"train\.txt is not a text file in UTF-8"):
        PascalContext(tree, "train")


def test_what_systems_leave_is_no_file_of_the_set(tree):
    digest = check(PascalContext, tree).digest
    for path in [*tree.rglob("*.*")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        (path.parent / "Thumbs.db").touch()
    assert PascalContext(tree, "train").ids == IDS[:2]
    assert check(PascalContext, tree).digest == digest


@pytest.mark.parametrize("name", ["JPEGImages/{}.jpg", "human_parts/{}.mat", "sal_distill/{}.png"])
def test_a_folder_in_the_place_of_a_file(tree, name):
    path = tree / name.format(IDS[0])
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=f"{path} is not a whole .* file"):
        PascalContext(tree, "train")[0]


def test_a_listed_image_that_does_not_exist(tree):
    with open(tree / "ImageSets/Context/val.txt", "a") as file:
        file.write("2009_000001\n")
    with pytest.raises(FileNotFoundError, match=r"JPEGImages/2009_000001.jpg is missing"):
        PascalContext(tree, "val")

"""CelebA: the official folders read back, broken one way at a time, and made from the archive."""

import shutil
import zipfile

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image

from tssbn.data.real.archives import Member
from tssbn.data.real.celeba import ATTRIBUTES, CelebA
from tssbn.data.real.check import check

SPLITS = {"train": ["000001.jpg", "000004.jpg"], "val": ["000002.jpg"], "test": ["000003.jpg"]}
NAMES = sorted(name for names in SPLITS.values() for name in names)
SIGNS = np.random.default_rng(0).choice([-1, 1], (len(NAMES), 40))


def face(k, size=(218, 178)):
    """Smooth, so that JPEG hardly changes it; brighter with ``k``."""
    v, u = np.mgrid[: size[0], : size[1]]
    return np.stack([u, v, np.full_like(u, 20 + 40 * k)], 2).astype(np.uint8)


ROWS = [
    f"{name} " + " ".join(f"{sign:2d}" for sign in signs)  # two blanks before a 1, as published
    for name, signs in zip(NAMES, SIGNS, strict=True)
]


def table(rows=ROWS, count=None, names=ATTRIBUTES):
    head = [str(len(rows) if count is None else count), " ".join(names) + " "]
    return "\n".join([*head, *rows]) + "\n"


def partition():
    codes = {name: code for code, names in enumerate(SPLITS.values()) for name in names}
    return "".join(f"{name} {codes[name]}\n" for name in NAMES)


@pytest.fixture
def root(tmp_path):
    images = tmp_path / "Img/img_align_celeba"
    images.mkdir(parents=True)
    for k, name in enumerate(NAMES):
        Image.fromarray(face(k)).save(images / name, quality=95)
    for folder, name, text in (
        ("Anno", "list_attr_celeba.txt", table()),
        ("Eval", "list_eval_partition.txt", partition()),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_the_very_values_come_back(root):
    assert CelebA.official == {"train": 162770, "val": 19867, "test": 19962}
    assert len(ATTRIBUTES) == 40 == len(CelebA.targets)
    for split, names in SPLITS.items():
        data = CelebA(root, split)
        assert len(data) == len(names) and data.names == names
        for i, name in enumerate(names):
            sample = data[i]
            assert list(sample) == ["image", *ATTRIBUTES]
            with Image.open(root / "Img/img_align_celeba" / name) as opened:
                small = np.array(opened.resize((64, 64), Image.Resampling.BILINEAR))
            assert sample["image"].dtype == torch.float32
            assert torch.equal(sample["image"], torch.from_numpy(small).permute(2, 0, 1) / 255)
            signs = SIGNS[NAMES.index(name)]
            assert [sample[a].item() for a in ATTRIBUTES] == (signs == 1).tolist()
            assert {sample[a].dtype for a in ATTRIBUTES} == {torch.int64}


def test_the_image_is_the_whole_face_upright(root):
    image = CelebA(root, "train")[0]["image"] * 255
    assert image[0, :, 0].max() < 8 and image[0, :, -1].min() > 170  # u: 0 to 177
    assert image[1, 0].max() < 8 and image[1, -1].min() > 208  # v: 0 to 217
    assert CelebA(root, "train", size=(109, 89))[0]["image"].shape == (3, 109, 89)


def test_grey_images_become_colour_images(root):
    Image.fromarray(face(0)[..., 0]).save(root / "Img/img_align_celeba/000001.jpg")
    assert CelebA(root, "train")[0]["image"].shape == (3, 64, 64)


def test_a_subset_is_usable_and_named_so(root):
    report = check(CelebA, root)
    assert report.usable and report.files == 6  # the two lists among them
    assert {name: part.samples for name, part in report.parts.items()} == {
        "train": 2, "val": 1, "test": 1,
    }  # fmt: skip
    assert "train: 2 samples, official 162,770 (a subset)" in str(report)
    assert "40 attributes: present in" in str(report)


def rewrite(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize("name", ["Img/img_align_celeba", "Anno", "Eval/list_eval_partition.txt"])
def test_a_missing_part(root, name):
    (root / name).rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"is missing, expected .*Eval") as raised:
        CelebA(root, "train")
    assert str(root / name) in str(raised.value)


def test_a_partition_that_names_a_missing_file(root):
    missing = root / "Img/img_align_celeba/000004.jpg"
    missing.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"000004\.jpg is missing: .* 'train', of which 1 of 2"
    ):
        CelebA(root, "train")
    report = check(CelebA, root)
    assert not report.usable and str(missing) in report.parts["train"].fault
    assert report.parts["val"].fault is None


@pytest.mark.parametrize("line", ["000002.jpg 3", "000002.jpg", "000002.jpg,1", "000002.jpg train"])
def test_a_partition_with_another_line(root, line):
    rewrite(root / "Eval/list_eval_partition.txt", "000002.jpg 1", line)
    with pytest.raises(
        ValueError, match=rf"partition\.txt, line 2: '{line}', expected a file name"
    ):
        CelebA(root, "train")


def test_a_partition_without_the_split_or_with_an_image_twice(root):
    path = root / "Eval/list_eval_partition.txt"
    rewrite(path, "000002.jpg 1", "000002.jpg 0")
    with pytest.raises(ValueError, match=r"partition\.txt lists no image of the split 'val'"):
        CelebA(root, "val")
    rewrite(path, "000002.jpg 0", "000001.jpg 2")  # in two splits: one is tested on what was seen
    for split in SPLITS:
        with pytest.raises(ValueError, match=r"partition\.txt, line 2: it lists 000001\.jpg twice"):
            CelebA(root, split)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"the first line is '', expected the number of rows, 0"),
        (table(count=5), r"the first line is '5', expected the number of rows, 4"),
        (table(names=ATTRIBUTES[:-1]), r"line 2: expected the 40 names of CelebA"),
        (table(names=ATTRIBUTES[::-1]), r"line 2: expected the 40 names of CelebA"),
        (table(rows=["000001.jpg" + " 1" * 39]), r"line 3: expected a file name and 40 values"),
        (table(rows=["000001.jpg" + " 1" * 41]), r"line 3: expected a file name and 40 values"),
        (table(rows=["000001.jpg" + " 0" * 40]), r"line 3: expected a file name and 40 values 1"),
        (table(rows=["000001.jpg" + " 1" * 40]), r"has no row for 000004\.jpg, which"),
        (table(rows=[ROWS[0], "", *ROWS[1:]]), r"line 4: expected a file name and 40 values"),
        (table(rows=[*ROWS, "000001.jpg" + " 1" * 40]), r"line 7: it lists 000001\.jpg twice"),
    ],
)
def test_a_wrong_attribute_table(root, text, says):
    path = root / "Anno/list_attr_celeba.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as raised:
        CelebA(root, "train")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"], ids=["unix", "windows", "blanks"])
@pytest.mark.parametrize("last", ["", "\n\n", " \r\n"], ids=["", "two", "blank"])
def test_lists_as_editors_leave_them(root, mark, end, last):
    data, names = CelebA(root, "train"), ["list_attr_celeba.txt", "list_eval_partition.txt"]
    for path in (root / "Anno" / names[0], root / "Eval" / names[1]):
        text = mark + path.read_text().replace("\n", end) + last
        path.write_bytes(text.encode())
    again = CelebA(root, "train")
    assert again.names == data.names and torch.equal(again.labels, data.labels)


def test_a_list_that_is_no_text(root):
    path = root / "Eval/list_eval_partition.txt"
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(ValueError, match=r"partition\.txt is not a text file in UTF-8"):
        CelebA(root, "train")


def test_a_folder_in_the_place_of_a_file(root):
    path = root / "Eval/list_eval_partition.txt"
    path.unlink()
    path.mkdir()
    with pytest.raises(FileNotFoundError, match=r"partition\.txt is missing"):
        CelebA(root, "train")


def test_an_image_that_is_cut_short_or_none(root):
    path = root / "Img/img_align_celeba/000002.jpg"
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"text", b""):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"000002\.jpg is not a whole image file"):
            CelebA(root, "val")[0]
    assert str(path) in check(CelebA, root).parts["val"].fault


@pytest.fixture
def published(root, tmp_path_factory):
    """The three files as they are downloaded."""
    src = tmp_path_factory.mktemp("published")
    (src / "lists").mkdir()
    for path in (root / "Anno/list_attr_celeba.txt", root / "Eval/list_eval_partition.txt"):
        (src / "lists" / path.name).write_bytes(path.read_bytes())
    with zipfile.ZipFile(src / "img_align_celeba.zip", "w") as made:
        for name in NAMES:
            made.write(root / "Img/img_align_celeba" / name, f"img_align_celeba/{name}")
    return src


def test_prepared_from_the_published_files(published, root, tmp_path_factory):
    dest = tmp_path_factory.mktemp("dest") / "celeba"
    CelebA.prepare(published, dest)
    assert check(CelebA, dest).digest == check(CelebA, root).digest

    kept, lost = (dest / "Img/img_align_celeba" / NAMES[k] for k in (0, 1))
    kept.write_bytes(bytes(kept.stat().st_size))  # of the right size: it is left alone
    lost.unlink()
    CelebA.prepare(published, dest)
    assert not any(kept.read_bytes()) and lost.exists()


def test_the_official_lists_are_kept_byte_by_byte(published, tmp_path):
    path = published / "lists/list_eval_partition.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b" \r\n"))
    CelebA.prepare(published, tmp_path / "celeba")
    kept = tmp_path / "celeba/Eval/list_eval_partition.txt"
    assert kept.read_bytes() == path.read_bytes() and len(CelebA(tmp_path / "celeba", "train")) == 2


def test_published_files_that_are_missing(published, tmp_path):
    (published / "lists/list_attr_celeba.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no list_attr_celeba\.txt or \.csv in .*Kaggle"):
        CelebA.prepare(published, tmp_path / "celeba")
    (published / "lists/list_attr_celeba.txt").write_text(table())
    (published / "img_align_celeba.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"no img_align_celeba\.zip in .*Kaggle"):
        CelebA.prepare(published, tmp_path / "celeba")
    assert not (tmp_path / "celeba").exists()


CSV = {
    "list_attr_celeba.csv": "\n".join(
        [",".join(["image_id", *ATTRIBUTES]), *(",".join(row.split()) for row in ROWS)]
    ),
    "list_eval_partition.csv": "image_id,partition\n" + partition().replace(" ", ","),
    "list_bbox_celeba.csv": "image_id,x_1,y_1,width,height\n000001.jpg,95,71,226,313\n",
}
LEFT = ("._000001.jpg", "._list_attr_celeba.csv", ".DS_Store", "Thumbs.db")


def unpacked(folder, root, nested=True):
    """What is in Kaggle's archive, and what systems leave beside it."""
    images = folder / "img_align_celeba" / ("img_align_celeba" if nested else "")
    shutil.copytree(root / "Img/img_align_celeba", images)
    for name, text in CSV.items():
        (folder / name).write_text(text)
    for place in (folder, images, folder / "__MACOSX/img_align_celeba"):
        place.mkdir(parents=True, exist_ok=True)
        for name in LEFT:
            (place / name).write_bytes(b"\0\5\x16\7")


@pytest.fixture(params=["unpacked", "flat", "archive.zip", "celeba-dataset.zip", "lists apart"])
def kaggle(request, root, tmp_path_factory):
    src = tmp_path_factory.mktemp("kaggle")
    unpacked(src / "in", root, nested=request.param != "flat")
    if request.param in ("unpacked", "flat"):
        return src
    name = request.param.replace("lists apart", "archive.zip")
    with zipfile.ZipFile(src / name, "w") as made:
        for path in (path for path in (src / "in").rglob("*") if path.is_file()):
            made.write(path, path.relative_to(src / "in"))
    shutil.rmtree(src / "in")
    if request.param == "lists apart":  # as some unpack each: in a folder of its own name
        for name, text in CSV.items():
            (src / name).mkdir()
            (src / name / name).write_text(text)
    return src


def test_prepared_from_kaggle_it_is_the_same_set(kaggle, root, tmp_path_factory):
    dest = tmp_path_factory.mktemp("dest") / "celeba"
    CelebA.prepare(kaggle, dest)
    assert check(CelebA, dest).digest == check(CelebA, root).digest
    for split, names in SPLITS.items():
        data, official = CelebA(dest, split), CelebA(root, split)
        assert data.names == names and torch.equal(data.labels, official.labels)
    files = {path.name for path in dest.rglob("*") if path.is_file()}
    assert files == {*NAMES, "list_attr_celeba.txt", "list_eval_partition.txt"}
    first = check(CelebA, dest).digest
    CelebA.prepare(kaggle, dest)
    assert check(CelebA, dest).digest == first


def test_an_unpacked_archive_and_the_folder_of_the_set_may_be_one(root, tmp_path_factory):
    src = tmp_path_factory.mktemp("celeba")
    unpacked(src, root)
    with pytest.raises(FileNotFoundError, match=r"also on Kaggle, .*data prepare celeba SRC"):
        CelebA(src, "train")
    own = src / "Img/img_align_celeba"
    own.mkdir(parents=True)
    shutil.copy(root / "Img/img_align_celeba" / NAMES[0], own)  # an earlier call was interrupted
    for _ in range(2):
        CelebA.prepare(src, src)
        assert check(CelebA, src).digest == check(CelebA, root).digest
    inner = src / "data"
    shutil.copytree(own, inner / "Img/img_align_celeba")
    (inner / "Img/img_align_celeba" / NAMES[0]).unlink()
    CelebA.prepare(src, inner)
    assert check(CelebA, inner).digest == check(CelebA, root).digest


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("list_attr_celeba.csv", "Arched", "Ached", r"attr_celeba\.csv, line 1: .* 40 names"),
        ("list_attr_celeba.csv", "image_id,", "", r"attr_celeba\.csv, line 1: .* 40 names"),
        ("list_attr_celeba.csv", "000002.jpg,", "000001.jpg,", r"line 3: it lists 000001\.jpg twi"),
        ("list_attr_celeba.csv", "000002.jpg,", "000002.jpg,1,", r"line 3: .* 40 values 1 or -1"),
        ("list_eval_partition.csv", "000002.jpg,1", "000002.jpg,3", r"line 3: '000002\.jpg,3'"),
        ("list_eval_partition.csv", "image_id,part", "image,part", r"line 1: 'image,partition'"),
    ],
)
def test_a_wrong_list_is_named_before_anything_is_written(
    root, tmp_path_factory, name, old, new, says
):
    src = tmp_path_factory.mktemp("kaggle")
    unpacked(src, root)
    right = (src / name).read_text()
    rewrite(src / name, old, new)
    with pytest.raises(ValueError, match=says):
        CelebA.prepare(src, src / "dest")
    assert not (src / "dest").exists()
    (src / name).write_text(right)
    CelebA.prepare(src, src / "dest")
    assert check(CelebA, src / "dest").usable


def test_an_interrupted_call_is_gone_on_with(published, root, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    dest = tmp_path / "celeba"
    save = Member.save
    monkeypatch.setattr(
        Member, "save", lambda self, path: stop() if path.name == NAMES[2] else save(self, path)
    )
    with pytest.raises(KeyboardInterrupt):
        CelebA.prepare(published, dest)
    monkeypatch.undo()
    CelebA.prepare(published, dest)
    assert check(CelebA, dest).digest == check(CelebA, root).digest


def test_a_damaged_archive_is_named_and_leaves_no_half_image(published, tmp_path):
    path = published / "img_align_celeba.zip"
    whole = path.read_bytes()
    place = len(whole) // 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    with pytest.raises(ValueError, match=r"jpg in .*img_align_celeba\.zip cannot be read: Bad CRC"):
        CelebA.prepare(published, tmp_path / "celeba")
    images = tmp_path / "celeba/Img/img_align_celeba"
    assert {path.name for path in images.iterdir()} < set(NAMES)
    path.write_bytes(whole[:place])
    with pytest.raises(ValueError, match=r"img_align_celeba\.zip is not a whole zip"):
        CelebA.prepare(published, tmp_path / "celeba")
    path.write_bytes(whole)
    CelebA.prepare(published, tmp_path / "celeba")
    assert check(CelebA, tmp_path / "celeba").usable

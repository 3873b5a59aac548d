"""CelebA: 202,599 aligned faces with 40 attributes each, 40 tasks."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tssbn.data.chunks import progress
from tssbn.data.real.archives import Member, members
from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.files import image, lines, whole
from tssbn.data.target import Target

__all__ = ["ATTRIBUTES", "CelebA"]

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones",
    "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin",
    "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
)  # fmt: skip
PARTS = (IMAGES, TABLE, PARTITION) = (
    "Img/img_align_celeba",
    "Anno/list_attr_celeba.txt",
    "Eval/list_eval_partition.txt",
)
ARCHIVES = ("img_align_celeba.zip", "archive.zip", "celeba-dataset.zip")  # the last two: Kaggle's
TAKEN = (
    "img_align_celeba.zip (or the folder in it), list_attr_celeba.txt and list_eval_partition.txt, "
    "or what Kaggle offers: archive.zip (or what is in it, the lists as .csv)"
)

WHERE = """\
CelebA, 202,599 aligned faces of 10,177 people, 40 attributes each
Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild, ICCV 2015

Page      https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
Licence   non-commercial research only; not to be passed on. Read the page's agreement.
Size      1.4 GB

From the folder that the page links to (Google Drive or Baidu), by hand:
  img_align_celeba.zip       md5 00d2c5bc6d35e252742224ab0c1e8fcb
  list_attr_celeba.txt       md5 75e246fa4810816ffd6ee81facbd244c
  list_eval_partition.txt    md5 d32c9cbf5e040fd4025c592c306e6668
Or, where that folder is over its quota, the copy that others keep on Kaggle, its lists as
list_attr_celeba.csv and list_eval_partition.csv (the page's agreement holds for it, too):
  https://www.kaggle.com/datasets/jessicali9530/celeba-dataset
It comes as archive.zip; from Kaggle's command line, as celeba-dataset.zip.

With those three files or this one in SRC, packed or unpacked:
  python -m tssbn data prepare celeba SRC data/celeba

Layout, the official one; a subset of it works as well:
  Img/img_align_celeba/000001.jpg ... 202599.jpg
  Anno/list_attr_celeba.txt        number of images, 40 names, then a line for each image
  Eval/list_eval_partition.txt     0 train, 1 val, 2 test: 162,770 / 19,867 / 19,962
(the checksums are those that torchvision's CelebA compares with)
"""


class CelebA(RealSet):
    """Reads CelebA from its official folders.

    A sample holds ``image`` (3, 64, 64) and, for each of the 40 attributes, 0 (absent) or 1
    (present) under its official name, such as ``Smiling``. The aligned faces, 218 x 178 pixels, are
    resized without a crop, so their aspect changes. The filter is Pillow's bilinear one with
    antialiasing. The size follows FAMO (Liu et al., 2023).

    Args:
        root: the folder with ``Img``, ``Anno`` and ``Eval``.
        split: ``"train"``, ``"val"`` or ``"test"``, the official partition.
        transform: a function that gets the sample, a dict of tensors, and returns another.
        size: (height, width) of the images in pixels.

    Raises:
        FileNotFoundError: a folder, a list, or an image that the partition lists is missing.
        ValueError: the split is unknown, or a line of a list does not have the official form; the
            error names the line.

    Example:
        >>> CelebA("data/celeba", "train")  # doctest: +SKIP
    """

    official: ClassVar = {"train": 162770, "val": 19867, "test": 19962}
    where = WHERE
    targets: ClassVar = {name: Target("attribute") for name in ATTRIBUTES}

    def __init__(
        self,
        root: str | Path,
        split: str,
        transform: Transform | None = None,
        size: tuple[int, int] = (64, 64),
    ) -> None:
        super().__init__(root, split, transform)
        self.size = size
        self._folder, self._table = self.root / IMAGES, self.root / TABLE
        self._partition = self.root / PARTITION
        for path in (self._folder, self._table, self._partition):
            if not (path.is_dir() if path == self._folder else path.is_file()):
                raise FileNotFoundError(
                    f"{path} is missing, expected {PARTS}; of what is published, also on Kaggle, "
                    f"they are made by: python -m tssbn data prepare celeba SRC {self.root}"
                )
        self.names = self._listed()
        self.labels = self._attributes()

    def __len__(self) -> int:
        return len(self.names)

    def files(self, index: int) -> dict[str, Path]:
        files = dict.fromkeys(ATTRIBUTES, self._table)
        return {"image": self._folder / self.names[index], **files, "split": self._partition}

    def read(self, index: int) -> dict[str, Tensor]:
        pixels = torch.from_numpy(image(self._folder / self.names[index], "RGB", self.size))
        labels = zip(ATTRIBUTES, self.labels[index].long().unbind(), strict=True)
        return {"image": pixels.permute(2, 0, 1).contiguous() / 255, **dict(labels)}

    def partition(self) -> dict[str, str]:
        """The split of each image, by the name of its file."""
        return _splits(self._partition, lines(self._partition))

    def _listed(self) -> list[str]:
        """The files of the split, as the partition gives them."""
        names = [name for name, split in self.partition().items() if split == self.split]
        if not names:
            raise ValueError(f"{self._partition} lists no image of the split {self.split!r}")
        there = set(os.listdir(self._folder))
        missing = [name for name in names if name not in there]
        if missing:
            raise FileNotFoundError(
                f"{self._folder / missing[0]} is missing: it is of the split {self.split!r}, of "
                f"which {len(missing):,} of {len(names):,} images are not there"
            )
        return names

    def _attributes(self) -> Tensor:
        """(N, 40) uint8 in the order of the file names, from the table."""
        place = {name: i for i, name in enumerate(self.names)}
        labels = np.zeros((len(place), len(ATTRIBUTES)), np.uint8)
        for name, signs in _rows(self._table, lines(self._table)):
            if name in place:
                labels[place.pop(name)] = [sign == "1" for sign in signs]
        if place:
            raise ValueError(
                f"{self._table} has no row for {next(iter(place))}, which {self._partition} lists"
            )
        return torch.from_numpy(labels)

    @classmethod
    def prepare(cls, src: Path, dest: Path) -> None:
        """Copy the published files to the official folders; a repeated call continues.

        Args:
            src: the folder with ``img_align_celeba.zip``, ``list_attr_celeba.txt`` and
                ``list_eval_partition.txt``, or with Kaggle's ``archive.zip``, whose lists are
                ``.csv`` files. They may lie in subfolders, and may be packed or unpacked.
            dest: the folder that gets ``Img``, ``Anno`` and ``Eval``. The lists are written in
                their official form.

        Raises:
            FileNotFoundError: the images or one of the lists is missing.
            ValueError: an archive is damaged, or a list does not have the official form.
        """
        src, dest = src.resolve(), dest.resolve()
        with ExitStack() as opened:
            found = opened.enter_context(members(src))
            archives = [src / member.path for member in found if member.path.name in ARCHIVES]
            # What an earlier call wrote, where DEST lies in SRC, is taken last.
            found = sorted(found, key=lambda member: (src / member.path).is_relative_to(dest))
            for archive in archives:
                found = [*opened.enter_context(members(archive)), *found]
            lists = {part: _published(src, found, part) for part in (TABLE, PARTITION)}
            faces = _faces(src, found)
            for part, content in lists.items():
                with whole(dest / part) as path:
                    path.write_bytes(content)
            for member in progress(faces, "images"):
                member.save(dest / IMAGES / member.path.name)


def _published(src: Path, found: list[Member], part: str) -> bytes:
    """A list in its official form: as it is, or made of Kaggle's."""
    for suffix in (".txt", ".csv"):
        name = Path(part).with_suffix(suffix).name
        for member in found:
            if member.path.name == name:
                content = b"".join(member.pieces())
                path = member.source / member.path
                rows = (_as_table if part == TABLE else _as_partition)(path, lines(path, content))
                return content if suffix == ".txt" else "\n".join([*rows, ""]).encode()
    raise FileNotFoundError(f"no {Path(part).name} or .csv in {src}, expected {TAKEN}")


def _as_table(path: Path, text: list[str]) -> list[str]:
    rows = [
        f"{name} " + " ".join(f"{sign:>2}" for sign in signs) for name, signs in _rows(path, text)
    ]
    return [str(len(rows)), " ".join(ATTRIBUTES) + " ", *rows]


def _as_partition(path: Path, text: list[str]) -> list[str]:
    codes = {split: code for code, split in enumerate(CelebA.official)}
    return [f"{name} {codes[split]}" for name, split in _splits(path, text).items()]


def _faces(src: Path, found: list[Member]) -> list[Member]:
    """The images, of several folders with some those of the fullest."""
    folders: dict[tuple[Path, PurePath], list[Member]] = {}
    for member in found:
        folder = member.path.parent
        if folder.name == Path(IMAGES).name and member.path.suffix == ".jpg":
            folders.setdefault((member.source, folder), []).append(member)
    if not folders:
        raise FileNotFoundError(f"no img_align_celeba.zip in {src}, expected {TAKEN}")
    return max(folders.values(), key=len)


def _fields(text: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line; Kaggle's lists have commas between them."""
    kaggle = bool(text) and "," in text[0]
    for number, line in enumerate(text, 1):
        yield number, (line.replace(",", " ") if kaggle else line).split()


def _splits(path: Path, text: list[str]) -> dict[str, str]:
    """The split of each image, from the lines of the partition."""
    codes, splits = dict(zip("012", CelebA.official, strict=True)), {}
    for number, fields in _fields(text):
        if number == 1 and fields == ["image_id", "partition"]:
            continue
        if len(fields) != 2 or fields[1] not in codes:
            raise ValueError(
                f"{path}, line {number}: {text[number - 1]!r}, expected a file name and "
                f"0 (train), 1 (val) or 2 (test)"
            )
        name, code = fields
        if name in splits:
            raise ValueError(f"{path}, line {number}: it lists {name} twice")
        splits[name] = codes[code]
    return splits


def _rows(path: Path, text: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The file name and the 40 signs in each row of the table of attributes."""
    kaggle = bool(text) and "," in text[0]
    if not kaggle and (len(text) < 2 or text[0].strip() != str(len(text) - 2)):
        raise ValueError(
            f"{path}: the first line is {text[0] if text else ''!r}, expected the "
            f"number of rows, {max(len(text) - 2, 0)}"
        )
    names, seen = 1 if kaggle else 2, set()
    for number, fields in _fields(text):
        if number == names and fields[kaggle:] != list(ATTRIBUTES):
            raise ValueError(f"{path}, line {number}: expected the 40 names of CelebA in order")
        if number <= names:
            continue
        if len(fields) != 1 + len(ATTRIBUTES) or not {"1", "-1"}.issuperset(fields[1:]):
            raise ValueError(
                f"{path}, line {number}: expected a file name and "
                f"{len(ATTRIBUTES)} values 1 or -1, got {text[number - 1]!r}"
            )
        name, *signs = fields
        if name in seen:
            raise ValueError(f"{path}, line {number}: it lists {name} twice")
        seen.add(name)
        yield name, signs

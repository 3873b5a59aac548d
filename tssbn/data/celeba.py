"""CelebA: 202,599 aligned faces with 40 attributes each, 40 tasks."""

import os
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from .fetch import unpack
from .files import image, whole
from .real import RealSet, Transform
from .target import Target

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
Then, with these three files in SRC:
  python -m tssbn data prepare celeba SRC data/celeba

Layout, the official one; a subset of it works as well:
  Img/img_align_celeba/000001.jpg ... 202599.jpg
  Anno/list_attr_celeba.txt        number of images, 40 names, then a line for each image
  Eval/list_eval_partition.txt     0 train, 1 val, 2 test: 162,770 / 19,867 / 19,962
(the checksums are those that torchvision's CelebA compares with)
"""


class CelebA(RealSet):
    """CelebA in its official folders.

    A sample holds ``image`` (3, 64, 64) and under each of the 40 attributes' official names 0 or 1.
    The aligned faces (218 x 178) are resized whole, not cropped, so their aspect changes; by
    Pillow's bilinear filter with antialiasing (64 x 64 without a crop: FAMO, Liu et al., 2023).

    Args:
        root: the folder with ``Img``, ``Anno`` and ``Eval``.
        split: ``"train"``, ``"val"`` or ``"test"``, the official partition.
        transform: gets the sample, a dict of tensors, and returns it changed.
        size: (height, width) of the images.

    Raises:
        FileNotFoundError: a folder or list is missing, or an image that the partition lists.
        ValueError: unknown split; a list that is not as the official one; the line is named.

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
            if not path.exists():
                raise FileNotFoundError(f"{path} is missing, expected {PARTS}")
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

    def _listed(self) -> list[str]:
        """The files of the split, as the partition gives them."""
        codes, names = dict(zip("012", self.official, strict=True)), []
        text = self._partition.read_text(encoding="ascii", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            name, _, code = line.partition(" ")
            if code.strip() not in codes:
                raise ValueError(
                    f"{self._partition}, line {number}: {line!r}, expected a file name and "
                    f"0 (train), 1 (val) or 2 (test)"
                )
            if codes[code.strip()] == self.split:
                names.append(name)
        if len(set(names)) < len(names):
            raise ValueError(f"{self._partition} lists an image twice")
        if not names:
            raise ValueError(f"{self._partition} lists no image of the split {self.split!r}")
        there = set(os.listdir(self._folder))
        missing = [name for name in names if name not in there]
        if missing:
            raise FileNotFoundError(
                f"{self._folder / missing[0]} is missing: {self._partition} lists it, and "
                f"{len(missing):,} of {len(names):,} images of the split are not there"
            )
        return names

    def _attributes(self) -> Tensor:
        """(N, 40) uint8 in the order of the file names, from the table."""
        lines = self._table.read_text(encoding="ascii", errors="replace").splitlines()
        if len(lines) < 2 or lines[0].strip() != str(len(lines) - 2):
            raise ValueError(
                f"{self._table}: the first line is {lines[0] if lines else ''!r}, expected the "
                f"number of rows, {max(len(lines) - 2, 0)}"
            )
        if lines[1].split() != list(ATTRIBUTES):
            raise ValueError(f"{self._table}, line 2: expected the 40 names of CelebA in order")
        place = {name: i for i, name in enumerate(self.names)}
        labels = np.zeros((len(place), len(ATTRIBUTES)), np.uint8)
        for number, line in enumerate(lines[2:], 3):
            name, *signs = line.split()
            if len(signs) != len(ATTRIBUTES) or not {"1", "-1"}.issuperset(signs):
                raise ValueError(
                    f"{self._table}, line {number}: expected a file name and "
                    f"{len(ATTRIBUTES)} values 1 or -1, got {line!r}"
                )
            if name in place:
                labels[place.pop(name)] = [sign == "1" for sign in signs]
        if place:
            raise ValueError(
                f"{self._table} has no row for {next(iter(place))}, which {self._partition} lists"
            )
        return torch.from_numpy(labels)

    @classmethod
    def prepare(cls, src: Path, dest: Path) -> None:
        """Put the published files in the official folders; goes on where it stopped.

        Args:
            src: holds ``img_align_celeba.zip``, ``list_attr_celeba.txt`` and
                ``list_eval_partition.txt``, at any depth.
            dest: gets ``Img``, ``Anno`` and ``Eval``.

        Raises:
            FileNotFoundError: one of the three is missing.
            ValueError: the archive is damaged.
        """
        names = ("img_align_celeba.zip", Path(TABLE).name, Path(PARTITION).name)
        found = [next(iter(sorted(src.rglob(name))), None) for name in names]
        if None in found:
            raise FileNotFoundError(f"no {names[found.index(None)]} in {src}; it takes {names}")
        for path, place in zip(found[1:], (TABLE, PARTITION), strict=True):
            with whole(dest / place) as part:
                shutil.copyfile(path, part)
        unpack(found[0], (dest / IMAGES).parent)

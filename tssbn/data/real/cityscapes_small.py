"""Cityscapes at 128x256 with two tasks, as MTAN's authors publish it."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.files import array, numbered
from tssbn.data.target import Target

__all__ = ["CityscapesSmall"]

CATEGORIES = ("flat", "construction", "object", "nature", "sky", "human", "vehicle")

WHERE = """\
Cityscapes at 128 x 256, 3,475 frames, 7 categories and inverse depth
Liu, Johns, Davison: End-to-End Multi-Task Learning with Attention, CVPR 2019

Page      https://github.com/lorenmt/mtan (README: "128x256, 651MB", Dropbox)
Licence   that of Cityscapes, https://www.cityscapes-dataset.com: register there first;
          research, teaching and other non-commercial use; not to be passed on
Size      651 MB to download

By hand: unpack the archive and put its folders train and val in data/cityscapes-small.
They are read as they are.

Layout, numbered from 0 without gaps:
  {train,val}/image/<i>.npy     128 x 256 x 3, 0..1
  {train,val}/label_7/<i>.npy   128 x 256, 0..6, -1 void (or named label)
  {train,val}/depth/<i>.npy     128 x 256 x 1, inverse depth, 0 void
"""


class CityscapesSmall(RealSet):
    """Reads Cityscapes at 128x256 as MTAN's authors publish it: 7 categories and inverse depth.

    The layout (Liu et al., arXiv 1803.10704)::

        <root>/{train,val}/image/<i>.npy    (128, 256, 3) in [0, 1]
        <root>/{train,val}/label_7/<i>.npy  (128, 256) 0..6, void is -1
        <root>/{train,val}/depth/<i>.npy    (128, 256, 1), 0 if not measured

    In LibMTL's copy the folder ``label_7`` is called ``label``; both are read.

    A sample holds ``image`` (3, 128, 256), ``segmentation`` (128, 256) and ``depth`` (1, 128, 256).
    ``depth`` is of kind ``"disparity"``, because its values fall with the distance; their unit is
    that of the files.

    Args:
        root: the folder of the data set.
        split: ``"train"`` or ``"val"``.
        transform: a function that gets the sample, a dict of tensors, and returns another.

    Raises:
        FileNotFoundError: a folder is missing, or a file in the numbering from 0 up.
        ValueError: the split is unknown. When a sample is read: a file is damaged, has another
            shape, or holds values out of range.

    Example:
        >>> CityscapesSmall("data/cityscapes-small", "val")[0]["depth"].shape  # doctest: +SKIP
        torch.Size([1, 128, 256])
    """

    official: ClassVar = {"train": 2975, "val": 500}
    where = WHERE
    targets: ClassVar = {
        "segmentation": Target("classes", CATEGORIES, ignore=-1),
        "depth": Target("disparity", ignore=0),
    }

    def __init__(self, root: str | Path, split: str, transform: Transform | None = None) -> None:
        super().__init__(root, split, transform)
        folder = self.root / split
        self._label = "label" if (folder / "label").is_dir() else "label_7"
        self._count = numbered([folder / name for name in ("image", self._label, "depth")], ".npy")

    def __len__(self) -> int:
        return self._count

    def files(self, index: int) -> dict[str, Path]:
        folders = {"image": "image", "segmentation": self._label, "depth": "depth"}
        return {k: self.root / self.split / v / f"{index}.npy" for k, v in folders.items()}

    def read(self, index: int) -> dict[str, Tensor]:
        files = self.files(index)
        label = array(files["segmentation"], 128, 256)
        if not (label == np.floor(label)).all():
            raise ValueError(f"{files['segmentation']} holds fractions, expected classes")
        picture, depth = array(files["image"], 128, 256, 3), array(files["depth"], 128, 256, 1)
        return {
            "image": torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1),
            "segmentation": torch.from_numpy(np.asarray(label, np.int64)),
            "depth": torch.from_numpy(np.asarray(depth, np.float32)).permute(2, 0, 1),
        }

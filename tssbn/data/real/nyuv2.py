"""NYU Depth V2, the 1,449 labelled frames: segmentation, depth and surface normals."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.fetch import Remote
from tssbn.data.real.files import array, numbered
from tssbn.data.target import Target

__all__ = ["CLASSES", "NYUv2"]

CLASSES = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects",
    "picture", "sofa", "table", "tv", "wall", "window",
)  # fmt: skip
FOLDERS = {"image": "image", "segmentation": "label", "depth": "depth", "normal": "normal"}

NYU = "https://horatio.cs.nyu.edu/mit/silberman"
META = (  # the 13 classes, at a fixed commit
    "https://raw.githubusercontent.com/ankurhanda/nyuv2-meta-data/"
    "b92d15c506876dada1ac4086938e30ebc4deb49b"
)
WHERE = """\
NYU Depth V2, 1,449 labelled frames of 464 rooms: 795 to train on, 654 to test on
Silberman, Hoiem, Kohli, Fergus: Indoor Segmentation and Support Inference from
RGBD Images, ECCV 2012

Page      https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html
Licence   none is stated; published for research. Cite the paper.
Size      3.0 GB to download, 4.6 GB prepared

As most published runs use it, at 288 x 384: the files linked from the README of
https://github.com/lorenmt/mtan (Dropbox, by hand). They are read as they are:
put the folders train and val in data/nyuv2.

Or from the official file:
  python -m tssbn data download nyuv2 SRC
  python -m tssbn data prepare nyuv2 SRC data/nyuv2
This resizes the whole frames (the files above were cropped by an amount that was
not published, so numbers differ a little). The official file has no normals. If
SRC holds the folder normals_gt of Eigen and Fergus, ICCV 2015 (once published as
https://cs.nyu.edu/~deigen/dnl/normals_gt.tgz, gone since 2022), they are taken
from it; else they are DERIVED from the depth: good to train on, not to be
compared with published normal errors.

Layout, numbered from 0 without gaps:
  {train,val}/image/<i>.npy    H x W x 3, 0..1 (or 8 bits, 0..255)
  {train,val}/label/<i>.npy    H x W, 0..12, -1 void
  {train,val}/depth/<i>.npy    H x W x 1, metres, 0 void
  {train,val}/normal/<i>.npy   H x W x 3, unit vectors, 0 void
"""


class NYUv2(RealSet):
    """Reads NYUv2 in the layout of MTAN (Liu, Johns, Davison, CVPR 2019), at any resolution.

    A sample holds ``image`` (3, H, W), ``segmentation`` (H, W) with 13 classes, ``depth`` (1, H, W)
    in metres and ``normal`` (3, H, W). The files may have any number type.

    The axes of the normals are those of the files. ``prepare`` writes x right, y down, z forward,
    as in :class:`~tssbn.data.target.Target`. For the files that MTAN's authors offer, the axes are
    not published. This does not change the angle between two normals, or a horizontal flip.

    Args:
        root: the folder with ``train`` and ``val``.
        split: ``"train"`` (795 samples) or ``"val"`` (654, the official test part).
        transform: a function that gets the sample, a dict of tensors, and returns another.

    Raises:
        FileNotFoundError: a folder is missing, or a file in the numbering from 0 up.
        ValueError: the split is unknown.

    Example:
        >>> NYUv2("data/nyuv2", "train")[0]["depth"].shape  # doctest: +SKIP
        torch.Size([1, 288, 384])
    """

    official: ClassVar = {"train": 795, "val": 654}
    where = WHERE
    downloads = (
        Remote(
            f"{NYU}/nyu_depth_v2/nyu_depth_v2_labeled.mat",
            "nyu_depth_v2_labeled.mat",
            2_972_037_809,
            "sha256:2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa",
        ),
        Remote(
            f"{NYU}/indoor_seg_sup/splits.mat",
            "splits.mat",
            2_626,
            "sha256:6e081404491a8bfba2f066beaa9713ef6046f9007aa5f799f2a350506a580cee",
        ),
        Remote(
            f"{META}/classMapping40.mat",
            "classMapping40.mat",
            10_474,
            "sha256:ff177194cce9a2163517f1e1e6f1c64c50987162f542dedddc04bbf6ebe6d851",
        ),
        Remote(
            f"{META}/class13Mapping.mat",
            "class13Mapping.mat",
            408,
            "sha256:4e79ab24c345896c19abc62476b2c3520f3e2db00f71f868c5027208af48a3de",
        ),
    )
    targets: ClassVar = {
        "segmentation": Target("classes", CLASSES, ignore=-1),
        "depth": Target("depth", ignore=0),
        "normal": Target("normal", ignore=0),
    }

    def __init__(self, root: str | Path, split: str, transform: Transform | None = None) -> None:
        super().__init__(root, split, transform)
        folders = [self.root / split / folder for folder in FOLDERS.values()]
        self._length = numbered(folders, ".npy")

    def __len__(self) -> int:
        return self._length

    def files(self, index: int) -> dict[str, Path]:
        folder = self.root / self.split
        return {entry: folder / name / f"{index}.npy" for entry, name in FOLDERS.items()}

    def read(self, index: int) -> dict[str, Tensor]:
        files = self.files(index)
        pixels = array(files["image"], None, None, 3)
        scale = 255 if pixels.dtype.kind in "iu" else 1
        label = array(files["segmentation"], None, None)
        if label.dtype.kind == "f" and not ((label == np.rint(label)) & (abs(label) < 256)).all():
            raise ValueError(
                f"{files['segmentation']} holds {label.dtype} values that are no labels, "
                f"expected 0..12, -1 for void"
            )
        classes = label.astype(np.int64)
        if label.dtype == np.uint8:
            classes[label == 255] = -1
        return {
            "image": _channels_first(pixels) / scale,
            "segmentation": torch.from_numpy(classes),
            "depth": _channels_first(array(files["depth"], None, None, 1)),
            "normal": _channels_first(array(files["normal"], None, None, 3)),
        }

    @classmethod
    def prepare(cls, src: Path, dest: Path) -> None:
        """Convert the official files to the layout of the class, at 288 x 384.

        A repeated call continues an interrupted one. Images are resized bilinearly with
        antialiasing; labels, in-filled depth and normals take the nearest pixel. The tables of
        ankurhanda/nyuv2-meta-data map the 894 classes to 13. If the folder ``normals_gt`` exists,
        the normals are read from it; otherwise
        :func:`~tssbn.data.real.normals.from_depth` computes them. ``dest/ORIGIN.txt`` tells which.

        Args:
            src: the folder with the four files of ``downloads`` and, if wanted, the folder
                ``normals_gt`` with ``normals/0000.png``, ... and ``masks/0000.png``, ...
            dest: the folder to write, a ``root`` of the class.

        Raises:
            FileNotFoundError: a file is missing in ``src``.
            ValueError: a file does not have the content that its name promises, or an earlier call
                wrote normals of the other origin to ``dest``.
            ImportError: h5py, SciPy or Pillow is not installed.
        """
        missing = [remote.name for remote in cls.downloads if not (src / remote.name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{src} lacks {', '.join(missing)}: python -m tssbn data download nyuv2 {src}"
            )
        from tssbn.data.real.nyuv2_official import write

        write(src, dest)


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(pixels, np.float32)).permute(2, 0, 1).contiguous()

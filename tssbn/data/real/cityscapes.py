"""Cityscapes: three tasks at 256x512, from the official packages."""

from io import BytesIO
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tssbn.data.chunks import progress, side_by_side
from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.files import hidden, image, lines, numbered, whole
from tssbn.data.target import Target

__all__ = ["Cityscapes"]

CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
PARTS = (
    *("background", "torso", "head", "arms", "legs"),
    *("window", "wheel", "light", "plate", "chassis"),
)

CLASS_OF_ID = np.full(34, -1)  # label ids 0..33, as in the files
CLASS_OF_ID[[7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]] = range(19)

CLASS_OF_PART = np.zeros(10_000, np.int64)  # label id x 100 + part id, both of two digits
for person in (24, 25):  # and rider
    CLASS_OF_PART[person * 100 + np.arange(1, 5)] = range(1, 5)
for vehicle in (26, 27, 28):  # car, truck, bus
    CLASS_OF_PART[vehicle * 100 + np.arange(1, 6)] = range(5, 10)

OFFICIAL_SIZE, SIZE = (1024, 2048), (256, 512)

ORIGIN = "prepared from the official packages, 1024 x 2048 to 256 x 512; the frames: frames.txt\n"
WHERE = """\
Cityscapes, 3,475 labelled frames of street scenes in 21 cities, at 256 x 512
Cordts and others: The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016
Meletis and others: Cityscapes-Panoptic-Parts, arXiv 2004.07944 (the labels of the parts)

Page      https://www.cityscapes-dataset.com (needs an account, free of charge)
Licence   theirs: research, teaching and other non-commercial use; not to be passed on
Size      15 GB to download, 1 to 2 GB prepared

From the download page, by hand, all unpacked in one folder SRC:
  leftImg8bit_trainvaltest.zip       11 GB
  gtFine_trainvaltest.zip            241 MB
  disparity_trainvaltest.zip         3.5 GB
  gtFinePanopticParts_trainval.zip   465 MB
SRC then holds leftImg8bit, gtFine, disparity and gtFinePanopticParts (each may also lie
in a folder named as its archive). Then:
  python -m tssbn data prepare cityscapes SRC data/cityscapes

Layout, numbered from 0 without gaps, 256 x 512:
  {train,val}/image/<i>.png      8-bit RGB
  {train,val}/seg/<i>.png        label ids 0..33
  {train,val}/part_seg/<i>.tif   panoptic-parts ids, 32 bits
  {train,val}/depth/<i>.png      16-bit disparity
"""


class File(NamedTuple):
    """How one entry of a frame is stored, in the prepared folder and in the official packages."""

    folder: str
    suffix: str
    channels: tuple[int, ...]
    types: tuple[str, ...]
    package: str
    archive: str
    ending: str


FILES = {
    "image": File(
        *("image", ".png", (3,), ("uint8",)),
        *("leftImg8bit", "leftImg8bit_trainvaltest", "_leftImg8bit.png"),
    ),
    "segmentation": File(
        *("seg", ".png", (), ("uint8",)),
        *("gtFine", "gtFine_trainvaltest", "_gtFine_labelIds.png"),
    ),
    "parts": File(
        *("part_seg", ".tif", (), ("int32",)),
        *("gtFinePanopticParts", "gtFinePanopticParts_trainval", "_gtFinePanopticParts.tif"),
    ),
    "disparity": File(
        *("depth", ".png", (), ("uint16", "int32")),  # Pillow gives 16 bits as either
        *("disparity", "disparity_trainvaltest", "_disparity.png"),
    ),
}


class Cityscapes(RealSet):
    """Reads Cityscapes at 256x512: 19 classes, 10 parts of people and vehicles, and disparity.

    The layout is that of Auto-Lambda (Liu et al., arXiv 2202.03091). ``prepare`` writes it::

        <root>/{train,val}/image/<i>.png     8-bit RGB
        <root>/{train,val}/seg/<i>.png       label ids 0..33
        <root>/{train,val}/part_seg/<i>.tif  panoptic parts, 32-bit: 26 is a car, 26002 the car
                                             number 2, 2600205 its part number 5
        <root>/{train,val}/depth/<i>.png     16-bit disparity

    A sample holds ``image`` (3, 256, 512) in [0, 1], ``segmentation`` and ``parts`` (256, 512) and
    ``disparity`` (1, 256, 512). Label ids outside of the 19 classes become -1. Pixels that show
    none of the nine parts are background, the tenth; no pixel of ``parts`` is void.

    Disparity is the shift between the two cameras in pixels of the resized image, 512 columns wide.
    A stored value d > 0 becomes (d - 1)/1024, because the official unit is 1/256 pixel of the
    original image, 2,048 columns wide. A stored 0 means that nothing was measured, and becomes -1.

    Args:
        root: the folder of the data set.
        split: ``"train"`` or ``"val"``.
        transform: a function that gets the sample, a dict of tensors, and returns another.

    Raises:
        FileNotFoundError: a folder is missing, or a file in the numbering from 0 up.
        ValueError: the split is unknown. When a sample is read: a file is damaged, has another type
            or size, or holds an unknown id.

    Example:
        >>> Cityscapes("data/cityscapes", "train")[0]["parts"].shape  # doctest: +SKIP
        torch.Size([256, 512])
    """

    official: ClassVar = {"train": 2975, "val": 500}
    where = WHERE
    targets: ClassVar = {
        "segmentation": Target("classes", CLASSES, ignore=-1),
        "parts": Target("classes", PARTS, ignore=-1),
        "disparity": Target("disparity", ignore=-1),
    }

    def __init__(self, root: str | Path, split: str, transform: Transform | None = None) -> None:
        super().__init__(root, split, transform)
        folder = self.root / split
        self._count = numbered([folder / name for name in ("image", "seg", "depth")], ".png")
        tifs = numbered([folder / "part_seg"], ".tif")
        if tifs != self._count:
            lost = f"part_seg/{tifs}.tif" if tifs < self._count else f"image/{self._count}.png"
            raise FileNotFoundError(
                f"{folder / lost} is missing: part_seg holds {tifs} files, the others {self._count}"
            )

    def __len__(self) -> int:
        return self._count

    def files(self, index: int) -> dict[str, Path]:
        folder = self.root / self.split
        return {k: folder / file.folder / f"{index}{file.suffix}" for k, file in FILES.items()}

    def read(self, index: int) -> dict[str, Tensor]:
        files = self.files(index)
        stored = {name: _pixels(path, FILES[name], SIZE) for name, path in files.items()}
        disparity = stored["disparity"].astype(np.float32)
        disparity = np.where(disparity > 0, (disparity - 1) / 1024, np.float32(-1))
        return {
            "image": torch.from_numpy(stored["image"]).permute(2, 0, 1).float() / 255,
            "segmentation": _classes(stored["segmentation"], files["segmentation"]),
            "parts": _parts(stored["parts"], files["parts"]),
            "disparity": torch.from_numpy(disparity).unsqueeze(0),
        }

    @classmethod
    def prepare(cls, src: Path, dest: Path) -> None:
        """Convert the official packages to the layout of the class; a repeated call continues.

        The frames of a split are numbered in the order of their cities and names, and
        ``<dest>/<split>/frames.txt`` lists the converted ones. Images are resized bicubically with
        antialiasing; labels and disparity take the nearest pixel.

        Args:
            src: the folder with the four packages, unpacked.
            dest: the folder to write, a ``root`` of the class.

        Raises:
            FileNotFoundError: a package is missing, or lacks a file of a frame that another package
                has.
            ValueError: a file is damaged, has another type or is not 1024x2048, or ``dest`` holds
                other frames.
        """
        frames = {split: _frames(src, split) for split in cls.official}
        known = {split: _known(dest / split, list(names)) for split, names in frames.items()}
        for split, names in frames.items():
            listing, listed = dest / split / "frames.txt", known[split]
            jobs = ((_missing(dest / split, i, paths),) for i, paths in enumerate(names.values()))
            made = side_by_side(_smaller, jobs)  # Pillow works outside the interpreter's lock
            for i, files in enumerate(progress(made, f"prepare {split}", total=len(names))):
                # First the frame's line, then its files: what has a number has it from the list.
                if i >= listed:
                    with whole(listing) as part:
                        part.write_text("".join(f"{n}\n" for n in [*names][: i + 1]), "utf-8")
                for path, content in files.items():
                    with whole(path) as part:
                        part.write_bytes(content)
        with whole(dest / "ORIGIN.txt") as part:
            part.write_text(ORIGIN, encoding="utf-8")


def _pixels(path: Path, file: File, size: tuple[int, int]) -> np.ndarray:
    """The stored values of an image file, (H, W) or (H, W, 3)."""
    value = image(path)
    if value.shape != (*size, *file.channels) or value.dtype.name not in file.types:
        raise ValueError(
            f"{path} has {value.dtype} pixels of shape {value.shape}, "
            f"expected {file.types[0]} of shape {(*size, *file.channels)}"
        )
    return value


def _classes(ids: np.ndarray, path: Path) -> Tensor:
    if ids.max() >= len(CLASS_OF_ID):
        raise ValueError(
            f"{path} holds the label id {ids.max()}, expected 0..33 (of *_labelIds.png, "
            f"not *_labelTrainIds.png)"
        )
    return torch.from_numpy(CLASS_OF_ID[ids])


def _parts(uids: np.ndarray, path: Path) -> Tensor:
    """The part classes of panoptic-parts ids: class, class + iii, or class + iii + pp digits."""
    wrong = (uids < 0) | (uids > 9_999_999) | ((uids > 99) & (uids < 1000))
    if wrong.any():
        raise ValueError(
            f"{path} holds the panoptic-parts id {uids[wrong][0]}, expected 1, 2 or 4 to 7 digits"
        )
    part = np.where(uids > 99_999, uids // 100_000 * 100 + uids % 100, 0)
    return torch.from_numpy(CLASS_OF_PART[part])


def _package(src: Path, file: File) -> Path:
    for folder in (src / file.package, src / file.archive / file.package):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no folder {src / file.package}: unpack {file.archive}.zip into {src}")


def _frames(src: Path, split: str) -> dict[str, dict[str, Path]]:
    """The files of each frame; a frame is named ``city/city_sequence_frame``."""
    folders = {name: _package(src, file) / split for name, file in FILES.items()}
    names: set[str] = set()
    for name, folder in folders.items():
        ending = FILES[name].ending
        found = (p.relative_to(folder) for p in folder.glob(f"*/*{ending}"))
        names |= {p.as_posix().removesuffix(ending) for p in found if not hidden(p)}
    if not names:
        raise FileNotFoundError(f"{folders['image']} holds no <city>/*{FILES['image'].ending}")
    frames = {}
    for frame in sorted(names):
        frames[frame] = {k: folders[k] / f"{frame}{file.ending}" for k, file in FILES.items()}
        for path in frames[frame].values():
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing, while other files of the frame exist")
    return frames


def _known(folder: Path, frames: list[str]) -> int:
    """How many frames an earlier call read; refuse a folder where others got their numbers."""
    listing = folder / "frames.txt"
    listed = lines(listing) if listing.exists() else []
    if listed != frames[: len(listed)]:
        raise ValueError(f"{listing} lists other frames: choose an empty folder")
    for path in folder.glob("*/*"):
        if path.stem.isdecimal() and int(path.stem) >= len(listed):
            raise ValueError(f"{path} is of a frame that {listing} lacks: choose an empty folder")
    return len(listed)


Work = dict[Path, tuple[Path, File]]  # new file: official file


def _missing(folder: Path, index: int, official: dict[str, Path]) -> Work:
    new = {name: folder / file.folder / f"{index}{file.suffix}" for name, file in FILES.items()}
    return {p: (official[name], FILES[name]) for name, p in new.items() if not p.exists()}


def _smaller(work: Work) -> dict[Path, bytes]:
    """The contents of the new files."""
    from PIL import Image

    contents = {}
    for new, (official, file) in work.items():
        resample = Image.Resampling.BICUBIC if file.channels else Image.Resampling.NEAREST
        small = Image.fromarray(_pixels(official, file, OFFICIAL_SIZE)).resize(SIZE[::-1], resample)
        options = {"compression": "tiff_adobe_deflate"} if file.suffix == ".tif" else {}
        stream = BytesIO()
        small.save(stream, "TIFF" if file.suffix == ".tif" else "PNG", **options)
        contents[new] = stream.getvalue()
    return contents

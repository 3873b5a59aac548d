"""PASCAL-Context with the five tasks of PASCAL_MT: images and labels of their own sizes."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.fetch import Remote
from tssbn.data.real.files import image, lines
from tssbn.data.target import Target

__all__ = ["TASKS", "PascalContext"]

#: The tasks of MLoRE's protocol; MTLoRA's are all but the last.
TASKS = ("segmentation", "parts", "saliency", "normal", "boundary")

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
#: The names that PASCAL-Part gives to parts of persons, in the six groups of the protocol.
GROUPS = {
    "head": "head hair nose mouth leye reye lebrow rebrow lear rear",
    "torso": "torso neck",
    "upper arm": "luarm ruarm",
    "lower arm": "llarm rlarm lhand rhand",
    "upper leg": "luleg ruleg",
    "lower leg": "llleg rlleg lfoot rfoot",
}
PARTS = ("background", *GROUPS)
PART_OF_NAME = {name: i for i, names in enumerate(GROUPS.values(), 1) for name in names.split()}
PERSON = 15  # PASCAL VOC's number of the class

# Which Context classes have normals, by their numbers in PASCAL-Context's labels.txt (0 is none):
# those whose names are also among NYUv2's 894 classes, without "unknown", and "tvmonitor" (427).
# Rule of Maninis et al.: the normals come from a network that had only seen the indoors.
HAS_NORMAL = np.zeros(460, bool)
# fmt: off
HAS_NORMAL[[
    3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49,
    50, 51, 53, 55, 56, 59, 61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101,
    104, 105, 107, 111, 113, 115, 122, 124, 135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165,
    172, 174, 181, 183, 184, 191, 193, 195, 197, 199, 202, 213, 215, 216, 219, 220, 223, 225, 228,
    230, 232, 233, 238, 239, 242, 243, 246, 250, 251, 252, 255, 260, 261, 263, 269, 272, 273, 275,
    281, 283, 284, 285, 286, 287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310, 314, 315, 319,
    323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368, 370, 371, 374, 379, 380,
    383, 384, 397, 401, 403, 405, 407, 408, 411, 412, 413, 414, 417, 419, 421, 423, 427, 429, 430,
    432, 440, 441, 442, 443, 444, 446, 454, 457,
]] = True
# fmt: on

TARGETS = {
    "segmentation": Target("classes", CLASSES, ignore=-1),
    "parts": Target("classes", PARTS, ignore=-1),
    "saliency": Target("classes", ("background", "salient"), ignore=-1),
    "normal": Target("normal", ignore=0),
    "boundary": Target("classes", ("inside", "boundary"), ignore=-1),
}
#: Suffix and folder of each entry's file; of the folders of the segmentation the first that has it.
PLACES = {
    "image": (".jpg", "JPEGImages"),
    "segmentation": (".png", "semseg/VOC12", "semseg/pascal-context"),
    "parts": (".mat", "human_parts"),
    "saliency": (".png", "sal_distill"),
    "normal": (".png", "normals_distill"),
    "boundary": (".mat", "pascal-context/trainval"),
}

WHERE = """\
PASCAL-Context with five tasks (PASCAL_MT), 10,103 photographs: 4,998 train, 5,105 val
Mottaghi and others: The Role of Context for Object Detection ..., CVPR 2014 (segmentation)
Chen and others: Detect What You Can, CVPR 2014 (human parts)
Maninis, Radosavovic, Kokkinos: Attentive Single-Tasking of Multiple Tasks, CVPR 2019
(the five tasks; saliency and normals are the predictions of other networks)

Page      https://github.com/facebookresearch/astmt (its code names the archive below)
Licence   none is stated for the archive. The photographs are PASCAL VOC 2010's, from Flickr,
          under Flickr's terms; the labels were published for research. Cite the papers.
Size      the size of the archive is not published; some GB

Either of two archives with the same layout:
  PASCAL_MT.tgz           the address below, of the authors; it may be offline
  PASCALContext.tar.gz    as used by ATRC (ICCV 2021), InvPT and MLoRE; linked from
                          https://github.com/prismformore/Multi-Task-Transformer
Unpack it; its folder with JPEGImages is the root: make it data/pascal. It is read as it is.

Layout, ids as in the lists; images of at most 500 x 500 pixels:
  ImageSets/Context/{train,val}.txt    one id a line
  JPEGImages/<id>.jpg
  semseg/VOC12/<id>.png                21 classes, 255 void; where it is missing:
  semseg/pascal-context/<id>.png
  human_parts/<id>.mat                 as in PASCAL-Part: anno.objects.parts
  sal_distill/<id>.png                 8 bits
  normals_distill/<id>.png             8-bit RGB
  pascal-context/trainval/<id>.mat     LabelMap, 459 classes
"""


class PascalContext(RealSet):
    """Reads PASCAL-Context in the layout of PASCAL_MT, which ATRC, InvPT, MLoRE and MTLoRA use.

    Images keep their sizes, at most 500 x 500, so batches need a ``transform`` that crops, pads or
    resizes. A sample holds ``image`` and those of the following entries that are in ``tasks``:

    - ``segmentation`` (H, W), 21 classes. The labels are those of PASCAL VOC 2012 if it has the
      image, else they are derived from PASCAL-Context. Void is -1.
    - ``parts`` (H, W): six groups of the parts of persons, and the background. If the image shows
      no part, all pixels are -1. The protocols apply this rule after their crop, so a transform
      with a crop has to apply it again.
    - ``saliency`` (H, W): 1 if the stored value, 0..255, is over half, else 0.
    - ``normal`` (3, H, W): 1 - 2 x stored/255, scaled to unit length. The stored axes are x left,
      y up and z towards the camera, so the sign of all three is reversed. Published figures show
      the stored axes: floors are green, walls in front are blue, walls that face left are red. The
      normal is zero unless the Context class of the pixel is one of 170 that occur indoors.
    - ``boundary`` (H, W): 1 if the Laplacian (four neighbours) of the Context class numbers is not
      0, thinned to lines of one pixel by the method of Guo and Hall, else 0.

    Args:
        root: the folder of the data set.
        split: ``"train"`` or ``"val"``.
        transform: a function that gets the sample, a dict of tensors, and returns another.
        tasks: 5 for all, 4 for all but the boundary (the protocol of MTLoRA), or some names of
            ``TASKS``. Only the files of these tasks are needed; ``normal`` also needs those of
            ``boundary``.

    Raises:
        FileNotFoundError: a list, a folder or a file of a listed image is missing.
        ValueError: the split or a task is unknown; or a list is empty or names an image twice. When
            a sample is read: a file is damaged, has another type, or has another size than the
            image.

    Example:
        >>> PascalContext("data/pascal", "train", tasks=4)[0].keys()  # doctest: +SKIP
        dict_keys(['image', 'segmentation', 'parts', 'saliency', 'normal'])
    """

    official: ClassVar = {"train": 4998, "val": 5105}
    sizes_differ = True
    where = WHERE
    downloads = (
        Remote("https://data.vision.ee.ethz.ch/kmaninis/share/MTL/PASCAL_MT.tgz", "PASCAL_MT.tgz"),
    )

    def __init__(
        self,
        root: str | Path,
        split: str,
        transform: Transform | None = None,
        tasks: int | Sequence[str] = 5,
    ) -> None:
        super().__init__(root, split, transform)
        names = TASKS[:tasks] if tasks in (4, 5) else tasks
        if isinstance(names, (int, str)) or not names or len({*names}) < len(names):
            raise ValueError(f"tasks must be 5, 4 or some of {TASKS}, got {tasks!r}")
        if unknown := [name for name in names if name not in TASKS]:
            raise ValueError(f"tasks must be 5, 4 or some of {TASKS}, got {unknown[0]!r}")
        self.targets = {name: TARGETS[name] for name in names}
        self.ids = _listed(self.root / f"ImageSets/Context/{split}.txt")
        entries = ["image", *names] + ["boundary"] * ("normal" in names)
        self._files = {name: _paths(self.root, name, self.ids) for name in entries}

    def __len__(self) -> int:
        return len(self.ids)

    def files(self, index: int) -> dict[str, Path]:
        return {name: paths[index] for name, paths in self._files.items()}

    def read(self, index: int) -> dict[str, Tensor]:
        files = self.files(index)
        picture = torch.from_numpy(image(files["image"], "RGB"))
        sample = {"image": picture.permute(2, 0, 1).float() / 255}
        size = tuple(picture.shape[:2])
        context = _context(files["boundary"], size) if "boundary" in files else None
        for name in self.targets:
            if name == "segmentation":
                sample[name] = _segmentation(files[name])
            elif name == "parts":
                sample[name] = _human_parts(files[name], size)
            elif name == "saliency":
                sample[name] = torch.from_numpy(_stored(files[name], "L") > 127).long()
            elif name == "normal":
                sample[name] = _normal(files[name], context)
            else:
                sample[name] = _boundary(context)
        return sample


def _listed(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: root must hold ImageSets and JPEGImages")
    ids = " ".join(lines(path)).split()
    if not ids:
        raise ValueError(f"{path} is empty, expected an image's id in every line")
    if len(set(ids)) < len(ids):
        twice = next(i for i, count in Counter(ids).items() if count > 1)
        raise ValueError(f"{path} lists {twice} twice")
    return ids


def _paths(root: Path, entry: str, ids: list[str]) -> list[Path]:
    """The file of each image; every folder is looked into once."""
    suffix, *places = PLACES[entry]
    folders = [root / place for place in places]
    held = {f: set(os.listdir(f)) if f.is_dir() else set() for f in folders}
    paths = []
    for name in (f"{i}{suffix}" for i in ids):
        folder = next((folder for folder in folders if name in held[folder]), None)
        if folder is None:
            wanted = " or ".join(str(folder / name) for folder in folders)
            raise FileNotFoundError(f"{wanted} is missing: ImageSets/Context lists the image")
        paths.append(folder / name)
    return paths


def _stored(path: Path, *modes: str) -> np.ndarray:
    """The values in an image file, which must have one of these modes of Pillow's."""
    from PIL import Image

    value = image(path)
    with Image.open(path) as opened:
        if opened.mode not in modes:
            raise ValueError(f"{path} has the Pillow mode {opened.mode}, expected {modes}")
    return value


def _variable(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=[name])
    except FileNotFoundError:
        raise
    except Exception as error:  # which kind depends on where the file is broken
        raise ValueError(f"{path} is not a whole .mat file: {error}") from error
    if name not in content:
        raise ValueError(f"{path} holds no variable {name!r}")
    return content[name]


def _segmentation(path: Path) -> Tensor:
    classes = torch.from_numpy(_stored(path, "P", "L")).long()
    return classes.masked_fill(classes == 255, -1)


def _human_parts(path: Path, size: tuple[int, int]) -> Tensor:
    parts = np.zeros(size, np.int64)
    for name, mask in _parts_of_persons(path):
        if name not in PART_OF_NAME:
            raise ValueError(
                f"{path} holds a person's part {name!r}, expected one of {(*PART_OF_NAME,)}"
            )
        if mask.shape != size:
            raise ValueError(
                f"{path} holds a mask of shape {mask.shape}, expected {size} as the image's"
            )
        parts[mask != 0] = PART_OF_NAME[name]
    return torch.from_numpy(parts if parts.any() else parts - 1)  # without parts: all void


def _parts_of_persons(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and masks in the order of the file: a later one covers an earlier one."""
    annotation = _variable(path, "anno")
    try:
        for thing in annotation[0, 0]["objects"].ravel():
            if thing["class_ind"].item() == PERSON:
                for part in thing["parts"].ravel():
                    yield part["part_name"].item(), part["mask"]
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: anno has not the form of PASCAL-Part, anno.objects.class_ind and "
            f"anno.objects.parts.part_name and .mask: {error}"
        ) from error


def _context(path: Path, size: tuple[int, int]) -> np.ndarray:
    classes = _variable(path, "LabelMap")
    if classes.shape != size or classes.dtype.kind not in "ui":
        raise ValueError(
            f"{path}: LabelMap has {classes.dtype} values of shape {classes.shape}, "
            f"expected integers of shape {size} as the image's"
        )
    if classes.min() < 0 or classes.max() >= len(HAS_NORMAL):
        raise ValueError(
            f"{path}: LabelMap has values {classes.min()}..{classes.max()}, expected 0..459"
        )
    return classes.astype(np.int64)


def _normal(path: Path, context: np.ndarray) -> Tensor:
    stored = torch.from_numpy(_stored(path, "RGB")).permute(2, 0, 1)
    if stored.shape[1:] != context.shape:
        raise ValueError(
            f"{path} has {tuple(stored.shape[1:])} pixels, expected {context.shape} as the image"
        )
    normal = 1 - stored.float() / 127.5
    length = normal.norm(dim=0)
    counted = torch.from_numpy(HAS_NORMAL[context])
    if (length[counted] > 1.25).any():  # rounding and averaging can only shorten by as much
        raise ValueError(
            f"{path} holds vectors of length {length[counted].max():.2f}, expected unit normals"
        )
    return torch.where(counted & (length > 0.1), normal / length, 0)  # shorter: grey, no direction


def _boundary(context: np.ndarray) -> Tensor:
    from skimage.morphology import thin

    p = np.pad(context, 1, mode="reflect")  # about the outermost pixels, as OpenCV's default
    laplacian = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * context
    return torch.from_numpy(thin(laplacian != 0)).long()

"""The description of the entries of a sample, for every data set, real or synthetic.

A sample is a dict with ``"image"``, (3, H, W) float32 in [0, 1], and one entry for each task. A
data set has ``targets``, a dict from the task's name to its :class:`Target`. Where the input is not
an image, ``"image"`` is a vector (inputs,) float32 of any finite numbers; of a sentence it holds
the numbers of its L word pieces.
"""

import math
from dataclasses import dataclass

import torch

__all__ = ["KINDS", "Target"]

KINDS = ("classes", "depth", "disparity", "normal", "class", "attribute", "number", "words")


@dataclass(frozen=True)
class Target:
    """The kind of one task's entry in a sample.

    Four kinds are maps, with a value for each pixel:

    ========= ================= ========================================= ==================
    kind      shape, type       values                                    not counted
    ========= ================= ========================================= ==================
    classes   (H, W) int64      index into ``classes``                    -1
    depth     (1, H, W) float32 metres along the optical axis             NaN, ``ignore``: 0
    disparity (1, H, W) float32 in the unit of the data set               NaN, ``ignore``:
                                                                          -1 or 0
    normal    (3, H, W) float32 unit vectors; x right, y down, z forward; NaN, zero vectors
                                they point towards the camera
    ========= ================= ========================================= ==================

    Three are one value for the whole image:

    ========= ================= ========================================= ==================
    kind      type              values                                    not counted
    ========= ================= ========================================= ==================
    class     int64             index into ``classes``                    -1
    attribute int64             0 absent, 1 present                       -1
    number    float32           in ``unit``                               NaN
    ========= ================= ========================================= ==================

    One is a value for each word of a sentence:

    ========= ================= ========================================= ==================
    kind      shape, type       values                                    not counted
    ========= ================= ========================================= ==================
    words     (L,) int64        index into ``classes``                    -1
    ========= ================= ========================================= ==================

    A missing label is -1 where the type is int64, and NaN where it is float32; a missing map has
    this value everywhere. Losses and metrics leave it out, see :mod:`tssbn.benchmarks.losses`.

    Files mark void pixels in different ways (255 in PASCAL-Context, label ids in Cityscapes); the
    readers convert all of them to the values of these tables.

    Args:
        kind: a kind in the tables.
        classes: the names of the classes, in the order of their indices.
        ignore: the value of pixels without a measurement in the files. For classes and words it can
            only be -1, which tells that there are such places; for normals it can only be 0.
        unit: unit of a number, as tables print it, such as ``"years"``.

    Raises:
        ValueError: the kind is unknown, ``classes`` or ``unit`` is given for a kind without it,
            ``classes`` is missing, or the kind does not allow this ``ignore``.

    Example:
        >>> Target("classes", ("background", "salient"), ignore=-1)
        Target(kind='classes', classes=('background', 'salient'), ignore=-1, unit='')
        >>> age = Target("number", unit="years")
        >>> age.dense, age.dtype, age.missing
        (False, torch.float32, nan)
    """

    kind: str
    classes: tuple[str, ...] = ()
    ignore: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        if (self.kind in ("classes", "class", "words")) != bool(self.classes):
            raise ValueError(
                f"classes are the names of a target of kind 'classes', 'class' or 'words', "
                f"got {self.classes!r} for kind {self.kind!r}"
            )
        if self.unit and self.kind != "number":
            raise ValueError(
                f"unit is that of a target of kind 'number', got {self.unit!r} "
                f"for kind {self.kind!r}"
            )
        takes = {"classes": (-1,), "words": (-1,), "normal": (0,)}
        takes |= {"class": (), "attribute": (), "number": ()}
        if self.ignore is not None and self.ignore not in takes.get(self.kind, (self.ignore,)):
            raise ValueError(
                f"ignore must be {' or '.join(map(str, (*takes[self.kind], None)))} "
                f"for kind {self.kind!r}, got {self.ignore!r}: a missing label is {self.missing}"
            )

    @property
    def dense(self) -> bool:
        """Whether the entry is a map, and not one value for the image or for each word."""
        return self.kind in ("classes", "depth", "disparity", "normal")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the entry in a sample."""
        return torch.int64 if self.classes or self.kind == "attribute" else torch.float32

    @property
    def missing(self) -> float:
        """The value of a missing label, -1 or NaN; a missing map is full of it."""
        return -1 if self.dtype is torch.int64 else math.nan

    def shape(self, *size: int) -> tuple[int, ...]:
        """Compute the shape of the entry in a sample.

        Args:
            size: height and width of the image, or the length of the input.

        Example:
            >>> Target("depth", ignore=0).shape(48, 64), Target("attribute").shape(48, 64)
            ((1, 48, 64), ())
            >>> Target("words", ("NOUN", "VERB")).shape(32)
            (32,)
        """
        if not self.dense:
            return size if self.kind == "words" else ()
        channels = {"classes": (), "normal": (3,)}.get(self.kind, (1,))
        return (*channels, *size)

"""The base class of the real data sets, which read samples from the files of a folder."""

import math
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tssbn.data.real.fetch import Remote
from tssbn.data.target import Target

if TYPE_CHECKING:
    from tssbn.data.stored import Stored

__all__ = ["RealSet", "Transform", "verify"]

Transform = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class RealSet(Dataset):
    """The base class of real data sets that are read from a folder in its public layout.

    A subclass sets ``targets`` and defines ``__len__``, :meth:`files` and :meth:`read`. Its
    ``__init__`` checks folders, numbering and lists, but opens no sample. Indexing reads a sample,
    checks it against ``targets``, and applies ``transform``.

    Args:
        root: the folder of the data set.
        split: a key of ``official``.
        transform: a function that gets the sample, a dict of tensors, and returns another.

    Attributes:
        official: split → number of published samples, such as ``{"train": 795, "val": 654}``.
        where: the text that ``python -m tssbn data where NAME`` prints: official page, licence,
            steps, expected size, layout.
        downloads: the published files that have a direct address.
        sizes_differ: whether the images differ in size; then batches need a transform that makes
            them equal.

    Raises:
        ValueError: the split is unknown.
        FileNotFoundError: ``root`` is not a folder.
    """

    official: ClassVar[Mapping[str, int]]
    where: ClassVar[str]
    downloads: ClassVar[tuple[Remote, ...]] = ()
    sizes_differ: ClassVar[bool] = False
    targets: Mapping[str, Target]  # of the class or of the object

    def __init__(self, root: str | Path, split: str, transform: Transform | None = None) -> None:
        if split not in self.official:
            raise ValueError(f"split must be one of {tuple(self.official)}, got {split!r}")
        self.root, self.split, self.transform = Path(root), split, transform
        if not self.root.is_dir():
            raise FileNotFoundError(f"no folder root={str(root)!r} for {type(self).__name__}")

    def __len__(self) -> int:
        raise NotImplementedError

    def files(self, index: int) -> dict[str, Path]:
        """Return the file of each entry of a sample; several entries may be in one file."""
        raise NotImplementedError

    def read(self, index: int) -> dict[str, Tensor]:
        """Read a sample, before ``transform``; :class:`~tssbn.data.target.Target` has its form."""
        raise NotImplementedError

    def decoded(self) -> "Stored | None":
        """Return all samples if they are in memory and there is no transform, else ``None``."""
        return None

    @classmethod
    def prepare(cls, src: Path, dest: Path) -> None:
        """Convert the official files to the layout of the class; a repeated call continues.

        Args:
            src: the folder with the files from the official site.
            dest: the folder to write, a ``root`` of the class.
        """
        raise NotImplementedError(f"{cls.__name__} is read as it is published")

    def __repr__(self) -> str:
        name, root = type(self).__name__, str(self.root)
        return f"{name}(root={root!r}, split={self.split!r}, {len(self):,} samples)"

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        try:
            if getattr(index, "ndim", 0):  # a tensor of one entry passes for an integer
                raise TypeError
            index = operator.index(index)
        except TypeError:
            raise TypeError(
                f"index must be one integer, got {type(index).__name__}: several samples are a "
                f"torch.utils.data.Subset(dataset, [0, 1]), or come in batches of a DataLoader"
            ) from None
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        index %= len(self)
        sample = self.read(index)
        verify(sample, self.targets, lambda: self.files(index))
        return sample if self.transform is None else self.transform(sample)


def verify(
    sample: Mapping[str, Tensor],
    targets: Mapping[str, Target],
    files: Callable[[], Mapping[str, Path]],
) -> None:
    """Check the shapes, types and ranges of a sample against its targets.

    Published data sets have no missing labels. So the value for a missing label, which other data
    sets may hold, is an error here.

    Args:
        sample: the entries.
        targets: their descriptions.
        files: returns the file of each entry; an error names the file.

    Raises:
        ValueError: an entry does not have the shape, type or range of its
            :class:`~tssbn.data.target.Target`.

    Example:
        >>> sample = {"image": torch.zeros(3, 2, 2), "depth": torch.full((1, 2, 2), -1.0)}
        >>> files = lambda: {"depth": Path("depth/7.npy")}
        >>> verify(sample, {"depth": Target("depth", ignore=0)}, files)
        Traceback (most recent call last):
        ValueError: depth/7.npy: depth has values -1..-1, expected 0 or more, 0 for void
    """
    size = tuple(sample["image"].shape[-2:])  # of a vector of inputs, its length
    for name, value in sample.items():
        fault = _fault(value, size, targets.get(name))
        if fault is not None:
            raise ValueError(f"{files()[name]}: {name} has {fault}")


def _fault(value: Tensor, size: tuple[int, ...], target: Target | None) -> str | None:
    """What is wrong with an entry (``target`` is ``None`` for the image), or ``None``."""
    image = size if len(size) == 1 else (3, *size)
    shape = image if target is None else target.shape(*size)
    dtype = torch.float32 if target is None else target.dtype
    if value.shape != shape:
        return f"shape {tuple(value.shape)}, expected {shape} to go with the image"
    if value.dtype != dtype:
        return f"type {value.dtype}, expected {dtype}"
    low, high = (bound.item() for bound in value.aminmax())  # both NaN where one value is
    if target is None and len(size) == 1:
        fine, expected = math.isfinite(low) and math.isfinite(high), "finite numbers"
    elif target is None:
        fine, expected = low >= 0 and high <= 1, "0..1"
    elif target.kind == "normal":
        return _fault_of_normals(value)
    elif target.kind == "number":
        fine, expected = math.isfinite(low), "a finite number"
    elif target.dtype == torch.int64:
        top = len(target.classes or ("absent", "present")) - 1
        fine, expected = low >= (0 if target.ignore is None else -1) and high <= top, f"0..{top}"
    else:
        fine, expected = low >= 0 and high < torch.inf, "0 or more"
        if target.ignore == -1 and high < torch.inf and low == -1:
            fine = bool(((value >= 0) | (value == -1)).all())
    void = "" if target is None or target.ignore is None else f", {target.ignore:g} for void"
    return None if fine else f"values {low:g}..{high:g}, expected {expected}{void}"


def _fault_of_normals(value: Tensor) -> str | None:
    x, y, z = value
    squared = (x * x).addcmul_(y, y).addcmul_(z, z)
    low, high = (bound.item() for bound in squared.aminmax())
    if low > 0.98 and high < 1.02:  # 1 % of the length, and no void
        return None
    wrong = ~((squared - 1).abs() < 0.02) & (squared != 0)  # of NaN, both are true
    if not wrong.any():
        return None
    lengths = squared[wrong].sqrt()
    return (
        f"{len(lengths):,} vectors of lengths {lengths.min():g}..{lengths.max():g}, "
        f"expected unit normals, zero vectors for void"
    )

"""Checks the folder of a real data set: counts, ranges of values, a hash, the first broken file."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from torch import Tensor

from tssbn.data.chunks import progress
from tssbn.data.real.dataset import RealSet
from tssbn.data.real.fetch import digest
from tssbn.data.real.files import hidden
from tssbn.data.target import Target

__all__ = ["Part", "Report", "Values", "check"]


@dataclass
class Part:
    """The result of the check for one split.

    Attributes:
        official: how many samples were published.
        samples: how many samples the folder has; ``None`` if its layout is wrong.
        opened: how many samples were read.
        broken: how many of the opened samples could not be read, or have values out of range.
        fault: the first error, which names the file.
    """

    official: int
    samples: int | None = None
    opened: int = 0
    broken: int = 0
    fault: str | None = None


@dataclass
class Values:
    """The values of one entry, over all opened samples; ignored values are left out.

    Attributes:
        kind: the kind of its :class:`~tssbn.data.target.Target`, or ``"image"``.
        low, high: the smallest and the largest value; for normals, of the component z along the
            optical axis.
        counted: how many values are not ignored; for attributes, how many values are 1.
        total: how many values there are, with the ignored ones.
        facing: for normals, how many have z < 0, which means that they point towards the camera.
    """

    kind: str
    low: float = float("inf")
    high: float = float("-inf")
    counted: int = 0
    total: int = 0
    facing: int = 0

    @classmethod
    def of(cls, value: Tensor, target: Target | None) -> "Values":
        kind = "image" if target is None else target.kind
        if kind == "normal":
            valid, value = (value != 0).any(0), value[2]
        elif kind == "attribute":
            valid = value == 1
        else:
            valid = value == value if target is None else value != target.ignore
        kept = value[valid]
        found = cls(kind, counted=kept.numel(), total=valid.numel())
        if len(kept):
            found.low, found.high = kept.min().item(), kept.max().item()
        if kind == "normal":
            found.facing = int((kept < 0).sum())
        return found

    def add(self, other: "Values") -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.counted += other.counted
        self.total += other.total
        self.facing += other.facing

    def __str__(self) -> str:
        if self.kind == "image":
            return f"{self.low:.3g}..{self.high:.3g}"
        if not self.counted:
            return "nothing to be counted"
        places = "pieces" if self.kind == "words" else "pixels"
        counted = f"{self.counted / self.total:.1%} of the {places} counted"
        if self.kind == "normal":
            return f"unit vectors, {self.facing / self.counted:.1%} of them with z < 0, {counted}"
        return f"{self.low:.3g}..{self.high:.3g}{' m' * (self.kind == 'depth')}, {counted}"


@dataclass
class Report:
    """The result of :func:`check`; ``str`` of it is what ``python -m tssbn data check`` prints.

    Attributes:
        title: the name of the class and the folder.
        quick: whether only the first sample of each split was opened.
        origin: the text of ``ORIGIN.txt``, which ``prepare`` writes into the folder.
        elsewhere: if the folder has no split, its parent or the subfolder that has one.
        parts: split → result.
        sizes: all sizes of the images, (height, width), or of vectors, (inputs,).
        values: entry of the samples → its values.
        files: how many files belong to the data set.
        size: bytes of these files together.
        digest: SHA-256 over the sorted lines ``<path below root> <SHA-256 of the file>``. It does
            not depend on where the folder is. With ``quick``, the lines have the size of the file
            instead of its SHA-256.
    """

    title: str
    quick: bool
    origin: str = ""
    elsewhere: Path | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    sizes: set[tuple[int, ...]] = field(default_factory=set)
    values: dict[str, Values] = field(default_factory=dict)
    files: int = 0
    size: int = 0
    digest: str = ""

    @property
    def usable(self) -> bool:
        """Whether every split is there and every opened sample is in order."""
        return all(part.fault is None for part in self.parts.values())

    def __str__(self) -> str:
        looks = sum(part.opened - part.broken for part in self.parts.values())
        of = f" in the {looks:,} opened" * self.quick
        lines = [self.title, *(f"  {line}" for line in self.origin.splitlines())]
        for name, part in self.parts.items():
            count = "missing" if part.samples is None else f"{part.samples:,} samples"
            subset = " (a subset)" if part.samples and part.samples < part.official else ""
            lines.append(f"  {name}: {count}, official {part.official:,}{subset}")
        if self.sizes:
            small, large = (" x ".join(map(str, f(self.sizes))) for f in (min, max))
            more = f" to {large} ({len(self.sizes)} sizes)" if len(self.sizes) > 1 else ""
            what = "inputs" if len(min(self.sizes)) == 1 else "images"
            lines.append(f"  {what}: {small}{more}{of}")
        present = {k: v.counted / v.total for k, v in self.values.items() if v.kind == "attribute"}
        lines += [f"  {name}: {v}{of}" for name, v in self.values.items() if name not in present]
        if present:
            least, most = min(present, key=present.get), max(present, key=present.get)
            lines.append(
                f"  {len(present)} attributes: present in {present[least]:.1%} ({least}) "
                f"to {present[most]:.1%} ({most}){of}"
            )
        if self.files:
            lines.append(f"  {self.files:,} files, {self.size / 1e9:,.2f} GB")
            covers = "names and sizes" if self.quick else "names and contents"
            lines.append(f"  sha256 of all {covers}: {self.digest}")
        for name, part in self.parts.items():
            if part.fault is not None:
                count = f"{part.broken:,} of {part.opened:,} samples broken, the first: "
                lines.append(f"  {name}: {count * bool(part.opened)}{part.fault}")
        if self.elsewhere is not None:
            lines.append(f"  but {self.elsewhere} is such a folder: check that one")
        opened = sum(part.opened for part in self.parts.values())
        verdict = "usable" if self.usable else "NOT usable"
        return "\n".join([*lines, f"{verdict}, {opened:,} samples opened"])


def check(dataset: type[RealSet], root: str | Path, quick: bool = False) -> Report:
    """Check that a folder holds a whole and readable data set.

    It opens every sample of every split, checks it against its targets, and hashes every file.
    Faults are written into the report; they do not raise an error.

    Args:
        dataset: the class that reads the data set.
        root: the folder.
        quick: whether to open only the first sample of each split, and to hash only the names and
            sizes of the files.

    Returns:
        The report.

    Example:
        >>> from tssbn.data.real.nyuv2 import NYUv2
        >>> print(check(NYUv2, "nowhere"))
        NYUv2 in nowhere
          train: missing, official 795
          val: missing, official 654
          train: no folder root='nowhere' for NYUv2
          val: no folder root='nowhere' for NYUv2
        NOT usable, 0 samples opened
    """
    root = Path(root)
    report = Report(f"{dataset.__name__} in {root}", quick)
    if (root / "ORIGIN.txt").is_file():
        report.origin = (root / "ORIGIN.txt").read_text(encoding="utf-8-sig", errors="replace")
    hashes: dict[Path, str] = {}
    for split, official in dataset.official.items():
        part = report.parts[split] = Part(official)
        try:
            samples = dataset(root, split)
        except (OSError, ValueError) as error:
            part.fault = str(error)
            continue
        part.samples = len(samples)
        with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
            look = partial(_look, samples, quick, hashes)
            looks = pool.imap(look, range(len(samples)), chunksize=16)
            for size, values, fault in progress(looks, f"check {split}", total=len(samples)):
                if fault is not None:
                    part.broken += 1
                    part.fault = part.fault or fault
                elif size is not None:
                    report.sizes.add(size)
                    for name, found in values.items():
                        report.values.setdefault(name, Values(found.kind)).add(found)
        part.opened = min(1, len(samples)) if quick else len(samples)

    if all(part.samples is None for part in report.parts.values()):
        report.elsewhere = _elsewhere(dataset, root)
    report.files = len(hashes)
    report.size = sum(path.stat().st_size for path in hashes)
    lines = sorted(f"{path.relative_to(root).as_posix()} {text}" for path, text in hashes.items())
    report.digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return report


def _elsewhere(dataset: type[RealSet], root: Path) -> Path | None:
    """The parent or the subfolder of a folder that holds a split of the set."""
    if not root.is_dir():
        return None
    inner = (path for path in root.iterdir() if not hidden(path.relative_to(root)))
    folders = sorted(path for path in inner if path.is_dir())
    for folder in (root.resolve().parent, *folders):
        for split in dataset.official:
            with suppress(OSError, ValueError):
                dataset(folder, split)
                return folder
    return None


def _look(
    samples: RealSet, quick: bool, hashes: dict[Path, str], index: int
) -> tuple[tuple[int, ...] | None, dict[str, Values], str | None]:
    """Hash the files of a sample that are not in ``hashes`` yet; then, unless this is quick, open
    it. Returns the image's size and the entries' values, or what is wrong."""
    try:
        for path in set(samples.files(index).values()).difference(hashes):
            hashes[path] = str(path.stat().st_size) if quick else digest(path)
        if quick and index > 0:
            return None, {}, None
        sample = samples[index]
    except (OSError, ValueError) as error:
        return None, {}, str(error)
    except Exception as error:  # of a library, which a damaged file surprised
        names = ", ".join(sorted({str(path) for path in samples.files(index).values()}))
        return None, {}, f"one of {names} is damaged: {type(error).__name__}: {error}"
    values = {name: Values.of(x, samples.targets.get(name)) for name, x in sample.items()}
    return tuple(sample["image"].shape[-2:]), values, None

"""Reading and writing the files of data sets: what is broken is named, nothing is half written."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np

__all__ = ["array", "image", "numbered", "whole"]


def array(path: Path, *shape: int | None) -> np.ndarray:
    """The array of an ``.npy`` file; pickled objects are refused, as they could run code.

    Args:
        path: the file.
        shape: its sizes, ``None`` for any; without sizes every shape will do.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an array file, cut short, holding Python objects, or of another shape.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "0.npy"
        >>> np.save(path, np.zeros((2, 3)))
        >>> array(path, None, 3).shape
        (2, 3)
    """
    try:
        value = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, TokenError, BadZipFile) as error:
        raise ValueError(f"{path} is not a whole .npy file of numbers: {error}") from error
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{path} is an archive, expected one array (.npy)")
    if value.dtype.kind not in "biuf":
        raise ValueError(f"{path} holds {value.dtype} values, expected numbers")
    if shape and (
        value.ndim != len(shape)
        or any(want not in (None, size) for want, size in zip(shape, value.shape, strict=True))
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{path} has shape {value.shape}, expected ({wanted})")
    return value


def image(path: Path, mode: str | None = None, size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels of an image file, (H, W) or (H, W, C).

    Args:
        path: anything that Pillow opens.
        mode: converts to this Pillow mode (``"RGB"``); without it the stored values come back:
            the class numbers of a palette image, 16 bits where the file has them.
        size: resizes to (height, width), bilinear with antialiasing, after the conversion.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, or cut short.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "0.png"
        >>> from PIL import Image
        >>> Image.new("L", (4, 2), 7).save(path)
        >>> image(path, "RGB").shape, image(path).max().item()
        ((2, 4, 3), 7)
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert(mode) if mode not in (None, opened.mode) else opened
            if size is not None:
                picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.array(picture)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is not a whole image file: {error}") from error


def numbered(folders: Sequence[Path], suffix: str) -> int:
    """How many files ``0<suffix>``, ``1<suffix>``, ... lie in each of the folders.

    Other files are passed over.

    Raises:
        FileNotFoundError: a folder is missing or empty, or lacks a number that another one has.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for i in range(3):
        ...     _ = (folder / f"{i}.npy").write_bytes(b"")
        >>> numbered([folder], ".npy")
        3
    """
    found: dict[Path, set[int]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}, expected files 0{suffix}, 1{suffix}, ...")
        stems = (n.removesuffix(suffix) for n in os.listdir(folder) if n.endswith(suffix))
        found[folder] = {int(stem) for stem in stems if stem.isdecimal() and stem == str(int(stem))}
        if not found[folder]:
            raise FileNotFoundError(f"{folder} holds no file 0{suffix}, 1{suffix}, ...")
    count = max(max(numbers) for numbers in found.values()) + 1
    for folder, numbers in found.items():
        if len(numbers) < count:
            gap = next(i for i in range(count) if i not in numbers)
            raise FileNotFoundError(
                f"{folder / f'{gap}{suffix}'} is missing: the numbers go up to {count - 1}, "
                f"and {count - len(numbers)} of them are not in {folder.name}"
            )
    return count


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file gets its own name only when the block ends without an error.

    So a file that exists is complete, and a run that was interrupted goes on by skipping those.
    The name keeps the suffix, which the writers of arrays and images go by.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "0.npy"
        >>> with whole(path) as part:
        ...     np.save(part, np.zeros(3))
        >>> [file.name for file in path.parent.iterdir()]
        ['0.npy']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid4().hex}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)

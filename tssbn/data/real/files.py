"""Reads and writes the files of data sets: errors name the file, and no file is half written."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from uuid import uuid4

import numpy as np

__all__ = ["array", "hidden", "image", "lines", "numbered", "whole", "writing"]

# What systems put beside the files of a data set, without a dot in front.
LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini"}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the disk, the user's share, the file


def hidden(path: PurePath) -> bool:
    """Whether a path leads to a file of the operating system instead of the data set.

    macOS writes files such as ``._0.png`` on foreign disks and ``__MACOSX/._0.png`` in archives,
    which end like images. Folders may also have ``.DS_Store`` or ``Thumbs.db``.

    Args:
        path: relative to the folder of the data set.

    Example:
        >>> [hidden(Path(name)) for name in ("a/0.png", "a/._0.png", "__MACOSX/a", "Thumbs.db")]
        [False, True, True, True]
    """
    return any(part[0] == "." or part.lower() in LEFT_BY_SYSTEMS for part in path.parts)


def lines(path: Path, content: bytes | None = None) -> list[str]:
    r"""Read the lines of a text file, without empty lines at its end and a byte order mark.

    Args:
        path: the file.
        content: the bytes of the file, if they are not to be read from ``path``; errors still name
            ``path``.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no text in UTF-8.

    Example:
        >>> lines(Path("list.txt"), b"a 0\r\nb 1\r\n\r\n")
        ['a 0', 'b 1']
    """
    try:
        text = (path.read_bytes() if content is None else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8: {error}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    return text.split("\n") if text else []


def array(path: Path, *shape: int | None) -> np.ndarray:
    """Read the array of an ``.npy`` file; pickled objects are an error, as they could run code.

    Args:
        path: the file.
        shape: the expected size of each axis, ``None`` for any size; by default, the array may have
            any shape.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no array, is cut short, holds Python objects, or has another shape.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "0.npy"
        >>> np.save(path, np.zeros((2, 3)))
        >>> array(path, None, 3).shape
        (2, 3)
    """
    try:
        value = np.load(path, allow_pickle=False)
    except OSError:
        raise  # these name the file
    except Exception as error:  # which kind depends on where the file is broken
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
    """Read the pixels of an image file, (H, W) or (H, W, C).

    Args:
        path: a file of any format that Pillow reads.
        mode: the mode of Pillow to convert to, such as ``"RGB"``. By default the stored values are
            returned: the class numbers of a palette image, and 16 bits if the file has them.
        size: (height, width) to resize to after the conversion, bilinearly with antialiasing.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no image, is cut short, or has more pixels than Pillow's limit.

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
    except Exception as error:  # which kind depends on where the file is broken
        raise ValueError(f"{path} is not a whole image file: {error}") from error


def numbered(folders: Sequence[Path], suffix: str) -> int:
    """Count the files ``0<suffix>``, ``1<suffix>``, ..., which must be the same in each folder.

    Other files do not count.

    Raises:
        FileNotFoundError: a folder is missing or empty, or lacks a number that another folder has.

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
    """Give the block a temporary path to write to; rename it to ``path`` if the block succeeds.

    So every file under its final name is complete, and an interrupted conversion can skip it. The
    temporary path has the suffix of ``path``, by which NumPy and Pillow choose the format. The
    folder of ``path`` is created if necessary.

    Raises:
        OSError: the block raised it. If the file could not be written, as on a full disk, the error
            has the path and the free space.

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
        with writing(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Add the path and the free space to the error of a block that could not write.

    Example:
        >>> with writing(Path("0.npy")):
        ...     raise OSError(errno.ENOSPC, "No space left on device")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device (... bytes are free): '0.npy'
    """
    try:
        yield
    except OSError as error:
        # NumPy and Pillow say that a write failed by a plain OSError without a number.
        if error.errno not in FULL and (type(error) is not OSError or error.errno is not None):
            raise
        free = shutil.disk_usage(path.parent).free
        number, text = error.errno or errno.EIO, error.strerror or str(error)
        raise OSError(number, f"{text} ({free:,} bytes are free)", str(path)) from error

"""Keeps rendered tensors on disk, in the user's cache folder."""

import hashlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor

from tssbn import sealed

__all__ = ["cached", "digest", "folder"]


def folder() -> Path:
    """Return the folder of the cache.

    It is ``$TSSBN_CACHE`` if this is set, else ``$XDG_CACHE_HOME/tssbn``, else ``~/.cache/tssbn``.
    The folder may be deleted at any time; missing data are rendered again.

    Example:
        >>> folder().is_absolute()
        True
    """
    if chosen := os.environ.get("TSSBN_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tssbn"


def digest(asked: object, sources: Path) -> str:
    """Hash everything that the content of a cached file depends on.

    These are the request, the version of torch, and the bytes of the Python files that render it.

    Args:
        asked: the request: any object whose ``repr`` names all arguments.
        sources: the folder of the code that renders the data. The files beside this module, which
            all synthetic data share, are hashed as well.

    Returns:
        16 hexadecimal digits, for the name of the file.

    Example:
        >>> digest(("val", 8), Path()) == digest(("val", 9), Path())
        False
    """
    # Another version of torch may draw other random numbers.
    content = hashlib.sha256(repr((asked, str(torch.__version__))).encode())
    for folder in (sources, Path(__file__).parent):
        for file in sorted(folder.glob("[!.]*.py")):
            content.update(file.read_bytes())
    return content.hexdigest()[:16]


def cached(key: str, render: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of ``render()``; read them from the cache if they are there.

    A file is written under a temporary name and renamed when it is complete. So an interrupted run
    leaves no half file, and if two processes render the same data, the file of the last one stays.
    A file with a wrong bit, which a checksum finds, or with other contents than named tensors is
    rendered again, with a warning. If the folder cannot be written, there is a warning and the
    tensors are returned without being kept.

    Args:
        key: the name of the file without its ending; different tensors need different keys.
        render: computes the tensors.

    Example:
        >>> cached("doctest", lambda: {"x": torch.arange(3)})["x"]
        tensor([0, 1, 2])
    """
    path = folder() / f"{key}.pt"
    try:
        with open(path, "rb") as file:
            sealed.verify(file)
        return _named(torch.load(path, mmap=True, weights_only=True))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except Exception as error:  # broken bytes make zipfile and torch raise almost anything
        warnings.warn(f"{path} cannot be read ({error}); its data are rendered again", stacklevel=2)
    tensors = render()
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            sealed.save({name: value.cpu() for name, value in tensors.items()}, file)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # a read-only home, a full disk: the data are fine
        cause = error.__context__ or error  # torch's own, of a short write, hides the system's
        warnings.warn(f"{path}: synthetic data cannot be stored: {cause}", stacklevel=2)
    finally:
        with suppress(OSError):  # where nothing can be written, nothing can be deleted
            part.unlink()
    return tensors


def _named(content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ValueError("not a dict of tensors")
    return content

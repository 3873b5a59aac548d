"""Checkpoints that an interruption cannot spoil, in a folder that one run has to itself."""

import math
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from tssbn import sealed
from tssbn.benchmarks.recipe import Recipe
from tssbn.training.memory import is_out_of_memory

__all__ = [
    "BEFORE",
    "LAST",
    "MAY_DIFFER",
    "PATIENCE",
    "FolderLocked",
    "check_same_run",
    "fitting",
    "load",
    "lock",
    "save",
    "writing",
]

LAST, BEFORE = "last.pt", "before.pt"  # the last checkpoint, and the one before it
PATIENCE = 20  # how many times longer than writing a checkpoint it trains between two
# Of a record, between two starts of a run:
MAY_DIFFER = ("versions", "commit", "dirty", "threads", "device", "note", "fast_kernels")


class FolderLocked(BlockingIOError):
    """Another process trains in the folder."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder; the system ends it with the process, however it ends.

    Raises:
        FolderLocked: another process is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        message = f"another process trains in {folder}: wait for it or end it"
        raise FolderLocked(message) from None
    try:
        yield
    finally:
        empty = {path.name for path in folder.iterdir()} <= {"lock"}  # nothing came of it
        if empty and os.name != "nt":  # before others can come in; Windows removes no open file
            (folder / "lock").unlink(missing_ok=True)
            folder.rmdir()
        lock.release()


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint in the place of the last one, which is kept beside it.

    The last one stays whole until this one is, whenever the process ends.

    Raises:
        OSError: it could not be written, such as on a full disk.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for epoch in 1, 2:
        ...     save(folder, {"epoch": epoch})
        >>> sorted(path.name for path in folder.iterdir()), load(folder)
        (['before.pt', 'last.pt'], {'epoch': 2})
    """
    last, before, part = folder / LAST, folder / BEFORE, folder / f"{LAST}.part"
    try:
        with writing(last, _size(state)):
            with open(part, "wb") as file:
                sealed.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            before.unlink(missing_ok=True)
            if last.exists():
                _second_name(last, before)
            os.replace(part, last)
    except OSError as error:
        kept = f". {last}, of the epoch before, is whole" if last.exists() else ""
        raise OSError(f"no checkpoint: {error}{kept}") from error
    finally:
        part.unlink(missing_ok=True)


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, name)


def _size(value: Any) -> int:
    """Bytes of the tensors."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        value = list(value.values())
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 0


@contextmanager
def writing(path: Path, size: int) -> Iterator[None]:
    """Name a file that the system does not write, the bytes it needs and those that are free.

    Raises:
        OSError: says so; the system's own, of a full disk, names nothing.

    Example:
        >>> with writing(Path("runs/x/last.pt"), 3_000_000):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        OSError: runs/x/last.pt could not be written: [Errno 28] No space left on device; it needs
        about 3.0 MB, and ... MB are free there
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__  # torch's own error, of a short write, hides the system's
        if cause is None:
            raise
        there = next(parent for parent in path.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(there).free
        raise OSError(
            f"{path} could not be written: {cause}; it needs about {math.ceil(size / 1e5) / 10} "
            f"MB, and {free / 1e6:.1f} MB are free there"
        ) from error


def load(folder: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """The last checkpoint, its tensors on the CPU.

    Args:
        folder: of the run.
        keys: what it must hold.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged in any bit, or is no such checkpoint; says what to do.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> save(folder, {"epoch": 2})
        >>> load(folder, ("epoch", "net"))
        Traceback (most recent call last):
        ValueError: .../last.pt cannot be read (net is not in it): delete it to begin again
    """
    path, before = folder / LAST, folder / BEFORE
    try:
        return _read(path, keys)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # broken bytes make zipfile and torch raise almost anything
        if is_out_of_memory(error):  # the file may be whole
            raise
        advice = "delete it to begin again"
        if _whole(before, keys):
            advice = (
                f"rename {before}, which is complete, to {LAST} to continue from there, or {advice}"
            )
        raise ValueError(f"{path} cannot be read ({error}): {advice}") from error


def _whole(path: Path, keys: Collection[str]) -> bool:
    try:
        return bool(_read(path, keys))
    except Exception:  # as above
        return False


def _read(path: Path, keys: Collection[str]) -> dict[str, Any]:
    with open(path, "rb") as file:
        sealed.verify(file)
        file.seek(0)
        state = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"a checkpoint is a dict, this is of type {type(state).__name__}")
    if missing := [key for key in keys if key not in state]:
        raise ValueError(f"{', '.join(missing)} is not in it")
    return state


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse a checkpoint of another run.

    A field of the recipe that came after the checkpoint had its default when that was made.

    Raises:
        ValueError: says what differs.

    Example:
        >>> check_same_run({"seed": 0, "lr": 0.1}, {"seed": 0, "lr": 0.2}, Path("runs/x"))
        Traceback (most recent call last):
        ValueError: runs/x/last.pt is of another run: lr is 0.1 there and 0.2 here
    """
    if "select" in saved:
        raise ValueError(
            f"{folder / LAST} is of an earlier version, whose recipes have other names: finish "
            "the run with that version, or delete the file to begin again"
        )
    defaults = {field.name: field.default for field in fields(Recipe) if field.name in now}
    saved = {**defaults, **saved}
    differ = [key for key in sorted({*saved, *now}) if saved.get(key) != now.get(key)]
    if differ:
        what = ", ".join(
            f"{key} is {saved.get(key)!r} there and {now.get(key)!r} here" for key in differ
        )
        raise ValueError(f"{folder / LAST} is of another run: {what}")


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Name the checkpoint whose parts do not fit what is there, as those of another version may.

    Raises:
        ValueError: says so.

    Example:
        >>> with fitting(Path("runs/x")):
        ...     torch.nn.Linear(1, 1).load_state_dict({})
        Traceback (most recent call last):
        ValueError: runs/x/last.pt does not fit this version of the program: delete it to begin
        again. Error(s) in loading state_dict for Linear:
        Missing key(s) in state_dict: "weight", "bias".
    """
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"{folder / LAST} does not fit this version of the program: delete it to begin again. "
            f"{error}"
        ) from error

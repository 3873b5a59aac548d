"""Checkpoints that an interruption cannot spoil, in a folder that one run has to itself."""

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

__all__ = ["LAST", "MAY_DIFFER", "PATIENCE", "Taken", "agree", "claim", "load", "save"]

LAST = "last.pt"
PATIENCE = 20  # how many times longer than writing a checkpoint it trains between two
# Of a record, between two starts of a run:
MAY_DIFFER = ("versions", "commit", "dirty", "threads", "device", "note", "fast_kernels")


class Taken(BlockingIOError):
    """Another process trains in the folder."""


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder; the system ends it with the process, however it ends.

    Raises:
        Taken: another process is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        message = f"another process trains in {folder}: wait for it or end it"
        raise Taken(message) from None
    try:
        yield
    finally:
        empty = {path.name for path in folder.iterdir()} <= {"lock"}  # nothing came of it
        if empty and os.name != "nt":  # before others can come in; Windows removes no open file
            (folder / "lock").unlink(missing_ok=True)
            folder.rmdir()
        lock.release()


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint in the place of the last one, which stays whole until this one is.

    Raises:
        OSError: it could not be written, such as on a full disk.
    """
    part = folder / f"{LAST}.part"
    try:
        with open(part, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, folder / LAST)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        cause = (
            error.__context__ or error
        )  # torch's own error, of a short write, hides the system's
        kept = f"{folder / LAST}, of the epoch before, is whole" if (folder / LAST).exists() else ""
        raise OSError(f"no checkpoint could be written: {cause}. {kept}") from error


def load(folder: Path) -> dict[str, Any]:
    """The last checkpoint, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is not a checkpoint.
    """
    try:
        return torch.load(folder / LAST, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{folder / LAST} does not read, delete it: {error}") from error


def agree(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse a checkpoint of another run.

    Raises:
        ValueError: says what differs.

    Example:
        >>> agree({"seed": 0, "lr": 0.1}, {"seed": 0, "lr": 0.2}, Path("runs/x"))
        Traceback (most recent call last):
        ValueError: runs/x/last.pt is of another run: lr is 0.1 there and 0.2 here
    """
    differ = [key for key in sorted({*saved, *now}) if saved.get(key) != now.get(key)]
    if differ:
        what = ", ".join(
            f"{key} is {saved.get(key)!r} there and {now.get(key)!r} here" for key in differ
        )
        raise ValueError(f"{folder / LAST} is of another run: {what}")

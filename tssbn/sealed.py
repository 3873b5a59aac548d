"""Files of tensors that end with their checksum, so that no damage passes for another result."""

import hashlib
import io
import os
import zipfile
from typing import Any, BinaryIO

import torch

__all__ = ["MARK", "save", "verify"]

MARK = b"\nsha256 "  # at the end, with the digest of what is before; torch ignores both


def save(content: Any, file: BinaryIO) -> None:
    """Write what ``torch.save`` writes, and its digest.

    Example:
        >>> file = io.BytesIO()
        >>> save({"x": torch.arange(3)}, file)
        >>> verify(file)
        >>> torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        {'x': tensor([0, 1, 2])}
    """
    hashed = _Hashed(file)
    torch.save(content, hashed)
    file.write(MARK + hashed.digest.hexdigest().encode())


def verify(file: BinaryIO) -> None:
    """Read a file to its end, and compare it with its digest.

    Raises:
        ValueError: any bit is another, or something is missing.

    Example:
        >>> verify(io.BytesIO(b"no such file"))
        Traceback (most recent call last):
        ValueError: it is cut short, or no such file at all
    """
    digest = hashlib.sha256()
    rest = file.seek(0, os.SEEK_END) - len(MARK) - 2 * digest.digest_size
    file.seek(max(rest, 0))
    end = file.read()
    if not end.startswith(MARK):
        if not end[-22:].startswith(b"PK\5\6"):
            raise ValueError("it is cut short, or no such file at all")
        # Of a version that wrote no digest: a zip file, which ends so, has sums of its own.
        if broken := zipfile.ZipFile(file).testzip():
            raise ValueError(f"{broken} in it is damaged")
        return
    file.seek(0)
    while rest:
        chunk = file.read(min(rest, 2**20))
        digest.update(chunk)
        rest -= len(chunk)
    if end != MARK + digest.hexdigest().encode():
        raise ValueError("it is damaged: its checksum is another")


class _Hashed(io.RawIOBase):
    """A file to write to, and the digest of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)

"""Downloads published files; continues interrupted downloads, and checks sizes and checksums."""

import hashlib
import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tssbn.data.chunks import progress
from tssbn.data.real.files import writing

__all__ = ["Remote", "digest", "download"]

CHUNK = 1 << 18
GIVES_UP = {400, 401, 403, 404, 405, 410, 451}  # asking again would not help
NETWORK = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True)
class Remote:
    """A published file to download.

    Args:
        url: its official address.
        name: the name of the file on this machine.
        size: in bytes; ``None`` if unknown.
        checksum: ``"md5:..."`` or ``"sha256:..."`` in hexadecimal digits, from a public source;
            ``None`` if there is no source.

    Example:
        >>> Remote("https://example.org/a.zip", "a.zip", checksum="md5:900150983cd24fb0").size
    """

    url: str
    name: str
    size: int | None = None
    checksum: str | None = None


def digest(path: Path, method: str = "sha256") -> str:
    """Compute the checksum of a file, in hexadecimal digits.

    Args:
        path: the file, which may be larger than the memory.
        method: the name of an algorithm of ``hashlib``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "abc"
        >>> _ = path.write_text("abc")
        >>> digest(path, "md5")
        '900150983cd24fb0d6963f7d28e17f72'
    """
    hashed = hashlib.new(method, usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            hashed.update(piece)
    return hashed.hexdigest()


def download(remote: Remote, folder: Path, attempts: int = 8, pause: float = 1.0) -> Path:
    """Download a file; continues an earlier download or one whose connection broke.

    The bytes that have arrived are kept in ``<name>.part``. The file is renamed to its name when
    its size and checksum are right. A later call continues the part if the file on the server is
    still the same, by its ETag or date, which are kept beside the part. Otherwise it starts again.
    If the file exists already, it is checked but not downloaded.

    Args:
        remote: the file to download.
        folder: the folder for the file; it is created if necessary.
        attempts: after how many attempts in a row without a new byte to give up.
        pause: seconds before the second attempt; doubled before each further one, up to a minute.

    Returns:
        The path of the file.

    Raises:
        ValueError: the downloaded file has another size or checksum, and is deleted; or the file
            exists already with another size or checksum.
        OSError: the address does not exist, every attempt failed, or the disk is full. The part is
            kept.
    """
    path = folder / remote.name
    if path.exists():
        _verify(path, remote, f"{path} lies there already, but it is not {remote.url}: ")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part, tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.tag")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(remote, part, tag)
            break
        except HTTPError as error:
            if error.code in GIVES_UP:
                raise OSError(f"{remote.url} answers {error.code} {error.reason}") from error
            cause: Exception = error
        except NETWORK as error:
            cause = error
        arrived = part.stat().st_size if part.exists() else 0
        failures = 0 if arrived > before else failures + 1
        if failures >= attempts:
            raise OSError(
                f"{remote.url} failed {failures} times in a row, the last time by: {cause}; "
                f"{arrived:,} bytes are kept in {part}, the same call goes on from there"
            ) from cause
        time.sleep(min(pause * 2**failures, 60))
    try:
        _verify(part, remote, f"{remote.url} sent another file: ")
    except ValueError:
        part.unlink()
        raise
    finally:
        tag.unlink(missing_ok=True)
    os.replace(part, path)
    return path


def _receive(remote: Remote, part: Path, tag: Path) -> None:
    """One request; appends to the part what it lacks."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "tssbn"}
    known = tag.read_text(encoding="utf-8") if tag.exists() else ""
    if have and (known or remote.checksum):
        headers["Range"] = f"bytes={have}-"
        if known:
            headers["If-Range"] = known
    try:
        response = urlopen(Request(remote.url, headers=headers), timeout=60)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing beyond what is here: the whole file, or another one
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
        raise
    with response:
        content_range = response.headers.get("Content-Range", "")
        resumed = response.status == 206 and content_range.startswith(f"bytes {have}-")
        if response.status == 206 and not resumed:
            raise URLError(f"asked for bytes {have}-, got {content_range!r}")
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else remote.size
        if remote.size is not None and total != remote.size:
            raise ValueError(
                f"{remote.url} offers {total:,} bytes, expected {remote.size:,}: the file was "
                f"changed, or a page of the site took its place"
            )
        if total is None and not response.chunked and remote.checksum is None:
            raise ValueError(
                f"{remote.url} gives no length, so a download that is cut short would go unnoticed"
            )
        validator = response.headers.get("ETag") or ""
        if not validator or validator.startswith("W/"):  # a weak one does not say "same bytes"
            validator = response.headers.get("Last-Modified") or ""
        with writing(part), open(part, "ab" if resumed else "wb") as file:
            if not resumed:
                tag.write_text(validator, encoding="utf-8")
            arrived = start
            for piece in _pieces(response, remote.name, start, total):
                file.write(piece)
                arrived += len(piece)
    if total is not None and arrived != total:
        raise URLError(f"the connection ended after {arrived:,} of {total:,} bytes")


def _pieces(response: HTTPResponse, name: str, start: int, total: int | None) -> Iterator[bytes]:
    moved = progress(None, name, total=total, initial=start, unit="B", unit_scale=True)
    try:
        while piece := response.read1(CHUNK):
            yield piece
            if moved is not None:
                moved.update(len(piece))
    finally:
        if moved is not None:
            moved.close()


def _verify(path: Path, remote: Remote, text: str) -> None:
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        raise ValueError(f"{text}{size:,} bytes, expected {remote.size:,}")
    if remote.checksum is not None:
        method, expected = remote.checksum.split(":")
        found = digest(path, method)
        if found != expected:
            raise ValueError(f"{text}{method} {found}, expected {expected}")

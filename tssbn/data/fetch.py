"""Getting published files: downloads that resume, archives that stay inside their folder."""

import gzip
import hashlib
import os
import shutil
import ssl
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PureWindowsPath
from typing import IO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from .chunks import progress
from .files import whole

__all__ = ["Remote", "digest", "download", "unpack"]

CHUNK = 1 << 18
GIVES_UP = {400, 401, 403, 404, 405, 410, 451}  # asking again would not help
NETWORK = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True)
class Remote:
    """A file with an official address.

    Args:
        url: where it is.
        name: the name that it gets.
        size: bytes, where they are known.
        checksum: ``"md5:..."`` or ``"sha256:..."`` in hexadecimal digits, from a public source;
            ``None`` where no source gives one.

    Example:
        >>> Remote("https://example.org/a.zip", "a.zip", checksum="md5:900150983cd24fb0").size
    """

    url: str
    name: str
    size: int | None = None
    checksum: str | None = None


def digest(path: Path, method: str = "sha256") -> str:
    """The checksum of a file in hexadecimal digits, read piece by piece.

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
    """Fetch a file, going on where an earlier run or a broken connection stopped.

    What has arrived is kept as ``<name>.part``; the file gets its name only when its size and
    checksum are right. A part is continued only if the server says that its file is still the same
    (by ETag or date, kept beside the part), else it is fetched anew. A file that is there already
    is checked and not fetched again.

    Args:
        remote: what to fetch.
        folder: where it goes; made if it is missing.
        attempts: how often to try without one new byte before giving up.
        pause: seconds before the second attempt, doubled from there up to a minute.

    Returns:
        The path of the file.

    Raises:
        ValueError: the server sends a file of another size or checksum (nothing of it is kept), or
            such a file lies there already.
        OSError: the address does not exist, or every attempt failed; the part is kept.
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
            raise ValueError(f"{remote.url} tells no length: what is cut short would look whole")
        validator = response.headers.get("ETag") or ""
        if not validator or validator.startswith("W/"):  # a weak one does not say "same bytes"
            validator = response.headers.get("Last-Modified") or ""
        with open(part, "ab" if resumed else "wb") as file:
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


def unpack(archive: Path, dest: Path) -> None:
    """Unpack a zip or tar file below a folder; goes on where it stopped.

    Only plain files and folders with names that stay inside are accepted, and all names are looked
    at before anything is written. Every file is written under another name first. A file that is
    there with the size of the archive's is left alone.

    Args:
        archive: ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ...; told apart by their content.
        dest: the folder.

    Raises:
        ValueError: not an archive, damaged, or with a link, a device or a name that leads out of
            ``dest``; the error names the member.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(folder / "a.zip", "w") as made:
        ...     made.writestr("in/b.txt", "b")
        >>> unpack(folder / "a.zip", folder / "out")
        >>> (folder / "out/in/b.txt").read_text()
        'b'
    """
    try:
        if tarfile.is_tarfile(archive):  # first: a tar that ends in a zip looks like a zip, too
            with tarfile.open(archive) as opened:
                members = [_of_tar(opened, member) for member in opened]
                while opened.fileobj.read(CHUNK):  # on to the checksum behind the last member
                    pass
                _extract(members, archive, dest)
        else:
            with zipfile.ZipFile(archive) as opened:
                _extract([_of_zip(opened, member) for member in opened.infolist()], archive, dest)
    except BROKEN as error:
        raise ValueError(f"{archive} is not a whole zip or tar file: {error}") from error


BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    RuntimeError,  # an encrypted zip
)


class _Member(NamedTuple):
    name: str
    kind: str  # "file", "folder", or what is refused
    size: int
    open: Callable[[], IO[bytes]]


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Member:
    mode = member.external_attr >> 16  # how Unix tools store the type; 0 from others
    kind = "folder" if member.is_dir() else "file"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "link" if stat.S_ISLNK(mode) else "special file"
    return _Member(member.filename, kind, member.file_size, partial(archive.open, member))


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> _Member:
    kind = "folder" if member.isdir() else "file" if member.isfile() else "special file"
    kind = "link" if member.issym() or member.islnk() else kind
    return _Member(member.name, kind, member.size, partial(archive.extractfile, member))


def _extract(members: list[_Member], archive: Path, dest: Path) -> None:
    for member in members:
        if member.kind not in ("file", "folder"):
            raise ValueError(f"{archive} holds a {member.kind}: {member.name!r}")
        path = PureWindowsPath(member.name)  # knows drives, and both kinds of slash
        if path.anchor or ".." in path.parts:
            raise ValueError(
                f"{archive} holds a name that leads out of its folder: {member.name!r}"
            )
    dest.mkdir(parents=True, exist_ok=True)
    for member in progress(members, f"unpack {archive.name}"):
        path = dest / member.name
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
        elif not (path.is_file() and path.stat().st_size == member.size):
            with whole(path) as part, member.open() as source, open(part, "wb") as target:
                shutil.copyfileobj(source, target)
                if target.tell() != member.size:
                    raise EOFError(f"{member.name!r} is cut short")

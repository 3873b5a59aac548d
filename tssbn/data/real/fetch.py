"""Getting published files: downloads that resume, archives that stay inside their folder."""

import hashlib
import os
import ssl
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePath, PureWindowsPath
from typing import IO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tssbn.data.chunks import progress
from tssbn.data.real.files import hidden, whole, writing

__all__ = ["Member", "Remote", "digest", "download", "members", "unpack"]

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
        OSError: the address does not exist, every attempt failed, or the disk is full; the part is
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
            raise ValueError(f"{remote.url} tells no length: what is cut short would look whole")
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


def unpack(archive: Path, dest: Path) -> None:
    """Write what :func:`members` finds in an archive below a folder; goes on where it stopped.

    Every file is written under another name first. A file that is there with the size of the
    archive's is left alone.

    Raises:
        ValueError: as of :func:`members`, and then nothing is written; or a member is damaged.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(folder / "a.zip", "w") as made:
        ...     made.writestr("in/b.txt", "b")
        >>> unpack(folder / "a.zip", folder / "out")
        >>> (folder / "out/in/b.txt").read_text()
        'b'
    """
    with members(archive) as found:
        dest.mkdir(parents=True, exist_ok=True)
        for member in progress(found, f"unpack {archive.name}"):
            member.save(dest / member.path)


class Member(NamedTuple):
    """A file of an archive that is open, or of a folder."""

    source: Path
    path: PurePath
    size: int
    open: Callable[[], IO[bytes]]

    def pieces(self) -> Iterator[bytes]:
        """The contents.

        Raises:
            ValueError: they cannot be read, or are not as long as was said.
        """
        left = self.size
        try:
            with self.open() as stream:
                while piece := stream.read(CHUNK):
                    left -= len(piece)
                    yield piece
            if left:
                raise EOFError(f"{self.size - left:,} bytes, expected {self.size:,}")
        except Exception as error:  # which kind depends on the compression and on the damage
            raise ValueError(f"{self.path} in {self.source} cannot be read: {error}") from error

    def save(self, path: Path) -> None:
        """Write the file, unless one of its size is there."""
        if not (path.is_file() and path.stat().st_size == self.size):
            with whole(path) as part, open(part, "wb") as target:
                target.writelines(self.pieces())


@contextmanager
def members(source: Path) -> Iterator[list[Member]]:
    """The files of an archive, while it is open, or of a folder.

    What systems leave there is passed over: ``tssbn.data.real.files.hidden``.

    Args:
        source: a folder, ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ...; told apart by content.

    Raises:
        ValueError: not an archive, damaged, or with a link, a device, a file without a name, two
            files of one name, or a name that leads out; the error names the member.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("0.png", "._0.png"):
        ...     _ = (folder / name).write_bytes(b"")
        >>> with members(folder) as found:
        ...     print([str(member.path) for member in found])
        ['0.png']
    """
    with ExitStack() as stack:
        try:
            if source.is_dir():
                listed = _in_folder(source)
            elif tarfile.is_tarfile(source):  # first: a tar that ends in a zip looks like a zip
                listed = _in_tar(stack.enter_context(tarfile.open(source)))
            else:
                listed = _in_zip(stack.enter_context(zipfile.ZipFile(source)))
        except FileNotFoundError:
            raise
        except Exception as error:  # which kind depends on the compression and on the damage
            raise ValueError(f"{source} is not a whole zip or tar file: {error}") from error
        yield _accepted(source, listed)


# Of each member: "file", "folder" or what is refused; the name; the size; what opens it.
Listed = list[tuple[str, str, int, Callable[[], IO[bytes]]]]


def _in_folder(folder: Path) -> Listed:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        ("file", str(path.relative_to(folder)), path.stat().st_size, partial(open, path, "rb"))
        for path in paths
    ]


def _in_zip(archive: zipfile.ZipFile) -> Listed:
    listed = []
    for member in archive.infolist():
        kind = "folder" if member.filename.endswith("/") else "file"
        mode = member.external_attr >> 16  # how Unix tools store the type; 0 from others
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "link" if stat.S_ISLNK(mode) else "special file"
        listed.append((kind, member.filename, member.file_size, partial(archive.open, member)))
    return listed


def _in_tar(archive: tarfile.TarFile) -> Listed:
    listed = []
    for member in archive:
        kind = "folder" if member.isdir() else "file" if member.isfile() else "special file"
        kind = "link" if member.issym() or member.islnk() else kind
        listed.append((kind, member.name, member.size, partial(archive.extractfile, member)))
    # A header that is cut short or damaged passes for the end, which is a block of zeros.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError(f"its end is missing behind {len(listed)} members")
    while archive.fileobj.read(CHUNK):  # on to the checksum behind the last member
        pass
    return listed


def _accepted(source: Path, listed: Listed) -> list[Member]:
    found: dict[PurePath, Member] = {}
    for kind, name, size, opener in listed:
        place = PureWindowsPath(name)  # knows drives, and both kinds of slash
        if place.anchor or ".." in place.parts:
            raise ValueError(f"{source} holds a name that leads out of its folder: {name!r}")
        if kind == "folder" or hidden(place):
            continue
        path = PurePath(*place.parts)
        if kind != "file":
            raise ValueError(f"{source} holds a {kind}: {name!r}")
        if not place.parts:
            raise ValueError(f"{source} holds a file without a name: {name!r}")
        if path in found:
            raise ValueError(f"{source} holds two files of one name: {name!r}")
        found[path] = Member(source, path, size, opener)
    return list(found.values())

"""Unpacks zip and tar archives, and refuses those that would write outside of the folder."""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePath, PureWindowsPath
from typing import IO, NamedTuple

from tssbn.data.chunks import progress
from tssbn.data.real.files import hidden, whole

__all__ = ["Member", "members", "unpack"]

CHUNK = 1 << 18


def unpack(archive: Path, dest: Path) -> None:
    """Unpack an archive into a folder; a repeated call continues an interrupted one.

    Each file is written under a temporary name and renamed when it is complete. A file that exists
    and has the size that the archive lists is not written again.

    Args:
        archive: a zip or tar file, or a folder, as :func:`members` reads it.
        dest: the folder; it is created if necessary.

    Raises:
        ValueError: :func:`members` refuses the archive, before anything is written; or a file in it
            is damaged.

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
    """A file in an open archive or in a folder.

    ``path`` is its path inside of ``source``, the archive or the folder. ``size`` is in bytes, and
    ``open`` returns a stream of the contents.
    """

    source: Path
    path: PurePath
    size: int
    open: Callable[[], IO[bytes]]

    def pieces(self) -> Iterator[bytes]:
        """Yield the contents piece by piece.

        Raises:
            ValueError: the contents cannot be read, or do not have ``size`` bytes.
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
        """Write the contents to ``path``, unless a file of this size exists there."""
        if not (path.is_file() and path.stat().st_size == self.size):
            with whole(path) as part, open(part, "wb") as target:
                target.writelines(self.pieces())


@contextmanager
def members(source: Path) -> Iterator[list[Member]]:
    """List the files of an archive or of a folder; a context manager that keeps the archive open.

    Files of the operating system, such as ``.DS_Store``, are left out, see
    ``tssbn.data.real.files.hidden``.

    Args:
        source: a folder, a zip file, or a tar file of any compression. Its content decides, not the
            ending of its name.

    Raises:
        FileNotFoundError: ``source`` does not exist.
        ValueError: ``source`` is no archive or is damaged; or it holds a link, a device, a file
            without a name, two files with the same name, or a path that leads out of the folder.
            The error names the file.

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

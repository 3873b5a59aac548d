#!/usr/bin/env python3
"""Carry files to a machine without network in parts of a limited size, and back.

    python tools/pack.py make PACK [--sources] [--add ITEM ...] [--wheels DIR] [--size MB]
    python PACK/pack.py open [--limit GB] PACK DEST [COMMAND ...]

``make`` writes a folder with the parts, their checksums and this script, which needs nothing but
Python. An ITEM is a file or folder, or ``PATH=NAME`` to give it another place in the pack. A link
is replaced by what it points to.
``open`` checks and joins the parts, unpacks them into DEST, installs the wheels into DEST/packages,
and runs a command in DEST that finds the sources and the packages. Nothing is written outside of
DEST.
"""

import argparse
import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

SOURCES = ("tssbn", "tools", "data/results", "data/queue.toml", "data/gpu.toml", "pyproject.toml")
LIST = "parts.json"
LIMIT = 100  # GB that a pack may need: more than any data set of this project


class Parts(io.RawIOBase):
    """A file to write to that is cut into parts of a size."""

    def __init__(self, folder: Path, size: int):
        self.folder, self.size, self.written = folder, size, 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            number, offset = divmod(self.written, self.size)
            piece, part = rest[: self.size - offset], self.folder / f"part-{number:03}"
            try:
                with open(part, "ab") as file:
                    file.write(piece)
            except OSError as error:
                free = shutil.disk_usage(self.folder).free / 1e6
                raise OSError(f"{part}: {error}; {free:.0f} MB are free there") from error
            self.written += len(piece)
            rest = rest[len(piece) :]
        return len(data)


class Joined(io.RawIOBase):
    """Parts, read as one file."""

    def __init__(self, parts: Sequence[Path]):
        self.chunks, self.rest = self._read(parts), b""

    @staticmethod
    def _read(parts: Sequence[Path]) -> Iterator[bytes]:
        for part in parts:
            with open(part, "rb") as file:
                while chunk := file.read(2**20):
                    yield chunk

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        self.rest = self.rest or next(self.chunks, b"")
        n = min(len(buffer), len(self.rest))
        buffer[:n], self.rest = self.rest[:n], self.rest[n:]
        return n


def make(
    folder: Path, items: Sequence[str], sources: bool, wheels: Path | None, size: float
) -> None:
    """Write a pack.

    Args:
        folder: for the pack; empty, or not there yet.
        items: ``PATH`` or ``PATH=NAME``.
        sources: whether what is needed of this checkout comes along, as far as git knows it or
            does not ignore it.
        wheels: a folder of wheels to install there.
        size: of a part, in MB (10^6 bytes).
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    if not 1e-6 <= size < math.inf:
        raise ValueError(f"size={size} must be positive")
    pairs = [_item(item) for item in items]
    commit = None
    if sources:
        root = Path(__file__).resolve().parent.parent
        listed = _git(root, "ls-files", "-z", "-co", "--exclude-standard", "--", *SOURCES)
        pairs += [(name, root / name) for name in listed.split("\0") if (root / name).is_file()]
        changed = bool(_git(root, "status", "--short", "--", "tssbn").strip())
        commit = _git(root, "rev-parse", "--short", "HEAD").strip() + "-dirty" * changed
    if wheels:
        pairs += [(f"wheels/{path.name}", path) for path in sorted(wheels.glob("[!.]*.whl"))]
    if not pairs:
        raise ValueError("nothing to pack")
    places = dict(pairs)
    if twice := [f"{path}={name}" for name, path in pairs if places[name] != path]:
        raise ValueError(f"the place of {', '.join(twice)} is taken by another item")
    missing = [str(path) for path in places.values() if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no file or folder {', '.join(missing)}")
    for path in places.values():
        if folder.resolve().is_relative_to(path.resolve()):
            raise ValueError(f"{folder} lies in {path}, which is packed: write the pack elsewhere")
    folder.mkdir(parents=True, exist_ok=True)
    parts = Parts(folder, round(size * 1e6))
    with tarfile.open(fileobj=parts, mode="w|", bufsize=2**20, dereference=True) as tar:
        for name, path in places.items():
            tar.add(path, name)
    shutil.copy(__file__, folder / "pack.py")
    listed = {part.name: _digest(part) for part in sorted(folder.glob("part-*"))}
    (folder / LIST).write_text(json.dumps({"commit": commit, "parts": listed}, indent=1))


def unpack(folder: Path, dest: Path, limit: float = LIMIT) -> str | None:
    """Check, join and unpack a pack, and install its wheels.

    Files that are there already are replaced.

    Args:
        folder: of the pack.
        dest: where to; nothing is written outside of it.
        limit: GB (10^9 bytes) that the files may be in all.

    Returns:
        The commit of the sources, if there are any.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a part is damaged, or holds what would not be a file or folder in ``dest``, or
            more than the limit; names it.
    """
    if not limit > 0:
        raise ValueError(f"limit={limit} must be positive")
    listed, commit = _listed(folder / LIST)
    parts = [folder / name for name in listed]
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}")
    for part in parts:
        if _digest(part) != listed[part.name]:
            raise ValueError(f"{part} is damaged: its checksum is another")
    dest.mkdir(parents=True, exist_ok=True)
    seen: list[str] = []
    try:
        with tarfile.open(fileobj=io.BufferedReader(Joined(parts)), mode="r|") as tar:
            tar.extractall(dest, filter=_guard(seen, limit))
    except tarfile.TarError as error:
        raise ValueError(f"{folder} does not unpack: {error}") from error
    except OSError as error:
        last, free = seen[-1] if seen else "", shutil.disk_usage(dest).free / 1e6
        raise OSError(f"{dest / last}: {error}; {free:.0f} MB are free there") from error
    wheels = [str(dest / name) for name in seen if re.fullmatch(r"wheels/[^/]+\.whl", name)]
    if wheels:
        if (dest / "packages").is_symlink():
            raise ValueError(f"{dest / 'packages'} is a link, and wheels are not installed there")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        where = ["--upgrade", "--target", str(dest / "packages")]
        subprocess.run([*pip, *where, *wheels], check=True)
    return commit


def _listed(path: Path) -> tuple[dict[str, str], str | None]:
    """The digests of the parts by their names, and the commit."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts, commit = dict(content["parts"]), content["commit"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if strange := [name for name in parts if not re.fullmatch(r"part-\d{3,}", name)]:
        raise ValueError(f"{path} lists {strange}, which are no names of parts")
    return parts, commit


def _guard(seen: list[str], limit: float) -> Callable[[tarfile.TarInfo, str], tarfile.TarInfo]:
    """Lets files and folders pass whose place is in the destination; writes down their names."""
    left = limit * 1e9

    def check(member: tarfile.TarInfo, dest: str) -> tarfile.TarInfo:
        nonlocal left
        place = PurePosixPath(member.name)
        if not member.name or place.is_absolute() or ".." in place.parts:
            raise ValueError(f"the pack holds {member.name!r}, which is no name of a file in it")
        if not (member.isfile() or member.isdir()):
            raise ValueError(f"the pack holds {member.name!r}, which is no file and no folder")
        left -= member.size
        if left < 0:
            raise ValueError(f"{member.name!r} takes the pack beyond limit={limit:g} GB")
        target = Path(dest)
        for part in place.parts:
            target = target / part
            if target.is_symlink():
                raise ValueError(f"{target} is a link, and nothing is unpacked through it")
        seen.append(member.name)
        if member.isfile() and target.is_file():
            target.unlink()  # else another name that the file has would get the new content, too
        return tarfile.data_filter(member, dest)

    return check


def run(command: Sequence[str], dest: Path, commit: str | None) -> int:
    """Run a command in an unpacked folder; returns its exit status."""
    dest = dest.resolve()
    found = [str(dest), str(dest / "packages"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
    if commit:
        environment["TSSBN_COMMIT"] = commit  # for the records: there is no git
    return subprocess.run(command, cwd=dest, env=environment).returncode


def _item(text: str) -> tuple[str, Path]:
    path, _, name = text.partition("=")
    if not path:
        raise ValueError(f"{text!r} is not of the form PATH or PATH=NAME")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{text!r} names a place outside of the pack")
    inside = Path(path).resolve().is_relative_to(Path.cwd())
    name = name or (os.path.relpath(path) if inside else Path(path).resolve().name)
    if not name:
        raise ValueError(f"{text!r} has no name of its own: give it one, PATH=NAME")
    return name, Path(path)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``make`` or ``open``; returns the exit status."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(required=True, dest="action")
    making = commands.add_parser("make", help="write a pack")
    making.add_argument("pack", type=Path, metavar="PACK", help="folder to write")
    making.add_argument(
        "--sources", action="store_true", help="add what the trainer needs of this checkout"
    )
    making.add_argument(
        "--add", nargs="+", action="extend", default=[], metavar="ITEM", help="PATH or PATH=NAME"
    )
    making.add_argument("--wheels", type=Path, metavar="DIR", help="folder of wheels to install")
    making.add_argument("--size", type=float, default=60, help="limit of a part in MB; default: 60")
    opening = commands.add_parser("open", help="unpack it, and run a command there")
    opening.add_argument(
        "--limit", type=float, default=LIMIT, help=f"limit of all files in GB; default: {LIMIT}"
    )
    opening.add_argument("pack", type=Path, metavar="PACK", help="folder with the parts")
    opening.add_argument("dest", type=Path, metavar="DEST", help="folder to unpack into")
    opening.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="command to run in DEST"
    )
    options = parser.parse_args(arguments)
    try:
        if options.action == "make":
            make(options.pack, options.add, options.sources, options.wheels, options.size)
            return 0
        commit = unpack(options.pack, options.dest, options.limit)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return run(options.command, options.dest, commit) if options.command else 0


if __name__ == "__main__":
    sys.exit(main())

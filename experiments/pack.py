#!/usr/bin/env python3
"""Carry files to a machine without network in parts of a limited size, and back.

    python experiments/pack.py make PACK [--sources] [--add ITEM ...] [--wheels DIR] [--size MB]
    python PACK/pack.py open PACK DEST [COMMAND ...]

``make`` writes a folder with the parts, their checksums and this script, which needs nothing but
Python. An ITEM is a file or folder, or ``PATH=NAME`` to give it another place in the pack.
``open`` checks and joins the parts, unpacks them into DEST, installs the wheels into DEST/packages,
and runs a command in DEST that finds the sources and the packages.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCES = ("tssbn", "experiments", "data/results", "pyproject.toml")
LIST = "parts.json"


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
            piece = rest[: self.size - offset]
            with open(self.folder / f"part-{number:03}", "ab") as file:
                file.write(piece)
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
    places = dict(_item(item) for item in items)
    commit = None
    if sources:
        root = Path(__file__).resolve().parent.parent
        listed = _git(root, "ls-files", "-z", "-co", "--exclude-standard", "--", *SOURCES)
        places |= {name: root / name for name in listed.split("\0") if (root / name).is_file()}
        changed = bool(_git(root, "status", "--short", "--", "tssbn").strip())
        commit = _git(root, "rev-parse", "--short", "HEAD").strip() + "-dirty" * changed
    if wheels:
        places |= {f"wheels/{path.name}": path for path in sorted(wheels.glob("*.whl"))}
    if not places:
        raise ValueError("nothing to pack")
    if not size >= 1e-6:
        raise ValueError(f"size={size} must be positive")
    missing = [str(path) for path in places.values() if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no file or folder {', '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    parts = Parts(folder, round(size * 1e6))
    with tarfile.open(fileobj=parts, mode="w|", bufsize=2**20) as tar:
        for name, path in places.items():
            tar.add(path, name)
    shutil.copy(__file__, folder / "pack.py")
    listed = {part.name: _digest(part) for part in sorted(folder.glob("part-*"))}
    (folder / LIST).write_text(json.dumps({"commit": commit, "parts": listed}, indent=1))


def unpack(folder: Path, dest: Path) -> str | None:
    """Check, join and unpack a pack, and install its wheels.

    Files that are there already are replaced.

    Returns:
        The commit of the sources, if there are any.
    """
    content = json.loads((folder / LIST).read_text())
    parts = [folder / name for name in content["parts"]]
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}")
    for part in parts:
        if _digest(part) != content["parts"][part.name]:
            raise ValueError(f"{part} is damaged: its checksum is another")
    dest.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BufferedReader(Joined(parts)), mode="r|") as tar:
        tar.extractall(dest, filter="data")
    wheels = sorted(map(str, (dest / "wheels").glob("*.whl")))
    if wheels:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        where = ["--upgrade", "--target", str(dest / "packages")]
        subprocess.run([*pip, *where, *wheels], check=True)
    return content["commit"]


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
    inside = Path(path).resolve().is_relative_to(Path.cwd())
    default = os.path.relpath(path) if inside else Path(path).resolve().name
    return name or default, Path(path)


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
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, dest="action")
    making = commands.add_parser("make", help="write a pack")
    making.add_argument("pack", type=Path)
    making.add_argument("--sources", action="store_true", help="what is needed of this checkout")
    making.add_argument(
        "--add", nargs="+", action="extend", default=[], metavar="ITEM", help="PATH or PATH=NAME"
    )
    making.add_argument("--wheels", type=Path, metavar="DIR")
    making.add_argument("--size", type=float, default=60, help="of a part, in MB; 60")
    opening = commands.add_parser("open", help="unpack it, and run a command there")
    opening.add_argument("pack", type=Path)
    opening.add_argument("dest", type=Path)
    opening.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        if options.action == "make":
            make(options.pack, options.add, options.sources, options.wheels, options.size)
            return 0
        commit = unpack(options.pack, options.dest)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return run(options.command, options.dest, commit) if options.command else 0


if __name__ == "__main__":
    sys.exit(main())

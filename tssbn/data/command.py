"""``python -m tssbn data ...``: get a real data set, prepare it, and see whether it is right."""

import argparse
from pathlib import Path

from tssbn.data import SETS, real_set
from tssbn.data.real.check import check
from tssbn.data.real.fetch import digest, download
from tssbn.data.real.find import find

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction") -> None:
    """Add the command ``data`` to those of ``python -m tssbn``."""
    text = "download, prepare and check the real data sets"
    parser = commands.add_parser("data", help=text, description=f"{text[0].upper()}{text[1:]}.")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name, run, text):
        made = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.add_argument("name", choices=SETS, metavar="NAME", help=", ".join(SETS))
        made.set_defaults(run=run, continues=True)
        return made

    action("where", _where, "print where a set is published, its licence, and the steps to get it")
    made = action("download", _download, "download the files that have a direct official address")
    made.add_argument("dest", type=Path, metavar="DEST", help="folder for the files")
    made = action(
        "prepare", _prepare, "convert the official files to the layout that the package reads"
    )
    made.add_argument("src", type=Path, metavar="SRC", help="folder with the official files")
    made.add_argument("dest", type=Path, metavar="DEST", help="folder for the set")
    made = action("check", _check, "print what a folder holds and whether it can be used")
    made.add_argument(
        "--root",
        type=Path,
        help="the folder; default: $TSSBN_DATA/NAME, data/NAME or ../data/NAME",
    )
    made.add_argument(
        "--quick",
        action="store_true",
        help="open only one sample of each split, and hash only names and sizes",
    )


def _where(options: argparse.Namespace) -> int:
    dataset = real_set(options.name)
    print(dataset.where.strip())
    for remote in dataset.downloads:
        size = f"{remote.size:,} bytes" if remote.size else "size not published"
        print(f"\n{remote.url}\n  {size}, {remote.checksum or 'no published checksum'}")
    return 0


def _download(options: argparse.Namespace) -> int:
    remotes = real_set(options.name).downloads
    if not remotes:
        raise ValueError(
            f"{options.name} has no direct official address; this prints how to get it: "
            f"python -m tssbn data where {options.name}"
        )
    for remote in remotes:
        path = download(remote, options.dest)
        note = "checksum right" if remote.checksum else "no published checksum to compare with"
        print(f"{path}: {note}; sha256 {digest(path)}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    dataset = real_set(options.name)
    if options.src.is_file():
        raise NotADirectoryError(f"SRC={str(options.src)!r} is a file, expected its folder")
    if not options.src.is_dir():
        raise FileNotFoundError(f"no folder SRC={str(options.src)!r}")
    dataset.prepare(options.src, options.dest)
    return _report(check(dataset, options.dest))


def _check(options: argparse.Namespace) -> int:
    root = options.root or find(options.name)
    if root is None:
        raise FileNotFoundError(
            f"no folder data/{options.name}; name it by --root, or put the set there: "
            f"python -m tssbn data where {options.name}"
        )
    return _report(check(real_set(options.name), root, options.quick))


def _report(report) -> int:
    print(report)
    return 0 if report.usable else 1

"""Published saved runs: one archive of the repository, kept in the cache folder."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tssbn.data.real.archives import members
from tssbn.data.real.fetch import Remote, download
from tssbn.records.store import fetched_dir

__all__ = ["fetch"]

ARCHIVE = "https://github.com/tssbn/tssbn/archive/refs/heads/main.tar.gz"


def fetch(again: bool = False) -> Path:
    """Download all published saved runs, once; readers find them from then on.

    The archive of the repository is fetched, and its ``data/results`` kept in the cache folder of
    the package (``$TSSBN_CACHE``, else ``~/.cache/tssbn``). The runs are there whole or not at
    all. Those of ``data/results`` in the working folder still come first.

    Args:
        again: whether to fetch anew what was fetched before.

    Returns:
        The folder of the runs.

    Raises:
        OSError: the archive cannot be had, or the disk is full; says what else can be done.

    Example:
        >>> fetch()  # doctest: +SKIP
        194 saved runs are in /home/ada/.cache/tssbn/results
    """
    place = fetched_dir()
    if again or not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f"{place.name}-", dir=place.parent) as work:
            fresh = Path(work) / place.name
            try:
                _unpack(download(Remote(ARCHIVE, "archive.tar.gz"), Path(work), attempts=2), fresh)
            except (OSError, ValueError) as error:
                raise OSError(
                    f"the saved runs were not fetched: {error}. Try again later, or copy the "
                    f"folder data/results of the repository to {place}"
                ) from error
            _put(fresh, place, Path(work))
    print(f"{len(list(place.rglob('*.json')))} saved runs are in {place}")
    return place


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of ``data/results`` of the one folder that the archive holds."""
    with members(archive) as found:
        wanted = [file for file in found if file.path.parts[1:3] == ("data", "results")]
        if not wanted:
            raise ValueError(f"{ARCHIVE} holds no data/results")
        for file in wanted:
            file.save(folder.joinpath(*file.path.parts[3:]))


def _put(fresh: Path, place: Path, work: Path) -> None:
    """Rename a folder to where another one may be."""
    if place.is_dir():
        os.replace(place, work / "former")
    try:
        os.replace(fresh, place)
    except OSError:
        if not place.is_dir():  # else another process was faster: its runs are as good
            raise

"""Converts the official files of NYUv2 to the layout that :mod:`tssbn.data.real.nyuv2` reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from tssbn.data.chunks import progress
from tssbn.data.real.files import image, lines, whole
from tssbn.data.real.normals import from_depth

if TYPE_CHECKING:
    import h5py

__all__ = ["CAMERA", "write"]

FRAME, SIZE = (480, 640), (288, 384)
FOLDERS = ("image", "label", "depth", "normal")
# The colour camera in pixels of a frame, fx, fy, cx, cy: the toolbox of Silberman et al.
CAMERA = (518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)
# The pixel under the centre of each new one.
NEAREST = np.ix_(
    *((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(SIZE, FRAME, strict=True))
)


def write(src: Path, dest: Path) -> None:
    """Do the work of :meth:`tssbn.data.real.nyuv2.NYUv2.prepare`; no file is missing in ``src``."""
    numbers = {
        "train": _matlab(src / "splits.mat", "trainNdxs").ravel(),
        "val": _matlab(src / "splits.mat", "testNdxs").ravel(),
    }
    classes = _classes(src)
    given = src / "normals_gt"
    normals = "ground truth" if given.is_dir() else "DERIVED from the depth"
    origin = f"prepared from nyu_depth_v2_labeled.mat, normals {normals}"
    noted = _noted(dest, origin)
    with _frames(src / "nyu_depth_v2_labeled.mat") as (images, depths, labels):
        every = np.concatenate([*numbers.values()])
        for wrong in every[(every < 1) | (every > len(images))]:
            raise ValueError(f"{src / 'splits.mat'} names frame {wrong} of {len(images)}")
        if len(np.unique(every)) < len(every):
            raise ValueError(f"{src / 'splits.mat'} names a frame twice")
        signs = _signs(given, depths) if given.is_dir() else None
        for split, of_split in numbers.items():
            for i, number in enumerate(progress(of_split, f"prepare {split}")):
                paths = {name: dest / split / name / f"{i}.npy" for name in FOLDERS}
                if all(path.exists() for path in paths.values()):
                    continue
                k = int(number) - 1  # MATLAB counts from 1, and HDF5 gives its axes in reverse
                depth, label = _read(depths, k), _read(labels, k)[NEAREST]
                if label.max() >= len(classes):
                    raise ValueError(
                        f"{labels.file.filename}: frame {number} holds the label {label.max()}, "
                        f"expected 0..{len(classes) - 1}"
                    )
                normal = _derived(depth) if signs is None else _given(given, k) * signs
                arrays = (
                    _smaller(_read(images, k)),
                    classes[label],
                    depth[NEAREST][..., None],
                    normal[NEAREST].astype(np.float32),
                )
                if not noted:  # only now: a call that failed before may be followed by another kind
                    with whole(dest / "ORIGIN.txt") as part:
                        part.write_text(f"{origin}\n", encoding="utf-8")
                    noted = True
                for path, value in zip(paths.values(), arrays, strict=True):
                    with whole(path) as part:
                        np.save(part, value)


def _noted(dest: Path, origin: str) -> bool:
    """Whether ``ORIGIN.txt`` is there; refuse to mix files with those that were made otherwise."""
    path = dest / "ORIGIN.txt"
    if path.exists():
        if lines(path) != [origin]:
            raise ValueError(
                f"{path} says {' '.join(lines(path))!r}, this would be {origin!r}: choose another "
                f"folder"
            )
        return True
    for name in FOLDERS:
        for other in dest.glob(f"*/{name}/*.npy"):
            if other.stem.isdecimal():
                raise ValueError(f"{other} lies there without {path}: choose an empty folder")
    return False


@contextmanager
def _frames(path: Path) -> Iterator[tuple["h5py.Dataset", ...]]:
    """``images`` (N, 3, 640, 480), ``depths`` and ``labels`` (N, 640, 480) of the official file."""
    import h5py

    try:
        official = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a whole MATLAB 7.3 (HDF5) file: {error}") from error
    with official:
        found = []
        width_height = FRAME[::-1]
        inner = {"images": (3, *width_height), "depths": width_height, "labels": width_height}
        for name, shape in inner.items():
            value = official.get(name)
            count = len(found[0]) if found else "N"
            if value is None or value.shape[1:] != shape or count not in ("N", len(value)):
                got = "nothing" if value is None else f"shape {value.shape}"
                wanted = ", ".join(map(str, (count, *shape)))
                raise ValueError(f"{path}: expected {name} of shape ({wanted}), got {got}")
            found.append(value)
        yield tuple(found)


def _read(frames: "h5py.Dataset", k: int) -> np.ndarray:
    try:
        return frames[k].T
    except OSError as error:
        what = f"{frames.name[1:]} of frame {k + 1} in {frames.file.filename}"
        raise ValueError(f"{what} cannot be read: {error}") from error


def _matlab(path: Path, name: str, *fields: str) -> np.ndarray:
    """A variable of a MATLAB file, or a field of it."""
    from scipy.io import loadmat

    try:
        value = loadmat(path)[name]
        for field in fields:
            value = value[field][0, 0]
        return value
    except FileNotFoundError:
        raise
    except Exception as error:  # which kind depends on where the file is broken
        raise ValueError(f"{path} is not a MATLAB file with {name!r}: {error}") from error


def _classes(src: Path) -> np.ndarray:
    """(895,) int8: the label in the official file (0: none) to one of 13 classes, -1 void."""
    forty = _table(src / "classMapping40.mat", 894, 40, "mapClass")
    thirteen = _table(src / "class13Mapping.mat", 40, 13, "classMapping13", "labels13")
    return np.concatenate([[-1], thirteen[forty - 1] - 1]).astype(np.int8)


def _table(path: Path, size: int, top: int, *names: str) -> np.ndarray:
    table = _matlab(path, *names).ravel()
    if len(table) != size or not np.isin(table, np.arange(1, top + 1)).all():
        raise ValueError(f"{path}: {names[-1]} is no table of {size} numbers from 1 to {top}")
    return table.astype(int)


def _smaller(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture = picture.resize(SIZE[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32) / 255


def _derived(depth: np.ndarray) -> np.ndarray:
    return from_depth(torch.from_numpy(depth), CAMERA).permute(1, 2, 0).numpy()


def _given(folder: Path, k: int) -> np.ndarray:
    """(480, 640, 3) unit vectors of ``normals_gt``, zero where its mask is."""
    paths = [folder / name / f"{k:04d}.png" for name in ("normals", "masks")]
    stored, mask = image(paths[0], "RGB"), image(paths[1], "L")
    for path, value in zip(paths, (stored, mask), strict=True):
        if value.shape[:2] != FRAME:
            raise ValueError(f"{path} has {value.shape[:2]} pixels, expected {FRAME}")
    vectors = stored / 127.5 - 1
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    known = (mask[..., None] > 0) & (length > 0.5)
    return np.where(known, vectors / np.maximum(length, 0.5), 0)


def _signs(folder: Path, depths: "h5py.Dataset") -> np.ndarray:
    """What turns the axes of ``normals_gt`` into right, down, forward: 1 or -1 for each.

    The convention of its images is not published, so it is taken from what agrees with the depth.
    """
    sums, pairs = np.zeros(3), []
    for k in np.linspace(0, len(depths) - 1, min(len(depths), 12)).astype(int):
        given, derived = _given(folder, k), _derived(_read(depths, k))
        both = given.any(2) & derived.any(2)
        pairs.append((given[both], derived[both]))
        sums += (given[both] * derived[both]).sum(0)
    signs = np.where(sums < 0, -1.0, 1.0)
    cosines = np.concatenate([(given * signs * derived).sum(1) for given, derived in pairs])
    median = np.degrees(np.arccos(np.clip(np.median(cosines), -1, 1)))
    if not median < 30:
        raise ValueError(
            f"the images in {folder} do not agree with the depth: median angle {median:.0f} "
            f"degrees, whatever way their axes point"
        )
    return signs

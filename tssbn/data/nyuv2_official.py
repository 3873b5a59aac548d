"""From the official files of NYUv2 to the layout that :mod:`tssbn.data.nyuv2` reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .chunks import progress
from .files import image, whole
from .normals import from_depth

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
    """What :meth:`tssbn.data.nyuv2.NYUv2.prepare` does; ``src`` is complete."""
    numbers = {
        "train": _matlab(src / "splits.mat", "trainNdxs").ravel(),
        "val": _matlab(src / "splits.mat", "testNdxs").ravel(),
    }
    classes = _classes(src)
    given = src / "normals_gt"
    _note(dest / "ORIGIN.txt", "ground truth" if given.is_dir() else "DERIVED from the depth")
    with _frames(src / "nyu_depth_v2_labeled.mat") as (images, depths, labels):
        last = max(of_split.max() for of_split in numbers.values())
        if last > len(images):
            raise ValueError(f"{src / 'splits.mat'} names frame {last} of {len(images)}")
        signs = _signs(given, depths) if given.is_dir() else None
        for split, of_split in numbers.items():
            for i, number in enumerate(progress(of_split, f"prepare {split}")):
                paths = {name: dest / split / name / f"{i}.npy" for name in FOLDERS}
                if all(path.exists() for path in paths.values()):
                    continue
                k = int(number) - 1  # MATLAB counts from 1, and HDF5 gives its axes in reverse
                depth = depths[k].T
                normal = _derived(depth) if signs is None else _given(given, k) * signs
                arrays = (
                    _smaller(images[k].T),
                    classes[labels[k].T[NEAREST]],
                    depth[NEAREST][..., None],
                    normal[NEAREST].astype(np.float32),
                )
                for path, value in zip(paths.values(), arrays, strict=True):
                    with whole(path) as part:
                        np.save(part, value)


def _note(path: Path, normals: str) -> None:
    """Say where the data is from; refuse to mix it with data that was made in another way."""
    text = f"prepared from nyu_depth_v2_labeled.mat, normals {normals}\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path} says {path.read_text(encoding='utf-8').strip()!r}, this would be "
            f"{text.strip()!r}: choose another folder"
        )
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


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
            if value is None or value.shape[1:] != shape:
                got = "nothing" if value is None else f"shape {value.shape}"
                wanted = ", ".join(map(str, ("N", *shape)))
                raise ValueError(f"{path}: expected {name} of shape ({wanted}), got {got}")
            found.append(value)
        yield tuple(found)


def _matlab(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path)[name]
    except (MatReadError, NotImplementedError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is not a MATLAB file with {name!r}: {error}") from error


def _classes(src: Path) -> np.ndarray:
    """(895,) int8: the label in the official file (0: none) to one of 13 classes, -1 void."""
    forty = _matlab(src / "classMapping40.mat", "mapClass").ravel()
    thirteen = _matlab(src / "class13Mapping.mat", "classMapping13")["labels13"][0, 0].ravel()
    return np.concatenate([[-1], thirteen[forty.astype(int) - 1].astype(int) - 1]).astype(np.int8)


def _smaller(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture = picture.resize(SIZE[::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32) / 255


def _derived(depth: np.ndarray) -> np.ndarray:
    return from_depth(torch.from_numpy(depth), CAMERA).permute(1, 2, 0).numpy()


def _given(folder: Path, k: int) -> np.ndarray:
    """(480, 640, 3) unit vectors of ``normals_gt``, zero where its mask is."""
    vectors = image(folder / "normals" / f"{k:04d}.png", "RGB") / 127.5 - 1
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    known = (image(folder / "masks" / f"{k:04d}.png", "L")[..., None] > 0) & (length > 0.5)
    return np.where(known, vectors / np.maximum(length, 0.5), 0)


def _signs(folder: Path, depths: "h5py.Dataset") -> np.ndarray:
    """What turns the axes of ``normals_gt`` into right, down, forward: 1 or -1 for each.

    The convention of its images is not published, so it is taken from what agrees with the depth.
    """
    sums, pairs = np.zeros(3), []
    for k in np.linspace(0, len(depths) - 1, min(len(depths), 12)).astype(int):
        given, derived = _given(folder, k), _derived(depths[k].T)
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

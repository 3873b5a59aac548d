"""Handwritten digits, one or two on a canvas: the multi-digit images of the chapters.

The scans are the 1,797 real handwritten digits that ship inside scikit-learn (the test portion of
the UCI optical digits, 8x8 pixels, 13 writers), so nothing is downloaded. They come in their
original order, where one sequence of about 130 digits starts again and again, as one filled form
after another. The splits are contiguous blocks cut between two forms: no scan is in two splits,
and hardly any handwriting is.

Where real MNIST lies in ``data/mnist``, its 28x28 scans take their place.

Two digits are placed on one canvas after DoubleMNIST (Sun, 2019), and the even-left odd-right
variant after Suteu and Guo, arXiv 1912.06844, section 4. Only integers are drawn and only powers
of two divided by (255 for MNIST), so the images are the same bits on every processor.
"""

from pathlib import Path

import torch
from torch import Tensor

from tssbn._install import install
from tssbn.data.real.find import find

from .make import SPLITS, check_integer, check_split
from .same import float32_on_cpu

__all__ = ["pairs", "pairs_in", "single"]

FORMS = (0, 1157, 1415, 1797)  # where a form begins: blocks of 9, 2 and 3 of the 14 forms


def single(split: str = "train", root: str | Path | None = "auto") -> dict[str, Tensor]:
    """One digit per image, as scanned.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        root: a folder with real MNIST as torchvision lays it out (``root/MNIST/raw/*-ubyte``),
            ``None`` for the embedded scans, or ``"auto"``: the folder ``mnist`` where
            :func:`~tssbn.data.real.find.find` finds it, else the embedded scans.

    Returns:
        ``image`` (N, 1, H, W) float32 in [0, 1] and ``digit`` (N,) int64. Embedded scans: 8x8,
        N = 1157, 258, 382. MNIST: 28x28, the last sixth of its training file being ``val``.

    Raises:
        ValueError: unknown split.
        FileNotFoundError: no MNIST files under ``root``.
        ImportError: scikit-learn (or, for MNIST, torchvision) is not installed.

    Example:
        >>> data = single("val", root=None)
        >>> tuple(data["image"].shape), data["digit"][:5].tolist()
        ((258, 1, 8, 8), [0, 1, 2, 3, 4])
    """
    check_split(split)
    root = find("mnist") if root == "auto" else root
    image, digit = _embedded(split) if root is None else _mnist(split, Path(root))
    return {"image": image.unsqueeze(1), "digit": digit}


def pairs_in(split: str, parity: bool = True) -> list[tuple[int, int]]:
    """The (left, right) digits that occur in a split; no pair occurs in two of them.

    The n x n pairs of the n left and n right classes are walked along the diagonals of their
    table. The first n²/5 are ``test``, the next 4n²/25 ``val``, the rest ``train``: 16/4/5 of 25
    or 64/16/20 of 100. So every digit is seen on its side in ``train`` and equally often in
    ``test``, but never in the same company.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        parity: even digits on the left and odd ones on the right; otherwise all ten on both.

    Raises:
        ValueError: unknown split.

    Example:
        >>> pairs_in("test")
        [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    """
    check_split(split)
    left, right = (range(0, 10, 2), range(1, 10, 2)) if parity else (range(10), range(10))
    n = len(left)
    table = [(left[i], right[(i + diagonal) % n]) for diagonal in range(n) for i in range(n)]
    test, val = n * n // 5, n * n * 4 // 25
    block = {"test": slice(test), "val": slice(test, test + val), "train": slice(test + val, None)}
    return table[block[split]]


def pairs(
    split: str = "train",
    parity: bool = True,
    per_pair: int = 200,
    seed: int = 0,
    root: str | Path | None = "auto",
) -> dict[str, Tensor]:
    """Two digits on one black canvas: two tasks, read the left one and read the right one.

    Each digit stands at a random place inside its half of the canvas. A canvas for 8x8 scans is
    20x20 (each digit has 12 rows and 2 columns to stand at); for MNIST it is 64x64 (36 and 4), as
    in DoubleMNIST. Which pairs a split holds is told by :func:`pairs_in`, and which scans by
    :func:`single`: a split shares neither with another.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        parity: left digits from {0, 2, 4, 6, 8} and right ones from {1, 3, 5, 7, 9}, two 5-way
            tasks (Suteu and Guo); otherwise all ten on both sides, two 10-way tasks (DoubleMNIST).
        per_pair: images of each pair, each of two scans drawn anew (DoubleMNIST: 1000).
        seed: of scans, places and the order of the images.
        root: as in :func:`single`.

    Returns:
        ``image`` (N, 1, S, S) float32 in [0, 1]; ``left`` and ``right`` (N,) int64, classes 0..4
        (digit // 2) with ``parity``, else the digits. The images come shuffled.

    Raises:
        ValueError: unknown split, ``per_pair`` under 1, or a split without a scan of some digit.
        FileNotFoundError, ImportError: as in :func:`single`.

    Example:
        >>> data = pairs("train", per_pair=10, root=None)
        >>> tuple(data["image"].shape), data["left"].max().item()
        ((160, 1, 20, 20), 4)
    """
    check_integer("per_pair", per_pair, 1)
    with float32_on_cpu():
        digits = torch.tensor(pairs_in(split, parity)).repeat_interleave(per_pair, 0)  # (N, 2)
        scans = single(split, root)
        scan, size = scans["image"].squeeze(1), scans["image"].shape[-1]
        half = size + max(2, size // 7)  # 28 in 32 is DoubleMNIST

        generator = torch.Generator().manual_seed(3 * seed + SPLITS.index(split))
        digits = digits[torch.randperm(len(digits), generator=generator)]
        image = torch.zeros(len(digits), 2 * half, 2 * half)
        n, pixels = torch.arange(len(digits))[:, None, None], torch.arange(size)
        for side in range(2):
            chosen = _draw(scans["digit"], digits[:, side], generator)
            top = torch.randint(2 * half - size, (len(digits), 1, 1), generator=generator)
            left = torch.randint(half - size, top.shape, generator=generator) + side * half
            image[n, top + pixels[:, None], left + pixels] = scan[chosen]

    left, right = (digits // 2 if parity else digits).unbind(1)
    return {"image": image.unsqueeze(1), "left": left, "right": right}


def _draw(labels: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:
    """For each wanted digit (N,) the index of a random scan with that label."""
    chosen = torch.empty_like(wanted)
    for digit in wanted.unique():
        scans, places = (labels == digit).nonzero().squeeze(1), wanted == digit
        if not len(scans):
            raise ValueError(f"this split holds no scan of the digit {digit}")
        pick = torch.randint(len(scans), (int(places.sum()),), generator=generator)
        chosen[places] = scans[pick]
    return chosen


def _embedded(split: str) -> tuple[Tensor, Tensor]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            f"the handwritten digits ship inside scikit-learn: {install('book')}"
        ) from error
    scans = load_digits()
    k = SPLITS.index(split)
    block = slice(FORMS[k], FORMS[k + 1])
    image = torch.from_numpy(scans.images[block]).float() / 16  # 0..16 in the file
    return image, torch.from_numpy(scans.target[block]).long()


def _mnist(split: str, root: Path) -> tuple[Tensor, Tensor]:
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise ImportError(f"MNIST is read by torchvision: {install('book')}") from error
    try:
        scans = MNIST(root, train=split != "test")
    except RuntimeError as error:
        raise FileNotFoundError(
            f"no MNIST files under root={str(root)!r}: expected train-images-idx3-ubyte, "
            f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
            f"in {root / 'MNIST' / 'raw'}"
        ) from error
    cut = len(scans) * 5 // 6  # 50,000 of 60,000
    block = {"train": slice(cut), "val": slice(cut, None), "test": slice(None)}[split]
    return scans.data[block].float() / 255, scans.targets[block].long()

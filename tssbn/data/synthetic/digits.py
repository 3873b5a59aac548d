"""Images of one or two handwritten digits, which several chapters use.

The scans are the 1,797 handwritten digits in scikit-learn (the test part of the UCI optical digits:
8x8 pixels, 13 writers), so nothing is downloaded. They are in their original order, form after
form: about every 130 digits the same sequence begins again. Each split is a contiguous block that
begins and ends between two forms. So no scan is in two splits, and hardly any handwriting is.

If the folder ``data/mnist`` has the real MNIST, its 28x28 scans are used instead.

Two digits on one canvas follow DoubleMNIST (Sun, 2019). The variant with even digits on the left
and odd ones on the right follows Suteu and Guo, arXiv 1912.06844, section 4. The images are the
same bits on every processor, because all random numbers are integers and all divisors are powers
of two (255 for MNIST).
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
    """Return images of one digit each, as they were scanned.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        root: the folder of the real MNIST in the layout of torchvision
            (``root/MNIST/raw/*-ubyte``), or ``None`` for the scans of scikit-learn. ``"auto"``
            takes the folder ``mnist`` if :func:`~tssbn.data.real.find.find` finds it, else the
            scans of scikit-learn.

    Returns:
        ``image`` (N, 1, H, W) float32 in [0, 1] and ``digit`` (N,) int64. The scans of scikit-learn
        are 8x8, and N is 1157, 258 or 382 for the three splits. Those of MNIST are 28x28; ``val``
        is the last sixth of its training file.

    Raises:
        ValueError: the split is unknown.
        FileNotFoundError: there are no MNIST files under ``root``.
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
    """List the pairs (left digit, right digit) of a split; no pair is in two splits.

    All pairs of n left and n right digits form an n x n table, which is read along its diagonals.
    The first n²/5 pairs are ``test``, the next 4n²/25 are ``val``, and the rest is ``train``: 5, 4
    and 16 of 25 pairs, or 20, 16 and 64 of 100. So ``train`` has every digit on its side, and
    ``test`` has each one equally often, but beside digits that it never had beside it in
    ``train``.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        parity: whether only even digits are on the left and only odd ones on the right; otherwise
            all ten digits are on both sides.

    Raises:
        ValueError: the split is unknown.

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
    """Return images of two digits; one task is to read the left digit, the other the right one.

    Each digit is at a random place in its half of a black canvas. For 8x8 scans the canvas is
    20x20, and a digit can be moved by up to 12 rows and 2 columns. For MNIST it is 64x64, and the
    digit can be moved by up to 36 rows and 4 columns, as in DoubleMNIST. A split has the pairs of
    :func:`pairs_in` and the scans of :func:`single`, and shares neither with another split.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        parity: whether left digits are from {0, 2, 4, 6, 8} and right ones from {1, 3, 5, 7, 9},
            which makes two tasks of 5 classes (Suteu and Guo). Otherwise both sides have all ten
            digits, which makes two tasks of 10 classes (DoubleMNIST).
        per_pair: how many images each pair has, each of two scans drawn at random (DoubleMNIST has
            1000).
        seed: the seed for the scans, the places and the order of the images.
        root: as in :func:`single`.

    Returns:
        ``image`` (N, 1, S, S) float32 in [0, 1]; ``left`` and ``right`` (N,) int64. These are
        classes 0..4 (digit // 2) with ``parity``, else the digits. The images are shuffled.

    Raises:
        ValueError: the split is unknown, ``per_pair`` is under 1, or the split has no scan of some
            digit.
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

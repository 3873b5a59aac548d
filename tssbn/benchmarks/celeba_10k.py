"""CelebA in half an hour of a CPU: the first 10,000 faces, with the network of celeba_small."""

from dataclasses import replace

from tssbn.benchmarks import Benchmark, celeba_small
from tssbn.data.real.celeba import CelebA

ENDS = {"train": 7000, "val": 8000, "test": 10000}  # number of the last face of each split


def benchmark(side: int = 32, filters: int = 8) -> Benchmark:
    """Make the benchmark of 7,000 training, 1,000 validation and 2,000 test faces.

    All belong to CelebA's training split. The number of a face decides its split here, so that only
    the first 10,000 images are needed; the same person may be in two splits. Network and recipe are
    those of :mod:`tssbn.benchmarks.celeba_small`, with a learning rate that falls to 0 by a cosine.

    Args:
        side: height and width of the images, at least 8.
        filters: channels of the first stage; 64 in the protocol.

    Example:
        >>> benchmark().recipe.schedule
        'cosine'
    """
    small = celeba_small.benchmark(side, filters)
    return replace(
        small,
        name="celeba_10k",
        title="CelebA, 10,000 faces",
        data=lambda split, root: FirstFaces(root, split, size=(side, side)),
        recipe=replace(small.recipe, schedule="cosine", interval="step"),
    )


class FirstFaces(CelebA):
    """The first 10,000 faces of CelebA, split by their numbers.

    Args:
        root, split, transform, size: as for :class:`~tssbn.data.real.celeba.CelebA`.
    """

    official = dict.fromkeys(CelebA.official, CelebA.official["train"])

    def partition(self) -> dict[str, str]:
        """Return the split of each image, by the name of its file."""
        return {f"{number:06}.jpg": _part(number) for number in range(1, ENDS["test"] + 1)}


def _part(number: int) -> str:
    return next(part for part, end in ENDS.items() if number <= end)

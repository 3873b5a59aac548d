"""CelebA in a quarter of an hour: the first 10,000 faces, with the network of celeba_small."""

from dataclasses import replace

from tssbn.benchmarks import Benchmark, celeba_small
from tssbn.data.real.celeba import CelebA

ENDS = {"train": 7000, "val": 8000, "test": 10000}  # the number of the last face of each part


def benchmark(side: int = 32, filters: int = 8) -> Benchmark:
    """All forty attributes of 7,000 faces; 1,000 validate, 2,000 test.

    All are of CelebA's training part and are cut by their numbers, whatever the partition in the
    folder says, so that these 10,000 images are all that is needed. A person may be in two parts.
    Network and recipe are those of :mod:`tssbn.benchmarks.celeba_small`, but the learning rate
    falls to 0 by a cosine.

    Args:
        side: of the images, at least 8.
        filters: of the first stage; the protocol's network has 64.
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
    """The first 10,000 faces of CelebA, in parts by their numbers.

    Args:
        root, split, transform, size: As those of :class:`~tssbn.data.real.celeba.CelebA`.
    """

    official = dict.fromkeys(CelebA.official, CelebA.official["train"])

    def partition(self) -> dict[str, str]:
        """The split of each image, by the name of its file."""
        return {f"{number:06}.jpg": _part(number) for number in range(1, ENDS["test"] + 1)}


def _part(number: int) -> str:
    return next(part for part, end in ENDS.items() if number <= end)

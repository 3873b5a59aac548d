"""CelebA for a laptop: faces at half size, with the network and recipe of the synthetic faces."""

from dataclasses import replace

from tssbn.benchmarks import Benchmark, celeba, faces

RATED = ("tssbn", "tsbn", "shared-gates", "deep-gates")


def benchmark(side: int = 32, filters: int = 8) -> Benchmark:
    """Make the benchmark of forty attributes on a CelebA network of an eighth of the width.

    Learning rate, batch and epochs are those of :mod:`tssbn.benchmarks.faces`, and gates learn at
    10 times the rate; none was tuned on real faces. The paper has no rows of this size.

    Args:
        side: height and width of the images, at least 8.
        filters: channels of the first stage; 64 in the protocol.

    Example:
        >>> benchmark().recipe.epochs, benchmark().recipe.lr
        (10, 0.004)
    """
    return replace(
        celeba.benchmark(side, filters),
        name="celeba_small",
        title="CelebA, small",
        recipe=replace(faces.benchmark().recipe, tasks_per_pass=20),
        tuned={name: {"multiplier": 10} for name in RATED},
        paper={},
    )

"""CelebA for a laptop: faces at half size, with the network and recipe of the synthetic faces."""

from dataclasses import replace

from tssbn.benchmarks import Benchmark, celeba, faces


def benchmark(side: int = 32, filters: int = 8) -> Benchmark:
    """All forty attributes on a CelebA network of an eighth of the width.

    Learning rate, batch and epochs are those of :mod:`tssbn.benchmarks.faces`; they were not tuned
    on real ones. The paper has no row of this size.

    Args:
        side: of the images, at least 8.
        filters: of the first stage; the protocol's network has 64.
    """
    return replace(
        celeba.benchmark(side, filters),
        name="celeba_small",
        title="CelebA, small",
        recipe=replace(faces.benchmark().recipe, tasks_per_pass=20),
        paper={},
    )

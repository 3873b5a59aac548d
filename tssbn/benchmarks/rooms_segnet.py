"""Synthetic rooms on a small SegNet: the tasks and the network of NYUv2 in two minutes."""

from functools import partial

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.rooms import drawn
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.synthetic.scenes import Rooms
from tssbn.methods import Network
from tssbn.networks.segnet import SegNet, SegNetHead


def benchmark(
    n: int = 800, height: int = 48, width: int = 64, filters: int = 8, classes: int = 4
) -> Benchmark:
    """Make the benchmark of synthetic rooms, for a SegNet of an eighth of the width.

    Args:
        n: number of training images; the test has a quarter as many.
        height, width: size of the images.
        filters: channels of the first stage; 64 for NYUv2.
        classes: 13, those of NYUv2, or 4: floor, structure, furniture and props.

    Example:
        >>> benchmark().recipe.epochs
        8
    """
    return Benchmark(
        name="rooms_segnet",
        title="rooms, SegNet",
        data=partial(drawn, n, Rooms(height=height, width=width, classes=classes)),
        network=network(filters, height, width),
        tasks=tasks_for,
        recipe=Recipe(epochs=8, batch=16, lr=3e-3, schedule="cosine"),
        synthetic=True,
    )


def network(filters: int, height: int, width: int) -> Network:
    """Make a SegNet and its heads.

    Args:
        filters: channels of the first stage.
        height, width: size of the images.
    """
    return Network(
        partial(SegNet, filters),
        partial(SegNetHead, width=filters),
        dummy_images(height, width),
        stem="encoder.0.1",
        wider=lambda times: network(round(times * filters), height, width),
    )

"""Made rooms: the tasks and the network of NYUv2, small enough for a laptop."""

from functools import partial

from tssbn.baselines import Network
from tssbn.benchmarks import Benchmark, Recipe, example
from tssbn.data.scenes import Rooms, rooms
from tssbn.networks.segnet import SegNet, SegNetHead
from tssbn.training.tasks import tasks


def benchmark(n: int = 800, height: int = 48, width: int = 64, filters: int = 16) -> Benchmark:
    """A SegNet of a quarter of the width on made rooms.

    Args:
        n: training images; a quarter as many to test.
        height, width: of the images.
        filters: of the first stage; NYUv2's network has 64.
    """
    recipe = Rooms(height=height, width=width)
    return Benchmark(
        name="rooms",
        title="rooms",
        data=lambda split: rooms(split, n if split == "train" else n // 4, recipe=recipe),
        network=Network(
            partial(SegNet, filters), partial(SegNetHead, width=filters), example(height, width)
        ),
        tasks=tasks,
        recipe=Recipe(epochs=20, batch=16, lr=1e-3, schedule="cosine"),
    )

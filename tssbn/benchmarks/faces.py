"""Drawn faces: the tasks and the network of CelebA, small enough for a laptop."""

from functools import partial

from torch import nn

from tssbn.baselines import Network
from tssbn.benchmarks import Benchmark, Recipe, example
from tssbn.data.faces import Faces, faces
from tssbn.networks.celeba import CelebANet
from tssbn.training.tasks import tasks


def benchmark(n: int = 2000, side: int = 32, filters: int = 8) -> Benchmark:
    """A CelebA network of an eighth of the width on drawn faces with 36 attributes.

    Args:
        n: training images; half as many to validate, and to test.
        side: of the images, at least 8.
        filters: of the first stage; CelebA's network has 64.
    """
    return Benchmark(
        name="faces",
        title="faces",
        data=lambda split: faces(split, n if split == "train" else n // 2, recipe=Faces(size=side)),
        network=Network(
            partial(CelebANet, filters), partial(nn.Linear, 8 * filters), example(side, side)
        ),
        tasks=tasks,
        recipe=Recipe(epochs=15, batch=64, lr=1e-3, select="val", tasks_per_pass=6),
        average=True,
    )

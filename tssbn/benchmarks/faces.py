"""Synthetic faces: the tasks and network of CelebA, small enough for a laptop."""

from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.celeba import network
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.synthetic.faces import ATTRIBUTES, Faces, faces


def benchmark(n: int = 2400, side: int = 32, filters: int = 8, attributes: int = 12) -> Benchmark:
    """A CelebA network of an eighth of the width on drawn faces.

    Args:
        n: training images; a third as many to validate, and to test.
        side: of the images, at least 8.
        filters: of the first stage; CelebA's network has 64.
        attributes: how many of the 36, evenly spread over their list; each task costs a pass.
    """
    if not 1 <= attributes <= len(ATTRIBUTES):
        raise ValueError(f"attributes={attributes} must be from 1 to {len(ATTRIBUTES)}")
    chosen = [ATTRIBUTES[i * len(ATTRIBUTES) // attributes] for i in range(attributes)]

    def data(split: str, root: None = None) -> Stored:
        made = faces(split, n if split == "train" else n // 3, recipe=Faces(size=side))
        tensors = {name: made.tensors[name] for name in ("image", *chosen)}
        return Stored(tensors, {name: made.targets[name] for name in chosen})

    return Benchmark(
        name="faces",
        title="faces",
        data=data,
        network=network(side, filters),
        tasks=tasks_for,
        recipe=Recipe(epochs=10, batch=64, lr=4e-3, report="val"),
        synthetic=True,
        average=True,
    )

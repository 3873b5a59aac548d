"""Synthetic faces: the tasks and network of CelebA, small enough for a laptop."""

from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.celeba import network
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.synthetic.faces import ATTRIBUTES, Faces, faces


def benchmark(n: int = 2400, side: int = 32, filters: int = 8, attributes: int = 12) -> Benchmark:
    """Make the benchmark of a CelebA network of an eighth of the width on drawn faces.

    Args:
        n: number of training images; validation and test have a third as many each.
        side: height and width of the images, at least 8.
        filters: channels of the first stage; 64 for CelebA.
        attributes: how many of the 36 attributes, evenly spread over their list, are tasks.

    Raises:
        ValueError: there are not so many attributes.

    Example:
        >>> benchmark(attributes=2).recipe.report
        'val'
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

"""Synthetic streets: the tasks and network of Cityscapes, small enough for a laptop."""

from functools import partial

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.cityscapes import to_minus_one_one
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.synthetic.scenes import Streets, streets
from tssbn.methods import Network
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet


def benchmark(
    n: int = 400, height: int = 48, width: int = 96, filters: int = 8, depth: int = 14
) -> Benchmark:
    """Make the benchmark of synthetic streets, for a small DeepLabV3.

    Args:
        n: number of training images; the test has a quarter as many.
        height, width: size of the images, multiples of 8.
        filters: channels of the first stage; 64 for Cityscapes.
        depth: 14 for one bottleneck in each stage, or 50 for the ResNet-50 of Cityscapes.

    Raises:
        ValueError: the depth is neither 14 nor 50, or a size is no multiple of 8.

    Example:
        >>> benchmark().network.stem
        'layer1'
    """
    blocks = {14: (1, 1, 1, 1), 50: (3, 4, 6, 3)}
    if depth not in blocks:
        raise ValueError(f"depth={depth} must be one of {list(blocks)}")
    if height % 8 or width % 8:
        raise ValueError(f"height={height} and width={width} must be multiples of 8")
    widths = [filters, 2 * filters, 4 * filters, 8 * filters]
    recipe = Streets(height=height, width=width)

    def data(split: str, root: None = None) -> Stored:
        return streets(split, n if split == "train" else n // 4, recipe=recipe)

    return Benchmark(
        name="streets",
        title="streets",
        data=data,
        network=Network(
            partial(dilated_resnet, blocks[depth], widths),
            partial(DeepLabHead, inputs=32 * filters, width=4 * filters),
            dummy_images(height, width),
            stem="layer1",
        ),
        tasks=tasks_for,
        recipe=Recipe(epochs=8, batch=16, lr=3e-3, schedule="cosine"),
        scale=to_minus_one_one,
        synthetic=True,
    )

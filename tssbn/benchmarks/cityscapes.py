"""Cityscapes: classes, parts and disparity on DeepLabV3 from random weights (table 1; auto-lambda's
protocol)."""

from torch import Tensor

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data import augment
from tssbn.data.real.cityscapes import Cityscapes
from tssbn.methods import Network
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet

PAPER = {  # mIoU in percent, absolute error of the disparity in pixels
    "stl": {"segmentation": 56.61, "parts": 53.95, "disparity": 0.841},
    "hps": {"segmentation": 55.03, "parts": 51.92, "disparity": 0.796, "delta": -0.39},
    "cross-stitch": {"segmentation": 56.73, "parts": 53.89, "disparity": 0.781, "delta": 2.43},
    "mtan": {"segmentation": 55.83, "parts": 52.61, "disparity": 0.799, "delta": 0.39},
    # The paper does not say at which rate its TSBN learns here.
    "tsbn": {"segmentation": 56.10, "parts": 52.82, "disparity": 0.806, "delta": 0.40},
    "tsbn-x100": {},
    "tssbn": {"segmentation": 56.45, "parts": 53.26, "disparity": 0.814, "delta": 0.57},
}


def benchmark() -> Benchmark:
    """Make the benchmark of 2,975 training and 500 validation images of Cityscapes, 256x512.

    SGD with momentum at 0.1, annealed to 0 by a cosine over 200 epochs, weight decay 1e-4. Batches
    of 4 square crops, flipped at random; tests use whole images. Scores are those of the last
    epoch.

    Example:
        >>> benchmark().recipe.optimiser
        'sgd'
    """
    return Benchmark(
        name="cityscapes",
        title="Cityscapes",
        data=lambda split, root: Cityscapes(root, "train" if split == "train" else "val"),
        network=Network(dilated_resnet, DeepLabHead, dummy_images(64, 64), stem="layer1"),
        tasks=lambda targets: tasks_for(targets, pooling="sample"),
        recipe=Recipe(
            epochs=200, batch=4, lr=0.1, optimiser="sgd", weight_decay=1e-4, schedule="cosine"
        ),
        augment=augment.cityscapes,
        scale=to_minus_one_one,
        source="cityscapes",
        paper=PAPER,
    )


def to_minus_one_one(images: Tensor) -> Tensor:
    """Scale images from [0, 1] to [-1, 1].

    Args:
        images: of any shape.

    Example:
        >>> import torch
        >>> to_minus_one_one(torch.tensor([0.0, 1.0]))
        tensor([-1.,  1.])
    """
    return 2 * images - 1

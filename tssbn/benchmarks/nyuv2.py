"""NYUv2: three dense tasks on one SegNet from random weights (table 1; MTAN's protocol)."""

from functools import partial

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data import augment
from tssbn.data.real.nyuv2 import NYUv2
from tssbn.methods import Network
from tssbn.networks.segnet import SegNet, SegNetHead

PAPER = {  # mIoU in percent, absolute error in metres, mean angle in degrees
    "stl": {"segmentation": 41.45, "depth": 0.580, "normal": 23.80},
    "hps": {"segmentation": 42.17, "depth": 0.502, "normal": 26.63, "delta": 1.07},
    "cross-stitch": {"segmentation": 41.77, "depth": 0.492, "normal": 26.15, "delta": 1.98},
    "mtan": {"segmentation": 43.12, "depth": 0.508, "normal": 25.44, "delta": 3.14},
    "tsbn": {},  # at the rate of everything else: the paper has no number
    "tsbn-x100": {"segmentation": 43.47, "depth": 0.494, "normal": 25.32, "delta": 4.42},
    "tssbn": {"segmentation": 43.75, "depth": 0.484, "normal": 24.09, "delta": 6.93},
}


def benchmark(augmented: bool = True) -> Benchmark:
    """Make the benchmark of 795 training and 654 test images of NYUv2, 288x384.

    Adam at 1e-4, halved at epoch 100 of 200, batches of 2. Scores are means over the last ten
    epochs. There is no validation set.

    Args:
        augmented: whether training images are zoomed and flipped. The paper does not mention it,
            but the level of its scores suggests it.

    Example:
        >>> benchmark().recipe.report
        'last-10'
    """
    return Benchmark(
        name="nyuv2",
        title="NYUv2",
        data=lambda split, root: NYUv2(root, "train" if split == "train" else "val"),
        network=Network(SegNet, SegNetHead, dummy_images(96, 128), stem="encoder.0.1"),
        tasks=partial(tasks_for, pooling="batch", mask="sum"),
        recipe=Recipe(
            epochs=200, batch=2, lr=1e-4, schedule="step", report="last-10", min_last_batch=1
        ),
        augment=augment.nyuv2 if augmented else None,
        source="nyuv2",
        paper=PAPER,
    )

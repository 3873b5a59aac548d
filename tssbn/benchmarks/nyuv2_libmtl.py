"""NYUv2 on DeepLabV3 with a ResNet-50 pretrained on ImageNet (table 2; LibMTL's protocol)."""

from tssbn.benchmarks import Benchmark, libmtl
from tssbn.data import augment
from tssbn.data.real.nyuv2 import NYUv2

PAPER = {  # mIoU in percent, absolute error in metres, mean angle in degrees; Δm against HPS
    "hps": {"segmentation": 53.93, "depth": 0.3825, "normal": 23.57},
    "cross-stitch": {"segmentation": 53.44, "depth": 0.3818, "normal": 23.15, "delta": 0.35},
    "mmoe": {"segmentation": 53.14, "depth": 0.3876, "normal": 23.02, "delta": -0.15},
    "mtan": {"segmentation": 54.64, "depth": 0.3771, "normal": 23.12, "delta": 1.55},
    "cgc": {"segmentation": 53.27, "depth": 0.3914, "normal": 22.14, "delta": 0.84},
    "ple": {"segmentation": 52.75, "depth": 0.3943, "normal": 22.10, "delta": 0.32},
    "ltb": {"segmentation": 52.58, "depth": 0.3828, "normal": 23.31, "delta": -0.49},
    "dselect-k": {"segmentation": 53.75, "depth": 0.3802, "normal": 23.18, "delta": 0.64},
    "tsbn": {"segmentation": 53.44, "depth": 0.3761, "normal": 23.01, "delta": 1.04},
    "tssbn": {"segmentation": 53.78, "depth": 0.3735, "normal": 22.31, "delta": 2.48},
}
#: #P and #F as table 2 prints them, relative to HPS.
COSTS = {
    "hps": (1.00, 1.00),
    "cross-stitch": (1.65, 1.69),
    "mmoe": (1.35, 1.34),
    "mtan": (1.28, 1.56),
    "cgc": (2.01, 2.03),
    "ple": (2.41, 2.71),
    "ltb": (1.65, 1.69),
    "dselect-k": (1.38, 1.34),
    "tsbn": (1.00, 1.69),
    "tssbn": (1.00, 1.69),
}


def benchmark(
    height: int = 288, width: int = 384, pretrained: str = "file", augmented: bool = False
) -> Benchmark:
    """Make the benchmark of 795 training and 654 test images of NYUv2, 288x384, for table 2.

    Adam at 1e-4 with weight decay 1e-5, halved at epoch 100 of 200, batches of 8, or 4 for PLE, and
    no augmentation. Images are in [0, 1], without ImageNet's mean. Scores are those of the last
    epoch. LibMTL's published scores are those of the best epoch on the test images, which
    ``report=libmtl`` selects.

    Args:
        height, width: size of the images in the files, multiples of 8.
        pretrained: the source of the trunk's ImageNet weights, ``"file"`` or ``"none"``; see
            :data:`tssbn.networks.deeplab.SOURCES`.
        augmented: whether training images are zoomed and flipped.

    Raises:
        ValueError: the source is unknown, or a size is no multiple of 8.

    Example:
        >>> benchmark().tuned["ple"]
        {'gate': 'image', 'batch': 4}
    """
    return Benchmark(
        name="nyuv2_libmtl",
        title="NYUv2, pretrained DeepLabV3",
        data=lambda split, root: NYUv2(root, "train" if split == "train" else "val"),
        network=libmtl.network(height, width, pretrained),
        tasks=libmtl.tasks,
        recipe=libmtl.recipe(batch=8),
        tuned={**libmtl.TUNED, "ple": {**libmtl.TUNED["ple"], "batch": 4}},
        augment=augment.nyuv2 if augmented else None,
        source="nyuv2",
        baseline="hps",
        paper=PAPER,
    )

"""Cityscapes, two tasks, on DeepLabV3 pretrained on ImageNet (table 2; LibMTL's protocol)."""

from tssbn.benchmarks import Benchmark, libmtl
from tssbn.data.real.cityscapes_small import CityscapesSmall

PAPER = {  # mIoU in percent, absolute error of the inverse depth; Δm against HPS
    "hps": {"segmentation": 69.81, "depth": 0.0125},
    "cross-stitch": {"segmentation": 69.97, "depth": 0.0123, "delta": 0.55},
    "mmoe": {"segmentation": 69.81, "depth": 0.0126, "delta": -0.43},
    "mtan": {"segmentation": 70.62, "depth": 0.0125, "delta": 0.49},
    "cgc": {"segmentation": 69.75, "depth": 0.0125, "delta": -0.12},
    "ple": {"segmentation": 69.30, "depth": 0.0129, "delta": -2.02},
    "ltb": {"segmentation": 69.81, "depth": 0.0125, "delta": -0.35},
    "dselect-k": {"segmentation": 69.67, "depth": 0.0124, "delta": 0.26},
    "tsbn": {"segmentation": 69.89, "depth": 0.0124, "delta": 0.38},
    "tssbn": {"segmentation": 70.17, "depth": 0.0123, "delta": 0.85},
}


def benchmark(pretrained: str = "file") -> Benchmark:
    """Make the benchmark of 2,975 training and 500 validation images, 128x256, with seven classes.

    The protocol is that of :mod:`tssbn.benchmarks.nyuv2_libmtl`, with batches of 64.

    Args:
        pretrained: the source of the trunk's ImageNet weights, ``"file"`` or ``"none"``; see
            :data:`tssbn.networks.deeplab.SOURCES`.

    Raises:
        ValueError: the source is unknown.

    Example:
        >>> benchmark().recipe.batch
        64
    """
    return Benchmark(
        name="cityscapes_libmtl",
        title="Cityscapes, pretrained DeepLabV3",
        data=lambda split, root: CityscapesSmall(root, "train" if split == "train" else "val"),
        network=libmtl.network(128, 256, pretrained),
        tasks=libmtl.tasks,
        recipe=libmtl.recipe(batch=64),
        tuned=libmtl.TUNED,
        source="cityscapes-small",
        baseline="hps",
        paper=PAPER,
    )

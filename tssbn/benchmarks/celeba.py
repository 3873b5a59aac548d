"""CelebA: forty attributes on one small network from random weights (table 1; FAMO's protocol)."""

from functools import partial

from torch import nn

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.real.celeba import CelebA
from tssbn.methods import Network
from tssbn.networks.celeba import CelebANet

PAPER = {  # the mean F1 of the forty, in percent
    "stl": {"mean": 68.21},
    "hps": {"mean": 67.06, "delta": -1.69},
    "cross-stitch": {"mean": 65.57, "delta": -3.86},
    "mtan": {"mean": 59.49, "delta": -12.78},
    "tsbn": {"mean": 67.17, "delta": -1.52},  # the paper does not say at which rate
    "tsbn-x100": {},
    "tssbn": {"mean": 69.45, "delta": 1.81},
}


def benchmark(side: int = 64, filters: int = 64) -> Benchmark:
    """Make the benchmark of 162,770 training, 19,867 validation and 19,962 test images, 64x64.

    Adam at 3e-4, 15 epochs, batches of 256, no augmentation. Scores are those of the epoch with the
    best mean F1 on the validation images. Networks of single tasks are tested in evaluation mode;
    FAMO's trainer for single tasks never leaves the training mode.

    Args:
        side: height and width of the images, at least 8; 64 in the protocol.
        filters: channels of the first stage; 64 in the protocol.

    Example:
        >>> benchmark(filters=8).network.trunk().stages[0][0][0].out_channels
        8
    """
    return Benchmark(
        name="celeba",
        title="CelebA",
        data=lambda split, root: CelebA(root, split, size=(side, side)),
        network=network(side, filters),
        tasks=tasks_for,
        recipe=Recipe(epochs=15, batch=256, lr=3e-4, report="val", tasks_per_pass=5),
        source="celeba",
        average=True,
        paper=PAPER,
    )


def network(side: int, filters: int) -> Network:
    """Make a CelebANet and its heads.

    Args:
        side: height and width of the images.
        filters: channels of the first stage.
    """
    return Network(
        partial(CelebANet, filters),
        partial(nn.Linear, 8 * filters),
        dummy_images(side, side),
        stem="stages.1",
        wider=lambda times: network(side, round(times * filters)),
    )

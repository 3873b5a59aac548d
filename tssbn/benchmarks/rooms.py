"""Synthetic rooms on a U-Net: the tasks of NYUv2 in minutes on a laptop."""

from functools import partial

from torch import nn

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.synthetic.scenes import Rooms, rooms
from tssbn.methods import Network
from tssbn.networks.unet import UNet

GATED = ("tssbn", "deep-gates", "tsbn-no-bias", "tssbn-bias", "tanh", "softplus", "clamp")


def benchmark(
    n: int = 1600, height: int = 48, width: int = 64, filters: int = 16, classes: int = 4
) -> Benchmark:
    """Make the benchmark of synthetic rooms, for a U-Net of 0.34 million parameters.

    Adam, annealed to 0 by a cosine from step to step, over 30 epochs of 100 steps; heads are
    linear. Scores are those of the last epoch. The rates of each method were chosen on the
    validation images, in six runs of 10 epochs with one seed that no reported run has
    (``book/studies/tuning.py``). The best base rate was 4e-3 for HPS, TSBN and TSσBN; the best rate
    was 0.1 for gates, 0.03 for gates that all tasks share, and 0.01 for TSBN's scales and biases.
    Their ablations have the same rates.

    Args:
        n: number of training images; validation and test have a quarter as many each.
        height, width: size of the images.
        filters: channels of the finest scale.
        classes: 13, those of NYUv2, or 4: floor, structure, furniture and props.

    Example:
        >>> benchmark().tuned["tssbn"]
        {'multiplier': 25}
    """
    return Benchmark(
        name="rooms",
        title="rooms",
        data=partial(drawn, n, Rooms(height=height, width=width, classes=classes)),
        network=network(filters, height, width),
        tasks=tasks_for,
        recipe=Recipe(
            epochs=30, batch=16, lr=4e-3, schedule="cosine", interval="step", tasks_per_pass=1
        ),
        tuned={name: {"multiplier": 25} for name in GATED}
        | {name: {"multiplier": 2.5} for name in ("tsbn", "affine")}
        | {"shared-gates": {"multiplier": 7.5}},
        synthetic=True,
    )


def drawn(n: int, recipe: Rooms, split: str, root: None = None) -> Stored:
    """Draw the rooms of a split.

    Args:
        n: number of training images; other splits have a quarter as many.
        recipe: what the rooms look like.
        split: ``"train"``, ``"val"`` or ``"test"``.
        root: unused, because nothing is read.
    """
    return rooms(split, n if split == "train" else n // 4, recipe=recipe)


def network(filters: int, height: int, width: int) -> Network:
    """Make a U-Net and linear heads.

    Args:
        filters: channels of the finest scale.
        height, width: size of the images.
    """
    return Network(
        partial(UNet, filters),
        partial(nn.Conv2d, filters, kernel_size=1),
        dummy_images(height, width),
        stem="down.0.1",
        wider=lambda times: network(round(times * filters), height, width),
    )

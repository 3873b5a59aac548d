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
    """A U-Net of 0.34 million parameters with linear heads on synthetic rooms.

    Adam, annealed to 0 by a cosine, step by step, over 30 epochs of 100 steps; the last epoch
    counts. Rates were chosen for each method on the validation images, in six runs of 10 epochs
    with one seed that no reported run has (``book/studies/tuning.py``). Of HPS, TSBN and TSσBN the
    base rate 4e-3 was best; of gates 0.1, of one row for all tasks 0.03, of TSBN's scales and
    biases 0.01. Their ablations have the same rates.

    Args:
        n: training images; a quarter as many to validate, and to test.
        height, width: of the images.
        filters: of the finest scale.
        classes: 13, those of NYUv2, or 4: floor, structure, furniture and props.
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
    """So many rooms to train with; a quarter as many of each other split."""
    return rooms(split, n if split == "train" else n // 4, recipe=recipe)


def network(filters: int, height: int, width: int) -> Network:
    """A U-Net and linear heads, whose finest scale has so many filters."""
    return Network(
        partial(UNet, filters),
        partial(nn.Conv2d, filters, kernel_size=1),
        dummy_images(height, width),
        stem="down.0.1",
        wider=lambda times: network(round(times * filters), height, width),
    )

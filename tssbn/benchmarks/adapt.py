"""Adapting a trunk from synthetic streets to rooms: which parameters are worth training?"""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.benchmarks.transformers import started
from tssbn.data.stored import Stored
from tssbn.data.synthetic.scenes import Rooms, rooms
from tssbn.methods import Network
from tssbn.networks.pretrained import swin_weights
from tssbn.networks.swin import Swin, SwinHead, tap_widths
from tssbn.networks.weights import check_source, find_file

SIZE = 48  # of the images
BATCH, STEPS, WARMUP = 16, 300, 20
STARTS = {
    "source": "what was learned on synthetic streets, by book/studies/adapt_source.py",
    "none": "a start at random",
}


def benchmark(
    source: int = 0, pretrained: str = "source", n: int = 200, holdout: int = 0
) -> Benchmark:
    """A small Swin transformer pretrained on synthetic streets, and few rooms to adapt it to.

    Table 4 of the paper in small: 48x48 pixels, 0.57 million parameters in the trunk, the decoders
    of MTLoRA. Adam makes 300 steps of 16 images, at 1e-3 after a warm-up of 20 steps, then down by
    a cosine; the last epoch counts. (A decay of weights would grow with their rate.) A method that
    freezes the trunk trains nothing there but its own part, at ``multiplier`` times the base rate,
    which is to be chosen on images held out. VPT has a prompt for each token of a window, as on
    Swin-T. Δm is against the decoders alone.

    The weights are those of ``adapt-source-<source>.pth`` in a folder ``weights``, see
    :func:`tssbn.networks.weights.find_file`; ``book/studies/adapt_source.py`` trains them.

    Args:
        source: the seed of the training on streets.
        pretrained: where the trunk starts: ``"source"``, or ``"none"`` for a start at random.
        n: training images, and as many to test.
        holdout: so many training images are left out, and scored instead of the test images, as in
            ``nyuv2_lite``; there are as many steps as without.

    Raises:
        ValueError: `pretrained` is unknown, or fewer than 16 images are left to train on.
    """
    check_source(pretrained, STARTS)
    steps = (n - holdout) // BATCH
    if holdout < 0 or steps < 1:
        raise ValueError(
            f"holdout={holdout} must be 0 or more, and leave {BATCH} of n={n} images to train on"
        )
    weights = None if pretrained == "none" else partial(source_weights, source)
    return Benchmark(
        name="adapt",
        title="streets to rooms, Swin",
        data=partial(drawn, n, holdout),
        network=Network(
            partial(started, trunk, weights), decoder, dummy_images(SIZE, SIZE), pretrained=weights
        ),
        tasks=tasks_for,
        recipe=Recipe(
            epochs=max(1, round(STEPS / steps)),
            batch=BATCH,
            lr=1e-3,
            schedule="cosine",
            warmup=WARMUP / steps,
            interval="step",
            drop_last=True,
        ),
        tuned={name: {"whole": True} for name in ("tsbn-frozen", "tssbn-frozen", "tssbn-lora")}
        | {name: {"prompts": 9} for name in ("vpt-shallow", "vpt-deep")},  # as many as tokens
        synthetic=True,
        baseline="heads-only",
    )


def trunk() -> Swin:
    """A Swin transformer of three stages of two blocks, with windows of 3x3 tokens."""
    return Swin((SIZE, SIZE), width=32, depths=(2, 2, 2), heads=(2, 4, 8), window=3, drop_path=0.0)


def decoder(outputs: int) -> SwinHead:
    """A task's decoder.

    Example:
        >>> sum(parameter.numel() for parameter in decoder(4).parameters())
        20772
    """
    return SwinHead(outputs, (SIZE, SIZE), inputs=tap_widths(32, 3), widths=(8, 16, 32))


def weights_file(source: int) -> str:
    """The name of the file with the weights of a source."""
    return f"adapt-source-{source}.pth"


def source_weights(source: int) -> Mapping[str, Tensor]:
    """The tensors that a trunk starts from, by name.

    Raises:
        FileNotFoundError: there are none; names the command that trains them.
    """
    try:
        path = find_file(weights_file(source))
    except FileNotFoundError as error:
        command = f"python book/studies/adapt_source.py {source}"
        raise FileNotFoundError(
            f"source={source} needs {weights_file(source)} in data/weights; `{command}` in a "
            "checkout trains it, and pretrained=none starts from random weights"
        ) from error
    return swin_weights(path, trunk)


def drawn(n: int, holdout: int, split: str, root: None = None) -> Stored:
    """The rooms of a split; with a holdout, all are of the training images."""
    recipe = Rooms(height=SIZE, width=SIZE, classes=4)
    whole = rooms("train" if holdout else split, n, recipe=recipe)
    if not holdout:
        return whole
    kept = slice(n - holdout) if split == "train" else slice(n - holdout, n)
    return Stored({name: x[kept] for name, x in whole.tensors.items()}, whole.targets)

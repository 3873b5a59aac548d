"""Adapting a small Swin transformer to other digits: which parameters are worth training?"""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.digits import SIDE, TARGETS
from tssbn.benchmarks.tasks import tasks_for
from tssbn.benchmarks.transformers import started
from tssbn.data.stored import Stored
from tssbn.data.synthetic.digits import pairs
from tssbn.methods import Network
from tssbn.networks.pretrained import swin_weights
from tssbn.networks.swin import Swin
from tssbn.networks.weights import check_source, find_file

WIDTH = 32  # channels of the first stage
STARTS = {
    "source": "what was learned on swapped digits, by book/studies/adapt_source.py",
    "none": "a start at random",
}


def benchmark(source: int = 0, pretrained: str = "source", per_pair: int = 80) -> Benchmark:
    """A small Swin transformer that reads digits in swapped places, and 60 steps to adapt it.

    Table 4 of the paper in small. The tasks are those of `digits`: read the even digit on the left
    and the odd one on the right, on test canvases whose pairs do not occur in training. The source
    has odd digits on the left and even ones on the right. The trunk has two stages of two blocks
    and 0.14 million parameters; a head is a linear layer of its last map.

    Adam makes 60 steps of 64 canvases, at 4e-3 down to 0 by a cosine; the epoch with the best mean
    accuracy on the validation canvases counts. A method that freezes the trunk trains only its own
    part of it, at ``multiplier`` times the base rate, chosen on the validation canvases from one
    grid for all methods (``book/studies/tuning.py``). VPT has 8 prompts. Δm is against the heads
    alone. An answer that ignores the image is right in 20 %.

    The weights are those of ``adapt-source-<source>.pth`` in a folder ``weights``, see
    :func:`tssbn.networks.weights.find_file`; ``book/studies/adapt_source.py`` trains them.

    Args:
        source: the seed of the training on swapped digits.
        pretrained: where the trunk starts: ``"source"``, or ``"none"`` for a start at random.
        per_pair: training canvases of each pair; there are 100 of each to validate and to test.

    Raises:
        ValueError: `pretrained` is unknown.
    """
    check_source(pretrained, STARTS)
    weights = None if pretrained == "none" else partial(source_weights, source)
    return Benchmark(
        name="adapt",
        title="swapped digits, Swin",
        data=lambda split, root: composed(split, per_pair if split == "train" else 100),
        network=Network(
            partial(started, trunk, weights), Head, dummy_images(SIDE, SIDE), pretrained=weights
        ),
        tasks=tasks_for,
        recipe=Recipe(
            epochs=3, batch=64, lr=4e-3, schedule="cosine", interval="step", report="val"
        ),
        tuned={
            "tssbn-frozen": {"multiplier": 10, "whole": True},
            "tsbn-frozen": {"multiplier": 10, "whole": True},
            "tssbn-lora": {"multiplier": 1, "whole": True},
            "shared-gates-frozen": {"multiplier": 10, "whole": True},  # as tssbn-frozen, not tuned
            "bitfit": {"multiplier": 3},
            "lora": {"multiplier": 3},
            "lora-shared": {"multiplier": 1},
            "adapter": {"multiplier": 10},
            "compacter": {"multiplier": 10},
            "compacter++": {"multiplier": 10},
            "vl-adapter": {"multiplier": 3},
            "vpt-shallow": {"multiplier": 10, "prompts": 8},
            "vpt-deep": {"multiplier": 10, "prompts": 8},
            "mtlora": {"multiplier": 1},
            "mtlora+": {"multiplier": 1},
            "hyperformer": {"multiplier": 0.3},
            "polyhistor": {"multiplier": 0.3},
            "full": {"multiplier": 0.3},
            "shared-norm": {"multiplier": 0.3},
        },
        synthetic=True,
        baseline="heads-only",
    )


def trunk() -> Swin:
    """A Swin transformer with 5x5 tokens in its first stage, and 3x3 in its second."""
    return Swin((SIDE, SIDE), WIDTH, depths=(2, 2), heads=(2, 4), window=5, drop_path=0.0)


class Head(nn.Module):
    """One task's head: a linear layer of all positions of the last map.

    Example:
        >>> Head(5).linear
        Linear(in_features=576, out_features=5, bias=True)
    """

    def __init__(self, outputs: int):
        super().__init__()
        self.linear = nn.Linear(2 * WIDTH * 3 * 3, outputs)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.linear(maps[-1].flatten(1))


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


def composed(split: str, per_pair: int, swapped: bool = False) -> Stored:
    """The canvases of a split, with even digits on the left; swapped, on the right."""
    made = pairs(split, per_pair=per_pair, root=None)
    image, left, right = made["image"].half(), made["left"], made["right"]
    if swapped:
        image, left, right = image.roll(SIDE // 2, -1), right, left
    return Stored({"image": image.expand(-1, 3, -1, -1), "left": left, "right": right}, TARGETS)

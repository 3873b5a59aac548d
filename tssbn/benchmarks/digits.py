"""Two handwritten digits and a small vision transformer: each method of table 3 in a minute."""

from functools import partial

from torch import nn

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.synthetic.digits import pairs
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.networks.vit import FusedViT, ViT

SIDE, PATCH = 20, 4  # of a canvas, and of a token
TARGETS = {
    "left": Target("class", tuple("02468")),
    "right": Target("class", tuple("13579")),
}


def benchmark(per_pair: int = 200, width: int = 32) -> Benchmark:
    """Make the benchmark of an even digit on the left and an odd one on the right, for a ViT.

    A program composes canvases of two real scans (:mod:`tssbn.data.synthetic.digits`): 16 pairs of
    digits for training, 4 for validation and 5 for testing, with no pair in two of these splits. A
    network that infers one digit from the other thus fails on the test pairs. The trunk is a ViT of
    four blocks with a fusion of the second and the last, with 0.07 million parameters; heads are
    linear.

    Adam with a cosine to 0, 10 epochs, batches of 64. Scores are those of the epoch with the best
    mean accuracy on the validation canvases. The rates of each method were chosen on these
    canvases, in six trials (``book/studies/tuning.py``). The constant baseline has an accuracy of
    20 %. M³ViT and Mod-Squad have 4 experts and choose 2, MLoRE has 4 experts of ranks 2 to 5 and
    chooses 2, and TaskExpert has 3.

    Args:
        per_pair: canvases of each pair.
        width: channels of a token.

    Example:
        >>> benchmark().tuned["tssbn"]
        {'lr': 0.002, 'multiplier': 50}
    """
    return Benchmark(
        name="digits",
        title="two digits, ViT",
        data=lambda split, root: composed(split, per_pair),
        network=Network(partial(trunk, width), partial(head, width), dummy_images(SIDE, SIDE)),
        tasks=tasks_for,
        recipe=Recipe(
            epochs=10, batch=64, lr=1e-3, schedule="cosine", interval="step", report="val"
        ),
        tuned={
            "stl": {"lr": 0.002},
            "hps": {"lr": 0.004},
            "m3vit": {"lr": 0.004, "experts": 4, "top": 2},
            "mod-squad": {"lr": 0.004, "attention_experts": 4, "experts": 4, "top": 2},
            "taskexpert": {"lr": 0.008, "experts": 3},
            "mlore": {"lr": 0.004, "experts": 4, "top": 2, "least": 2, "step": 1, "own": 2},
            "tsbn": {"lr": 0.002, "multiplier": 50},
            "tssbn": {"lr": 0.002, "multiplier": 50},
            "shared-gates": {"lr": 0.002, "multiplier": 50},
        },
        synthetic=True,
    )


def trunk(width: int) -> FusedViT:
    """Make a ViT of four blocks with a fusion of two of its maps to half of its channels.

    Args:
        width: channels of a token.
    """
    vit = ViT((SIDE, SIDE), width, depth=4, heads=2, patch=PATCH, taps=(2, 4), drop_path=0.0)
    return FusedViT(vit, width // 2)


def head(width: int, outputs: int) -> nn.Sequential:
    """Make a linear head that reads all positions.

    Args:
        width: channels of a token; the fused map has half as many.
        outputs: outputs of the head.

    Example:
        >>> head(32, 5)[1]
        Linear(in_features=400, out_features=5, bias=True)
    """
    positions = (SIDE // PATCH) ** 2
    return nn.Sequential(nn.Flatten(), nn.Linear(positions * (width // 2), outputs))


def composed(split: str, per_pair: int) -> Stored:
    """Compose the canvases of a split, with three equal channels.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        per_pair: canvases of each pair.
    """
    made = pairs(split, per_pair=per_pair, root=None)
    image = made.pop("image").expand(-1, 3, -1, -1).half()  # exact: the scans have 17 levels
    return Stored({"image": image, **made}, TARGETS)

"""NYUv2 on a CPU: a quarter of the pixels, and a trunk pretrained on ImageNet."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torchvision.transforms import v2

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data import augment
from tssbn.data.real.nyuv2 import NYUv2
from tssbn.methods import Network
from tssbn.methods.freeze import freeze
from tssbn.networks import efficientnet
from tssbn.networks.weights import check_source

SECTIONS = 20
RATED = ("tssbn", "tsbn", "shared-gates", "deep-gates")
DEPTH = 2.7  # metres, between median and mean of the training frames


def benchmark(
    height: int = 144,
    width: int = 192,
    pretrained: str = "package",
    frozen: bool = False,
    holdout: int = 0,
    augmented: bool = True,
) -> Benchmark:
    """Three dense tasks on EfficientNet-Lite0, each with a decoder of its own on four of its maps.

    The setting is that of the paper's second table, a pretrained trunk with BatchNorm, in small;
    the recipe is our own: Adam, one cycle per step up to 1e-3, 20 epochs, batches of 8, zooms and
    flips; the last epoch counts. Gates, and the norms of TSBN, learn at 0.01 a step, ten times the
    base rate: the gate rate of the paper's recipe, which was not chosen here. Errors are means over
    pixels, and every normal counts.

    Args:
        height, width: of the images, multiples of 4; those of the files are resized.
        pretrained: where the trunk's ImageNet weights come from: ``"package"``, ``"timm"``,
            ``"file"``, or ``"none"`` for a start at random, as
            :data:`tssbn.networks.efficientnet.SOURCES` says.
        frozen: train no filter of the trunk, only its norm layers and the decoders.
        holdout: so many training images are left out, and scored instead of the test images, with
            ``report="val"`` as validation images too: for choices that must not look at the test
            images. 0 for the official parts.
        augmented: zoom and flip the training images.
    """
    check_source(pretrained, efficientnet.SOURCES)
    if height % efficientnet.FINEST or width % efficientnet.FINEST:
        raise ValueError(
            f"height={height} and width={width} must be multiples of {efficientnet.FINEST}"
        )
    if not 0 <= holdout < NYUv2.official["train"]:
        raise ValueError(f"holdout={holdout} must be 0 or more, and below the 795 training images")
    weights = None if pretrained == "none" else partial(efficientnet.imagenet, pretrained)

    def trunk() -> nn.Module:
        made = efficientnet.lite0(weights and weights())
        if frozen:
            freeze(made, efficientnet.in_norm)
        return made

    return Benchmark(
        name="nyuv2_lite",
        title="NYUv2, EfficientNet-Lite0",
        data=partial(part, size=(height, width), holdout=holdout),
        network=Network(
            trunk,
            decoder,
            dummy_images(height, width),
            stem="bn1",
            trains=efficientnet.in_norm,
            pretrained=weights,
        ),
        tasks=tasks_for,
        recipe=Recipe(
            epochs=20, batch=8, lr=1e-3, schedule="one-cycle", interval="step", tasks_per_pass=1
        ),
        tuned={name: {"multiplier": 10} for name in RATED},
        augment=augment.nyuv2 if augmented else None,
        scale=efficientnet.scaled,
        source="nyuv2",
    )


def decoder(outputs: int) -> efficientnet.LiteDecoder:
    """A task's decoder; that of depth, the task of one channel, starts at the usual depth.

    Example:
        >>> decoder(1).last.bias.item(), decoder(3).last.bias.tolist()
        (2.7..., [0.0, 0.0, 0.0])
    """
    return efficientnet.LiteDecoder(outputs, start=DEPTH if outputs == 1 else 0.0)


class Frames(NYUv2):
    """Some frames of a part of NYUv2.

    Args:
        indices: of the frames.
    """

    def __init__(self, root: str | Path, split: str, transform, indices: Sequence[int]) -> None:
        super().__init__(root, split, transform)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def files(self, index: int) -> dict[str, Path]:
        return super().files(self.indices[index])


def part(split: str, root: str | Path, size: tuple[int, int], holdout: int) -> NYUv2:
    """The training or the test images; with a holdout, all parts are of the training part.

    Raises:
        ValueError: ``split`` is ``"val"``, which NYUv2 has not, and there is no holdout.
    """
    if split == "val" and not holdout:
        raise ValueError(
            "NYUv2 has no validation images, so report=val has nothing to choose by; holdout=159 "
            "scores images of the training part that are not trained on"
        )
    shrink = Shrink(size)
    whole = NYUv2(root, "train" if split == "train" or holdout else "val", shrink)
    if not holdout:
        return whole
    held = set(held_out(len(whole), holdout))
    indices = [i for i in range(len(whole)) if (i in held) == (split != "train")]
    return Frames(root, "train", shrink, indices)


def held_out(n: int, count: int) -> list[int]:
    """Which of `n` images are held out: the last few of each of twenty equal sections.

    Neighbours show the same room, so they stay together; rooms of all kinds are among them.

    Example:
        >>> held = held_out(795, 159)
        >>> len(held), held[:9]
        (159, [32, 33, 34, 35, 36, 37, 38, 71, 72])
    """
    ends = [n * k // SECTIONS for k in range(SECTIONS + 1)]
    shares = [count * end // n for end in ends]
    return [
        ends[k] - i for k in range(1, SECTIONS + 1) for i in range(shares[k] - shares[k - 1], 0, -1)
    ]


class Shrink:
    """Resize a sample: the image with antialiasing, to 8 bits again; labels by the nearest pixel.

    So is the depth, in which no two surfaces are to blend; normals blend and are unit again.

    Args:
        size: height and width.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.resize = augment.Augment(NYUv2.targets, [v2.Resize(size, antialias=True)])

    def __call__(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        small = self.resize(sample)
        return {**small, "image": (small["image"] * 255).round() / 255}

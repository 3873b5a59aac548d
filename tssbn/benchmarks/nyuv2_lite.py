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
    """Make the benchmark of three dense tasks on EfficientNet-Lite0, with a decoder for each task.

    This is a small version of the setting of the paper's second table, a pretrained trunk with
    BatchNorm. The recipe is ours: Adam with a one-cycle schedule up to 1e-3, 20 epochs, batches of
    8, zooms and flips. Scores are those of the last epoch. Gates, and the norm layers of TSBN, have
    ten times the base rate, at most 0.01. This is the gate rate of the paper's recipe; it was not
    tuned here. Over 5 epochs of 96x128 pixels a base rate of 0.004, with gates at 0.1, is better
    (``data/results/tuning``). Errors are means over pixels, and every normal counts.

    Args:
        height, width: size of the images, multiples of 4; the images of the files are resized.
        pretrained: the source of the trunk's ImageNet weights, ``"package"``, ``"timm"``,
            ``"file"``, or ``"none"`` for random weights; see
            :data:`tssbn.networks.efficientnet.SOURCES`.
        frozen: whether only the norm layers of the trunk and the decoders are trained.
        holdout: number of training images that are left out and scored in place of the test images
            (and, with ``report="val"``, as validation images), for choices that must not use the
            test images; 0 for the official splits.
        augmented: whether training images are zoomed and flipped.

    Raises:
        ValueError: the source is unknown, a size is no multiple of 4, or `holdout` is negative or
            not below 795.

    Example:
        >>> benchmark(pretrained="none").recipe.schedule
        'one-cycle'
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
        net = efficientnet.lite0(weights and weights())
        if frozen:
            freeze(net, efficientnet.in_norm)
        return net

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
    """Make the decoder of a task; that of depth, with one channel, starts at the typical depth.

    Args:
        outputs: channels of the prediction.

    Example:
        >>> decoder(1).last.bias.item(), decoder(3).last.bias.tolist()
        (2.7..., [0.0, 0.0, 0.0])
    """
    return efficientnet.LiteDecoder(outputs, start=DEPTH if outputs == 1 else 0.0)


class Frames(NYUv2):
    """Some frames of a split of NYUv2.

    Args:
        root, split, transform: as for :class:`~tssbn.data.real.nyuv2.NYUv2`.
        indices: numbers of the frames.
    """

    def __init__(self, root: str | Path, split: str, transform, indices: Sequence[int]) -> None:
        super().__init__(root, split, transform)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def files(self, index: int) -> dict[str, Path]:
        """Return the files of a frame."""
        return super().files(self.indices[index])


def part(split: str, root: str | Path, size: tuple[int, int], holdout: int) -> NYUv2:
    """Read the images of a split; with a holdout, all splits are parts of the training images.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``.
        root: the folder of NYUv2.
        size: height and width that the images are resized to.
        holdout: number of training images that are left out.

    Raises:
        ValueError: `split` is ``"val"`` and there is no holdout, because NYUv2 has no validation
            images.
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
    """Choose the images that are held out, the last few of each of twenty equal sections.

    Neighbouring images show the same room and stay together; all kinds of rooms are among them.

    Args:
        n: number of images.
        count: number of images that are held out.

    Returns:
        Their numbers, in rising order.

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
    """A transform that resizes a sample.

    The image is resized with antialiasing and rounded to 8 bits. Labels and depth are taken from
    the nearest pixel, so that no two surfaces blend. Normals are interpolated and scaled to unit
    length.

    Args:
        size: height and width.

    Example:
        >>> import torch
        >>> sample = {"image": torch.zeros(3, 8, 8), "depth": torch.ones(1, 8, 8)}
        >>> sample |= {"normal": torch.zeros(3, 8, 8), "segmentation": torch.zeros(8, 8).long()}
        >>> {name: tuple(x.shape) for name, x in Shrink((4, 4))(sample).items()}
        {'image': (3, 4, 4), 'depth': (1, 4, 4), 'normal': (3, 4, 4), 'segmentation': (4, 4)}
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.resize = augment.Augment(NYUv2.targets, [v2.Resize(size, antialias=True)])

    def __call__(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        small = self.resize(sample)
        return {**small, "image": (small["image"] * 255).round() / 255}

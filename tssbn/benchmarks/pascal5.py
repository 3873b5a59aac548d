"""PASCAL-Context, five tasks, on a ViT-S pretrained on ImageNet (table 3; MLoRE's protocol)."""

from functools import partial

from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.pascal import WEIGHTS, parts, tasks
from tssbn.benchmarks.transformers import vit_network
from tssbn.data import augment

COLUMNS = ("segmentation", "parts", "saliency", "normal", "boundary", "macs", "parameters")
PAPER = {  # mIoU, mIoU, maxF, mean angle in degrees, odsF
    method: dict(zip(COLUMNS, values, strict=True))
    for method, values in {
        # Their saliency is a mean IoU instead of maxF, and MACs and parameters count other parts.
        "m3vit": (72.80, 62.10, 66.30, 14.50, 71.70, 420e9, 42e6),
        "mod-squad": (74.10, 62.70, 66.90, 13.70, 72.00, 420e9, 52e6),
        "taskexpert": (75.04, 62.68, 84.68, 14.22, 68.80, 204e9, 55e6),
        "mlore": (75.64, 62.65, 84.70, 14.43, 69.81, 72e9, 44e6),
        "tsbn": (75.95, 63.33, 84.655, 14.16, 68.05, 214e9, 29e6),
        "tssbn": (77.12, 64.73, 85.24, 14.04, 70.00, 214e9, 29e6),
    }.items()
}


def benchmark(
    size: int = 512,
    width: int = 384,
    depth: int = 12,
    fused: int = 192,
    pretrained: str = "vit_small_patch16_384.safetensors",
    thresholds: int = 19,
) -> Benchmark:
    """Make the benchmark of 4,998 training and 5,105 test images, 512x512, with five tasks.

    Adam at 2e-5 with weight decay 1e-6. The rate falls as (1 - t)^0.9 from step to step, and the
    gradient is clipped at a norm of 10. Batches have 4 images on one device; MLoRE has two devices
    with 2 images each and joint statistics. There are 32 epochs with 39,968 steps, where MLoRE has
    40,000. The losses of segmentation, parts, saliency, normals and boundaries have the weights 1,
    2, 5, 10 and 50. Scores are those of the last epoch. Training images are scaled, cropped,
    mirrored and distorted in colour. Test images are only padded, and void pixels are left out.

    The paper only names ViT-S/16; the rest of the network is our reading, see
    :class:`tssbn.networks.vit.FusedViT`. Images are standardised with ImageNet's mean and
    deviation, as in MLoRE, although these weights were trained with other values.

    Args:
        size: height and width of the images, a multiple of 16, and at least those of the test
            images, which are padded to it; the files have up to 500 pixels.
        width: channels of the ViT, whose attention heads have 64 channels each, or `width` if that
            is less.
        depth: blocks of the ViT, a multiple of 4.
        fused: channels of the fusion and inside the decoders.
        pretrained: the file of the ViT's weights in the folder ``weights``, with timm's names;
            ``"none"`` for random weights. See :func:`tssbn.networks.pretrained.vit_weights`.
        thresholds: number of thresholds of odsF, which then takes half a second for an image on the
            CPU. The Berkeley benchmark has 99, which take five times as long.

    Example:
        >>> benchmark(pretrained="none").recipe.schedule
        'poly'
    """
    transform = partial(augment.pascal5, size=size)
    taps = [depth * quarter // 4 for quarter in (1, 2, 3, 4)]
    return Benchmark(
        name="pascal5",
        title="PASCAL-Context, five tasks",
        data=partial(parts, tasks=5, augment=transform),
        network=vit_network(
            (size, size),
            pretrained,
            fused,
            width=width,
            depth=depth,
            heads=max(1, width // 64),
            taps=taps,
        ),
        tasks=partial(tasks, protocol="mlore", thresholds=thresholds),
        recipe=Recipe(
            epochs=32,
            batch=4,
            lr=2e-5,
            weight_decay=1e-6,
            schedule="poly",
            interval="step",
            clip=10.0,
            drop_last=True,
            weights=WEIGHTS,
        ),
        augment=transform,
        source="pascal",
        absolute=True,
        paper=PAPER,
    )

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
        # Their saliency is a mean IoU, no maxF; what their MACs and parameters count is another.
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
    """The 4,998 training and 5,105 test images of PASCAL-Context, 512x512, with five tasks.

    Adam at 2e-5 with weight decay of 1e-6, the rate falling as (1 - t)^0.9 from step to step, the
    gradient clipped at 10. Batches of 4 on one device, where MLoRE has two of 2 with joint
    statistics; 32 epochs, 39,968 steps instead of its 40,000. Losses count 1, 2, 5, 10 and 50. The
    last epoch counts. Images are scaled, cropped, mirrored and distorted in colour to train, and
    only padded to test, without resizing; void pixels do not count.

    The network is our reading of the paper, which names ViT-S/16 alone, see
    :class:`tssbn.networks.vit.FusedViT`; its input has ImageNet's mean and deviation, as in
    MLoRE, though these weights were trained with others.

    Args:
        size: of the square images, a multiple of 16; the images of the files have up to 500 pixels.
        width, depth: of the ViT, whose heads of attention have 64 channels, or fewer where it is
            narrower; the depth is a multiple of 4.
        fused: channels of the fusion and inside of decoders.
        pretrained: the file of the ViT's weights in the folder ``weights``, by timm's names;
            ``"none"`` for a start at random. See :func:`tssbn.networks.pretrained.vit_weights`.
        thresholds: of odsF, half a second an image on the CPU; the Berkeley benchmark has 99, which
            take five times as long.
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

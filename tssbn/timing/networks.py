"""The trunks that are timed, with random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

__all__ = ["NETWORKS", "TimedTrunk"]


@dataclass(frozen=True)
class TimedTrunk:
    """A trunk to be timed, with its default batch.

    Attributes:
        build: ``build((height, width))`` makes the trunk for images of this size with three
            channels.
        batch: default number of images in a batch, at least 2.
        size: default height and width of the images.
        stem: the module before which everything runs once for all tasks, as in
            :class:`tssbn.MultiTask`.

    Example:
        >>> NETWORKS["celeba"].batch, NETWORKS["celeba"].size
        (8, (64, 64))
    """

    build: Callable[[tuple[int, int]], nn.Module]
    batch: int
    size: tuple[int, int]
    stem: str = ""


def _timm(name: str, size: tuple[int, int], sized: bool = False, **options) -> nn.Module:
    import timm

    sizes = {"img_size": size} if sized else {}
    return timm.create_model(name, pretrained=False, num_classes=0, **sizes, **options)


def _segnet(size: tuple[int, int]) -> nn.Module:
    from tssbn.networks.segnet import SegNet

    return SegNet()


def _deeplab(size: tuple[int, int]) -> nn.Module:
    from tssbn.networks.deeplab import dilated_resnet

    return dilated_resnet()


def _celeba(size: tuple[int, int]) -> nn.Module:
    from tssbn.networks.celeba import CelebANet

    return CelebANet()


# Transformers have no drop path, which would make the time random.
NETWORKS = {
    "resnet18": TimedTrunk(partial(_timm, "resnet18"), 8, (64, 64), "layer1"),
    "resnet50": TimedTrunk(partial(_timm, "resnet50"), 4, (64, 64), "layer1"),
    "segnet": TimedTrunk(_segnet, 2, (96, 128), "encoder.0.1"),
    "deeplab": TimedTrunk(_deeplab, 2, (96, 128), "layer1"),
    "celeba": TimedTrunk(_celeba, 8, (64, 64), "stages.1"),
    "vit_s": TimedTrunk(partial(_timm, "vit_small_patch16_224", sized=True), 2, (64, 64), "blocks"),
    "swin_t": TimedTrunk(
        partial(_timm, "swin_tiny_patch4_window7_224", sized=True, drop_path_rate=0.0),
        2,
        (112, 112),
        "layers",
    ),
}

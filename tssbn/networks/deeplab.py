"""DeepLabV3 on a dilated ResNet, as the multi-task papers train it (Liu et al., arXiv 2202.03091).

The ResNet is timm's, and the ASPP is torchvision's. ImageNet weights are read from a file of
torchvision's weights.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from tssbn.data.real.find import find
from tssbn.networks.weights import check_fit

__all__ = ["FILES", "SOURCES", "DeepLabHead", "dilated_resnet", "imagenet"]

STRIDE = 8  # of the features

#: Files of torchvision's first weights of ResNet-50, IMAGENET1K_V1; the older one is LibMTL's.
FILES = ("resnet50-19c8e357.pth", "resnet50-0676ba61.pth")

#: What the values of a benchmark's `pretrained` mean.
SOURCES = {
    "file": f"{' or '.join(FILES)} in the folder weights, looked for where data sets are",
    "none": "a start at random",
}


def dilated_resnet(
    blocks: Sequence[int] = (3, 4, 6, 3), widths: Sequence[int] = (64, 128, 256, 512)
) -> ResNet:
    """Make a ResNet without a classifier whose last two stages dilate instead of striding.

    By default this is ResNet-50, with 53 BatchNorm layers of 26,560 channels and 23,508,032
    parameters. The stages ``layer1`` to ``layer4`` follow ``conv1``, ``bn1``, ``act1`` and
    ``maxpool``.

    Args:
        blocks: bottlenecks in each stage.
        widths: inner channels of the bottlenecks; a stage outputs four times as many.

    Shape: (B, 3, H, W) -> (B, 4 widths[-1], H/8, W/8).

    Example:
        >>> import torch
        >>> dilated_resnet((1, 1, 1, 1), (4, 8, 16, 32))(torch.zeros(2, 3, 48, 64)).shape
        torch.Size([2, 128, 6, 8])
    """
    return ResNet(
        Bottleneck,
        tuple(blocks),
        num_classes=0,
        global_pool="",
        output_stride=STRIDE,
        channels=tuple(widths),
        zero_init_last=False,
    )


def imagenet(trunk: Callable[[], nn.Module] = dilated_resnet) -> dict[str, Tensor]:
    """Read the ImageNet weights of a trunk from one of the ``FILES`` in the folder ``weights``.

    Args:
        trunk: makes the trunk. The file holds its weights and those of a classifier.

    Returns:
        The tensors by their names in the trunk.

    Raises:
        FileNotFoundError: there is no file; the message lists the folders that were searched.
        ValueError: the file holds the weights of another network.
    """
    folder = find("weights")
    path = next((folder / name for name in FILES if folder and (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"pretrained=file needs weights/{FILES[0]} or weights/{FILES[1]} in data, ../data or "
            "the folder that TSSBN_DATA names; they are at https://download.pytorch.org/models"
        )
    return named(torch.load(path, map_location="cpu", weights_only=True), trunk, str(path))


def named(
    state: Mapping[str, Tensor], trunk: Callable[[], nn.Module], where: str
) -> dict[str, Tensor]:
    """Select the tensors of a trunk from the state dict of torchvision's whole network.

    Older files lack ``num_batches_tracked`` of the norm layers; these counts are set to 0.

    Args:
        state: the state dict, which includes the classifier ``fc``.
        trunk: makes the trunk.
        where: the name of the file, for error messages.

    Raises:
        ValueError: names or shapes differ from those of the trunk.
    """
    with torch.device("meta"):
        empty = trunk()
    wanted = empty.state_dict()
    counts = {name: torch.tensor(0) for name in wanted if name.endswith("num_batches_tracked")}
    given = counts | {name: value for name, value in state.items() if not name.startswith("fc.")}
    check_fit(given, empty, where)
    return {name: given[name] for name in wanted}


class DeepLabHead(nn.Sequential):
    """A decoder of one task, with atrous spatial pyramid pooling (ASPP) and a 3x3 convolution.

    The pyramid joins a 1x1 convolution, 3x3 convolutions with dilation rates 12, 24 and 36, and the
    average over the image. Bilinear interpolation with aligned corners enlarges the prediction to
    the size of the image. Where the features are no larger than a rate, such as 32x32 features
    and rate 36, only the centre weights of that filter ever read a feature; its other weights read
    padding and are never trained (Chen et al., arXiv 1706.05587).

    Args:
        outputs: channels of the prediction.
        inputs: channels of the features.
        width: channels inside the head.
        dropout: the rate after the pyramid; 0 in auto-lambda, 0.5 in LibMTL.

    Shape: (B, inputs, h, w) -> (B, outputs, 8h, 8w).

    Example:
        >>> import torch
        >>> DeepLabHead(19, inputs=128, width=16)(torch.zeros(2, 128, 6, 8)).shape
        torch.Size([2, 19, 48, 64])
    """

    def __init__(self, outputs: int, inputs: int = 2048, width: int = 256, dropout: float = 0.0):
        pyramid = ASPP(inputs, [12, 24, 36], width)
        pyramid.project[3].p = dropout
        super().__init__(
            pyramid,
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        coarse = super().forward(x)
        return F.interpolate(coarse, scale_factor=STRIDE, mode="bilinear", align_corners=True)

"""DeepLabV3 on a dilated ResNet, as the multi-task papers train it (Liu et al., arXiv 2202.03091).

The ResNet is timm's and the ASPP torchvision's. Its ImageNet weights are torchvision's,
from a file.
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

#: Where weights come from.
SOURCES = {
    "file": f"{' or '.join(FILES)} in the folder weights, looked for where data sets are",
    "none": "a start at random",
}


def dilated_resnet(
    blocks: Sequence[int] = (3, 4, 6, 3), widths: Sequence[int] = (64, 128, 256, 512)
) -> ResNet:
    """ResNet-50 without its classifier, whose last two stages dilate instead of striding.

    53 BatchNorm layers with 26,560 channels, 23,508,032 parameters. The stages are ``layer1`` to
    ``layer4``, after ``conv1``, ``bn1``, ``act1``, ``maxpool``.

    Args:
        blocks: bottlenecks in each stage.
        widths: their inner channels; a stage gives four times as many.

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
    """The ImageNet weights of a trunk, by name: one of the ``FILES`` in the folder ``weights``.

    Args:
        trunk: makes the trunk, whose weights the file has, beside those of a classifier.

    Raises:
        FileNotFoundError: There is no file; says where it is looked for.
        ValueError: The file holds the weights of another network.
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
    """The tensors of a trunk, of a state dict of torchvision's whole network.

    Older files do not count the batches of a norm layer; their counts are 0.

    Args:
        state: With the classifier, ``fc``.
        where: For the message.

    Raises:
        ValueError: Names or shapes are not those of the trunk.
    """
    with torch.device("meta"):
        made = trunk()
    wanted = made.state_dict()
    counts = {name: torch.tensor(0) for name in wanted if name.endswith("num_batches_tracked")}
    given = counts | {name: value for name, value in state.items() if not name.startswith("fc.")}
    check_fit(given, made, where)
    return {name: given[name] for name in wanted}


class DeepLabHead(nn.Sequential):
    """One task's decoder: atrous spatial pyramid pooling, a 3x3 convolution, and the prediction.

    The pyramid has a 1x1 convolution, 3x3 ones of rates 12, 24 and 36, and the average of the
    image; the prediction is enlarged to the size of the image by bilinear interpolation with
    aligned corners. On features no larger than its rate, such as 32x32 and 36, a filter reads
    padding with all weights but the centre, which then never learn (Chen et al., arXiv 1706.05587).

    Args:
        outputs: channels of the prediction.
        inputs: channels of the features.
        width: channels inside.
        dropout: after the pyramid; auto-lambda has none, LibMTL 0.5.

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

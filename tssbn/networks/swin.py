"""A Swin transformer that gives merged features on its way, and the head that reads them (Table 4).

The blocks are timm's. Trunk and head are those of the protocol of MTLoRA (Agiza et al., arXiv
2403.20320), with which arXiv 2512.20420 compares TSσBN in its table 4: Swin-T at 448x448.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from tssbn.networks.stages import Call, call

__all__ = ["Swin", "SwinHead", "tap_widths"]


class Swin(nn.Module):
    """A Swin transformer without a final norm, which gives the features that stages begin with.

    Swin-T by default: 27,517,818 parameters, 28 LayerNorm layers with 11,616 channels. Features are
    taken *after* the patch merging of the stage that follows, as in MTLoRA, and after the last
    stage (Liu et al., arXiv 2103.14030; Agiza et al., arXiv 2403.20320).

    Args:
        image: height and width of the images; it takes no other size.
        width: channels of the first stage; each further one has twice as many.
        depths: blocks in each stage.
        heads: of the attention, in each stage.
        window: side of the windows; every second block shifts them by half of it, where there is
            more than one.
        drop_path: the rate of the last block; it grows from 0 in equal steps.

    Shape: (B, 3, H, W) -> a list of (B, 2·width, H/8, W/8), (B, 4·width, H/16, W/16),
    (B, 8·width, H/32, W/32) and once more the last shape, for four stages; rounded up.

    Attributes:
        patch_embed: a convolution that makes tokens of 4x4 patches, and a LayerNorm.
        layers: timm's stages, each with ``downsample``, the patch merging in front of it (in the
            first stage nothing), and ``blocks``.

    Example:
        >>> trunk = Swin(image=(64, 64), width=8, depths=(2, 1, 1), heads=(1, 2, 2), window=4)
        >>> [tuple(x.shape) for x in trunk(torch.zeros(2, 3, 64, 64))]
        [(2, 16, 8, 8), (2, 32, 4, 4), (2, 32, 4, 4)]
    """

    def __init__(
        self,
        image: tuple[int, int] = (448, 448),
        width: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.2,
    ):
        super().__init__()
        whole = SwinTransformer(
            img_size=image,
            patch_size=4,
            embed_dim=width,
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window,
            num_classes=0,
            drop_path_rate=drop_path,
        )
        self.patch_embed = whole.patch_embed
        self.layers = whole.layers

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.run(images)

    def run(self, images: Tensor, call: Call = call) -> list[Tensor]:
        """As ``forward``; ``call(part, x)`` runs each merging and block, x (B, H, W, C)."""
        x = self.patch_embed(images)
        features = []
        for place, stage in enumerate(self.layers):
            x = call(stage.downsample, x)
            if place:
                features.append(x)
            for block in stage.blocks:
                x = call(block, x)
        return [one.permute(0, 3, 1, 2) for one in (*features, x)]

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay would spoil, as timm has them."""
        tables = "relative_position_bias_table"
        return {name for name, _ in self.named_parameters() if name.endswith(tables)}


def tap_widths(width: int = 96, stages: int = 4) -> tuple[int, ...]:
    """Tell the channels of the features that a :class:`Swin` gives.

    Example:
        >>> tap_widths()
        (192, 384, 768, 768)
    """
    merged = [width * 2**stage for stage in range(1, stages)]
    return (*merged, width * 2 ** (stages - 1))


class SwinHead(nn.Module):
    """One task's decoder: 1x1 convolutions on each map, and on all at the size of the finest.

    The maps are narrowed, enlarged to the finest by bilinear interpolation and joined; 1x1
    convolution to four times the channels, BatchNorm, ReLU and 1x1 convolution follow. The
    prediction is enlarged to the size of the image. Each task has its own narrowing convolutions;
    four heads of 21, 7, 1 and 3 outputs have 1,946,624 parameters (Agiza et al., arXiv 2403.20320).

    Args:
        outputs: channels of the prediction.
        image: height and width of the prediction.
        inputs: channels of the maps, from fine to coarse.
        widths: channels that they are narrowed to.

    Shape: a list of (B, C, h, w), as :class:`Swin` gives, -> (B, outputs, H, W), as `image`.

    Example:
        >>> trunk = Swin(image=(64, 64), width=8, depths=(2, 1, 1), heads=(1, 2, 2), window=4)
        >>> head = SwinHead(21, image=(64, 64), inputs=(16, 32, 32), widths=(2, 3, 4))
        >>> head(trunk(torch.zeros(2, 3, 64, 64))).shape
        torch.Size([2, 21, 64, 64])
    """

    def __init__(
        self,
        outputs: int,
        image: tuple[int, int] = (448, 448),
        inputs: Sequence[int] = (192, 384, 768, 768),
        widths: Sequence[int] = (18, 36, 72, 144),
    ):
        super().__init__()
        self.image, joined = tuple(image), sum(widths)
        self.narrow = nn.ModuleList(
            nn.Conv2d(c, w, 1, bias=False) for c, w in zip(inputs, widths, strict=True)
        )
        self.join = nn.Sequential(
            nn.Conv2d(joined, 4 * joined, 1), nn.BatchNorm2d(4 * joined), nn.ReLU()
        )
        self.last = nn.Conv2d(4 * joined, outputs, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        narrow = [conv(one) for conv, one in zip(self.narrow, maps, strict=True)]
        size = narrow[0].shape[2:]
        joined = torch.cat([F.interpolate(one, size, mode="bilinear") for one in narrow], 1)
        return F.interpolate(self.last(self.join(joined)), self.image, mode="bilinear")

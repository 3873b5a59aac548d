"""A Swin transformer that outputs the features of several stages, and the head that reads them.

The blocks are timm's. Trunk and head follow the protocol of MTLoRA (Agiza et al., arXiv
2403.20320), which Table 4 of arXiv 2512.20420 uses with Swin-T at 448x448.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from tssbn.networks.stages import Call, call

__all__ = ["Swin", "SwinHead", "tap_widths"]


class Swin(nn.Module):
    """A Swin transformer without a final norm that outputs the features of each stage.

    Features are taken *after* the patch merging that follows a stage, as in MTLoRA, and after the
    last stage, which no merging follows (Liu et al., arXiv 2103.14030; Agiza et al., arXiv
    2403.20320). By default it is Swin-T, with 27,517,818 parameters and 28 LayerNorm layers of
    11,616 channels.

    Args:
        image: height and width of the images; no other size is accepted.
        width: channels of the first stage; each further stage has twice as many.
        depths: blocks in each stage.
        heads: attention heads in each stage.
        window: side of the windows, in tokens. Every second block shifts the windows by half their
            side, where the image has more than one.
        drop_path: drop rate of the last block; the rates grow from 0 in equal steps.

    Shape: (B, 3, H, W) -> with four stages a list of (B, 2·width, H/8, W/8),
    (B, 4·width, H/16, W/16), and twice (B, 8·width, H/32, W/32); sizes are rounded up.

    Attributes:
        patch_embed: a convolution that turns 4x4 patches into tokens, and a LayerNorm.
        layers: timm's stages, each with ``downsample``, the patch merging before its blocks (the
            identity in the first stage), and ``blocks``.

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
        on_meta = torch.get_default_device().type == "meta"  # there are no weights to draw
        whole = SwinTransformer(
            img_size=image,
            patch_size=4,
            embed_dim=width,
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window,
            num_classes=0,
            drop_path_rate=drop_path,
            weight_init="skip" if on_meta else "",
        )
        self.patch_embed = whole.patch_embed
        self.layers = whole.layers

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.run(images)

    def run(self, images: Tensor, call: Call = call) -> list[Tensor]:
        """Compute what ``forward`` does, with a function that runs each merging and each block.

        Args:
            images: (B, 3, H, W).
            call: ``call(part, x)`` runs a part on x, (B, height, width, C).
        """
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
        """List the parameters without weight decay, the same as in timm."""
        tables = "relative_position_bias_table"
        return {name for name, _ in self.named_parameters() if name.endswith(tables)}


def tap_widths(width: int = 96, stages: int = 4) -> tuple[int, ...]:
    """Compute the channels of the features that a :class:`Swin` outputs.

    Args:
        width: channels of the first stage.
        stages: number of stages.

    Example:
        >>> tap_widths()
        (192, 384, 768, 768)
    """
    merged = [width * 2**stage for stage in range(1, stages)]
    return (*merged, width * 2 ** (stages - 1))


class SwinHead(nn.Module):
    """A decoder of one task that joins all maps at the size of the finest.

    A 1x1 convolution narrows each map, bilinear interpolation enlarges it to the finest, and the
    maps are concatenated. A 1x1 convolution to four times the channels, BatchNorm, ReLU and a last
    1x1 convolution follow, and the prediction is enlarged to the size of the image. Each task has
    its own narrowing convolutions; four heads with 21, 7, 1 and 3 outputs have 1,946,624 parameters
    (Agiza et al., arXiv 2403.20320).

    Args:
        outputs: channels of the prediction.
        image: height and width of the prediction.
        inputs: channels of the maps, from fine to coarse.
        widths: channels that the maps are narrowed to.

    Shape: a list of (B, C, h, w), as :class:`Swin` outputs it, -> (B, outputs, H, W), where `image`
    is (H, W).

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

"""A ViT that outputs the features of several blocks, their fusion, and the head that reads it.

The blocks are timm's. Trunk and head follow the protocol of MLoRE (Yang et al., arXiv 2403.17749),
which Table 3 of arXiv 2512.20420 uses with ViT-S/16 at 512x512. The fusion is inferred, see
:class:`FusedViT`.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tssbn.networks.stages import Call, call

__all__ = ["ConvHead", "FusedViT", "Fusion", "ViT"]


class ViT(nn.Module):
    """A vision transformer that outputs the features after some of its blocks.

    By default it is ViT-S/16, with 21,982,848 parameters and 25 LayerNorm layers of 9,600 channels.
    There is no class token, and the final LayerNorm is applied to the features of the last block
    alone (Dosovitskiy et al., arXiv 2010.11929; Yang et al., arXiv 2403.17749).

    Args:
        image: height and width of the images, multiples of the patch; no other size is accepted.
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads in each block.
        patch: side of a patch, in pixels.
        taps: numbers of the blocks whose features are output, from 1; the last one is the depth.
        drop_path: drop rate of the last block; the rates grow from 0 in equal steps.
        layer_scale: initial scale of the residual branches; None leaves the scales out.
        class_token: whether there is a class token beside the patches. Weights that were trained
            with one, such as DINOv2's, give other features without it.

    Shape: (B, 3, H, W) -> a list of (B, width, H/patch, W/patch), one for each of the taps.

    Raises:
        ValueError: the taps do not rise to the last block, or the image is no multiple of the
            patch.

    Attributes:
        patch_embed: the convolution that turns patches into tokens.
        cls_token: (1, 1, width), before the tokens, or None.
        pos_embed: (1, N, width), added to the tokens.
        blocks: timm's blocks.
        norm: the final LayerNorm.

    Example:
        >>> trunk = ViT(image=(32, 48), width=24, depth=4, heads=2, patch=8, taps=(2, 4))
        >>> [tuple(x.shape) for x in trunk(torch.zeros(2, 3, 32, 48))]
        [(2, 24, 4, 6), (2, 24, 4, 6)]
    """

    def __init__(
        self,
        image: tuple[int, int] = (512, 512),
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch: int = 16,
        taps: Sequence[int] = (3, 6, 9, 12),
        drop_path: float = 0.15,
        layer_scale: float | None = None,
        class_token: bool = False,
    ):
        if list(taps) != sorted({*taps} & {*range(1, depth + 1)}) or depth not in taps:
            raise ValueError(f"taps={taps} must rise from 1 at least to the depth, {depth}")
        if image[0] % patch or image[1] % patch:
            raise ValueError(f"image={image} must be multiples of the patch, {patch}")
        super().__init__()
        self.taps = tuple(taps)
        whole = VisionTransformer(
            img_size=image,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            class_token=class_token,
            global_pool="",
            num_classes=0,
            drop_path_rate=drop_path,
            init_values=layer_scale,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
        self.patch_embed = whole.patch_embed
        self.cls_token = whole.cls_token
        self.pos_embed = whole.pos_embed
        self.blocks = whole.blocks
        self.norm = whole.norm

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.run(images)

    def run(self, images: Tensor, call: Call = call) -> list[Tensor]:
        """Compute what ``forward`` does, with a function that runs each block.

        Args:
            images: (B, 3, H, W).
            call: ``call(block, x)`` runs a block on x, (B, N, width).
        """
        x = self.embed(images)
        features = []
        for number, block in enumerate(self.blocks, 1):
            x = call(block, x)
            if number in self.taps:
                features.append(self.as_map(self.norm(x) if number == len(self.blocks) else x))
        return features

    def embed(self, images: Tensor) -> Tensor:
        """Turn images into tokens with their positions added.

        Args:
            images: (B, 3, H, W).

        Returns:
            (B, N, width).
        """
        x = self.patch_embed(images)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        return x + self.pos_embed

    def as_map(self, tokens: Tensor) -> Tensor:
        """Arrange the tokens of the patches as a map, without the class token.

        Args:
            tokens: (B, N, width).

        Returns:
            (B, width, H/patch, W/patch).
        """
        rows, columns = self.patch_embed.grid_size
        return tokens[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))

    def no_weight_decay(self) -> set[str]:
        """List the parameters without weight decay, the same as in timm."""
        return {"cls_token", "pos_embed"} & dict(self.named_parameters()).keys()


class Fusion(nn.Module):
    """A fusion of maps of one size, by a 3x3 convolution on each and a 1x1 convolution on all.

    BatchNorm and GELU follow the 3x3 convolutions. By default it has 5,606,592 parameters.

    Args:
        taps: number of maps.
        inputs: channels of each map.
        width: channels of the result.

    Shape: a list of (B, inputs, h, w) -> (B, width, h, w).

    Example:
        >>> Fusion(2, inputs=8, width=6)([torch.zeros(2, 8, 4, 5)] * 2).shape
        torch.Size([2, 6, 4, 5])
    """

    def __init__(self, taps: int = 4, inputs: int = 384, width: int = 192):
        super().__init__()
        self.each = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(inputs),
                nn.GELU(),
            )
            for _ in range(taps)
        )
        self.join = nn.Conv2d(taps * inputs, width, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        each = [part(one) for part, one in zip(self.each, maps, strict=True)]
        return self.join(torch.cat(each, 1))


class FusedViT(nn.Module):
    """A ViT whose features are fused into one map.

    arXiv 2512.20420 does not describe how the features of ViT-S/16 are fused. This fusion is
    inferred: with it and five heads the network has 29.3 M parameters and 214.5 GMACs in five
    passes, and Table 3 prints 29 M and 214 G.

    Args:
        vit: the ViT.
        width: channels of the fused map.

    Shape: (B, 3, H, W) -> (B, width, H/patch, W/patch).

    Example:
        >>> vit = ViT(image=(32, 48), width=24, depth=4, heads=2, patch=8, taps=(2, 4))
        >>> FusedViT(vit, width=12)(torch.zeros(2, 3, 32, 48)).shape
        torch.Size([2, 12, 4, 6])
    """

    def __init__(self, vit: ViT, width: int = 192):
        super().__init__()
        self.vit = vit
        self.fusion = Fusion(len(vit.taps), vit.pos_embed.shape[-1], width)

    def forward(self, images: Tensor) -> Tensor:
        return self.fusion(self.vit(images))

    def no_weight_decay(self) -> set[str]:
        """List the parameters without weight decay, the same as in timm."""
        return {f"vit.{name}" for name in self.vit.no_weight_decay()}


class ConvHead(nn.Module):
    """A decoder of one task with a 3x3 convolution at four times the resolution of the features.

    BatchNorm, GELU and a 1x1 convolution follow the 3x3 convolution. The enlargements, before it
    and to the size of the image, are bilinear (Yang et al., arXiv 2403.17749).

    Args:
        outputs: channels of the prediction.
        image: height and width of the prediction.
        width: channels of the features.

    Shape: (B, width, h, w) -> (B, outputs, H, W), where `image` is (H, W).

    Example:
        >>> ConvHead(21, image=(32, 48), width=12)(torch.zeros(2, 12, 4, 6)).shape
        torch.Size([2, 21, 32, 48])
    """

    def __init__(self, outputs: int, image: tuple[int, int] = (512, 512), width: int = 192):
        super().__init__()
        self.image = tuple(image)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, outputs, 1)
        nn.init.trunc_normal_(self.conv.weight, std=0.02)
        nn.init.normal_(self.last.bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.interpolate(x, scale_factor=4, mode="bilinear")
        features = F.gelu(self.norm(self.conv(fine)))
        return F.interpolate(self.last(features), self.image, mode="bilinear")

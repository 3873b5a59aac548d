"""A ViT whose features a decoder, of which each task owns parts, makes one map of."""

from collections.abc import Sequence

from torch import Tensor, nn

from tssbn.methods import Network
from tssbn.networks.stages import UnsuitableTrunk

__all__ = ["DecodedViT", "take_apart"]


class DecodedViT(nn.Module):
    """A ViT; a module on each of its maps; and a decoder of all, in front of which the tasks part.

    Args:
        vit: gives some maps.
        shared: a module for each of them, the same for all tasks.
        decoder: makes one map of what these give.

    Shape: (B, 3, H, W) -> what the decoder gives.
    """

    def __init__(self, vit: nn.Module, shared: Sequence[nn.Module], decoder: nn.Module):
        super().__init__()
        self.vit = vit
        self.shared = nn.ModuleList(shared)
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        maps = self.vit(images)
        return self.decoder([part(one) for part, one in zip(self.shared, maps, strict=True)])

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay would spoil, as timm has them."""
        return {f"vit.{name}" for name in self.vit.no_weight_decay()}


def take_apart(network: Network, method: str) -> tuple[nn.Module, int]:
    """Make a trunk, and take its ViT, and the channels of the fusion that a decoder replaces.

    Args:
        network: makes a :class:`tssbn.networks.vit.FusedViT`.
        method: is named where the trunk is another.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk is no ViT with a fusion.
    """
    trunk = network.trunk()
    if not (hasattr(trunk, "vit") and hasattr(trunk, "fusion")):
        raise UnsuitableTrunk(
            f"{method} decodes what a ViT gives on its way, in the place of a fusion: it takes "
            f"tssbn.networks.vit.FusedViT, not a trunk of type {type(trunk).__name__}"
        )
    return trunk.vit, trunk.fusion.join.out_channels

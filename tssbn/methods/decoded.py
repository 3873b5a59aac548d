"""A ViT with a decoder that has parts for each task."""

from collections.abc import Sequence

from torch import Tensor, nn

from tssbn.methods import Network
from tssbn.networks.stages import UnsuitableTrunk

__all__ = ["DecodedViT", "take_apart"]


class DecodedViT(nn.Module):
    """A ViT, a shared module on each of its maps, and a decoder of these maps for each task.

    ViT and shared modules run once for all tasks where the network's stem ends at ``decoder``.

    Args:
        vit: outputs a list of maps.
        shared: a module for each map, the same for all tasks.
        decoder: turns the list of their outputs into one map.

    Shape: (B, 3, H, W) -> the output of the decoder.

    Example:
        >>> import torch
        >>> from tssbn.networks.vit import Fusion, ViT
        >>> vit = ViT((32, 32), width=24, depth=2, heads=2, taps=(1, 2))
        >>> shared = [nn.Conv2d(24, 8, 1) for _ in range(2)]
        >>> DecodedViT(vit, shared, Fusion(2, inputs=8, width=6))(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 6, 2, 2])
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
        """List the parameters without weight decay, the same as in timm."""
        return {f"vit.{name}" for name in self.vit.no_weight_decay()}


def take_apart(network: Network, method: str) -> tuple[nn.Module, int]:
    """Make a trunk, and return its ViT and the output channels of the fusion it is to replace.

    Args:
        network: makes a :class:`tssbn.networks.vit.FusedViT`.
        method: the name of the method, for the error message.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no ViT with a fusion.

    Example:
        >>> import torch
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> take_apart(network, "MLoRE")[1]
        6
    """
    trunk = network.trunk()
    if not (hasattr(trunk, "vit") and hasattr(trunk, "fusion")):
        raise UnsuitableTrunk(
            f"{method} decodes what a ViT gives on its way, in the place of a fusion: it takes "
            f"tssbn.networks.vit.FusedViT, not a trunk of type {type(trunk).__name__}"
        )
    return trunk.vit, trunk.fusion.join.out_channels

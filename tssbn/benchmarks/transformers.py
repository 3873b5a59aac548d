"""The networks of the benchmarks of tables 3 and 4, ViT with a fusion and Swin."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from tssbn.benchmarks import dummy_images
from tssbn.methods import Network, nothing
from tssbn.networks.pretrained import swin_weights, vit_weights
from tssbn.networks.swin import Swin, SwinHead, tap_widths
from tssbn.networks.vit import ConvHead, FusedViT, ViT
from tssbn.networks.weights import find_file

__all__ = ["swin_network", "vit_network"]


def vit_network(
    image: tuple[int, int] = (512, 512), pretrained: str = "none", fused: int = 192, **vit
) -> Network:
    """Make a ViT with a fusion as the trunk, and convolutional heads (Table 3).

    A method that freezes the trunk still trains the fusion, which is not pretrained.

    Args:
        image: height and width of the images.
        pretrained: the file of the ViT's weights, see :func:`tssbn.networks.weights.find_file` and
            :func:`tssbn.networks.pretrained.vit_weights`; ``"none"`` for random weights. The file
            is searched for when a trunk is made.
        fused: channels of the fusion and inside the heads.
        vit: further arguments of :class:`tssbn.networks.vit.ViT`.

    Example:
        >>> network = vit_network((32, 32), fused=8, width=24, depth=2, heads=2, taps=(1, 2))
        >>> network.head(3)(network.trunk()(network.example)).shape
        torch.Size([2, 3, 32, 32])
    """
    make = partial(ViT, image, **vit)
    weights = read_by(vit_weights, pretrained, make)
    return Network(
        lambda: FusedViT(started(make, weights), fused),
        partial(ConvHead, image=image, width=fused),
        dummy_images(*image),
        trains=in_fusion,
        pretrained=weights,
    )


def swin_network(
    image: tuple[int, int] = (448, 448),
    pretrained: str = "none",
    width: int = 96,
    beside: bool = True,
    **swin,
) -> Network:
    """Make a Swin transformer as the trunk, and the heads of MTLoRA (Table 4).

    Args:
        image: height and width of the images.
        pretrained: the file of its weights, see :func:`tssbn.networks.weights.find_file` and
            :func:`tssbn.networks.pretrained.swin_weights`; ``"none"`` for random weights. The file
            is searched for when a trunk is made.
        width: channels of the first stage; the widths inside the heads follow it.
        beside: whether a method that freezes the trunk also trains all its parameters but the
            linear layers of the blocks, as MTLoRA does.
        swin: further arguments of :class:`tssbn.networks.swin.Swin`.

    Example:
        >>> network = swin_network((32, 32), width=12, depths=(1, 1), heads=(1, 2), window=4)
        >>> network.head(3)(network.trunk()(network.example)).shape
        torch.Size([2, 3, 32, 32])
    """
    make = partial(Swin, image, width, **swin)
    weights = read_by(swin_weights, pretrained, make)
    stages = len(swin.get("depths", (2, 2, 6, 2)))
    widths = [max(1, width * 18 * 2**stage // 96) for stage in range(stages)]
    return Network(
        partial(started, make, weights),
        partial(SwinHead, image=image, inputs=tap_widths(width, stages), widths=widths),
        dummy_images(*image),
        trains=outside_linear_layers if beside else nothing,
        pretrained=weights,
    )


Weights = Callable[[], Mapping[str, Tensor]]


def read_by(
    read: Callable[..., Mapping[str, Tensor]], pretrained: str, make: Callable
) -> Weights | None:
    """Make a function that finds and reads the file of a trunk's weights; None without a file."""
    return None if pretrained == "none" else lambda: read(find_file(pretrained), make)


def started(make: Callable[[], nn.Module], weights: Weights | None) -> nn.Module:
    """Make a trunk with the weights that it starts from."""
    trunk = make()
    if weights is not None and not next(trunk.parameters()).is_meta:
        trunk.load_state_dict(weights())
    return trunk


def in_fusion(name: str) -> bool:
    """Tell whether the parameter of this name belongs to the fusion.

    Example:
        >>> in_fusion("fusion.join.weight"), in_fusion("vit.norm.weight")
        (True, False)
    """
    return name.startswith("fusion.")


def outside_linear_layers(name: str) -> bool:
    """Tell whether the parameter of this name is outside the linear layers of the blocks.

    These are patch embedding, LayerNorm, relative-position tables and patch merging, which MTLoRA
    trains (Agiza et al., arXiv 2403.20320, and its code).

    Example:
        >>> outside_linear_layers("layers.0.blocks.0.attn.qkv.bias")
        False
        >>> outside_linear_layers("layers.0.blocks.0.attn.relative_position_bias_table")
        True
    """
    in_linear = f".{name}".rsplit(".", 2)[1] in ("qkv", "proj", "fc1", "fc2")
    return not in_linear or ".blocks." not in name

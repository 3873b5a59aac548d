"""The networks of the benchmarks of tables 3 and 4: ViT with a fusion, and Swin."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from tssbn.benchmarks import dummy_images
from tssbn.methods import Network
from tssbn.networks.pretrained import swin_weights, vit_weights
from tssbn.networks.swin import Swin, SwinHead, tap_widths
from tssbn.networks.vit import ConvHead, FusedViT, ViT
from tssbn.networks.weights import find_file

__all__ = ["swin_network", "vit_network"]


def vit_network(
    image: tuple[int, int] = (512, 512), pretrained: str = "none", fused: int = 192, **vit
) -> Network:
    """A ViT with a fusion as the trunk, and convolutional heads (Table 3).

    A method that freezes the trunk still trains the fusion, which is not pretrained.

    Args:
        image: height and width.
        pretrained: the file of the ViT's weights, see :func:`tssbn.networks.weights.find_file` and
            :func:`tssbn.networks.pretrained.vit_weights`; ``"none"`` for a start at random. It is
            looked for when a trunk is made.
        fused: channels of the fusion and inside of heads.
        vit: what else :class:`tssbn.networks.vit.ViT` takes.
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
    image: tuple[int, int] = (448, 448), pretrained: str = "none", width: int = 96, **swin
) -> Network:
    """A Swin transformer as the trunk, and the heads of MTLoRA (Table 4).

    A method that freezes the trunk still trains what MTLoRA does: all but the linear layers of the
    blocks.

    Args:
        image: height and width.
        pretrained: the file of its weights, see :func:`tssbn.networks.weights.find_file` and
            :func:`tssbn.networks.pretrained.swin_weights`; ``"none"`` for a start at random. It is
            looked for when a trunk is made.
        width: channels of the first stage; those inside of heads follow it.
        swin: what else :class:`tssbn.networks.swin.Swin` takes.
    """
    make = partial(Swin, image, width, **swin)
    weights = read_by(swin_weights, pretrained, make)
    stages = len(swin.get("depths", (2, 2, 6, 2)))
    widths = [max(1, width * 18 * 2**stage // 96) for stage in range(stages)]
    return Network(
        partial(started, make, weights),
        partial(SwinHead, image=image, inputs=tap_widths(width, stages), widths=widths),
        dummy_images(*image),
        trains=outside_linear_layers,
        pretrained=weights,
    )


Weights = Callable[[], Mapping[str, Tensor]]


def read_by(
    read: Callable[..., Mapping[str, Tensor]], pretrained: str, make: Callable
) -> Weights | None:
    """What finds the file of a trunk's weights and reads it, or None without a file."""
    return None if pretrained == "none" else lambda: read(find_file(pretrained), make)


def started(make: Callable[[], nn.Module], weights: Weights | None) -> nn.Module:
    """A trunk with the weights that it starts from."""
    trunk = make()
    if weights is not None and not next(trunk.parameters()).is_meta:
        trunk.load_state_dict(weights())
    return trunk


def in_fusion(name: str) -> bool:
    """Whether the parameter of this name is of the fusion.

    Example:
        >>> in_fusion("fusion.join.weight"), in_fusion("vit.norm.weight")
        (True, False)
    """
    return name.startswith("fusion.")


def outside_linear_layers(name: str) -> bool:
    """Whether MTLoRA trains the parameter of this name: all but linear layers of blocks.

    Patch embedding, LayerNorm, tables of relative positions and patch merging are trained (Agiza et
    al., arXiv 2403.20320, and its code).

    Example:
        >>> outside_linear_layers("layers.0.blocks.0.attn.qkv.bias")
        False
        >>> outside_linear_layers("layers.0.blocks.0.attn.relative_position_bias_table")
        True
    """
    in_linear = f".{name}".rsplit(".", 2)[1] in ("qkv", "proj", "fc1", "fc2")
    return not in_linear or ".blocks." not in name

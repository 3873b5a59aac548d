"""Weights of ViT and Swin transformers, from a file that the user has.

A file is a ``.pth`` or ``.safetensors`` file with timm's names. Files of Swin's authors, in which
the patch merging ends a stage instead of beginning one, are read as well. For other formats, load
the file into timm's network and save its ``state_dict()``.
"""

import re
from collections.abc import Callable, Mapping
from math import isqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.models import load_state_dict
from torch import Tensor

from tssbn.networks.swin import Swin
from tssbn.networks.vit import ViT
from tssbn.networks.weights import check_fit

__all__ = ["resized", "swin_weights", "vit_weights"]


def vit_weights(path: Path, make: Callable[[], ViT], antialias: bool = False) -> dict[str, Tensor]:
    """Read the tensors that a ViT starts from, by name.

    The classifier is left out, and so is what the trunk lacks: a class token, and blocks after its
    last one. Position embeddings are resized to the grid of the trunk.

    Args:
        path: the file.
        make: makes the trunk.
        antialias: whether positions are resized with antialiasing, see :func:`resized`.

    Raises:
        ValueError: the file holds the weights of another network; the message names the first
            tensor that differs.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> def make(image=(16, 16)):
        ...     return ViT(image, width=8, depth=2, heads=2, patch=8, taps=(2,))
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(make(image=(32, 32)).state_dict(), f"{folder}/vit.pth")
        ...     weights = vit_weights(Path(folder, "vit.pth"), make)
        >>> weights["pos_embed"].shape  # 4x4 positions in the file, 2x2 in the trunk
        torch.Size([1, 4, 8])
    """
    with torch.device("meta"):
        trunk = make()
    state = load(path)
    behind = tuple(f"blocks.{number}." for number in range(len(trunk.blocks), 100))
    ends = ("head.", "fc_norm.", *behind, *(["cls_token"] if trunk.cls_token is None else []))
    given = {name: value for name, value in state.items() if not name.startswith(ends)}
    if "pos_embed" in given:
        positions = resized(given["pos_embed"], trunk.patch_embed.grid_size, antialias)
        given["pos_embed"] = positions[:, -trunk.pos_embed.shape[1] :]
    check_fit(given, trunk, str(path))
    return given


def swin_weights(path: Path, make: Callable[[], Swin]) -> dict[str, Tensor]:
    """Read the tensors that a Swin transformer starts from, by name.

    The file's classifier and final norm are left out, and so are the buffers that the size of the
    images determines. The windows must have the trunk's size.

    Args:
        path: the file, with timm's names or those of the authors of Swin.
        make: makes the trunk.

    Raises:
        ValueError: the file holds the weights of another network; the message names the first
            tensor that differs.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> def make():
        ...     return Swin((32, 32), width=8, depths=(1, 1), heads=(1, 2), window=4)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(make().state_dict(), f"{folder}/swin.pth")
        ...     weights = swin_weights(Path(folder, "swin.pth"), make)
        >>> make().load_state_dict(weights, strict=False).unexpected_keys
        []
    """
    with torch.device("meta"):
        trunk = make()
    state = load(path)
    ends, computed = ("head.", "norm."), ("attn_mask", "relative_position_index")
    given = {
        name: value
        for name, value in state.items()
        if not name.startswith(ends) and not name.endswith(computed)
    }
    if any(name.startswith("layers.0.downsample.") for name in given):
        given = {_merged_first(name): value for name, value in given.items()}
    check_fit(given, trunk, str(path))
    return given


def resized(positions: Tensor, grid: tuple[int, int], antialias: bool = False) -> Tensor:
    """Resize position embeddings to another grid, by bicubic interpolation.

    MLoRE resizes without antialiasing, as older releases of timm did. Current timm resizes with
    it, and then uses another kernel even where the grid grows. All methods of a comparison must
    resize in the same way.

    Args:
        positions: (1, N, C), those of a square grid. A class token's embedding before them is kept.
        grid: rows and columns wanted.
        antialias: whether to resize with antialiasing, as current timm does.

    Returns:
        (1, rows · columns, C); with a class token (1, 1 + rows · columns, C).

    Raises:
        ValueError: N is neither a square nor a square plus 1.

    Example:
        >>> resized(torch.ones(1, 1 + 4 * 4, 3), (2, 6)).shape
        torch.Size([1, 13, 3])
    """
    side = isqrt(positions.shape[1])
    before = positions.shape[1] - side**2
    if before > 1:
        raise ValueError(
            f"pos_embed has {positions.shape[1]} positions, expected a square grid, with or "
            "without a class token"
        )
    if grid == (side, side):
        return positions
    square = positions[:, before:].transpose(1, 2).unflatten(2, (side, side))
    other = F.interpolate(square, grid, mode="bicubic", antialias=antialias)
    return torch.cat([positions[:, :before], other.flatten(2).transpose(1, 2)], 1)


def load(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a file, with floating-point ones in single precision."""
    state = load_state_dict(str(path))
    return {name: x.float() if x.is_floating_point() else x for name, x in state.items()}


def _merged_first(name: str) -> str:
    """Rename a patch merging that ends a stage to the one that begins the next stage."""
    return re.sub(
        r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name
    )

"""Weights of ViT and Swin transformers, from a file that the user has.

A file is a ``.pth`` or ``.safetensors`` one with timm's names; one of Swin's authors, in which the
patch merging ends a stage, will do. Files of other forms are brought into this one by timm, which
reads them into a network whose ``state_dict()`` can be saved.
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

    The classifier is left out, and what the trunk has not: a class token, blocks behind its last.
    Positions are brought to the grid of the trunk.

    Args:
        path: The file.
        make: Makes the trunk.
        antialias: How positions are resized, see :func:`resized`.

    Raises:
        ValueError: The file holds the weights of another network; names the first tensor that
            differs.
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

    Classifier and final norm of the file are left out, and so is what follows from the size of the
    images. The windows must be those of the trunk.

    Args:
        path: The file, with timm's names or those of the authors of Swin.
        make: Makes the trunk.

    Raises:
        ValueError: The file holds the weights of another network; names the first tensor that
            differs.
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
    """Bring the embeddings of positions to another grid, by bicubic interpolation.

    MLoRE resizes without antialiasing, as older releases of timm did; timm now resizes with it,
    which takes another kernel even where the grid grows. All methods of a comparison have to take
    the same.

    Args:
        positions: (1, N, C), of a square grid; that of a class token before them stays.
        grid: Rows and columns wanted.
        antialias: As timm does now.

    Returns:
        (1, rows · columns, C), and one more with a class token.

    Raises:
        ValueError: N is neither a square nor a square and 1.

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
    """The tensors of a file, in single precision where they are numbers with a fraction."""
    state = load_state_dict(str(path))
    return {name: x.float() if x.is_floating_point() else x for name, x in state.items()}


def _merged_first(name: str) -> str:
    """The name in which a patch merging begins the stage that follows."""
    return re.sub(
        r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name
    )

"""Computes labels from what the ray caster found: parts, boundaries and holes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "CITYSCAPES_PARTS",
    "HUMAN_PARTS",
    "PARTS",
    "boundary",
    "hidden",
    "to_cityscapes",
    "to_human",
]

PARTS = (
    *("none", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg"),
    *("window", "wheel", "light", "plate", "chassis"),
)
#: The six groups of the PASCAL human parts, hands and feet with the limbs that they end.
HUMAN_PARTS = ("background", *PARTS[1:7])
#: The ten part classes of the Cityscapes protocol: torso and head of people and riders, vehicles.
CITYSCAPES_PARTS = (
    *("background", "torso", "head", "arms", "legs"),
    *("window", "wheel", "light", "plate", "chassis"),
)
_HUMAN = (0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0)
_CITYSCAPES = (0, 2, 1, 3, 3, 4, 4, 5, 6, 7, 8, 9)


def to_human(part: Tensor) -> Tensor:
    """Convert indices into ``PARTS`` to indices into ``HUMAN_PARTS``, int8.

    Example:
        >>> to_human(torch.tensor([PARTS.index("lower leg"), PARTS.index("wheel")])).tolist()
        [6, 0]
    """
    return _look_up(_HUMAN, part)


def to_cityscapes(part: Tensor) -> Tensor:
    """Convert indices into ``PARTS`` to indices into ``CITYSCAPES_PARTS``, int8.

    Example:
        >>> to_cityscapes(torch.tensor([PARTS.index("lower leg"), PARTS.index("wheel")])).tolist()
        [4, 6]
    """
    return _look_up(_CITYSCAPES, part)


def _look_up(table: tuple[int, ...], index: Tensor) -> Tensor:
    return torch.tensor(table, dtype=torch.int8)[index.long()]


def boundary(*maps: Tensor) -> Tensor:
    """Mark the pixels that differ from their right or their lower neighbour in any of the maps.

    Args:
        maps: (..., H, W) integers, such as classes and instances. Void counts as a value.

    Returns:
        (..., H, W) int8, 1 for a marked pixel, else 0. Pixels of the last column have no right
        neighbour, and those of the last row no lower one.

    Example:
        >>> boundary(torch.tensor([[0, 0, 1], [0, 0, 1]])).tolist()
        [[0, 1, 0], [0, 1, 0]]
    """
    edge = torch.zeros_like(maps[0], dtype=torch.bool)
    for one in maps:
        edge[..., :, :-1] |= one[..., :, :-1] != one[..., :, 1:]
        edge[..., :-1, :] |= one[..., :-1, :] != one[..., 1:, :]
    return edge.to(torch.int8)


def hidden(shift: Tensor) -> Tensor:
    """Mark the pixels that a second camera to the right cannot see behind something nearer.

    Args:
        shift: (..., H, W), by how many pixels a point is further to the left in the second picture:
            focal length * distance of the cameras / depth.

    Returns:
        (..., H, W) bool, ``True`` for a hidden pixel: some pixel that is s pixels to its right is
        shifted by at least s pixels more.
    """
    width = shift.shape[-1]
    covered = torch.zeros_like(shift, dtype=torch.bool)
    for s in range(1, max(width // 12, 2)):
        covered[..., : width - s] |= shift[..., s:] - shift[..., : width - s] >= s
    return covered

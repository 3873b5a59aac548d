"""From what the caster found to what the tasks ask: parts, boundaries, holes, wrong labels."""

from __future__ import annotations

import torch
from torch import Tensor

from tssbn.data.target import Target

from .caster import unit
from .paint import smooth_noise

__all__ = [
    "CITYSCAPES_PARTS",
    "HUMAN_PARTS",
    "PARTS",
    "boundary",
    "disturb",
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
    """Indices into ``PARTS`` as indices into ``HUMAN_PARTS``, int8.

    Example:
        >>> to_human(torch.tensor([PARTS.index("lower leg"), PARTS.index("wheel")])).tolist()
        [6, 0]
    """
    return _look_up(_HUMAN, part)


def to_cityscapes(part: Tensor) -> Tensor:
    """Indices into ``PARTS`` as indices into ``CITYSCAPES_PARTS``, int8.

    Example:
        >>> to_cityscapes(torch.tensor([PARTS.index("lower leg"), PARTS.index("wheel")])).tolist()
        [4, 6]
    """
    return _look_up(_CITYSCAPES, part)


def _look_up(table: tuple[int, ...], index: Tensor) -> Tensor:
    return torch.tensor(table, dtype=torch.int8, device=index.device)[index.long()]


def boundary(*maps: Tensor) -> Tensor:
    """1 where a pixel differs from its right or its lower neighbour in any of the maps, else 0.

    Args:
        maps: (..., H, W) integers, such as classes and instances. Void is a value like others.

    Returns:
        (..., H, W) int8. The last column has no right and the last row no lower neighbour.

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
    """What a second eye to the right of the camera does not see behind something nearer.

    Args:
        shift: (..., H, W) by how many pixels the second eye sees a point further to the left:
            focal length * distance of the eyes / depth.

    Returns:
        bool: a point s pixels to the right is shifted by s pixels more, or further.
    """
    width = shift.shape[-1]
    covered = torch.zeros_like(shift, dtype=torch.bool)
    for s in range(1, max(width // 12, 2)):
        covered[..., : width - s] |= shift[..., s:] - shift[..., : width - s] >= s
    return covered


BLOBS = (4, 8, 8)  # random numbers for each of the 8 x 8 blobs of a picture


def disturb(labels: Tensor, target: Target, amount: float, numbers: Tensor) -> Tensor:
    """Wrong labels over blobs of the picture.

    Args:
        labels: (B, H, W) classes, (B, 1, H, W) depth or disparity, or (B, 3, H, W) normals.
        target: what they are.
        amount: classes: the share of the blobs whose classes are turned into another class. Depth
            and disparity: the largest relative error of a blob. Normals: the largest tangent of
            its tilt, along each axis.
        numbers: (B, 4, 8, 8) uniform in [0, 1).

    Returns:
        The labels with errors, in the same shape and type; what is void or invalid stays so.

    Example:
        >>> stuff, numbers = torch.zeros(1, 16, 16, dtype=torch.int8), torch.full((1, 4, 8, 8), 0.1)
        >>> disturb(stuff, Target("classes", ("floor", "wall"), -1), 0.2, numbers).unique().tolist()
        [1]
    """
    h, w = labels.shape[-2:]
    numbers = _over_blobs(numbers.to(labels.device), h, w)
    valid = labels != target.ignore
    if target.kind == "classes":
        others = len(target.classes) - 1
        shift = 1 + (numbers[:, 1] * others).floor().clamp(max=others - 1)
        turned = (labels + shift.to(labels.dtype)) % (others + 1)
        return torch.where(valid & (numbers[:, 0] < amount), turned, labels)
    if target.kind == "normal":
        known = (labels != 0).any(1, keepdim=True)
        tilted = unit((labels.float() + (numbers[:, 1:] * 2 - 1) * amount).unbind(1))
        return (torch.stack(tilted, 1) * known).to(labels.dtype)
    factor = 1 + (numbers[:, :1] * 2 - 1) * amount
    return torch.where(valid, labels * factor, labels)


def _over_blobs(numbers: Tensor, height: int, width: int) -> Tensor:
    """(B, K, 8, 8) spread over pixels (B, K, H, W): a grid whose lines are bent."""
    rows, columns = numbers.shape[2:]
    y = (torch.arange(height, device=numbers.device) + 0.5) * (torch.tensor(rows / height))
    x = (torch.arange(width, device=numbers.device) + 0.5) * (torch.tensor(columns / width))
    y, x = torch.broadcast_tensors(y[:, None], x)
    seed = torch.zeros_like(x, dtype=torch.int32)
    i = (y + smooth_noise(x * 1.5, y * 1.5, seed) * 0.7).floor().long().clamp(0, rows - 1)
    j = (x + smooth_noise(x * 1.5, y * 1.5, seed + 1) * 0.7).floor().long().clamp(0, columns - 1)
    return numbers[:, :, i, j]

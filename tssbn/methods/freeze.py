"""Freeze a trunk, but for what its family still trains."""

from collections.abc import Callable

from torch import nn

__all__ = ["freeze"]


def freeze(trunk: nn.Module, trains: Callable[[str], bool]) -> None:
    """Train no parameter of a trunk but those that a rule names.

    A method that trains parts of its own in a frozen trunk calls it before it puts them in. Norm
    layers whose gates are to be trained must be among those that the rule names.

    Args:
        trunk: Changed in place.
        trains: Whether the parameter of this name is trained, as
            :attr:`tssbn.methods.Network.trains` says.

    Example:
        >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> freeze(trunk, lambda name: name.startswith("1."))
        >>> [name for name, p in trunk.named_parameters() if p.requires_grad]
        ['1.weight', '1.bias']
    """
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(trains(name))

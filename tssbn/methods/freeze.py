"""Frozen trunks, and the learning rates of the parameters that are still trained."""

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from tssbn.methods import Network, heads
from tssbn.recognise import is_norm

__all__ = ["freeze", "frozen", "groups", "in_norms"]


def freeze(trunk: nn.Module, trains: Callable[[str], bool]) -> None:
    """Freeze all parameters of a trunk except those that a rule selects.

    Call it before you insert new trained modules. To train gates, the rule must select the weights
    of the normalisation layers.

    Args:
        trunk: the trunk, changed in place.
        trains: tells whether the parameter of this name is trained, such as
            :attr:`tssbn.methods.Network.trains`.

    Example:
        >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> freeze(trunk, lambda name: name.startswith("1."))
        >>> [name for name, p in trunk.named_parameters() if p.requires_grad]
        ['1.weight', '1.bias']
    """
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(trains(name))


def in_norms(trunk: nn.Module) -> set[str]:
    """Find the names of the parameters of a trunk's norm layers.

    Args:
        trunk: the trunk.

    Example:
        >>> sorted(in_norms(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))))
        ['1.bias', '1.weight']
    """
    return {
        f"{path}.{name}".removeprefix(".")
        for path, layer in trunk.named_modules()
        if is_norm(layer)
        for name, _ in layer.named_parameters(recurse=False)
    }


def frozen(
    network: Network, outputs: Mapping[str, int], norms: bool = False
) -> tuple[nn.Module, nn.ModuleDict]:
    """Make a frozen trunk and the heads, with the start values of HPS from the same seed.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        norms: whether the norm layers of the trunk are trained, beside the parameters that
            ``network.trains`` selects.

    Returns:
        The trunk, and the heads by task.

    Example:
        >>> import torch
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> trunk, heads = frozen(network, {"seg": 2})
        >>> trunk.weight.requires_grad, heads["seg"].weight.requires_grad
        (False, True)
    """
    trunk, readers = network.trunk(), heads(network, outputs)
    chosen: Iterable[str] = in_norms(trunk) if norms else ()
    freeze(trunk, lambda name: name in chosen or network.trains(name))
    return trunk, readers


def groups(net: nn.Module, lr: float, multiplier: float = 1.0) -> list[dict]:
    """Make two parameter groups, the heads at `lr` and the trained part of the trunk at a multiple.

    The recipe chooses the weight decay.

    Args:
        net: the network.
        lr: the learning rate of the heads.
        multiplier: the learning rate of the trunk over `lr`.

    Example:
        >>> import tssbn
        >>> net = tssbn.MultiTask(nn.Linear(4, 3), {"a": nn.Linear(3, 1)})
        >>> [(g["name"], g["lr"], len(g["params"])) for g in groups(net, lr=0.1, multiplier=10.0)]
        [('heads', 0.1, 2), ('trunk', 1.0, 2)]
    """
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    trunk = [p for name, p in trained.items() if name.startswith("trunk.")]
    rest = [p for name, p in trained.items() if not name.startswith("trunk.")]
    return [
        {"name": "heads", "params": rest, "lr": lr},
        {"name": "trunk", "params": trunk, "lr": multiplier * lr},
    ]

"""Freeze a trunk, but for what its family still trains; and the rates of what is trained in it."""

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from tssbn.methods import Network, heads
from tssbn.optim import vectors_of_tasks
from tssbn.recognise import is_norm

__all__ = ["freeze", "frozen", "groups", "in_norms"]


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


def in_norms(trunk: nn.Module) -> set[str]:
    """Find the parameters of a trunk's norm layers, by name.

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
    """Make a frozen trunk and the heads, which start as those of HPS from the same seed.

    Args:
        norms: whether the norm layers of the trunk are trained, beside what the network names.
    """
    trunk, readers = network.trunk(), heads(network, outputs)
    chosen: Iterable[str] = in_norms(trunk) if norms else ()
    freeze(trunk, lambda name: name in chosen or network.trains(name))
    return trunk, readers


def groups(net: nn.Module, lr: float, multiplier: float = 1.0) -> list[dict]:
    """What is trained in the trunk at ``multiplier * lr``, and the heads at ``lr``.

    Matrices decay. Vectors do not, such as biases and scales, of a task or of all, nor what the
    trunk's own ``no_weight_decay()`` names.

    Example:
        >>> import tssbn
        >>> net = tssbn.MultiTask(nn.Linear(4, 3), {"a": nn.Linear(3, 1)})
        >>> [(g["name"], g["lr"], len(g["params"])) for g in groups(net, lr=0.1, multiplier=10.0)]
        [('heads', 0.1, 1), ('vectors of heads', 0.1, 1), ('trunk', 1.0, 1), ('vectors', 1.0, 1)]
    """
    spared = set(vectors_of_tasks(net)) | getattr(net, "no_weight_decay", set)()
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    trunk = {name for name in trained if name.startswith("trunk.")}
    vectors = {name for name, p in trained.items() if p.ndim < 2 or name in spared}

    def group(name: str, chosen: set[str], **options: float) -> dict:
        return {"name": name, "params": [trained[n] for n in trained if n in chosen], **options}

    heads, rate = trained.keys() - trunk, multiplier * lr
    return [
        group("heads", heads - vectors, lr=lr),
        group("vectors of heads", heads & vectors, lr=lr, weight_decay=0.0),
        group("trunk", trunk - vectors, lr=rate),
        group("vectors", trunk & vectors, lr=rate, weight_decay=0.0),
    ]

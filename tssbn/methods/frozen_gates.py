"""TSσBN with fixed gates, to measure whether it matters which channels the gates of a task open.

Statistics, filters, heads and passes are those of TSσBN, but the gates are set before training and
stay fixed. Both controls take the trained gates of the saved run of TSσBN with the same seed and
settings:

* random gates: each gate is drawn from the values of all tasks in its layer;
* shuffled gates: each task's gates are permuted within a layer, so that the task keeps its capacity
  in this layer (:func:`tssbn.gates.permuted`).

Where these networks score as well as TSσBN, its choice of channels added nothing: it is enough
that the filters are scaled differently for different tasks.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.gates import Importance, importance, permuted
from tssbn.gates.matrix import sigma_layers
from tssbn.methods import Method, Network, task_norm
from tssbn.multitask import MultiTask
from tssbn.records import SavedRun, load

__all__ = ["build", "drawn", "random", "set_gates", "shuffled"]

LEAST = 0.25 / 255  # the value of a gate saved as 0, because saved gates are rounded to k/255


def build(network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """Build the network of TSσBN with gates that are not trained, and half open until it starts.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.

    Example:
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> build(network, {"seg": 2, "depth": 1}).trunk.gamma.requires_grad
        False
    """
    net = task_norm.build(network, outputs)
    for layer in sigma_layers(net)[1].values():
        layer.gamma.requires_grad_(False)
    return net


def random(
    net: nn.Module, run: Any, multiplier: float | None = None, std: float | None = None
) -> dict[str, Any]:
    """Draw the gates of a new network.

    Args:
        net: the network, changed in place. The draws come from torch's default generator, which the
            trainer seeds.
        run: the run, whose benchmark, seed and settings are those of the saved run.
        multiplier: that of the saved run, where it is not the benchmark's own.
        std: draw γ from N(0, std²) instead, without a saved run.

    Returns:
        The name of the saved run and the SHA-256 of its gates, to be saved with the results.

    Raises:
        FileNotFoundError: there is no such saved run.
        ValueError: the saved run is not finished or has another network, `std` is not positive, or
            both `multiplier` and `std` are given.

    Example:
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> net = build(network, {"seg": 2, "depth": 1})
        >>> random(net, run=None, std=1.0)
        {}
        >>> net.trunk.gamma.shape
        torch.Size([2, 3])
    """
    if std is None:
        gates, source = trained(run)
        set_gates(net, drawn(gates))
        return source
    if multiplier is not None or not std > 0:
        raise ValueError(
            f"std={std} must be positive, and without multiplier={multiplier}: use one of them"
        )
    for layer in sigma_layers(net)[1].values():
        nn.init.normal_(layer.gamma, std=std)
    return {}


def shuffled(net: nn.Module, run: Any, multiplier: float | None = None) -> dict[str, Any]:
    """Give a new network trained gates in another order.

    Args:
        net, run, multiplier: as for :func:`random`.

    Returns:
        The name of the saved run and the SHA-256 of its gates, to be saved with the results.

    Raises:
        FileNotFoundError: there is no such saved run.
        ValueError: the saved run is not finished or has another network.
    """
    gates, source = trained(run)
    set_gates(net, permuted(gates, torch.default_generator))
    return source


def drawn(gates: Importance) -> Importance:
    """Draw each gate anew, with replacement, from the gates of all tasks in its layer.

    Args:
        gates: the gates of a network.

    Example:
        >>> values = torch.tensor([[0.1, 0.1, 0.9], [0.1, 0.1, 0.9]]).double()
        >>> drawn(Importance(values, ("seg", "depth"), {"1": 2, "4": 1})).values
        tensor([[0.1000, 0.1000, 0.9000],
                [0.1000, 0.1000, 0.9000]], dtype=torch.float64)
    """

    def draw(part: Tensor) -> Tensor:
        return part.flatten()[torch.randint(part.numel(), part.shape)]

    parts = [draw(part) for part in gates.by_layer().values()]
    return replace(gates, values=torch.cat(parts, dim=1))


def set_gates(net: nn.Module, gates: Importance) -> None:
    """Set the gates of a network, whether they are trained or not.

    Args:
        net: the network, changed in place.
        gates: the values of σ(γ), as :func:`tssbn.gates.importance` returns them. Values within a
            quarter of the rounding step of saved runs of 0 or 1 are moved to that distance,
            because γ would be infinite.

    Raises:
        ValueError: the gates belong to another network.

    Example:
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> net = build(network, {"seg": 2, "depth": 1})
        >>> gates = importance(net)
        >>> set_gates(net, replace(gates, values=torch.full_like(gates.values, 0.75)))
        >>> net.trunk.gamma.sigmoid().unique()
        tensor([0.7500])
    """
    here = importance(net)
    if (gates.tasks, gates.layers) != (here.tasks, here.layers):
        raise ValueError(f"the gates are of another network: {gates}, and here {here}")
    layers = sigma_layers(net)[1]
    with torch.no_grad():
        for name, values in gates.by_layer().items():
            gamma = layers[name].gamma
            gamma.copy_(values.clamp(LEAST, 1 - LEAST).logit().view_as(gamma))


def trained(run: Any) -> tuple[Importance, dict[str, Any]]:
    """Return the last gates of the saved run of TSσBN, and the entry that names their source."""
    name = run.name.replace(f"/{run.method.name}-", "/tssbn-", 1)
    try:
        saved = SavedRun(name, load(name))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{run.method.title} are those of {name}, which is not saved: train it first, or take "
            "the settings of one that is"
        ) from None
    if not saved["finished"]:
        raise ValueError(f"{name} is not finished: {run.method.title} are those of a trained run")
    packed = saved["gates"]["epochs"][str(saved.gate_epochs[-1])]
    digest = hashlib.sha256(packed.encode()).hexdigest()
    return saved.gates(), {"gates_of": {"run": name, "sha256": digest}}


RANDOM = Method(
    "random gates",
    build,
    about="TSσBN with fixed gates that are drawn at random from the values of trained gates.",
    start=random,
)
SHUFFLED = Method(
    "shuffled gates",
    build,
    about="TSσBN with fixed gates: trained gates, shuffled within each layer.",
    start=shuffled,
)

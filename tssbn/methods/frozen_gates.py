"""TSσBN with gates that do not learn: does it matter which channels the gates of a task open?

Statistics, filters, heads and passes are those of TSσBN, but the gates are set before training and
stay. Both controls take the trained gates of the saved run of TSσBN from the same seed:

* random gates: each gate is drawn from the values that all tasks have in its layer;
* shuffled gates: each task keeps the gates that it has in a layer, in another order, and so the
  capacity that it learned to take there (:func:`tssbn.gates.permuted`).

Where these networks are as good as TSσBN, what it learned about channels was worth nothing: it is
enough that tasks see the filters scaled differently.
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

LEAST = 0.25 / 255  # what a gate saved as 0 is taken for: they are rounded to k/255


def build(network: Network, outputs: Mapping[str, int]) -> MultiTask:
    """The network of TSσBN, of which no gate is trained; they are half open until it starts."""
    net = task_norm.build(network, outputs)
    for layer in sigma_layers(net)[1].values():
        layer.gamma.requires_grad_(False)
    return net


def random(net: nn.Module, run: Any, like: str = "", std: float | None = None) -> dict[str, Any]:
    """Draw the gates of a new network.

    Args:
        net: Changed in place; the draws are those of torch's own generator, which the trainer
            seeds.
        run: Its benchmark and seed are those of the saved run.
        like: The settings of the saved run, as in its name, such as ``lr=0.001-multiplier=10``.
        std: Draw γ from N(0, std²) instead, without a saved run.

    Returns:
        The name of the saved run and the SHA-256 of its gates, for the record.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: It is not finished, or of another network; or `std` is not positive.
    """
    if std is None:
        gates, source = trained(run, like)
        set_gates(net, drawn(gates))
        return source
    if like or not std > 0:
        raise ValueError(f"std={std} must be positive, and without like={like!r}: use one of them")
    for layer in sigma_layers(net)[1].values():
        nn.init.normal_(layer.gamma, std=std)
    return {}


def shuffled(net: nn.Module, run: Any, like: str = "") -> dict[str, Any]:
    """Give a new network trained gates in another order; the arguments are those of `random`."""
    gates, source = trained(run, like)
    set_gates(net, permuted(gates, torch.default_generator))
    return source


def drawn(gates: Importance) -> Importance:
    """Draw each gate anew, with replacement, from all that there are in its layer.

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
        net: Changed in place.
        gates: As :func:`tssbn.gates.importance` gives them. What was rounded to 0 or 1 comes as
            near to it as the rounding of saved runs tells.

    Raises:
        ValueError: They are those of another network.
    """
    here = importance(net)
    if (gates.tasks, gates.layers) != (here.tasks, here.layers):
        raise ValueError(f"the gates are of another network: {gates}, and here {here}")
    layers = sigma_layers(net)[1]
    with torch.no_grad():
        for name, values in gates.by_layer().items():
            gamma = layers[name].gamma
            gamma.copy_(values.clamp(LEAST, 1 - LEAST).logit().view_as(gamma))


def trained(run: Any, like: str) -> tuple[Importance, dict[str, Any]]:
    """The last gates of a saved run of TSσBN, and what a record says of where they come from."""
    parts = ["tssbn", str(run.seed), *([like] if like else [])]
    name = f"{run.benchmark.name}/{'-'.join(parts)}"
    try:
        saved = SavedRun(name, load(name))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{run.method.title} are those of {name}, which is not saved: train it first, or name "
            "the settings of one that is by like="
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

"""The multi-task methods, one file each, and the networks that they build from.

:data:`METHODS` lists the methods. The file of a method is imported when it is asked for by name, so
that a missing package affects only the methods that need it. A file of your own, named by a path
that ends in ``.py``, defines ``METHOD``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tssbn.registry import find, short_name

__all__ = ["METHODS", "Method", "Network", "find_method", "heads", "one_group"]

#: The place of each method, by name, in the order of the rows of tables. The methods of the paper's
#: tables 1 to 3 come first, then those that train little of a frozen trunk (table 4) and their
#: references, the controls of TSσBN, and its ablations.
METHODS = {
    "stl": "tssbn.methods.single:METHOD",
    "hps": "tssbn.methods.hard_sharing:METHOD",
    "cross-stitch": "tssbn.methods.cross_stitch:METHOD",
    "mmoe": "tssbn.methods.mmoe:METHOD",
    "mtan": "tssbn.methods.mtan:METHOD",
    "cgc": "tssbn.methods.cgc:METHOD",
    "ple": "tssbn.methods.ple:METHOD",
    "ltb": "tssbn.methods.ltb:METHOD",
    "dselect-k": "tssbn.methods.dselect_k:METHOD",
    "m3vit": "tssbn.methods.m3vit:METHOD",
    "mod-squad": "tssbn.methods.mod_squad:METHOD",
    "taskexpert": "tssbn.methods.taskexpert:METHOD",
    "mlore": "tssbn.methods.mlore:METHOD",
    "tsbn": "tssbn.methods.task_norm:TSBN",
    "tsbn-x100": "tssbn.methods.task_norm:TSBN_X100",
    "tssbn": "tssbn.methods.task_norm:TSSBN",
    "heads-only": "tssbn.methods.heads_only:HEADS_ONLY",
    "shared-norm": "tssbn.methods.heads_only:SHARED_NORM",
    "full": "tssbn.methods.heads_only:FULL",
    "bitfit": "tssbn.methods.bitfit:METHOD",
    "lora": "tssbn.methods.low_rank:LORA",
    "lora-shared": "tssbn.methods.low_rank:SHARED",
    "adapter": "tssbn.methods.adapters:ADAPTER",
    "vl-adapter": "tssbn.methods.adapters:VL_ADAPTER",
    "compacter": "tssbn.methods.adapters:COMPACTER",
    "compacter++": "tssbn.methods.adapters:COMPACTER_PP",
    "vpt-shallow": "tssbn.methods.vpt:SHALLOW",
    "vpt-deep": "tssbn.methods.vpt:DEEP",
    "hyperformer": "tssbn.methods.hyperformer:HYPERFORMER",
    "polyhistor": "tssbn.methods.hyperformer:POLYHISTOR",
    "mtlora": "tssbn.methods.mtlora:MTLORA",
    "mtlora+": "tssbn.methods.mtlora:MTLORA_PLUS",
    "tsbn-frozen": "tssbn.methods.frozen_norm:TSBN",
    "tssbn-frozen": "tssbn.methods.frozen_norm:TSSBN",
    "tssbn-lora": "tssbn.methods.frozen_norm:LOW_RANK",
    "shared-gates-frozen": "tssbn.methods.frozen_norm:SHARED",
    "hps-wide": "tssbn.methods.wide_sharing:METHOD",
    "shared-gates": "tssbn.methods.shared_gates:METHOD",
    "random-gates": "tssbn.methods.frozen_gates:RANDOM",
    "shuffled-gates": "tssbn.methods.frozen_gates:SHUFFLED",
    "deep-gates": "tssbn.methods.deep_gates:METHOD",
    "statistics": "tssbn.methods.ablations:STATISTICS",
    "affine": "tssbn.methods.ablations:AFFINE",
    "tsbn-no-bias": "tssbn.methods.ablations:TSBN_NO_BIAS",
    "tssbn-bias": "tssbn.methods.ablations:TSSBN_BIAS",
    "tanh": "tssbn.methods.ablations:TANH",
    "softplus": "tssbn.methods.ablations:SOFTPLUS",
    "clamp": "tssbn.methods.ablations:CLAMP",
}


def nothing(name: str) -> bool:
    """Select no parameter of a frozen trunk, whatever its name."""
    return False


@dataclass(frozen=True)
class Network:
    """The trunk and the heads of a benchmark, from which every method builds its network.

    Attributes:
        trunk: makes a fresh trunk, which maps images (B, 3, H, W) to the features for the heads.
            The weights of its normalisation layers should not start at zero, because gates cannot,
            and methods would start from different functions; see
            :func:`tssbn.open_zero_initialised`.
        head: makes a head with the given number of output channels.
        example: two images, of any size that the trunk takes. Gates that read the whole image, see
            :mod:`tssbn.methods.experts`, accept this size alone.
        stem: the module of the trunk before which everything runs once for all tasks, as in
            :class:`tssbn.MultiTask`; "" for none.
        trains: tells whether a method that freezes the trunk still trains the parameter of this
            name; by default none. See :func:`tssbn.methods.freeze.freeze`.
        pretrained: returns the initial tensors of a fresh trunk, by name; None for random
            initialisation. A saved run contains their hash.
        wider: returns the network with the number of channels multiplied by a factor, in trunk and
            heads; None if there is no such network.

    Example:
        >>> import torch
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> network.head(2)
        Linear(in_features=3, out_features=2, bias=True)
    """

    trunk: Callable[[], nn.Module]
    head: Callable[[int], nn.Module]
    example: Tensor = field(repr=False)
    stem: str = ""
    trains: Callable[[str], bool] = nothing
    pretrained: Callable[[], Mapping[str, Tensor]] | None = None
    wider: Callable[[float], "Network"] | None = field(default=None, repr=False)


def one_group(net: nn.Module, lr: float) -> list[dict]:
    """Make a single parameter group of all parameters that are trained.

    Args:
        net: the network.
        lr: the learning rate.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> net.bias.requires_grad_(False)
        Parameter containing:
        ...
        >>> [group] = one_group(net, lr=0.1)
        >>> len(group["params"]), group["lr"]
        (1, 0.1)
    """
    return [{"params": [p for p in net.parameters() if p.requires_grad], "lr": lr}]


def as_built(net: nn.Module, run: Any) -> dict[str, Any]:
    """Leave a network as it was built; the `start` of most methods."""
    return {}


@dataclass(frozen=True)
class Method:
    """A multi-task method, which builds a network and the parameter groups of its optimiser.

    Attributes:
        title: as printed in tables.
        build: ``build(network, outputs, **options)`` returns a :class:`tssbn.MultiTaskNetwork`.
            ``network`` is the benchmark's :class:`Network`, and ``outputs`` maps each task to the
            number of channels of its prediction.
        groups: ``groups(net, lr, **options)`` returns the parameter groups for an optimiser.
        about: a sentence for ``python -m tssbn methods``; by default the first paragraph of the
            file's docstring.
        color: in figures, a name of :data:`tssbn.plots.COLORS`; black if empty.
        settings: fields of the recipe that the protocol of the method changes on every benchmark,
            such as ``{"batch": 4}``. Settings of a run take precedence.
        start: ``start(net, run, **options)`` prepares the network of a
            :class:`~tssbn.training.run.Run` where that takes more than the network, such as a saved
            run. It returns entries for the run's saved results.
        name: the name in :data:`METHODS`, or that of the file; :func:`find_method` sets it.

    Example:
        >>> find_method("tssbn").title
        'TSσBN'
    """

    title: str
    build: Callable[..., nn.Module]
    groups: Callable[..., list[dict]] = one_group
    about: str = ""
    color: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: Callable[..., Mapping[str, Any]] = as_built
    name: str = ""

    @property
    def functions(self) -> tuple[Callable, ...]:
        """The functions whose parameters with a default are the options of the method."""
        return self.build, self.groups, self.start


def find_method(name: str | Path) -> Method:
    """Import a method by its name.

    Args:
        name: one of :data:`METHODS`, or the path of a file that ends in ``.py``.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the method needs a package that is not installed; the message names it.
        ValueError: the name is unknown, or the file defines no ``METHOD``.

    Example:
        >>> find_method("hps").title
        'HPS'
    """
    method = find("method", name, METHODS, "METHOD", "train")
    if not isinstance(method, Method):
        raise ValueError(f"METHOD of {name} must be a tssbn.methods.Method, got {method!r:.100}")
    return replace(method, name=short_name(name))


def heads(network: Network, outputs: Mapping[str, int]) -> nn.ModuleDict:
    """Make a fresh head for each task.

    Args:
        network: makes the heads.
        outputs: the number of channels of each task's prediction, by task.

    Example:
        >>> import torch
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> heads(network, {"seg": 2})["seg"].out_features
        2
    """
    return nn.ModuleDict({task: network.head(channels) for task, channels in outputs.items()})

"""Channels that make themselves superfluous, and how to take them out.

While training, a penalty on the scales of the norm layers decides which channels matter:
`receding` for σBN (Suteu and Guo, arXiv 2204.06404), `l1` for ordinary BatchNorm (Network Slimming,
Liu et al., ICCV 2017). Afterwards `keep` marks the channels above a quantile, `silence` switches
the others off, and `remove` cuts them out of the network.
"""

import copy
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from tssbn._install import install
from tssbn.norm import SigmoidNorm, TaskSigmoidNorm, TaskSpecificNorm

__all__ = ["cost", "keep", "l1", "receding", "remove", "silence", "tie"]

CLOSED = -1000.0  # σ(CLOSED) is 0 in every dtype; weight decay keeps it a number, as -inf not


def receding(model: nn.Module, shift: float = 0.0) -> Tensor:
    """Receding neuron importances: the sum over all gates of p·(1 - ln p), with p = σ(γ + shift).

    Added to the loss with a small weight. Its slope along γ is -p(1 - p)·ln p: open gates feel
    nothing, half-closed ones are pushed shut, 0.2603 at most, where γ = -1.177 - shift. A positive
    shift spares all but the gates that are already small. (Official code of arXiv 2204.06404.) A
    gate at -∞ costs 0 and one at +∞ costs 1, both without slope.

    Args:
        model: a network with sigmoid gates; those of task-specific layers count each.
        shift: b, added to every γ; the paper's code uses 3 for VGG-16 and 0 for ResNet-56.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: the model has no sigmoid gates, or the shift is not finite.

    Example:
        >>> import tssbn
        >>> receding(tssbn.SigmoidBatchNorm2d(10)).item() / 10  # p = 0.5
        0.8465...
    """
    layers = [m for m in model.modules() if isinstance(m, SigmoidNorm | TaskSigmoidNorm)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no sigmoid gates: see tssbn.sigmoid")
    if not math.isfinite(shift):
        raise ValueError(f"shift={shift} must be finite")
    z = torch.cat([_wide(layer.gamma).flatten() for layer in layers]) + shift
    z = z.clamp(CLOSED, -CLOSED)  # at an infinite γ the formula is 0 · ∞
    return (z.sigmoid() * (1 - F.logsigmoid(z))).sum()


def l1(model: nn.Module) -> Tensor:
    """Network Slimming: the sum of ``|γ|`` over the channels of all ordinary BatchNorm layers.

    Args:
        model: a network with affine BatchNorm layers; sigmoid gates are left out.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: the model has no such layer.

    Example:
        >>> l1(nn.BatchNorm2d(10)).item()
        10.0
    """
    scales = [_wide(layer.weight) for layer in _prunable(model).values() if not _gated(layer)]
    if not scales:
        raise ValueError(f"{type(model).__name__} has no affine BatchNorm layer")
    return torch.cat(scales).abs().sum()


def keep(
    model: nn.Module,
    fraction: float,
    scope: str = "global",
    minimum: int = 3,
    layers: Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """Mark the channels that survive when the weakest ``fraction`` of them goes.

    A channel scores σ(γ) in a σBN layer and ``|γ|`` in an ordinary one. It stays if its score is
    strictly above the ``fraction`` quantile; of every layer the best ``minimum`` stay anyhow.

    Args:
        fraction: share of channels to drop, in [0, 1); 0 keeps all.
        scope: ``"global"``: one quantile over the pooled scores of all layers. ``"local"``: one
            for each layer, so that all lose the same share.
        minimum: channels that a layer never goes below.
        layers: names of the norm layers to choose from; all of them by default. Leave out those
            that feed a sum of branches: a channel can only go from all branches at once.

    Returns:
        For each layer its name and a boolean (C,) mask, True where the channel stays.

    Raises:
        ValueError: bad argument, unknown layer, a model without prunable layers, or a score that is
            not finite (a diverged run).

    Example:
        >>> layer = nn.BatchNorm2d(5)
        >>> layer.weight.data = torch.tensor([0.1, -0.9, 0.5, 0.2, 0.8])
        >>> keep(nn.Sequential(layer), 0.5, minimum=1)
        {'0': tensor([False,  True, False, False,  True])}
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1), got {fraction}")
    if scope not in ("global", "local"):
        raise ValueError(f'scope must be "global" or "local", got {scope!r}')
    if minimum < 1:
        raise ValueError(f"minimum must be at least 1, got {minimum}")
    found = _prunable(model)
    if layers is not None:
        found = {name: _named(found, name) for name in layers}
    if not found:
        raise ValueError("no prunable layer: neither σBN nor affine BatchNorm, or layers is empty")

    scores = {name: _score(layer) for name, layer in found.items()}
    if bad := [name for name, score in scores.items() if not score.isfinite().all()]:
        raise ValueError(f"layers {bad} have scales that are NaN or infinite: nothing to rank")
    pooled = torch.cat(list(scores.values()))
    masks = {}
    for name, score in scores.items():
        threshold = (pooled if scope == "global" else score).quantile(fraction)
        masks[name] = score > threshold if fraction else torch.ones_like(score, dtype=torch.bool)
        masks[name][score.topk(min(minimum, len(score))).indices] = True
    return masks


def silence(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model whose unmarked channels are switched off: their norm layer puts out 0.

    The same function as `remove` yields, in the old size; quick enough for pruning curves.

    Args:
        masks: boolean (C,) masks by layer name, as from `keep`.

    Raises:
        ValueError: unknown layer, or a mask of another size, or one that keeps nothing.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(2))
        >>> off = silence(net, {"0": torch.tensor([True, False])})
        >>> off.eval()(torch.ones(1, 2)).round().tolist()
        [[1.0, 0.0]]
    """
    _check(model, masks)
    model = copy.deepcopy(model)
    for name, mask in masks.items():
        layer = model.get_submodule(name)
        gated = _gated(layer)
        scale, bias = (layer.gamma, layer.beta) if gated else (layer.weight, layer.bias)
        with torch.no_grad():
            scale[~mask] = CLOSED if gated else 0.0
            if bias is not None:
                bias[~mask] = 0.0
    return model


def remove(model: nn.Module, masks: Mapping[str, Tensor], example: Tensor) -> nn.Module:
    """A smaller copy of the model, without the unmarked channels; needs torch-pruning.

    Norm layers, the convolutions before them and whatever reads them next lose those channels.
    The result computes what `silence` computes, which is checked on the example. Its parameters are
    new: make a new optimiser for fine-tuning.

    Args:
        model: a network that puts out one tensor.
        masks: boolean (C,) masks by layer name, as from `keep`.
        example: an input batch of the size that the network will see.

    Raises:
        ValueError: as `silence`; or the channels of a layer are tied to another norm layer's by a
            sum of branches, and the masks do not agree (see `tie`); or the small network computes
            something else, as where an activation does not map 0 to 0.
        ImportError: torch-pruning is not installed.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        >>> remove(net, keep(net, 0.5), torch.rand(2, 4))[3]  # all scores tie: the minimum stays
        Linear(in_features=3, out_features=2, bias=True)
    """
    expected = _outputs(silence(model, masks), example)
    small, graph = _surgery(model, masks, example)
    for name in masks:
        layer = small.get_submodule(name)
        idxs = (~layer.stays).nonzero().flatten().tolist()
        if not idxs:
            continue
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        group = graph.get_pruning_group(layer, prune, idxs)
        tied = _norms(group.items)
        if any(norm.stays[idxs].any() for norm, idxs in tied.items()):
            names = [n for n, m in small.named_modules() if m in tied]
            raise ValueError(
                f"the channels of {name!r} can only go together, since {names} feed one sum: "
                "leave these layers out, see the argument layers of keep, or see tie"
            )
        group.prune()
    for layer in small.modules():
        layer._buffers.pop("stays", None)
    for part, original in zip(small.modules(), model.modules(), strict=True):
        part.training = original.training  # tracing switched to eval mode
    for part, original in zip(small.parameters(), model.parameters(), strict=True):
        part.requires_grad_(original.requires_grad)
    # In the mean over all values: rounding decides which of two equals a pooling takes.
    got, expected = _wide(_outputs(small, example)), _wide(expected)
    difference, size = (got - expected).norm(), expected.norm()
    if not difference <= 0.01 * size:
        raise ValueError(
            f"the smaller network is off by {difference / size:.2g} on the example, relative to "
            "its output: a removed channel "
            "still matters, as where the activation after its norm layer does not map 0 to 0"
        )
    return small


def tie(model: nn.Module, masks: Mapping[str, Tensor], example: Tensor) -> dict[str, Tensor]:
    """Masks in which the channels of one sum, or of one filter for each channel, go together.

    In a residual network a channel is a sum of what several norm layers put out. It is nothing only
    if all of them have switched it off; so it is unmarked in all if it was unmarked in all, and in
    none otherwise. Layers without a mask keep theirs. An exception are norm layers that nothing
    but depthwise convolutions with a norm layer of their own read: they are tied to it, but have
    no say, since what the later one switches off nobody reads. Channels of a grouped convolution
    stay.

    Args:
        masks: boolean (C,) masks by layer name, as from `keep`.
        example: an input batch of the size that the network will see.

    Returns:
        Masks for `remove`, for the given layers and for those that a depthwise convolution ties to
        them.

    Raises:
        ValueError: as `silence`.
        ImportError: torch-pruning is not installed.

    Example:
        >>> class Residual(nn.ModuleDict):
        ...     def forward(self, x):
        ...         return self["end"](self["a"](x) + self["b"](x))
        >>> branches = {name: nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)) for name in "ab"}
        >>> net = Residual({**branches, "end": nn.Conv2d(3, 1, 1)})
        >>> masks = {
        ...     "a.1": torch.tensor([True, False, False]),
        ...     "b.1": torch.tensor([False, True, False]),
        ... }
        >>> tie(net, masks, torch.rand(1, 1, 4, 4))["a.1"]
        tensor([ True,  True, False])
    """
    _check(model, masks)
    small, graph = _surgery(model, masks, example)
    groups = {}
    for name, layer in small.named_modules():
        if isinstance(layer, _BatchNorm) and layer in graph.module2node:
            prune = graph.get_pruner_of_module(layer).prune_out_channels
            everything = list(range(layer.num_features))
            groups[name] = graph.get_pruning_group(layer, prune, everything).items
    fixed = {member for items in groups.values() if _is_fixed(items) for member in _norms(items)}
    tied = {}
    for name, items in groups.items():
        stays = torch.zeros(len(items[0].idxs), dtype=torch.bool)
        for item in items:
            member = item.dep.target.module
            if member in fixed:
                stays[:] = True
            elif isinstance(member, _BatchNorm) and not _overruled(graph.module2node[member]):
                stays[torch.tensor(item.root_idxs)[member.stays[item.idxs].cpu()]] = True
        if name in masks or not stays.all():
            tied[name] = stays.to(small.get_submodule(name).stays.device)
    return tied


def _is_fixed(items: Any) -> bool:
    """Whether the channels of a pruning group cannot go.

    They are those of a grouped convolution; or they reach layers under other numbers, as where a
    shortcut pads channels, of which torch-pruning knows nothing.
    """
    for item in items:
        member = item.dep.target.module
        if isinstance(member, _ConvNd) and 1 < member.groups < member.out_channels:
            return True
        if isinstance(member, _BatchNorm) and max(item.idxs) >= member.num_features:
            return True
    return False


def _overruled(norm: Any) -> bool:
    """Whether depthwise convolutions with norm layers alone read a norm layer (a node)."""
    readers = _readers(norm)
    return bool(readers) and all(
        _is_depthwise(reader.module)
        and all(isinstance(after.module, _BatchNorm) for after in _readers(reader))
        for reader in readers
    )


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd) and 1 < layer.groups == layer.out_channels


def _readers(node: Any) -> set[Any]:
    """The layers that a layer's output reaches through activations, sums and the like (nodes)."""
    found, waiting = set(), list(node.outputs)
    while waiting:
        reader = waiting.pop()
        if isinstance(reader.module, (_BatchNorm, _ConvNd, nn.Linear)) or not reader.outputs:
            found.add(reader)
        else:
            waiting += reader.outputs
    return found


def _norms(items: Any) -> dict[nn.Module, list[int]]:
    """The norm layers of a pruning group, and which of their channels belong to it."""
    targets = ((item.dep.target.module, item.idxs) for item in items)
    return {module: idxs for module, idxs in targets if isinstance(module, _BatchNorm)}


class _Places(TorchFunctionMode):
    """Makes the places of a pooling's maxima visible: where they are put to use, a sum of zeros.

    torch-pruning follows gradients. Integers have none, yet they have the channels of the map that
    was pooled.
    """

    def __init__(self):
        super().__init__()
        self.pooled = WeakIdKeyDictionary()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name.startswith("max_unpool") and args[1] in self.pooled:
            args = (args[0] + 0 * self.pooled[args[1]], *args[1:])
        result = function(*args, **(kwargs or {}))
        if name.startswith(("max_pool", "adaptive_max_pool")) and isinstance(result, tuple):
            self.pooled[result[1]] = result[0]
        return result


def _surgery(model: nn.Module, masks: Mapping[str, Tensor], example: Tensor) -> tuple:
    """A copy to be cut, whose BatchNorm layers hold their masks as `stays`, and its graph."""
    try:
        with warnings.catch_warnings():  # its progress bars ask notebooks for ipywidgets
            warnings.simplefilter("ignore")
            import torch_pruning as tp
    except ImportError as error:
        raise ImportError(f"removal needs torch-pruning: {install('train')}") from error

    class NormPruner(tp.BasePruningFunc):
        """All that a norm layer holds for each channel: scale or γ, statistics, and its mask."""

        def prune_out_channels(self, layer, idxs):
            rest = torch.ones(layer.num_features, dtype=torch.bool)
            rest[idxs] = False
            for kind in layer._parameters, layer._buffers:
                for name, value in kind.items():
                    if value is not None and value.ndim:
                        kept = value.detach()[rest.to(value.device)]
                        is_parameter = isinstance(value, nn.Parameter)
                        kind[name] = nn.Parameter(kept) if is_parameter else kept
            layer.num_features -= len(idxs)
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer):
            return layer.num_features

        get_in_channels = get_out_channels

    small = copy.deepcopy(model).requires_grad_(True)  # the graph is read off autograd
    pruners = {}
    for name, layer in small.named_modules():
        if isinstance(layer, _BatchNorm):
            pruners[type(layer)] = NormPruner()
            everything = torch.ones(layer.num_features, dtype=torch.bool)
            layer.register_buffer("stays", masks.get(name, everything).clone())
    with torch.enable_grad(), _Places():
        graph = tp.DependencyGraph().build_dependency(
            small, (example,), customized_pruners=pruners, verbose=False
        )
    return small, graph


def cost(model: nn.Module, example: Tensor) -> tuple[int, int]:
    """Parameters of the model, and multiply-accumulates as :func:`tssbn.cost.macs` counts.

    Args:
        example: an input batch; the second figure is for all of it.

    Example:
        >>> cost(nn.Conv2d(3, 8, 3, bias=False), torch.rand(1, 3, 10, 10))  # 8*3*9 at 8x8 places
        (216, 13824)
    """
    from tssbn.cost import macs, parameters

    return parameters(model, frozen=True), macs(model, example) * len(example)


def _gated(layer: nn.Module) -> bool:
    return isinstance(layer, SigmoidNorm)


def _prunable(model: nn.Module) -> dict[str, nn.Module]:
    """The σBN and affine BatchNorm layers by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and not isinstance(layer, TaskSpecificNorm)
        and layer.weight is not None
    }


def _named(found: Mapping[str, nn.Module], name: str) -> nn.Module:
    if name not in found:
        raise ValueError(f"no prunable layer {name!r}: the model has {list(found)}")
    return found[name]


def _score(layer: nn.Module) -> Tensor:
    scale = _wide(layer.gamma if _gated(layer) else layer.weight).detach()
    return scale.sigmoid() if _gated(layer) else scale.abs()


def _wide(x: Tensor) -> Tensor:
    """In float32 at least: half precision overflows in sums, and has no quantiles."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    found = _prunable(model)
    for name, mask in masks.items():
        channels = _named(found, name).num_features
        if mask.dtype != torch.bool or mask.shape != (channels,):
            raise ValueError(
                f"the mask of {name!r} must be boolean of shape ({channels},), "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        if not mask.any():
            raise ValueError(f"the mask of {name!r} keeps no channel")


@torch.no_grad()
def _outputs(model: nn.Module, example: Tensor) -> Tensor:
    """The model's output in eval mode, on a copy so that no state changes."""
    return copy.deepcopy(model).eval()(example)

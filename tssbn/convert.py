"""Swap the normalisation layers of any model for gated ones, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.parameter import is_lazy

from tssbn.multitask import MultiTask
from tssbn.norm import (
    SharedStatisticsNorm,
    SigmoidNorm,
    TaskAffineNorm,
    TaskSigmoidNorm,
    TaskSpecificNorm,
    TaskStatisticsNorm,
    converted_class,
)
from tssbn.selection import TaskSelection, check_tasks

__all__ = ["is_norm", "sigmoid", "task_specific"]

AFFINE = ("auto", "paper", "preserve", "logit")
NORMS = ("sigmoid", "plain", "statistics", "affine")
WIDEST = 0.99  # the largest gate that `logit` starts from: σ never reaches 1

# Layers of PyTorch and their subclasses, fused ones too, work without a bias.
_TORCH_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# They have "Norm" in the name and a 1-d weight that scales a residual, not a normalised input.
_NOT_NORMS = {"GlobalResponseNorm"}
_CHANNELS_APART = {_BatchNorm.__module__, "timm.layers.norm_act"}
_MIX = (nn.GLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax)
_OURS = ("gamma", "beta", "scale", "selection")


def is_norm(module: nn.Module) -> bool:
    """Whether `module` is a normalisation layer that can be gated.

    That is any norm layer of `torch.nn` or a subclass of one, and any other module with "Norm" in
    the name of its class and a 1-d ``weight`` of its own (timm's RmsNorm, torchvision's
    FrozenBatchNorm2d, a language model's LlamaRMSNorm, yours). GlobalResponseNorm is not: its
    weight scales a residual.

    Example:
        >>> import torch, tssbn
        >>> [tssbn.is_norm(m) for m in (torch.nn.LayerNorm(4), torch.nn.Linear(4, 4))]
        [True, False]
    """
    name = type(module).__name__
    if name in _NOT_NORMS:
        return False
    if isinstance(module, _TORCH_NORMS):
        return True
    weight = getattr(module, "weight", None)
    return "Norm" in name and isinstance(weight, Tensor) and weight.ndim == 1


def sigmoid(
    model: nn.Module,
    affine: str = "auto",
    where: Callable[[str, nn.Module], bool] | None = None,
) -> nn.Module:
    """Turn every normalisation layer of `model` into its σ form, ``y = σ(γ)·x̂``.

    The single-task layer of arXiv 2204.06404 (eq. 2 of arXiv 2512.20420). See `task_specific` for
    the arguments and for what the conversion keeps.

    Example:
        >>> import torch, tssbn
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        >>> tssbn.sigmoid(net)[1].gamma.shape
        torch.Size([8])
    """
    _check_option("affine", affine, AFFINE)
    layers = _norm_layers(model, where)
    starts = {name: _start(name, at, SigmoidNorm, affine, model) for name, at in layers.items()}
    for name, layer in layers.items():
        _convert(layer, SigmoidNorm, starts[name], tasks=None)
    _leave_fast_path(model)
    return model


def task_specific(
    model: nn.Module,
    tasks: Iterable[str],
    norm: str = "sigmoid",
    affine: str = "auto",
    where: Callable[[str, nn.Module], bool] | None = None,
) -> nn.Module:
    """Give every normalisation layer of `model` parameters and statistics for each task.

    Everything else stays shared. The model is changed in place and returned; it may itself be a
    norm layer. Convert before you build an optimiser (the layers get new parameters) and after
    loading pretrained weights and after `torch.nn.SyncBatchNorm.convert_sync_batchnorm`.

    Kept as they are: train or eval mode, dtype, device, eps, momentum, running statistics (copied
    to every task), whether the layer's weight was trained, layers used in more than one place.

    Args:
        model: The shared trunk, without the tasks' heads.
        tasks: Distinct task names; their order is the order of the rows of γ.
        norm: What a task owns in each layer:

            - ``"sigmoid"``: TSσBN, a gate and statistics, ``y = σ(γ_t)·x̂_t`` (arXiv 2512.20420,
              eq. 3).
            - ``"plain"``: TSBN, an ordinary layer, ``y = γ_t·x̂_t + β_t``.
            - ``"statistics"``: only the statistics; an ablation. Layers without running statistics
              stay unchanged.
            - ``"affine"``: only γ_t and β_t, statistics shared; an ablation. Layers without
              running statistics become plain.
        affine: How ``norm="sigmoid"`` treats the scale w and bias b that the layer had:

            - ``"paper"``: dropped; every gate starts half open.
            - ``"preserve"``: ``y = s·σ(γ_t)·x̂ + β_t`` with s = 2w frozen, γ_t = 0 and β_t = b, so
              the output is that of the model given.
            - ``"logit"``: the same start, with one s for the layer and the gates carrying the
              channels' differences; needs w > 0.
            - ``"auto"``: ``"paper"`` for layers as freshly made, ``"preserve"`` for all others.
        where: ``where(name, layer)`` says which norm layers to convert; all by default.

    Raises:
        ValueError: On bad names or options, a model without norm layers or already converted, a
            layer that is lazy, shares a parameter with another, or cannot be gated or expressed in
            the mode. Nothing is changed then.

    Example:
        >>> import torch, tssbn
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        >>> trunk = tssbn.task_specific(net, ("seg", "depth"))
        >>> trunk[1].gamma.shape
        torch.Size([2, 8])
    """
    names = check_tasks(tasks)
    _check_option("norm", norm, NORMS)
    _check_option("affine", affine, AFFINE)
    if norm != "sigmoid" and affine != "auto":
        raise ValueError(f"affine={affine!r} is for norm='sigmoid'; norm={norm!r} keeps w and b")
    layers = _norm_layers(model, where)
    mixins = {name: _mixin(name, layer, norm) for name, layer in layers.items()}
    mixins = {name: mixin for name, mixin in mixins.items() if mixin is not None}
    if not mixins:
        raise ValueError(f"norm={norm!r}: no layer of {type(model).__name__} has batch statistics")
    starts = {
        name: _start(name, layers[name], mixin, affine, model) for name, mixin in mixins.items()
    }

    selection = TaskSelection(names)
    for name, module in model.named_modules():
        if getattr(module, "batch_first", True) is False:
            selection.batch_second = name
    for name, mixin in mixins.items():
        _convert(layers[name], mixin, starts[name], len(names))
        layers[name].selection = selection
    _leave_fast_path(model)
    selection.expand_at(model, model)
    # A partial, not the method itself: PyTorch marks the hook with an attribute.
    model.register_state_dict_post_hook(partial(TaskSelection.save_names, selection))
    model.register_load_state_dict_pre_hook(selection.check_names)
    return model


def _leave_fast_path(model: nn.Module) -> None:
    """PyTorch's transformer layer has an inference path that reads its norms' weights by itself."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # the condition that it checks


def _check_option(argument: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{argument}={value!r} is unknown; use one of {list(known)}")


def _norm_layers(
    model: nn.Module, where: Callable[[str, nn.Module], bool] | None
) -> dict[str, nn.Module]:
    """The layers to convert by name, each once."""
    if isinstance(model, MultiTask):
        raise ValueError("convert the trunk first, then build the MultiTask from it and the heads")
    if isinstance(model, GraphModule):
        raise ValueError(
            "a GraphModule loses its hooks when it is copied: convert torch.nn.Sequential(model)"
        )
    for name, module in model.named_modules():
        if isinstance(module, (SigmoidNorm, TaskSpecificNorm)):
            raise ValueError(
                f"{type(model).__name__} is already converted: layer {name!r} is a "
                f"{type(module).__name__}. Convert once, from the original model."
            )
    found = {name: module for name, module in model.named_modules() if is_norm(module)}
    if not found:
        raise ValueError(f"{type(model).__name__} has no normalisation layer to convert")
    if where is not None:
        if not callable(where):
            raise ValueError(f"where={where!r} must be a function of name and layer")
        kept = {name: layer for name, layer in found.items() if where(name, layer)}
        if not kept:
            raise ValueError(f"where={where!r} chose none of the norm layers {list(found)}")
        found = kept
    for name, layer in found.items():
        if any(is_lazy(tensor) for tensor in (*layer.parameters(), *layer.buffers())):
            raise ValueError(
                f"layer {name!r} is a {type(layer).__name__} without a shape yet: run the model "
                "once on an example first"
            )
        if taken := [ours for ours in _OURS if hasattr(layer, ours)]:
            raise ValueError(
                f"layer {name!r}, a {type(layer).__name__}, has attributes {taken} of its own that "
                "conversion would replace; use where= to leave it out"
            )
        _check_scales(name, layer)
    owners: dict[int, str] = {}
    for name, layer in found.items():
        parameters = layer._parameters.values()
        for parameter in (p for p in parameters if p is not None):
            if (other := owners.setdefault(id(parameter), name)) != name:
                raise ValueError(f"layers {other!r} and {name!r} share a parameter: untie them")
    return found


def _mixin(name: str, layer: nn.Module, norm: str) -> type | None:
    """Which mixin gives this layer what `norm` asks for; None leaves it as it is."""
    if norm == "sigmoid":
        return TaskSigmoidNorm
    statistics = isinstance(layer, _BatchNorm) or layer._buffers.get("running_mean") is not None
    if norm == "plain" or (norm == "affine" and not statistics):
        return TaskAffineNorm
    if norm == "statistics":
        return TaskStatisticsNorm if statistics else None
    if not type(layer).__module__.startswith("torch.nn.modules."):
        raise ValueError(
            f"norm='affine' cannot express layer {name!r}, a {type(layer).__name__}, which does "
            "more than normalise; use where= to leave it out"
        )
    return SharedStatisticsNorm


class _Start(NamedTuple):
    """What a converted layer starts from; one task's worth."""

    gamma: Tensor | None = None
    beta: Tensor | None = None
    scale: Tensor | None = None


def _weight(layer: nn.Module, model: nn.Module) -> Tensor:
    """The layer's weight; ones where it has none."""
    if isinstance(weight := getattr(layer, "weight", None), Tensor):
        return weight
    like = layer._buffers.get("running_mean")
    if like is None:
        like = next(model.parameters(), torch.empty(0))
    shape = next(
        getattr(layer, name)
        for name in ("normalized_shape", "num_features", "num_channels")
        if hasattr(layer, name)
    )
    return torch.ones(shape, dtype=like.dtype, device=like.device)


def _start(name: str, layer: nn.Module, mixin: type, affine: str, model: nn.Module) -> _Start:
    """Start values (γ, β, s) for one layer, from its weight and bias; changes nothing."""
    if mixin is TaskStatisticsNorm:
        return _Start()
    weight = _weight(layer, model).detach()
    bias = layer.bias.detach() if isinstance(getattr(layer, "bias", None), Tensor) else None
    if mixin in (TaskAffineNorm, SharedStatisticsNorm):
        return _Start(weight, torch.zeros_like(weight) if bias is None else bias)
    if affine == "auto":
        affine = "paper" if _is_fresh(layer, weight, bias) else "preserve"
    if affine == "paper":
        return _Start(torch.zeros_like(weight))
    if affine == "preserve":
        if not weight.any():
            raise ValueError(
                f"layer {name!r} has an all-zero weight (a zero-initialised residual branch?): "
                "affine='preserve' would freeze it there; use affine='paper' or 'auto'"
            )
        return _Start(torch.zeros_like(weight), bias, 2 * weight)
    if not (weight > 0).all():
        raise ValueError(
            f"affine='logit' needs positive weights; layer {name!r} has {weight.min():.3g}: use "
            "affine='preserve'"
        )
    scale = torch.full_like(weight, weight.max().item() / WIDEST)
    return _Start(torch.logit(weight / scale), bias, scale)


def _is_fresh(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the layer is as made: weight 1 (or 0, as residual branches start) and bias 0."""
    if weight.is_meta:
        return True
    if bias is not None and bias.any():
        return False
    count = layer._buffers.get("num_batches_tracked")  # an affine part may stay while they learn
    tracked = count is not None and count.item() > 0
    return bool((weight == 0).all()) or (bool((weight == 1).all()) and not tracked)


def _check_scales(name: str, layer: nn.Module) -> None:
    """Refuse a layer whose weight is no plain scale, as in x̂·(1 + w): its gate would not close."""
    if isinstance(layer, _TORCH_NORMS) or layer.weight.is_meta:
        return
    off = {
        key: torch.zeros_like(v)
        for key in ("weight", "bias")
        if isinstance(v := getattr(layer, key, None), Tensor)
    }
    channels, like = layer.weight.shape[0], layer.weight
    for shape in (2, channels), (2, channels, 3, 3), (2, 3, 3, channels):
        x = torch.linspace(-1, 2, torch.Size(shape).numel()).reshape(shape).to(like)
        try:
            with torch.no_grad():
                one, other = (functional_call(layer, off, (v,)) for v in (x, x.flip(0).square()))
        except (RuntimeError, ValueError, AssertionError, IndexError):
            continue  # not the shape of this layer's inputs
        if torch.equal(one, other):
            return
    raise ValueError(
        f"layer {name!r}, a {type(layer).__name__}, does not switch off at weight 0, so a gate "
        "cannot stand in for its weight; use where= to leave it out"
    )


def _convert(layer: nn.Module, mixin: type, start: _Start, tasks: int | None) -> None:
    """Give `layer` its new state and class; `tasks` None is the single-task layer."""

    def rows(value: Tensor) -> Tensor:
        return value.clone() if tasks is None else value.expand(tasks, *value.shape).clone()

    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if start.gamma is None:
        layer.gamma = layer.beta = None
    else:
        for name in "weight", "bias":
            layer._parameters.pop(name, None)
            layer._buffers.pop(name, None)
        layer.gamma = nn.Parameter(rows(start.gamma), requires_grad=_trained(weight))
        if start.beta is not None:
            layer.beta = nn.Parameter(rows(start.beta), requires_grad=_trained(bias))
        elif isinstance(layer, _TORCH_NORMS) or bias is None:
            layer.register_parameter("beta", None)
        else:  # a foreign forward may add its bias without asking
            layer.register_buffer("beta", rows(torch.zeros_like(start.gamma)), persistent=False)
    layer.register_buffer("scale", start.scale)
    for flag in "affine", "elementwise_affine":
        if hasattr(layer, flag):
            setattr(layer, flag, True)
    if tasks is not None and mixin is not SharedStatisticsNorm:
        for name in "running_mean", "running_var", "num_batches_tracked":
            statistic = layer._buffers.get(name)
            if statistic is not None:
                layer._buffers[name] = rows(statistic)
        layer.channels_apart = _channels_apart(layer)
    layer.__class__ = converted_class(mixin, type(layer))


def _trained(parameter: Tensor | None) -> bool:
    """Frozen parameters stay frozen; what was a buffer, or not there, is free to learn."""
    return parameter.requires_grad if isinstance(parameter, nn.Parameter) else True


def _channels_apart(layer: nn.Module) -> bool:
    """Whether the layer treats each channel of dimension 1 by itself, however many there are.

    True of PyTorch's BatchNorm and of timm's, which goes on with an activation; any other subclass
    may mix channels afterwards.
    """
    known = type(layer).forward.__module__ in _CHANNELS_APART
    mixes = any(
        isinstance(child, _MIX) or next(child.parameters(), None) is not None
        for child in layer.children()
    )
    return isinstance(layer, _BatchNorm) and known and not mixes

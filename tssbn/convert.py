"""Replace the normalisation layers of any model by gated ones, in place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tssbn.mixin import mix_in
from tssbn.multitask import MultiTask
from tssbn.names import check_tasks
from tssbn.norm import SigmoidNorm, TaskAffineNorm, TaskSigmoidNorm, TaskSpecificNorm
from tssbn.norm.converted import OURS
from tssbn.norm.task_specific import give_rows
from tssbn.recognise import check_scale, is_norm, is_per_channel, looks_like_norm
from tssbn.saved_names import keep_names
from tssbn.tasks import Tasks

__all__ = ["open_zero_initialised", "sigmoid", "task_specific"]

AFFINE = ("auto", "paper", "preserve", "logit")
NORMS = {"sigmoid": TaskSigmoidNorm, "plain": TaskAffineNorm}
WIDEST = 0.99  # the largest gate that `logit` starts from: σ never reaches 1

Norm = str | type[TaskSpecificNorm] | Callable[[nn.Module], type[TaskSpecificNorm] | None]


def sigmoid(
    model: nn.Module,
    affine: str = "auto",
    where: Callable[[str, nn.Module], bool] | None = None,
) -> nn.Module:
    """Turn every normalisation layer of `model` into its σ form, ``y = σ(γ)·x̂``.

    This is the single-task layer of arXiv 2204.06404 (eq. 2 of arXiv 2512.20420).
    `task_specific` explains the arguments and what the conversion keeps.

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
        how, start = starts[name]
        mix_in(layer, SigmoidNorm)
        layer.replace_affine(**{key: _clone(value) for key, value in start.items()})
        layer.started_from = how
    _leave_fast_path(model)
    return model


def task_specific(
    model: nn.Module,
    tasks: Iterable[str],
    norm: Norm = "sigmoid",
    affine: str = "auto",
    where: Callable[[str, nn.Module], bool] | None = None,
) -> nn.Module:
    """Give every normalisation layer of `model` parameters and statistics for each task.

    All other parameters stay shared. The model is changed in place and returned; it may be a
    single normalisation layer. Convert it after loading pretrained weights and after
    `torch.nn.SyncBatchNorm.convert_sync_batchnorm`, but before you build the optimiser, because
    the layers get new parameters.

    The conversion keeps train or eval mode, dtype, device, eps and momentum. It copies the running
    statistics to every task. Frozen layers stay frozen, and a layer used twice is converted once.

    Args:
        model: The shared trunk, without the tasks' heads.
        tasks: Distinct task names; their order is the order of the rows of γ.
        norm: What a task owns in each layer:

            - ``"sigmoid"``: TSσBN, a gate and statistics, ``y = σ(γ_t)·x̂_t`` (arXiv 2512.20420,
              eq. 3).
            - ``"plain"``: TSBN, an ordinary layer, ``y = γ_t·x̂_t + β_t``.
            - a subclass of `tssbn.norm.TaskSpecificNorm`, or a function that takes a layer and
              returns such a class, or None to leave the layer as it is; see
              :mod:`tssbn.methods.ablations`.
        affine: How ``norm="sigmoid"`` treats the scale w and bias b that the layer had:

            - ``"paper"``: drops both; every gate starts half open (γ_t = 0).
            - ``"preserve"``: ``y = s·σ(γ_t)·x̂ + β_t`` with s = 2w frozen, γ_t = 0 and β_t = b, so
              the output does not change.
            - ``"logit"``: also keeps the output, but with one s per layer; the differences between
              channels go into γ_t. Needs w > 0.
            - ``"auto"``: ``"paper"`` for freshly initialised layers, ``"preserve"`` for all others.
              A weight of zeros counts as fresh (timm's ResNets initialise the last layer of each
              residual branch so): its gates start half open, while the plain network starts with
              the branch closed. `open_zero_initialised` opens the branch in both; `tssbn.describe`
              lists how the layers started.
        where: ``where(name, layer)`` returns True for layers to convert; by default all.

    Warns:
        UserWarning: A module looks like a normalisation layer but was not converted, because it has
            no 1-d ``weight``, or has running statistics but no "Norm" in its class name.

    Raises:
        ValueError: If a task name or an option is invalid; if the model has no normalisation layers
            or is already converted; or if a layer is lazy, shares a parameter with another, cannot
            be gated, or does not fit the `affine` mode. The model is then left unchanged.

    Example:
        >>> import torch, tssbn
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        >>> trunk = tssbn.task_specific(net, ("seg", "depth"))
        >>> trunk[1].gamma.shape
        torch.Size([2, 8])
    """
    tasks = Tasks(check_tasks(tasks))
    if isinstance(norm, str):
        _check_option("norm", norm, NORMS)
    elif not callable(norm) or (isinstance(norm, type) and not issubclass(norm, TaskSpecificNorm)):
        raise ValueError(f"norm={norm!r} is neither one of {list(NORMS)} nor a class or function")
    _check_option("affine", affine, AFFINE)
    layers = _norm_layers(model, where)
    kinds = {name: _kind(layer, norm) for name, layer in layers.items()}
    kinds = {name: kind for name, kind in kinds.items() if kind is not None}
    if not kinds:
        raise ValueError(
            f"norm={norm!r} leaves all norm layers of {type(model).__name__} as they are"
        )
    if affine != "auto" and any(kind is not TaskSigmoidNorm for kind in kinds.values()):
        raise ValueError(f"affine={affine!r} is for norm='sigmoid'; norm={norm!r} keeps w and b")
    starts = {name: _start(name, layers[name], kind, affine, model) for name, kind in kinds.items()}

    for name, kind in kinds.items():
        layer, (how, start) = layers[name], starts[name]
        layer.per_channel = is_per_channel(layer)
        mix_in(layer, kind)
        give_rows(layer, tasks, **start)
        layer.started_from = how
    _leave_fast_path(model)
    keep_names(model)
    if where is None:
        _warn_of_others(model)
    return model


def open_zero_initialised(model: nn.Module) -> list[str]:
    """Set all-zero weights of normalisation layers to one, in place; return the layers' names.

    A residual branch is closed at first if the weight of its last normalisation layer starts at
    zero. A gate is never zero, so a converted network starts with the branch open. Call this on
    both networks before you compare a converted one with a plain one.

    Example:
        >>> import torch, tssbn
        >>> net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3))
        >>> _ = torch.nn.init.zeros_(net[1].weight)
        >>> tssbn.open_zero_initialised(net)
        ['1']
    """
    opened = []
    for name, layer in model.named_modules():
        weight = getattr(layer, "weight", None)
        if is_norm(layer) and isinstance(weight, Tensor) and not weight.any():
            nn.init.ones_(weight)
            opened.append(name)
    return opened


def _leave_fast_path(model: nn.Module) -> None:
    """Disable PyTorch's fused transformer inference, which reads the layers' weights directly."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # the condition that it checks
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # only the fused path can read nested tensors


def _warn_of_others(model: nn.Module) -> None:
    """Warn of modules that look like normalisation layers but were not converted."""
    left = [
        f"{name!r}, a {type(module).__name__}"
        for name, module in model.named_modules()
        if not isinstance(module, TaskSpecificNorm) and looks_like_norm(module)
    ]
    if left:
        warnings.warn(
            f"what looks like a normalisation layer is left as it is, shared by all tasks: "
            f"{'; '.join(left)}. A layer is converted if its class is one of torch.nn's norm "
            'layers, or has "Norm" in its name and a 1-d weight',
            stacklevel=3,
        )


def _check_option(argument: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{argument}={value!r} is unknown; use one of {list(known)}")


def _norm_layers(
    model: nn.Module, where: Callable[[str, nn.Module], bool] | None
) -> dict[str, nn.Module]:
    """Find the layers to convert by name, each once."""
    if not isinstance(model, nn.Module):
        named = getattr(model, "__name__", type(model).__name__)
        raise TypeError(f"the model must be a network, a torch.nn.Module, got {named}")
    if isinstance(model, MultiTask):
        raise ValueError("convert the trunk first, then build the MultiTask from it and the heads")
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
        if taken := [ours for ours in OURS if hasattr(layer, ours)]:
            raise ValueError(
                f"layer {name!r}, a {type(layer).__name__}, has attributes {taken} of its own that "
                "conversion would replace; use where= to leave it out"
            )
        for part in "weight", "bias":
            kept = part in layer._parameters or part in layer._buffers
            if not kept and isinstance(getattr(layer, part, None), Tensor):
                raise ValueError(
                    f"layer {name!r}, a {type(layer).__name__}, computes its {part} (pruned, or "
                    "parametrised?), which a gate cannot replace: make it permanent first, or use "
                    "where= to leave the layer out"
                )
        check_scale(name, layer)
    owners: dict[int, str] = {}
    for name, layer in found.items():
        parameters = layer._parameters.values()
        for parameter in (p for p in parameters if p is not None):
            if (other := owners.setdefault(id(parameter), name)) != name:
                raise ValueError(f"layers {other!r} and {name!r} share a parameter: untie them")
    return found


def _kind(layer: nn.Module, norm: Norm) -> type[TaskSpecificNorm] | None:
    """Choose the mixin class for a layer; None leaves the layer as it is."""
    if isinstance(norm, str):
        return NORMS[norm]
    return norm if isinstance(norm, type) else norm(layer)


def _weight(layer: nn.Module, model: nn.Module) -> Tensor:
    """Read the layer's weight; ones where it has none."""
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


def _start(
    name: str, layer: nn.Module, kind: type, affine: str, model: nn.Module
) -> tuple[str, dict[str, Tensor | None]]:
    """Return the layer's `affine` mode, and its initial γ, β and s for one task."""
    weight = _weight(layer, model).detach()
    bias = layer.bias.detach() if isinstance(getattr(layer, "bias", None), Tensor) else None
    if kind not in (TaskSigmoidNorm, SigmoidNorm):
        return "own", kind.start(weight, bias)
    if affine == "auto":
        affine = "paper" if _is_fresh(layer, weight, bias) else "preserve"
    if affine == "paper":
        closed = not weight.is_meta and not weight.any()
        return "zero-initialised" if closed else "paper", kind.start(weight, bias)
    if affine == "preserve":
        if not weight.is_meta and not weight.any():
            raise ValueError(
                f"layer {name!r} has an all-zero weight (a zero-initialised residual branch?): "
                "affine='preserve' would freeze it there; use affine='paper' or 'auto'"
            )
        return affine, {"gamma": torch.zeros_like(weight), "beta": bias, "scale": 2 * weight}
    if not (weight > 0).all():
        raise ValueError(
            f"affine='logit' needs positive weights; layer {name!r} has {weight.min():.3g}: use "
            "affine='preserve'"
        )
    scale = torch.full_like(weight, weight.max().item() / WIDEST)
    return affine, {"gamma": torch.logit(weight / scale), "beta": bias, "scale": scale}


def _is_fresh(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the layer is freshly initialised: bias 0 and weight 1 (0 in residual branches)."""
    if weight.is_meta:
        return True
    if bias is not None and bias.any():
        return False
    count = layer._buffers.get("num_batches_tracked")  # an affine part may stay while they learn
    tracked = count is not None and count.item() > 0
    return bool((weight == 0).all()) or (bool((weight == 1).all()) and not tracked)


def _clone(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.clone()

"""Norm layers worked into the convolutions and linear layers beside them."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tssbn.copies import copied
from tssbn.export.wiring import Wiring
from tssbn.norm import SigmoidNorm, TaskSpecificNorm
from tssbn.recognise import is_norm

__all__ = ["fold"]

# Classes whose forward is known to use weight, bias and statistics in the ordinary way. (Others may
# not, such as convolutions that standardise their weight first; they are left alone.)
CONVOLUTIONS = ("torch.nn.modules.conv.", "timm.layers.conv2d_same.Conv2dSame")
LINEAR = ("torch.nn.modules.linear.",)
BATCH_NORMS = ("torch.nn.modules.batchnorm.", "timm.layers.norm_act.")
LAYER_NORMS = ("torch.nn.modules.normalization.", "timm.layers.norm.LayerNorm.")


def fold(model: nn.Module) -> nn.Module:
    """Copy a model for inference, without σ layers and with as few norm layers as possible.

    In eval mode a BatchNorm with running mean m and variance v scales and shifts each channel, and
    its gate is a factor of the scale. So it can be folded into weight W and bias b of the layer
    before it:

        a = σ(γ)/√(v + ε),    W ← a·W,    b ← a·(b - m) + β

    The function makes these changes:

    - A BatchNorm, ordinary or σ, that alone reads the output of a convolution or linear layer is
      folded into that layer, and an Identity takes its place. In layers that go on with an
      activation, as timm's BatchNormAct2d does, the activation remains. The input of a linear layer
      has to come from a flattening or a mean over pixels: with (N, L, C) a BatchNorm1d does
      something that cannot be folded.
    - A LayerNorm or RMSNorm, ordinary or σ, that feeds only linear layers keeps its normalisation;
      its scale and bias move into these layers, W ← W·diag(σ(γ)) and b ← b + Wβ.
    - Every other σ layer becomes an ordinary layer with the gate as its weight.

    The modules, their names and their forward code stay; :mod:`torch.fx` only tells which layer
    feeds which. Where it cannot follow a module's code, the norm layers in there become ordinary
    ones, too, but are not folded, and a warning says so. Neither are layers that are called more
    than once, share a parameter or have hooks, nor BatchNorm without running statistics.

    Args:
        model: any module; it is left as it is.

    Returns:
        The copy, in eval mode. It computes what the model computes in eval mode, up to rounding.

    Raises:
        ValueError: the model has task-specific layers; :func:`tssbn.export.task` takes out one.

    Example:
        >>> import tssbn
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        >>> fold(tssbn.sigmoid(net))
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
        )
    """
    if any(isinstance(layer, TaskSpecificNorm) for layer in model.modules()):
        raise ValueError(
            f"{type(model).__name__} has layers of several tasks: take out the network of one, "
            "tssbn.export.task(net, name)"
        )
    folded = copied(model).eval()
    with torch.no_grad():
        for layer in folded.modules():
            if isinstance(layer, SigmoidNorm):
                make_plain(layer)
        wiring = Wiring(folded)
        _warn(folded, wiring)
        for name in wiring.called:
            layer = folded.get_submodule(name)
            if _known(layer, _BatchNorm, BATCH_NORMS):
                source = wiring.source(name)
                if source is not None and (
                    not isinstance(folded.get_submodule(source), nn.Linear)
                    or wiring.is_flat(source)
                ):
                    _fold_batch_norm(folded, source, name)
            elif _known(layer, (nn.LayerNorm, nn.RMSNorm), LAYER_NORMS):
                readers = [folded.get_submodule(reader) for reader in wiring.readers(name) or ()]
                if readers and all(_known(reader, nn.Linear, LINEAR) for reader in readers):
                    _fold_layer_norm(layer, readers)
    return folded


def make_plain(layer: SigmoidNorm) -> None:
    """Turn a σ layer, in place, into a layer of its host's class with the gate as weight."""
    weight, bias, trained = layer.weight, layer.bias, layer.gamma.requires_grad
    layer.__class__ = layer.host_type
    for name in "gamma", "beta", "scale":
        layer._parameters.pop(name, None)
        layer._buffers.pop(name, None)
    layer.__dict__.pop("started_from", None)
    layer.weight = nn.Parameter(weight.detach(), trained)
    layer.register_parameter("bias", None)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), trained)


def _known(layer: nn.Module, kind: type | tuple[type, ...], forwards: tuple[str, ...]) -> bool:
    """Whether a layer is of this kind, and its forward one of those."""
    forward = type(layer).forward
    return isinstance(layer, kind) and f"{forward.__module__}.{forward.__qualname__}".startswith(
        forwards
    )


def _fold_batch_norm(model: nn.Module, source_name: str, name: str) -> None:
    """Fold a BatchNorm into the layer before it, if that is one that it can be folded into."""
    norm, source = model.get_submodule(name), model.get_submodule(source_name)
    linear = _known(source, nn.Linear, LINEAR)
    if not (linear or _known(source, _ConvNd, CONVOLUTIONS)) or norm.running_mean is None:
        return
    if "weight" not in source._parameters:  # computed, as by weight_norm
        return
    weight, groups = source.weight, getattr(source, "groups", 1)
    transposed = isinstance(source, _ConvTransposeNd)
    if transposed:  # (in, out/groups, ...) -> (out, in/groups, ...)
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    if len(weight) != norm.num_features:
        return

    values = (source.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    weight, bias = fuse_conv_bn_weights(*map(_double, (weight, *values)))
    if transposed:
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    _set(source, weight, bias)

    rest = [*norm.children()]  # the dropout and activation of timm's layers
    rest = [part for part in rest if not isinstance(part, nn.Identity)]
    rest = nn.Sequential(*rest) if len(rest) > 1 else next(iter(rest), nn.Identity())
    model.set_submodule(name, rest.eval())


def _fold_layer_norm(norm: nn.Module, readers: list[nn.Linear]) -> None:
    """Leave scale and bias to the linear layers."""
    weight, bias = norm.weight, getattr(norm, "bias", None)
    if weight is None or weight.ndim != 1 or any("weight" not in r._parameters for r in readers):
        return
    for linear in readers:
        shift, columns = _double(linear.bias), _double(linear.weight)
        if bias is not None:
            shift = columns @ _double(bias) + (0 if shift is None else shift)
        _set(linear, columns * _double(weight), shift)
    norm.elementwise_affine = False
    norm.register_parameter("weight", None)
    if bias is not None:
        norm.register_parameter("bias", None)


def _double(value: object) -> object:
    """What is folded is computed in double precision, which not every device has."""
    return value.to("cpu", torch.float64) if isinstance(value, torch.Tensor) else value


def _set(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """New values of a layer, in the format and precision that it has."""
    layer.weight.copy_(weight)
    if bias is None:
        return
    if layer.bias is None:
        layer.bias = nn.Parameter(bias.to(layer.weight), layer.weight.requires_grad)
    else:
        layer.bias.copy_(bias)


def _warn(model: nn.Module, wiring: Wiring) -> None:
    """Say which norm layers cannot be folded because their wiring is not known."""
    for name, error in wiring.closed.items():
        box = model.get_submodule(name)
        if any(is_norm(part) for part in box.modules()):
            warnings.warn(
                f"torch.fx cannot follow {f'module {name!r}' if name else 'the model'}, a "
                f"{type(box).__name__}: its norm layers are ordinary now but not folded "
                f"({' '.join(str(error).split())})",
                stacklevel=3,
            )

"""Tensor types for classes, depth, disparity and normals, with their kernels for torchvision.

A transform of ``torchvision.transforms.v2`` looks up the kernel, a function, that is registered for
the type of its input. It calls the kernel with the tensor and the parameters that it drew. This
module registers kernels for flips, padding, resizing, crops, rotations and affine maps.
"""

import math
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Mask, TVTensor, wrap

__all__ = ["ENTRIES", "Depth", "Disparity", "Entry", "Labels", "Normals", "unit", "zoomed"]

NEAREST = InterpolationMode.NEAREST


class Entry(Mask):
    """A target map (C, H, W): takes the nearest pixel when resampled, and 0 outside."""


class Labels(Entry):
    """Class indices."""


class Depth(Entry):
    """Depth in metres: a zoom by s divides it by s."""


class Disparity(Entry):
    """Disparity in pixels: a zoom by s multiplies it by s."""


class Normals(Entry):
    """Surface normals (3, H, W): a flip mirrors the vectors, a rotation rotates them."""


ENTRIES = {"classes": Labels, "depth": Depth, "disparity": Disparity, "normal": Normals}


def _mode(x: TVTensor, asked: InterpolationMode) -> InterpolationMode:
    return asked if isinstance(x, Normals) else NEAREST


def unit(x: TVTensor, values: Tensor) -> TVTensor:
    """Give resampled ``values`` the type of ``x``; normals are first divided by their length.

    Normals of length 1/2 or less become the zero vector.
    """
    if isinstance(x, Normals):
        length = values.square().sum(-3, keepdim=True).sqrt()  # far faster than norm here
        # A cubic blend of ignored pixels with few others can even be turned round.
        values = torch.where(length > 0.5, values / length, 0)
    return wrap(values, like=x)


def zoomed(x: TVTensor, zoom: float) -> TVTensor:
    """Adapt the values to an image that was enlarged ``zoom`` times.

    Depth is divided by ``zoom``. Positive disparity is multiplied by it. Other entries stay.
    """
    values = x.as_subclass(Tensor)
    if isinstance(x, Depth):
        values = values / zoom
    elif isinstance(x, Disparity):
        values = torch.where(values > 0, values * zoom, values)  # not the -1 of invalid pixels
    return wrap(values, like=x)


def _rolled(x: TVTensor, degrees: float) -> TVTensor:
    """Rotate normals clockwise about the optical axis; other entries stay."""
    if not isinstance(x, Normals):
        return x
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    nx, ny, nz = x.as_subclass(Tensor).unbind(-3)
    return wrap(torch.stack((cos * nx - sin * ny, sin * nx + cos * ny, nz), -3), like=x)


def _refuse(x: TVTensor, transform: str) -> None:
    if not isinstance(x, Labels):
        raise ValueError(f"{type(x).__name__.lower()} cannot follow {transform}")


@F.register_kernel(F.horizontal_flip, Normals)
def _horizontal_flip(x):
    nx, ny, nz = F.horizontal_flip(x.as_subclass(Tensor)).unbind(-3)
    return wrap(torch.stack((-nx, ny, nz), -3), like=x)


@F.register_kernel(F.vertical_flip, Normals)
def _vertical_flip(x):
    nx, ny, nz = F.vertical_flip(x.as_subclass(Tensor)).unbind(-3)
    return wrap(torch.stack((nx, -ny, nz), -3), like=x)


@F.register_kernel(F.pad, Entry)
def _pad(x, padding, fill=None, padding_mode="constant"):
    return wrap(F.pad(x.as_subclass(Tensor), padding), like=x)


@F.register_kernel(F.resize, Entry)
def _resize(x, size, interpolation=NEAREST, max_size=None, antialias=True):
    mode = _mode(x, interpolation)
    return unit(x, F.resize(x.as_subclass(Tensor), size, mode, max_size, antialias))


@F.register_kernel(F.resized_crop, Entry)
def _resized_crop(x, top, left, height, width, size, interpolation=NEAREST, antialias=True):
    if isinstance(x, Depth | Disparity):
        _refuse(x, "RandomResizedCrop, whose zoom differs along the axes: use RandomZoom")
    return F.resize(F.crop(x, top, left, height, width), size, interpolation, None, antialias)


@F.register_kernel(F.rotate, Entry)
def _rotate(x, angle, interpolation=NEAREST, expand=False, center=None, fill=None):
    values = F.rotate(x.as_subclass(Tensor), angle, _mode(x, interpolation), expand, center)
    return _rolled(unit(x, values), -angle)  # counter-clockwise here, clockwise in affine


@F.register_kernel(F.affine, Entry)
def _affine(x, angle, translate, scale, shear, interpolation=NEAREST, fill=None, center=None):
    if any(shear):
        _refuse(x, f"a shear, got {shear}")
    mode = _mode(x, interpolation)
    values = F.affine(x.as_subclass(Tensor), angle, translate, scale, shear, mode, center=center)
    return _rolled(zoomed(unit(x, values), scale), angle)


def _warp(functional, x, *args, interpolation=NEAREST, fill=None, **options):
    _refuse(x, f"{functional.__name__} transforms")
    values = functional(x.as_subclass(Tensor), *args, interpolation=NEAREST, **options)
    return wrap(values, like=x)


F.register_kernel(F.perspective, Entry)(partial(_warp, F.perspective))
F.register_kernel(F.elastic, Entry)(partial(_warp, F.elastic))

"""Transforms that torchvision lacks: zooms, padding, crops and colours of the protocols."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image, TVTensor, wrap

from .entries import NEAREST, Normals, unit, zoomed

__all__ = ["PadTo", "Photometric", "RandomScale", "RandomZoom", "VariedCrop"]


class RandomZoom(v2.Transform):
    """Crop 1/s of both sides at a random place and resize it back: a zoom by s.

    The crop is floor(H/s) x floor(W/s). Image and normals are resized bilinearly with aligned
    corners, other entries by the nearest pixel; depth is divided by s, disparity multiplied. After
    ``RandomScaleCrop`` of lorenmt/mtan, which leaves the normals as they blend; here they are
    unit again.

    Args:
        scales: the values of s, each equally likely.

    Raises:
        ValueError: no scales, or one under 1.

    Example:
        >>> crop = RandomZoom((2.0,))(Image(torch.rand(3, 8, 8)))
        >>> tuple(crop.shape)
        (3, 8, 8)
    """

    def __init__(self, scales: Sequence[float] = (1.0, 1.2, 1.5)) -> None:
        super().__init__()
        if not scales or min(scales) < 1:
            raise ValueError(f"scales must be 1 or more, got {tuple(scales)}")
        self.scales = tuple(scales)

    def make_params(self, flat_inputs: list) -> dict:
        h, w = v2.query_size(flat_inputs)
        zoom = self.scales[_draw(len(self.scales))]
        height, width = int(h / zoom), int(w / zoom)
        box = (_draw(h - height + 1), _draw(w - width + 1), height, width)
        return {"zoom": zoom, "box": box, "size": [h, w]}

    def transform(self, inpt: TVTensor, params: dict) -> TVTensor:
        crop = F.crop(inpt, *params["box"])
        if isinstance(inpt, Image | Normals):
            values = torch.nn.functional.interpolate(
                crop.as_subclass(Tensor)[None], params["size"], mode="bilinear", align_corners=True
            )
            return unit(inpt, values[0])
        return zoomed(F.resize(crop, params["size"], NEAREST), params["zoom"])


class RandomScale(v2.Transform):
    """Resize to floor(H·s) x floor(W·s), s uniform in a range: a zoom, if a fixed crop follows.

    The image is resized bilinearly without antialiasing, all targets by the nearest pixel; depth
    is divided by s, disparity multiplied. After ``RandomScaling`` of the MLoRE repository
    and ``DataTransform`` of lorenmt/auto-lambda.

    Args:
        low, high: the range of s.

    Raises:
        ValueError: not 0 < low <= high.

    Example:
        >>> tuple(RandomScale(0.5, 0.5)(Image(torch.rand(3, 8, 9))).shape)
        (3, 4, 4)
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not 0 < low <= high:
            raise ValueError(f"must be 0 < low <= high, got low={low}, high={high}")
        self.low, self.high = low, high

    def make_params(self, flat_inputs: list) -> dict:
        h, w = v2.query_size(flat_inputs)
        zoom = _uniform(self.low, self.high)
        return {"zoom": zoom, "size": [int(h * zoom), int(w * zoom)]}

    def transform(self, inpt: TVTensor, params: dict) -> TVTensor:
        mode = InterpolationMode.BILINEAR if isinstance(inpt, Image) else NEAREST
        return zoomed(F.resize(inpt, params["size"], mode, antialias=False), params["zoom"])


class PadTo(v2.Transform):
    """Pad to at least size x size, around the centre or at the right and the bottom."""

    def __init__(self, size: int, centre: bool, padding_mode: str = "constant") -> None:
        super().__init__()
        self.size, self.centre, self.padding_mode = size, centre, padding_mode

    def make_params(self, flat_inputs: list) -> dict:
        h, w = v2.query_size(flat_inputs)
        down, right = max(self.size - h, 0), max(self.size - w, 0)
        if self.padding_mode == "reflect" and (down >= h or right >= w):
            raise ValueError(
                f"an image of {h}x{w} is too small to be mirrored to crop={self.size}: "
                f"choose crop={2 * min(h, w) - 1} or less"
            )
        top, left = (down // 2, right // 2) if self.centre else (0, 0)
        return {"padding": [left, top, right - left, down - top]}

    def transform(self, inpt: TVTensor, params: dict) -> TVTensor:
        return F.pad(inpt, params["padding"], fill=0, padding_mode=self.padding_mode)


class VariedCrop:
    """Crop at most size x size; up to ten times anew while one class fills ``share`` of it."""

    def __init__(self, size: int, task: str, share: float = 0.75, retries: int = 10) -> None:
        self.size, self.task, self.share, self.retries = size, task, share, retries

    def __call__(self, entries: dict[str, TVTensor], inside: TVTensor) -> tuple:
        h, w = inside.shape[-2:]
        height, width = min(self.size, h), min(self.size, w)
        for _ in range(self.retries + 1):
            box = (_draw(h - height + 1), _draw(w - width + 1), height, width)
            if self.task not in entries:
                break
            labels = F.crop(entries[self.task], *box).as_subclass(Tensor)
            counts = labels[labels >= 0].bincount(minlength=1)
            if counts.max() < self.share * counts.sum():
                break
        return {name: F.crop(x, *box) for name, x in entries.items()}, F.crop(inside, *box)


class Photometric(v2.Transform):
    """Brightness, contrast, saturation and hue of the image, each with probability 1/2.

    As in the MLoRE repository: brightness is added, contrast is a factor, saturation is that of
    HSV, contrast comes before or after the colours. In ``v2.RandomPhotometricDistort`` brightness
    is a factor, contrast and saturation blend with grey, and channels are swapped.
    """

    def make_params(self, flat_inputs: list) -> dict:
        drawn = {
            "brightness": _uniform(-32 / 255, 32 / 255),
            "contrast": _uniform(0.5, 1.5),
            "saturation": _uniform(0.5, 1.5),
            "hue": _uniform(-0.1, 0.1),  # of the circle; 18 of OpenCV's 180
        }
        steps = ["contrast", "saturation", "hue"] if _draw(2) else ["saturation", "hue", "contrast"]
        return {step: drawn[step] for step in ["brightness", *steps] if _draw(2)}

    def transform(self, inpt: TVTensor, params: dict) -> TVTensor:
        if not isinstance(inpt, Image):
            return inpt
        x = inpt.as_subclass(Tensor)
        for step, by in params.items():
            if step == "brightness":
                x = (x + by).clamp(0, 1)
            elif step == "contrast":
                x = (x * by).clamp(0, 1)
            elif step == "saturation":
                value, least = x.amax(-3, keepdim=True), x.amin(-3, keepdim=True)
                most = value / (value - least).clamp(min=1e-6)  # where saturation reaches 1
                x = (value - (value - x) * most.clamp(max=by)).clamp(0, 1)
            else:
                x = F.adjust_hue(x, by)
        return wrap(x, like=inpt)


def _draw(n: int) -> int:
    return int(torch.randint(n, ()))


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))

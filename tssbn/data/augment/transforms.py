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
    """Zoom in by a random factor s: take a random crop and resize it to the original size.

    The crop is floor(H/s) x floor(W/s) pixels. Image and normals are resized bilinearly with
    aligned corners; other entries take the nearest pixel. Depth is divided by s, disparity is
    multiplied by s. This is ``RandomScaleCrop`` of lorenmt/mtan with one difference: resized
    normals are divided by their length.

    Args:
        scales: the possible values of s, each equally likely.

    Raises:
        ValueError: ``scales`` is empty, or one of them is under 1.

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
    """Resize to floor(H·s) x floor(W·s), with s drawn uniformly from a range.

    Followed by a crop of fixed size, this is a zoom by s: so depth is divided by s, and disparity
    is multiplied by s. The image is resized bilinearly without antialiasing; all targets take the
    nearest pixel. The source is ``RandomScaling`` of the MLoRE repository and ``DataTransform`` of
    lorenmt/auto-lambda.

    Args:
        low, high: the smallest and the largest s.

    Raises:
        ValueError: ``0 < low <= high`` is not true.

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
    """Pad an image to size x size; one that is larger along an axis keeps its size there.

    Args:
        size: in pixels.
        centre: whether to pad equally on all sides, or at the right and the bottom only.
        padding_mode: ``"constant"`` for zeros, or ``"reflect"`` for the mirror image.

    Raises:
        ValueError: in a call: the image is too small to be mirrored up to ``size``.
    """

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
    """Take a random crop of at most size x size that several classes share.

    Another crop is drawn, at most ``retries`` times, while one class fills ``share`` or more of the
    labelled pixels. Without an entry ``task``, the first crop is taken.

    Args:
        size: in pixels.
        task: the name of the entry with the class of each pixel.
        share: from 0 to 1.
        retries: how many more crops to draw at most.
    """

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
    """Change brightness, contrast, saturation and hue of the image, each with probability 1/2.

    This is the distortion of the MLoRE repository. It adds a number to the brightness, multiplies
    all values for the contrast, and changes the saturation of HSV. Contrast comes before or after
    the saturation and the hue, with probability 1/2. ``v2.RandomPhotometricDistort`` differs: it
    multiplies for the brightness, blends with grey for contrast and saturation, and permutes the
    channels.
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

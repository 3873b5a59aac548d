"""Augmentation that moves the image and every target of a sample together.

The transforms are those of ``torchvision.transforms.v2``. :class:`Augment` shows each entry to
them as a tensor of its own type (:mod:`tssbn.data.entries`), which says what a flip, a rotation or
a zoom does to it:

========= ============ ================== ======================================
entry     resampled    by a zoom of s     by a flip or a rotation
========= ============ ================== ======================================
image     as asked for stays              moves
classes   nearest      stays              moves
depth     nearest      is divided by s    moves
disparity nearest      is multiplied by s moves
normal    as the image stays              moves, and its vectors turn or mirror
attribute              stays              stays
========= ============ ================== ======================================

Depth divided by s and normals as they were show the scene shrunk by s, in a camera of s times the
focal length. A zoom is ``v2.RandomAffine`` with a ``scale``, :class:`RandomZoom` or
:class:`RandomScale`; ``v2.Resize`` and its random relatives only change the resolution.

Normals that are resampled are made unit again. Where the blend is shorter than 1/2, mostly ignored
pixels or opposite directions met, and it becomes the zero vector. Pixels that come from outside of
the image get the target's ``ignore`` (normals the zero vector), whatever a transform fills or
mirrors into the image there.

:func:`nyuv2`, :func:`cityscapes`, :func:`pascal5` and :func:`pascal4` are the pipelines of the
benchmarks' protocols, as in ``NYUv2(root, "train", transform=nyuv2(NYUv2.targets))``.

All random numbers come from torch's global generator, so ``torch.manual_seed`` makes a run
repeatable. A ``DataLoader`` with workers seeds them from that generator, or from the ``generator``
that it is given; what they draw changes with their number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image, TVTensor, wrap

from tssbn.data.entries import ENTRIES, Labels, Normals, unit, zoomed
from tssbn.data.real.set import Transform
from tssbn.data.target import Target

__all__ = ["Augment", "RandomScale", "RandomZoom", "cityscapes", "nyuv2", "pascal4", "pascal5"]

NEAREST = InterpolationMode.NEAREST
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Augment:
    """Apply v2 transforms to a sample: one draw, all entries.

    Args:
        targets: what the entries of the samples hold, as the data set's ``targets`` tells.
        transforms: of ``torchvision.transforms.v2``, in the order of application. They get
            ``(entries, inside)``: a dict of tv_tensors, all (C, H, W) on one canvas, and a mask
            (1, H, W) that is 1 on the pixels of the image.
        fill: for some tasks, a value other than ``ignore`` for pixels from outside of the image.

    A call takes a sample, a dict of plain tensors on any one device, and returns a new one: types
    stay, tensors are contiguous. Batches are refused, since every sample is to have a draw of its
    own.

    Raises:
        ValueError: ``fill`` names no target; in a call: the sample has not the entries that
            ``targets`` tells, one has another shape than its image asks for, or pixels come from
            outside of the image for a target without ``ignore``; depth, disparity or normals meet
            a transform that no camera does (perspective, elastic, shear), or depth or disparity a
            ``RandomResizedCrop``, whose zoom differs along the two axes.
        TypeError: ``transforms`` is one transform; in a call: the sample is no dict, or its image
            is of an integer type.

    Example:
        >>> targets = {"depth": Target("depth", ignore=0), "Smiling": Target("attribute")}
        >>> augment = Augment(targets, [v2.RandomAffine(degrees=0, scale=(2, 2))])
        >>> sample = {"image": torch.rand(3, 4, 4), "depth": torch.full((1, 4, 4), 3.0),
        ...           "Smiling": torch.tensor(1)}
        >>> near = augment(sample)
        >>> near["depth"].unique(), near["Smiling"]
        (tensor([1.5000]), tensor(1))
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        transforms: Sequence[Callable],
        fill: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(transforms, Iterable):
            raise TypeError(f"transforms must be a list of transforms, got {transforms!r}")
        fill = dict(fill or {})
        if not fill.keys() <= targets.keys():
            raise ValueError(f"fill must name some of {sorted(targets)}, got {sorted(fill)}")
        self.targets, self.transform = dict(targets), v2.Compose([*transforms, v2.Identity()])
        self.fill = {
            name: 0 if target.kind == "normal" else fill.get(name, target.ignore)
            for name, target in targets.items()
            if target.dense
        }

    def __call__(self, sample: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._check(sample)
        entries = {"image": Image(sample["image"])}
        for name in self.fill:
            kind = self.targets[name].kind
            value = sample[name].unsqueeze(0) if kind == "classes" else sample[name]
            entries[name] = value.as_subclass(ENTRIES[kind])
        inside = torch.ones_like(sample["image"][:1], dtype=torch.uint8).as_subclass(Labels)

        entries, inside = self.transform(entries, inside)
        outside = inside.as_subclass(Tensor) == 0
        changed = {"image": entries["image"].as_subclass(Tensor)}
        for name, fill in self.fill.items():
            if fill is not None:
                value = entries[name].as_subclass(Tensor).masked_fill(outside, fill)
            elif outside.any():
                raise ValueError(
                    f"{name!r} has no ignore value for the pixels from outside of the image: "
                    f"give one, fill={{{name!r}: ...}}"
                )
            else:
                value = entries[name].as_subclass(Tensor)
            changed[name] = value.squeeze(0) if self.targets[name].kind == "classes" else value
        return {name: changed.get(name, sample[name]).contiguous() for name in sample}

    def _check(self, sample: Mapping[str, Tensor]) -> None:
        if not isinstance(sample, Mapping):
            raise TypeError(f"sample must be a dict of tensors, got {type(sample).__name__}")
        if sample.keys() != {"image", *self.targets}:
            raise ValueError(
                f"sample must hold 'image' and one entry for each target {sorted(self.targets)}, "
                f"got {sorted(sample)}"
            )
        image = sample["image"]
        if image.ndim != 3 or len(image) != 3:
            raise ValueError(
                f"sample['image'] must have shape (3, H, W), got {tuple(image.shape)}: "
                f"samples are augmented one by one, then batched"
            )
        if not image.is_floating_point():
            raise TypeError(f"sample['image'] must be floating in [0, 1], got {image.dtype}")
        size = tuple(image.shape[1:])
        for name, target in self.targets.items():
            expected, got = target.shape(*size), tuple(sample[name].shape)
            if got != expected:
                raise ValueError(
                    f"sample[{name!r}] must have shape {expected} as its image is "
                    f"{size[0]}x{size[1]}, got {got}"
                )


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


def nyuv2(targets: Mapping[str, Target], scales: Sequence[float] = (1.0, 1.2, 1.5)) -> Transform:
    """Training samples of NYUv2 (after lorenmt/mtan): a zoom, and a flip with probability 1/2.

    Args:
        targets: of the data set.
        scales: as :class:`RandomZoom` takes them.

    Example:
        >>> targets = {"depth": Target("depth", ignore=0)}
        >>> sample = {"image": torch.rand(3, 6, 8), "depth": torch.full((1, 6, 8), 3.0)}
        >>> transform = nyuv2(targets, scales=(1.5,))
        >>> transform(sample)["depth"].unique()
        tensor([2.])
    """
    return Augment(targets, [RandomZoom(scales), v2.RandomHorizontalFlip()])


def cityscapes(
    targets: Mapping[str, Target], crop: int = 256, scale: tuple[float, float] = (1.0, 1.0)
) -> Transform:
    """Training samples of Cityscapes (after lorenmt/auto-lambda): a square crop, and a flip.

    Images under the size of the crop are mirrored at the right and the bottom; all class targets
    are -1 there, also those that have no ``ignore``.

    Args:
        targets: of the data set.
        crop: side of the crop in pixels.
        scale: the range of :class:`RandomScale`; the protocol has scale 1 alone.

    Example:
        >>> targets = {"segmentation": Target("classes", ("road", "car"), ignore=-1)}
        >>> sample = {"image": torch.rand(3, 6, 12),
        ...           "segmentation": torch.ones(6, 12, dtype=torch.long)}
        >>> cropped = cityscapes(targets, crop=8)(sample)
        >>> tuple(cropped["image"].shape), cropped["segmentation"][:, 0].tolist()
        ((3, 8, 8), [1, 1, 1, 1, 1, 1, -1, -1])
    """
    return Augment(
        targets,
        [
            RandomScale(*scale),
            PadTo(crop, centre=False, padding_mode="reflect"),
            v2.RandomCrop(crop),
            v2.RandomHorizontalFlip(),
        ],
        fill={name: -1 for name, target in targets.items() if target.kind == "classes"},
    )


def pascal5(
    targets: Mapping[str, Target],
    train: bool = True,
    size: int = 512,
    scale: tuple[float, float] = (0.5, 2.0),
) -> Transform:
    """Samples of PascalContext with five tasks (after the MLoRE repository).

    Training: :class:`RandomScale`, a crop that is drawn up to ten times anew while it shows one
    class only or one that fills 75 % of the labelled pixels (of ``"segmentation"``, where that is
    among the targets), a flip, a photometric distortion. Training and test: ImageNet's mean and
    deviation, then padding around the centre, so that the image is 0 there; larger images are
    not cut in a test. Human parts (``"parts"``) of an image that shows none are ignored as a
    whole, since nobody may have annotated them.

    Args:
        targets: of the data set.
        train: ``False`` for the transform of the test.
        size: side of crop and padding in pixels.
        scale: the range of s.

    Example:
        >>> targets = {"saliency": Target("classes", ("background", "salient"), ignore=-1)}
        >>> sample = {"image": torch.rand(3, 4, 6), "saliency": torch.ones(4, 6, dtype=torch.long)}
        >>> padded = pascal5(targets, train=False, size=6)(sample)
        >>> padded["saliency"][:, 0].tolist()
        [-1, 1, 1, 1, 1, -1]
        >>> padded["image"][:, 0].abs().max()
        tensor(0.)
    """
    steps = [v2.Normalize(**IMAGENET), PadTo(size, centre=True)]
    if train:
        crop = VariedCrop(size, "segmentation")
        steps = [RandomScale(*scale), crop, v2.RandomHorizontalFlip(), Photometric(), *steps]
    return _without_unlabelled_parts(targets, Augment(targets, steps))


def pascal4(
    targets: Mapping[str, Target],
    train: bool = True,
    size: int = 448,
    degrees: float = 20,
    scale: tuple[float, float] = (0.75, 1.25),
) -> Transform:
    """Samples of PascalContext with four tasks (after scale-lab/MTLoRA).

    Training: a flip, then a rotation and zoom about the centre, bilinear for image and normals
    (the protocol has cubic there, which torchvision does not do on tensors). What comes from
    outside is black and, as the protocol has it, background: class 0 rather than ignored. Training
    and test: resized to a square, which changes the aspect (image and normals cubic), and
    ImageNet's mean and deviation. Human parts (``"parts"``) of an image that shows none are
    ignored as a whole.

    Args:
        targets: of the data set.
        train: ``False`` for the transform of the test.
        size: side of the square in pixels.
        degrees: of rotation at most, either way.
        scale: the range of the zoom.

    Example:
        >>> targets = {"saliency": Target("classes", ("background", "salient"), ignore=-1)}
        >>> sample = {"image": torch.rand(3, 4, 6), "saliency": torch.ones(4, 6, dtype=torch.long)}
        >>> far = pascal4(targets, size=8, degrees=0, scale=(0.5, 0.5))(sample)
        >>> tuple(far["image"].shape), far["saliency"][:, 4].tolist()
        ((3, 8, 8), [0, 0, 1, 1, 1, 1, 0, 0])
    """
    steps = [
        v2.Resize((size, size), InterpolationMode.BICUBIC, antialias=False),
        v2.Normalize(**IMAGENET),
    ]
    if train:
        warp = v2.RandomAffine(degrees, scale=scale, interpolation=InterpolationMode.BILINEAR)
        steps = [v2.RandomHorizontalFlip(), warp, *steps]
    fill = {name: 0 for name, target in targets.items() if target.kind == "classes"}
    return _without_unlabelled_parts(targets, Augment(targets, steps, fill))


def _without_unlabelled_parts(targets: Mapping[str, Target], augment: Augment) -> Transform:
    if "parts" not in targets:
        return augment
    return v2.Compose([augment, partial(_ignore_if_empty, name="parts")])


def _ignore_if_empty(sample: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    labels = sample[name]
    return sample if (labels > 0).any() else {**sample, name: torch.full_like(labels, -1)}


def _draw(n: int) -> int:
    return int(torch.randint(n, ()))


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))

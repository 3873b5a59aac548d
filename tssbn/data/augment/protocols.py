"""The augmentation of each benchmark's protocol."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from tssbn.data.real.dataset import Transform
from tssbn.data.target import Target

from .sample import Augment
from .transforms import PadTo, Photometric, RandomScale, RandomZoom, VariedCrop

__all__ = ["cityscapes", "nyuv2", "pascal4", "pascal5"]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


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

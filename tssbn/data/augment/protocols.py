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
    """Return the training augmentation of NYUv2, that of the repository lorenmt/mtan.

    It zooms at random (:class:`RandomZoom`) and flips left to right with probability 1/2.

    Args:
        targets: the ``targets`` of the data set.
        scales: the zoom factors, each equally likely and at least 1.

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
    """Return the training augmentation of Cityscapes, that of the repository lorenmt/auto-lambda.

    It takes a random square crop and flips left to right with probability 1/2. An image that is
    smaller than the crop is first extended at the right and the bottom by its mirror image. The
    added pixels are void: -1 in all targets of kind ``classes``, also in those without ``ignore``.

    Args:
        targets: the ``targets`` of the data set.
        crop: the side of the crop in pixels.
        scale: the range (low, high) of a random resizing before the crop (:class:`RandomScale`).
            The protocol has none, which is the range (1, 1).

    Raises:
        ValueError: in a call: the image is too small to be mirrored up to ``crop``.

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
    """Return the augmentation of PascalContext with five tasks, that of the MLoRE repository.

    In training it does, one after another:

    - a random resizing (:class:`RandomScale`);
    - a random crop of at most size x size. If ``"segmentation"`` is a target and one class fills
      75 % or more of the labelled pixels, another crop is drawn, up to ten times;
    - a flip left to right with probability 1/2;
    - random changes of the colours (``tssbn.data.augment.transforms.Photometric``).

    In training and in the test, it then normalises the image with ImageNet's mean and standard
    deviation, and pads it with 0 on all four sides to size x size. In the test, larger images keep
    their size. If ``"parts"`` (parts of the human body) has no part in an image, the whole map
    becomes -1, since people in it may not have been annotated.

    Args:
        targets: the ``targets`` of the data set.
        train: whether to return the transform of the training, or that of the test.
        size: the side of the crop and of the padded image in pixels.
        scale: the range (low, high) of the factor of the random resizing.

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
    """Return the augmentation of PascalContext with four tasks, that of scale-lab/MTLoRA.

    In training it flips left to right with probability 1/2, then rotates and zooms about the
    centre. Image and normals are interpolated bilinearly; the protocol interpolates cubically,
    which torchvision does not offer for a rotation of tensors. Pixels from outside of the image are
    black, and class 0, the background, in all targets of kind ``classes``: the protocol does not
    ignore them.

    In training and in the test, it then resizes the sample to a square, which changes the aspect
    (image and normals cubically), and normalises the image with ImageNet's mean and standard
    deviation. If ``"parts"`` (parts of the human body) has no part in an image, the whole map
    becomes -1.

    Args:
        targets: the ``targets`` of the data set.
        train: whether to return the transform of the training, or that of the test.
        size: the side of the square in pixels.
        degrees: the largest angle of the rotation in either direction.
        scale: the range (low, high) of the zoom factor.

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

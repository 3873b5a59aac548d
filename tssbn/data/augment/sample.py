"""One draw of transforms for the image and all targets of a sample."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.tv_tensors import Image

from tssbn.data.target import Target

from .entries import ENTRIES, Labels

__all__ = ["Augment"]


class Augment:
    """Apply transforms to the image and all targets of a sample, with the same random parameters.

    A call takes one sample, a dict of tensors that are all on one device, and returns a new dict.
    The types of the tensors stay, and the tensors are contiguous. A batch is an error, because each
    sample needs random parameters of its own.

    Args:
        targets: the ``targets`` of the data set.
        transforms: transforms of ``torchvision.transforms.v2``, in the order of application. Each
            is called with ``(entries, inside)``: the entries are a dict of tv_tensors (C, H, W) of
            the same height and width, and ``inside`` is a mask (1, H, W) that is 1 on the pixels of
            the original image.
        fill: task → value of the pixels from outside of the image, for tasks where it is not the
            ``ignore`` of the target.

    Raises:
        ValueError: ``fill`` has a name that is no target. In a call: the sample does not have
            exactly the image and the targets; an entry does not have the shape that its target and
            the image imply; pixels come from outside of the image and a target has no ``ignore``;
            the targets include depth, disparity or normals and the transform is a perspective, an
            elastic one or a shear; they include depth or disparity and the transform is
            ``RandomResizedCrop``, which zooms by different factors along the two axes.
        TypeError: ``transforms`` is a single transform. In a call: the sample is no dict, or its
            image is of an integer type.

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

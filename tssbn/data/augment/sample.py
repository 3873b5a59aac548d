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

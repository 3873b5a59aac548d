"""CIFAR-10, held on a device, where whole epochs are cropped and flipped."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10

from tssbn.data.real.files import image
from tssbn.training.batches import workers

SIZE, PADDING = 32, 4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # of the training images
ENDINGS = (".png", ".jpg", ".jpeg")
CHUNK = 500  # images that a process decodes before it hands them over


@dataclass(frozen=True)
class Images:
    """The images of a split.

    Attributes:
        pixels: (N, 32, 32, 3), uint8.
        labels: (N,), int64: places in `classes`.
        classes: names.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Images":
        """The same on another device."""
        return Images(self.pixels.to(device), self.labels.to(device), self.classes)

    def digest(self) -> str:
        """SHA-256 of pixels and labels."""
        digest = hashlib.sha256()
        for values in (self.pixels, self.labels):
            digest.update(values.cpu().contiguous().numpy())
        return digest.hexdigest()


def read(root: Path) -> dict[str, Images]:
    """The two splits, on the CPU.

    Args:
        root: holds ``cifar-10-batches-py``, as torchvision fetches it, or
            ``{train,test}/<class>/<image>``, PNG or JPEG, which are decoded.

    Raises:
        FileNotFoundError: a folder is missing, or a class has no image.
        ValueError: the splits differ in their classes; an image does not read, or has another size.
    """
    if (root / CIFAR10.base_folder).is_dir():
        return {split: _published(CIFAR10(root, split == "train")) for split in ("train", "test")}
    splits = {split: _read(root / split) for split in ("train", "test")}
    train, test = (splits[split].classes for split in splits)
    if train != test:
        raise ValueError(f"{root}: the classes of train are {train}, those of test {test}")
    return splits


def _published(data: CIFAR10) -> Images:
    return Images(torch.from_numpy(data.data), torch.tensor(data.targets), tuple(data.classes))


def _read(folder: Path) -> Images:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: it must hold a folder for each class")
    classes = tuple(sorted(path.name for path in folder.glob("[!.]*") if path.is_dir()))
    if not classes:
        raise FileNotFoundError(f"{folder} has no folders: it must hold one for each class")
    files, labels = [], []
    for label, name in enumerate(classes):
        own = sorted(p for p in (folder / name).glob("[!.]*") if p.suffix.lower() in ENDINGS)
        if not own:
            raise FileNotFoundError(f"{folder / name} has no image ({', '.join(ENDINGS)})")
        files += own
        labels += [label] * len(own)
    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    processes = workers() if len(chunks) > 1 else 0
    loader = DataLoader(chunks, batch_size=None, num_workers=processes, collate_fn=_decode)
    return Images(torch.cat(list(loader)), torch.tensor(labels), classes)


def _decode(files: Sequence[Path]) -> Tensor:
    pixels = np.empty((len(files), SIZE, SIZE, 3), np.uint8)
    for place, file in zip(pixels, files, strict=True):
        decoded = image(file, "RGB")
        if decoded.shape != place.shape:
            height, width = decoded.shape[:2]
            raise ValueError(f"{file} has {height}x{width} pixels, expected {SIZE}x{SIZE}")
        place[:] = decoded
    return torch.from_numpy(pixels)


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of each image, padded by four black pixels, every other one flipped.

    Args:
        pixels: (N, 32, 32, 3), uint8.
        generator: on their device.
    """
    n, device = len(pixels), pixels.device
    top, left = torch.randint(2 * PADDING + 1, (2, n), generator=generator, device=device)
    flip = torch.randint(2, (n,), generator=generator, device=device).bool()
    return cropped(pixels, top, left, flip)


def cropped(pixels: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
    """The crop of each padded image that begins at a row and a column, flipped or not; all (N,)."""
    padded = F.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))
    steps = torch.arange(SIZE, device=pixels.device)
    rows = top[:, None] + steps
    columns = left[:, None] + torch.where(flip[:, None], SIZE - 1 - steps, steps)
    own = torch.arange(len(pixels), device=pixels.device)
    return padded[own[:, None, None], rows[:, :, None], columns[:, None, :]]


class Normalise:
    """Pixels (N, 32, 32, 3), uint8, to what a network takes: (N, 3, 32, 32), float."""

    def __init__(self, device: torch.device, memory_format: torch.memory_format) -> None:
        self.mean, self.std = (255 * torch.tensor(value, device=device) for value in (MEAN, STD))
        self.memory_format = memory_format

    def __call__(self, pixels: Tensor) -> Tensor:
        images = (pixels - self.mean) / self.std
        return images.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)

"""Batches of a data set: decoded once where that fits into memory, and cut for each process."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from tssbn.data.real.dataset import Transform
from tssbn.data.stored import Stored

__all__ = ["Batches", "content", "deal", "hold", "labels", "mixed", "shuffled"]

HELD = 8 * 2**30  # bytes of a decoded data set that are kept in memory
SHARE = 1 / 4  # of the free memory of a GPU; the rest is the network's


def mixed(*numbers: int) -> int:
    """A seed out of several numbers, unlike that of any others.

    Example:
        >>> mixed(0, 1) == mixed(1, 0)
        False
    """
    (state,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state >> np.uint64(1))  # torch takes signed ones


def shuffled(
    n: int, size: int, seed: int, rank: int = 0, world: int = 1, least: int = 2
) -> list[Tensor]:
    """The rows of each training batch, in random order; each process takes its part of a batch.

    The last batch has what is left. With several processes, images that would make the parts
    unequal are left out.

    Args:
        n: images of the data set.
        size: images of a batch, of all processes together.
        seed: of the order.
        rank, world: which process this is, and how many there are.
        least: a last batch with fewer images for a process is left out: a BatchNorm over 1x1 maps
            cannot normalise a single image.

    Raises:
        ValueError: ``size`` cannot be cut into equal parts, or no batch is left.

    Example:
        >>> [len(rows) for rows in shuffled(11, 4, seed=0)]
        [4, 4, 3]
        >>> [len(rows) for rows in shuffled(9, 4, seed=0)]
        [4, 4]
    """
    if size % world:
        raise ValueError(f"batch={size} must be a multiple of the {world} processes")
    least = min(least, size // world)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts = [rows[: len(rows) // world * world] for rows in order.split(size)]
    batches = [rows[rank::world] for rows in parts if len(rows) // world >= least]
    if not batches:
        raise ValueError(f"{n} training images make no batch of {least} for {world} processes")
    return batches


def deal(n: int, size: int, rank: int = 0, world: int = 1) -> list[Tensor]:
    """The rows of each batch in order, every row in one process; whole batches go round.

    Example:
        >>> deal(5, 2, rank=1, world=2)
        [tensor([2, 3])]
    """
    return list(torch.arange(n).split(size)[rank::world])


class Batches:
    """Batches of a data set on a device; iterate with the rows of each.

    Args:
        data: has ``targets``. Batches of a :class:`~tssbn.data.stored.Stored` that are not
            augmented are taken from it in one piece, other samples are taken one by one.
        device: where the batches go.
        scale: of the images.
        augment: of a sample.
        memory_format: of the images.
    """

    def __init__(
        self,
        data: Dataset,
        device: torch.device,
        scale: Callable[[Tensor], Tensor],
        augment: Transform | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.data, self.device, self.scale = data, device, scale
        self.augment, self.memory_format = augment, memory_format

    def __call__(self, rows: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
        """The batches of these rows."""
        held = isinstance(self.data, Stored)
        loader = DataLoader(
            _Fetch(self.data, self.augment),
            batch_sampler=rows,
            collate_fn=_as_it_is,
            num_workers=0 if held else workers(),
            pin_memory=self.device.type == "cuda" and not held,
        )
        for batch in loader:
            batch = {name: x.to(self.device, non_blocking=True) for name, x in batch.items()}
            batch["image"] = self.scale(batch["image"]).contiguous(memory_format=self.memory_format)
            yield batch


class _Fetch(Dataset):
    """Whole batches, of the rows that a DataLoader asks for."""

    def __init__(self, data: Dataset, augment: Transform | None) -> None:
        self.data, self.augment = data, augment

    def __getitems__(self, rows: Tensor) -> dict[str, Tensor]:
        if isinstance(self.data, Stored) and self.augment is None:
            return self.data[rows]
        samples = [self.data[row] for row in rows.tolist()]
        if self.augment is not None:
            samples = [self.augment(sample) for sample in samples]
        return default_collate(samples)


def _as_it_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch


def workers() -> int:
    """Processes that read files."""
    return min(8, os.cpu_count() or 1)


def hold(data: Dataset, device: torch.device | str = "cpu") -> Dataset:
    """The data set decoded, and on the device, as far as it fits.

    Decoded sets of up to 8 GiB are kept in memory; on a GPU where they take up to a quarter of what
    is free there. Larger ones stay files.

    Example:
        >>> made = Stored({"image": torch.rand(3, 1, 4, 4)}, {})
        >>> hold(made)
        Stored(3 samples: image 1x4x4)
    """
    device = torch.device(device)
    if not isinstance(data, Stored):
        if size(Stored.read(Subset(data, [0]))) * len(data) > HELD:
            return data
        data = Stored.read(data, workers())
    if device.type == "cuda" and size(data) <= SHARE * torch.cuda.mem_get_info(device)[0]:
        return data.to(device)
    return data


def size(data: Stored) -> int:
    """Bytes of the tensors."""
    return sum(value.nbytes for value in data.tensors.values())


def content(data: Dataset) -> str:
    """SHA-256 of what a data set holds; of a set that stays files, of their names and sizes."""
    if isinstance(data, Stored):
        return _sha256(data.tensors)
    digest = hashlib.sha256()
    files = sorted({file for i in range(len(data)) for file in data.files(i).values()})
    for file in files:
        name = file.relative_to(data.root).as_posix()
        digest.update(f"{name} {file.stat().st_size}\n".encode())
    return digest.hexdigest()


def labels(data: Dataset) -> str:
    """SHA-256 of the labels that are whole numbers, classes and attributes; else of all.

    Made data that were drawn elsewhere may differ in the last bits of images, depths or normals.
    They are the same data where these labels agree.

    Example:
        >>> made = Stored({"image": torch.rand(3, 1, 4, 4)}, {})
        >>> labels(made) == content(made)  # there is no label
        True
    """
    if not isinstance(data, Stored):
        return content(data)
    whole = [name for name, t in data.targets.items() if t.dtype is torch.int64]
    return _sha256({name: data.tensors[name] for name in whole} or data.tensors)


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()

"""Batches of a data set: decoded once where that fits into memory, and cut for each process."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.stored import Stored

__all__ = [
    "BatchLoader",
    "derive_seed",
    "epoch_batches",
    "fingerprint",
    "labels",
    "preload",
    "preload_all",
    "sha256",
    "shard",
]

HELD = 8 * 2**30  # bytes of a decoded data set that are kept in memory
SHARE = 1 / 4  # of the free memory of a GPU; the rest is the network's


def derive_seed(*numbers: int) -> int:
    """A seed out of several numbers, unlike that of any others.

    Example:
        >>> derive_seed(0, 1) == derive_seed(1, 0)
        False
    """
    (state,) = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(state >> np.uint64(1))  # torch takes signed ones


def epoch_batches(
    n: int, size: int, seed: int, rank: int = 0, world: int = 1, least: int = 2
) -> list[Tensor]:
    """The indices of each training batch, in random order; each process takes its part of a batch.

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
        >>> [len(indices) for indices in epoch_batches(11, 4, seed=0)]
        [4, 4, 3]
        >>> [len(indices) for indices in epoch_batches(9, 4, seed=0)]
        [4, 4]
    """
    if size % world:
        raise ValueError(f"batch={size} must be a multiple of the {world} processes")
    least = min(least, size // world)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    parts = [indices[: len(indices) // world * world] for indices in order.split(size)]
    batches = [indices[rank::world] for indices in parts if len(indices) // world >= least]
    if not batches:
        raise ValueError(
            f"{n} training images do not fill a batch of {least} for {world} processes"
        )
    return batches


def shard(n: int, size: int, rank: int = 0, world: int = 1) -> list[Tensor]:
    """The indices of each batch in order, every image in one process; whole batches go round.

    Example:
        >>> shard(5, 2, rank=1, world=2)
        [tensor([2, 3])]
    """
    return list(torch.arange(n).split(size)[rank::world])


class BatchLoader:
    """Batches of a data set on a device; call it with the indices of each.

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

    def __call__(self, indices: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
        """The batches of these indices."""
        held = isinstance(self.data, Stored)
        loader = DataLoader(
            _BatchDataset(self.data, self.augment),
            batch_sampler=indices,
            collate_fn=_identity,
            num_workers=0 if held else workers(),
            pin_memory=self.device.type == "cuda" and not held,
        )
        for batch in loader:
            batch = {name: x.to(self.device, non_blocking=True) for name, x in batch.items()}
            image = self.scale(batch["image"])
            if image.ndim == 4:  # vectors have one format only
                image = image.contiguous(memory_format=self.memory_format)
            batch["image"] = image
            yield batch


class _BatchDataset(Dataset):
    """Whole batches, of the indices that a DataLoader asks for."""

    def __init__(self, data: Dataset, augment: Transform | None) -> None:
        self.data, self.augment = data, augment

    def __getitems__(self, indices: Tensor) -> dict[str, Tensor]:
        if isinstance(self.data, Stored) and self.augment is None:
            return self.data[indices]
        samples = [self.data[index] for index in indices.tolist()]
        if self.augment is not None:
            samples = [self.augment(sample) for sample in samples]
        return default_collate(samples)


def _identity(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch


def workers() -> int:
    """Processes that read files: as many as the processors that this one may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)


def preload(data: Dataset, device: torch.device | str = "cpu") -> Dataset:
    """The data set decoded, and on the device, as far as it fits.

    Decoded sets of up to 8 GiB are kept in memory; on a GPU where they take up to a quarter of what
    is free there. Larger ones stay files, and so do those whose images differ in size.

    Example:
        >>> made = Stored({"image": torch.rand(3, 1, 4, 4)}, {})
        >>> preload(made)
        Stored(3 samples: image 1x4x4)
    """
    device = torch.device(device)
    if isinstance(data, RealSet):
        if data.sizes_differ and data.transform is None:
            return data
        data = data.decoded() or data
    if not isinstance(data, Stored):
        if size(Stored.read(Subset(data, [0]))) * len(data) > HELD:
            return data
        data = Stored.read(data, workers())
    if device.type == "cuda" and size(data) <= SHARE * torch.cuda.mem_get_info(device)[0]:
        return data.to(device)
    return data


def preload_all(
    sources: Mapping[str, Dataset],
    data: Mapping[str, Dataset] | Callable[[], Mapping[str, Dataset]],
    device: torch.device,
) -> dict[str, Dataset]:
    """The decoded data sets by split, those that are there already and the others.

    Args:
        sources: The data sets.
        data: Those that are there already, or what gives them.
        device: See :func:`preload`.

    Raises:
        ValueError: One that is there has another number of samples.
    """
    there = data() if callable(data) else data
    loaded = {
        split: there[split] if split in there else preload(source, device)
        for split, source in sources.items()
    }
    for split, source in sources.items():
        if len(loaded[split]) != len(source):
            raise ValueError(
                f"data[{split!r}] has {len(loaded[split])} samples, the benchmark {len(source)}"
            )
    return loaded


def size(data: Stored) -> int:
    """Bytes of the tensors."""
    return sum(value.nbytes for value in data.tensors.values())


def fingerprint(data: Dataset) -> str:
    """SHA-256 of what a data set holds; of a set that stays files, of their names and sizes."""
    if isinstance(data, Stored):
        return sha256(data.tensors)
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
        >>> labels(made) == fingerprint(made)  # there is no label
        True
    """
    if not isinstance(data, Stored):
        return fingerprint(data)
    whole = [name for name, t in data.targets.items() if t.dtype is torch.int64]
    return sha256({name: data.tensors[name] for name in whole} or data.tensors)


def sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors and their names, in alphabetical order."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()

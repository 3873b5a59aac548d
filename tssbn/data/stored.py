"""A data set held as whole tensors in compact types, in memory or on the GPU."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from tssbn.data.target import Target

__all__ = ["Stored", "targets_of"]

# From the smallest: what a tensor is kept in, if that gives every value back exactly.
FLOATS = (torch.uint8, torch.float16, torch.float32)  # uint8 holds the values k/255
INTEGERS = (torch.int8, torch.int16, torch.int64)
NUMBERS = FLOATS[1:]  # uint8 holds whole numbers


class Stored(Dataset):
    """A decoded data set in memory, held as one compact tensor for each entry.

    Images and labels have 8 bits and floats 16 bits where that is exact. Indexing converts samples
    to the types of :class:`~tssbn.data.target.Target`. Synthetic data have this form. :meth:`read`
    converts real data without changing any value.

    Args:
        tensors: ``"image"`` (N, C, H, W), uint8 for values k/255 or floating, and for each target
            a tensor of N entries: integers for classes and attributes, any type for numbers,
            floating or again uint8 for values k/255 for the rest. Missing labels are those of
            :class:`~tssbn.data.target.Target`: -1 or NaN.
        targets: what the entries hold.

    Raises:
        ValueError: an entry without a target or the other way round, or of another length.

    Example:
        >>> data = Stored(
        ...     {
        ...         "image": torch.full((4, 3, 2, 2), 255, dtype=torch.uint8),
        ...         "depth": torch.ones(4, 1, 2, 2, dtype=torch.float16),
        ...     },
        ...     {"depth": Target("depth", ignore=0)},
        ... )
        >>> data[0]["image"].max(), data[[0, 2]]["depth"].shape
        (tensor(1.), torch.Size([2, 1, 2, 2]))
    """

    def __init__(self, tensors: Mapping[str, Tensor], targets: Mapping[str, Target]) -> None:
        if set(tensors) != {"image", *targets}:
            raise ValueError(
                f"tensors must hold 'image' and one entry for each target {sorted(targets)}, "
                f"got {sorted(tensors)}"
            )
        lengths = {name: len(value) for name, value in tensors.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all entries must have as many samples, got {lengths}")
        self.tensors, self.targets = dict(tensors), dict(targets)

    def __len__(self) -> int:
        return len(self.tensors["image"])

    def __repr__(self) -> str:
        entries = ["image " + "x".join(map(str, self.tensors["image"].shape[1:]))]
        entries += [
            name + _described(target)
            for name, target in self.targets.items()
            if target.kind != "attribute"
        ]
        if attributes := sum(target.kind == "attribute" for target in self.targets.values()):
            entries.append(f"{attributes} attribute" + "s" * (attributes > 1))
        return f"Stored({len(self):,} samples: {', '.join(entries)})"

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> dict[str, Tensor]:
        """Return a sample, or a batch for a slice, a list or a tensor of indices."""
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        return {
            name: _unpack(value[index], _types(name, self.targets))
            for name, value in self.tensors.items()
        }

    def to(self, device: torch.device | str) -> "Stored":
        """Copy the data to another device.

        Args:
            device: the device.
        """
        return Stored({k: v.to(device) for k, v in self.tensors.items()}, self.targets)

    @classmethod
    def read(cls, dataset: Dataset, workers: int = 0) -> "Stored":
        """Decode a whole data set.

        Args:
            dataset: a data set with ``targets``, or a ``Subset`` of one, with samples of one size.
            workers: number of processes that decode; 0 decodes in this process.

        Raises:
            TypeError: the data set has no ``targets``.
            ValueError: the data set is empty, or a sample differs in shape from the first one.

        Example:
            >>> made = Stored({"image": torch.rand(3, 1, 4, 4)}, {})
            >>> Stored.read(made)[2]["image"].equal(made[2]["image"])
            True
        """
        targets, n = targets_of(dataset), len(dataset)
        if not n:
            raise ValueError("dataset is empty")
        rows: dict[str, Tensor] = {}
        # Filled in place: a list of samples would need the memory twice when it is stacked.
        for i, sample in enumerate(DataLoader(dataset, batch_size=None, num_workers=workers)):
            for name, value in sample.items():
                types = _types(name, targets)
                if name not in rows:
                    rows[name] = torch.zeros((n, *value.shape), dtype=types[0])
                held = rows[name]
                if value.shape != held.shape[1:]:
                    raise ValueError(
                        f"{name!r} of sample {i} has shape {tuple(value.shape)}, that of the first "
                        f"sample {tuple(held.shape[1:])}: a transform must bring all to one size"
                    )
                if not _fits(value, held.dtype, types):
                    before = _unpack(held[:i], types)
                    wider = next(
                        t for t in types if _fits(value, t, types) and _fits(before, t, types)
                    )
                    held = torch.zeros(held.shape, dtype=wider)
                    held[:i] = _pack(before, wider)
                held[i] = _pack(value, held.dtype)
                rows[name] = held
        return cls(rows, targets)


def targets_of(dataset: Dataset) -> Mapping[str, Target]:
    """Return the targets of a data set, also through ``Subset``.

    Args:
        dataset: a data set with ``targets``, or a ``Subset`` of one.

    Raises:
        TypeError: there are no targets.

    Example:
        >>> data = Stored({"image": torch.rand(3, 1, 4, 4)}, {})
        >>> targets_of(Subset(data, [0, 2]))
        {}
    """
    whole = dataset
    while isinstance(whole, Subset):
        whole = whole.dataset
    targets = getattr(whole, "targets", None)
    if not isinstance(targets, Mapping):
        raise TypeError(
            f"dataset must have targets, a dict of tssbn.data.target.Target by task, or be a "
            f"Subset of one that has, got {type(whole).__name__}"
        )
    return targets


def _described(target: Target) -> str:
    if target.classes:
        of = {"class": " of images", "words": " of words"}.get(target.kind, "")
        return f" {len(target.classes)} classes{of}"
    return f" in {target.unit}" if target.unit else ""


def _types(name: str, targets: Mapping[str, Target]) -> tuple[torch.dtype, ...]:
    if name == "image":
        return FLOATS
    if targets[name].dtype is torch.int64:
        return INTEGERS
    return FLOATS if targets[name].dense else NUMBERS


def _pack(value: Tensor, dtype: torch.dtype) -> Tensor:
    return (value * 255).round().to(dtype) if dtype is torch.uint8 else value.to(dtype)


def _unpack(value: Tensor, types: tuple[torch.dtype, ...]) -> Tensor:
    # Always a copy, so that changing a sample does not change the data.
    if types is INTEGERS:
        return value.to(torch.int64, copy=True)
    if value.dtype is torch.uint8 and torch.uint8 in types:
        # A tensor as divisor: by a Python number, a GPU multiplies with the rounded reciprocal.
        # One filled there: a copy from here, as torch.tensor makes, would wait for the GPU.
        return value.float() / torch.full((), 255.0, device=value.device)
    return value.to(torch.float32, copy=True)


def _fits(value: Tensor, dtype: torch.dtype, types: tuple[torch.dtype, ...]) -> bool:
    """Tell whether ``dtype`` holds the value exactly; the last of the types holds any value."""
    if dtype is types[-1]:
        return True
    again = _unpack(_pack(value, dtype), types)
    return bool(((again == value) | (again.isnan() & value.isnan())).all())

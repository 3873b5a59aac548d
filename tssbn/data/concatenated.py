"""Data sets of different tasks joined into one, in which some labels are missing."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from tssbn.data.stored import targets_of
from tssbn.data.target import Target

__all__ = ["Concatenated"]


class Concatenated(ConcatDataset):
    """The samples of several data sets one after another, with the targets of all.

    A target that a data set lacks is missing in its samples, -1 or NaN as in
    :class:`~tssbn.data.target.Target`, and is left out by losses and metrics. A network can thus be
    trained for tasks whose labels are in different data sets. All tasks run on each batch, and the
    norm layers of a task compute statistics over the images of all data sets.

    Args:
        datasets: data sets with ``targets``, or ``Subset`` objects of such data sets. All images
            must have the same size.

    Raises:
        TypeError: a data set has no ``targets``.
        ValueError: two of them have different targets of one name.

    Example:
        >>> from tssbn.data.stored import Stored
        >>> image = torch.rand(2, 3, 4, 4)
        >>> ages = {"image": image, "age": torch.tensor([20, 31])}
        >>> smiles = {"image": image, "smile": torch.ones(2)}
        >>> both = Concatenated([
        ...     Stored(ages, {"age": Target("number", unit="years")}),
        ...     Stored(smiles, {"smile": Target("attribute")}),
        ... ])
        >>> len(both), both[0]["smile"], both[2]["age"]
        (4, tensor(-1), tensor(nan))
    """

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        super().__init__(datasets)
        self.targets: dict[str, Target] = {}
        for dataset in self.datasets:
            for name, target in targets_of(dataset).items():
                known = self.targets.setdefault(name, target)
                if known != target:
                    raise ValueError(
                        f"the data sets have different targets {name!r}: {known} and {target}"
                    )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = super().__getitem__(index)
        size = sample["image"].shape[-2:]  # of a vector of inputs, its length
        return {
            "image": sample["image"],
            **{
                name: sample[name]
                if name in sample
                else torch.full(target.shape(*size), target.missing, dtype=target.dtype)
                for name, target in self.targets.items()
            },
        }

"""Data sets of different tasks as one, in which some labels are missing."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from tssbn.data.stored import targets_of
from tssbn.data.target import Target

__all__ = ["Concatenated"]


class Concatenated(ConcatDataset):
    """The samples of several data sets one after another, with the targets of all.

    A target that a data set does not have is missing in its samples: -1 or NaN, as
    :class:`~tssbn.data.target.Target` says, and no loss and no metric counts it. So a network
    learns tasks whose labels are in different data sets. Each batch goes through the network for
    all tasks, and the norm layers of a task take statistics over the images of all data sets.

    Args:
        datasets: each has ``targets``, or is a ``Subset`` of one that has. Their images must be of
            one size, as those of a batch must.

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
        size = sample["image"].shape[1:]
        return {
            "image": sample["image"],
            **{
                name: sample[name]
                if name in sample
                else torch.full(target.shape(*size), target.missing, dtype=target.dtype)
                for name, target in self.targets.items()
            },
        }

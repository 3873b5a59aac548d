"""The benchmarks, one file each, and what they are made of.

A benchmark is known by its line in :data:`BENCHMARKS`; its file is imported when its name is asked
for. A file of the user's own, named by a path that ends in ``.py``, defines the same: a function
``benchmark``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tssbn.benchmarks.recipe import Recipe
from tssbn.data.real.find import find as find_folder
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.registry import find

if TYPE_CHECKING:
    from tssbn.benchmarks.tasks import Task  # which imports the metrics

__all__ = ["BENCHMARKS", "Benchmark", "Recipe", "find_benchmark"]

#: The module of each benchmark, by name.
BENCHMARKS = {
    name: f"{__name__}.{name}"
    for name in (
        "nyuv2",
        "nyuv2_short",
        "nyuv2_lite",
        "nyuv2_libmtl",
        "cityscapes",
        "cityscapes_libmtl",
        "celeba",
        "celeba_small",
        "celeba_10k",
        "rooms",
        "rooms_segnet",
        "streets",
        "faces",
        "census",
        "treebank",
        "digits",
        "adapt",
        "pascal4",
        "pascal5",
    )
}


def identity(x: Tensor) -> Tensor:
    """Images as they are, in [0, 1]."""
    return x


@dataclass(frozen=True)
class Benchmark:
    """Data, network, tasks and recipe: all that a run needs but the method and the seed.

    Attributes:
        name: Of the file, and of the folder of its records.
        title: As in tables.
        data: ``data(split, root)`` gives the data set of ``"train"``, ``"test"`` and, with
            ``report="val"``, ``"val"``. ``root`` is the folder that it reads, None if none was
            named.
        network: What the methods build from.
        tasks: Of the targets of the data.
        recipe: How it is trained.
        tuned: By method, the settings that were chosen for it on validation images, such as ``lr``
            and ``multiplier``; they take the place of the defaults.
        augment: Of the targets, gives what changes a training sample; or None.
        scale: Of the images [0, 1], what the network sees.
        source: The real data set that it reads, a name of :data:`tssbn.data.SETS`; "" for another.
        synthetic: Whether its data are drawn by a program: it then reads no folder.
        average: Whether Δm is the gain of the mean of all tasks' metrics, as the papers have it
            for the forty attributes of CelebA, instead of the mean of the gains.
        baseline: The method against which Δm is a gain; the paper's second table has HPS.
        absolute: Whether tables print parameters and MACs themselves, instead of their ratios to
            the baseline.
        paper: The paper's numbers, in the units of its tables: method, then task (or ``"mean"``
            of all), and ``"delta"`` for Δm in percent; where they are absolute, ``"parameters"``
            and ``"macs"``, too. A table has a row for each of these methods.
    """

    name: str
    title: str
    data: Callable[[str, str | Path | None], Dataset]
    network: Network
    tasks: Callable[[Mapping[str, Target]], "dict[str, Task]"]
    recipe: Recipe
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    augment: Callable[[Mapping[str, Target]], Callable] | None = None
    scale: Callable[[Tensor], Tensor] = identity
    source: str = ""
    synthetic: bool = False
    average: bool = False
    baseline: str = "stl"
    absolute: bool = False
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def folder(self, root: str | Path | None = None) -> str | Path | None:
        """The folder of its data: the one that is named, else where its real set is found.

        Raises:
            FileNotFoundError: None is named, and that of its real set is not found.
            ValueError: One is named, and its data are synthetic.

        Example:
            >>> find_benchmark("rooms")().folder() is None
            True
        """
        if self.synthetic and root is not None:
            raise ValueError(
                f"root={str(root)!r} must not be given: the data of {self.name} are synthetic"
            )
        if root is None and self.source:
            root = find_folder(self.source)
            if root is None:
                raise FileNotFoundError(
                    f"{self.name} needs the folder of its data; `python -m tssbn data where "
                    f"{self.source}` prints where to get it"
                )
        return root


def find_benchmark(name: str | Path) -> Callable[..., Benchmark]:
    """The function that makes the benchmark of a name; its arguments have defaults.

    Args:
        name: One of :data:`BENCHMARKS`, or the path of a file that ends in ``.py``.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: It needs a package that is not installed; names it.
        ValueError: An unknown name, or a file without a function ``benchmark``.

    Example:
        >>> find_benchmark("rooms")(n=100).recipe.batch
        16
    """
    return find("benchmark", name, BENCHMARKS, "benchmark", "train")


def dummy_images(height: int, width: int) -> Tensor:
    """Two images of no meaning."""
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))

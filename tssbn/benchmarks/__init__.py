"""The benchmarks, one file each: data, network, tasks and recipe.

:data:`BENCHMARKS` lists the benchmarks; the file of one is imported when it is asked for by name. A
file of your own, named by a path that ends in ``.py``, defines a function ``benchmark`` as well.
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
    """Return images unchanged, in [0, 1]."""
    return x


@dataclass(frozen=True)
class Benchmark:
    """The data, network, tasks and recipe of a run, which a method and a seed complete.

    Attributes:
        name: name of the file, and of the folder of its saved runs.
        title: as printed in tables.
        data: ``data(split, root)`` returns the data set of ``"train"``, ``"test"`` and, with
            ``report="val"``, ``"val"``. ``root`` is the folder that it reads, or None.
        network: trunk and heads, from which the methods build.
        tasks: maps the targets of the data to the tasks.
        recipe: how the networks are trained.
        tuned: for each method, settings such as ``lr`` and ``multiplier`` that were chosen on
            validation images; they replace the defaults.
        augment: maps the targets to a transform of training samples; None for no transform.
        scale: maps images in [0, 1] to the inputs of the network.
        source: the real data set that is read, a name of :data:`tssbn.data.SETS`; "" for another.
        synthetic: whether a program draws the data; no folder is read then.
        average: whether Δm is the gain of the mean of all tasks' metrics, as the papers compute it
            for the forty attributes of CelebA, instead of the mean of the gains.
        baseline: the method relative to which Δm is computed; HPS in the paper's second table.
        absolute: whether tables print parameters and MACs, instead of their ratios to the baseline.
        paper: the paper's numbers, in the units of its tables, by method and then by task (or
            ``"mean"`` of all tasks), with ``"delta"`` for Δm in percent, and, where `absolute` is
            True, ``"parameters"`` and ``"macs"``. A table has a row for each of these methods.

    Example:
        >>> rooms = find_benchmark("rooms")()
        >>> rooms.recipe.lr, rooms.tuned["tssbn"]
        (0.004, {'multiplier': 25})
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
        """Choose the folder of the data, which is `root` or where the real set is found.

        Args:
            root: the folder that the user named, or None.

        Returns:
            The folder; None where no folder is named or needed.

        Raises:
            FileNotFoundError: no folder is named, and the real set is not found.
            ValueError: a folder is named, and the data are synthetic.

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
    """Import a benchmark by its name.

    Args:
        name: one of :data:`BENCHMARKS`, or the path of a file that ends in ``.py``.

    Returns:
        The function that makes the benchmark; all its arguments have defaults.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the benchmark needs a package that is not installed; the message names it.
        ValueError: the name is unknown, or the file has no function ``benchmark``.

    Example:
        >>> find_benchmark("rooms")(n=100).recipe.batch
        16
    """
    return find("benchmark", name, BENCHMARKS, "benchmark", "train")


def dummy_images(height: int, width: int) -> Tensor:
    """Draw two images of noise, (2, 3, height, width) in [0, 1]."""
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))

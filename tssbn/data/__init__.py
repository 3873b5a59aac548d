"""Data sets, real and synthetic, and transforms of their samples.

``real`` reads the published sets. ``synthetic`` draws rooms, streets, faces and digits, with exact
labels for the same tasks. ``target`` describes the entries of a sample, ``stored`` keeps a whole
set in memory, and ``augment`` transforms an image together with its targets.

:func:`load` loads a set by its name: the real set where its folder is found, otherwise its
synthetic twin.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tssbn.data.real.dataset import RealSet
    from tssbn.data.stored import Stored

__all__ = ["SETS", "load", "real_set"]

#: The reader of each real set, by name.
SETS = {
    "nyuv2": "nyuv2:NYUv2",
    "cityscapes": "cityscapes:Cityscapes",
    "cityscapes-small": "cityscapes_small:CityscapesSmall",
    "celeba": "celeba:CelebA",
    "pascal": "pascal:PascalContext",
    "census": "census:Census",
    "treebank": "treebank:Treebank",
}


def real_set(name: str) -> "type[RealSet]":
    """Import the class that reads a real set.

    Args:
        name: a key of ``SETS``.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> real_set("nyuv2").official
        {'train': 795, 'val': 654}
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {tuple(SETS)}, got {name!r}")
    module, attribute = SETS[name].split(":")
    return getattr(import_module(f"{__name__}.real.{module}"), attribute)


def load(
    name: str, split: str = "train", root: str | Path | None = "auto", **arguments: Any
) -> "RealSet | Stored":
    """Load a set, real or synthetic, with the same tasks in its samples.

    The printed form of the result shows which of the two it is.

    ================ ============================ ================================================
    name             real set                     synthetic twin
    ================ ============================ ================================================
    nyuv2            NYUv2                        rooms
    cityscapes       Cityscapes, 256 x 512        streets
    cityscapes-small Cityscapes, 128 x 256        streets of 7 classes, the disparity as ``depth``
    celeba           CelebA                       faces, with 36 of the 40 attributes
    pascal           PASCAL-Context               rooms with the five tasks
    census           Census-Income                none; the people that come with the package
    treebank         English Web Treebank         none
    ================ ============================ ================================================

    CelebA, Census-Income and the treebank have three splits. In the other real sets ``"test"`` and
    ``"val"`` are the same images, on which the published numbers are measured: make no choice on
    ``"val"`` that you then report on ``"test"``. Synthetic sets have three different splits.

    Samples are not transformed; set ``transform`` of a real set to change that.

    Args:
        name: a name in the table.
        split: ``"train"``, ``"val"`` or ``"test"``.
        root: the folder of the real set; ``None`` for the synthetic twin; ``"auto"`` for the real
            set where :func:`~tssbn.data.real.find.find` finds the folder ``name``, otherwise the
            twin.
        arguments: arguments of the function that draws the twin, such as ``n`` and ``recipe``; they
            have no effect on a real set.

    Raises:
        ValueError: the name or the split is unknown.
        TypeError: the function that draws the twin has no such argument.
        FileNotFoundError: the real set in ``root`` is not complete, or is wanted and not found.

    Example:
        >>> load("nyuv2", "val", root=None, n=2)
        Stored(2 samples: image 3x96x128, segmentation 13 classes, depth, normal)
    """
    from tssbn.data.real.find import find

    dataset = real_set(name)
    if split not in ("train", "val", "test"):
        raise ValueError(f"split must be 'train', 'val' or 'test', got {split!r}")
    make = _twin(name)
    signature(make).bind(split, **arguments)  # misspelt arguments raise for a real set as well
    root = find(name) if root == "auto" else root
    if root is None:
        return make(split, **arguments)
    return dataset(root, split if split in dataset.official else "val")


def _twin(name: str) -> "Callable[..., Stored]":
    """Return the function that draws the twin of a set, with the tasks of the set."""
    if name == "census":
        from tssbn.data.real.census import subset

        return subset
    if name == "treebank":
        return _no_treebank
    if name == "celeba":
        from tssbn.data.synthetic.faces import faces

        return faces
    from tssbn.data.synthetic import scenes

    if name == "pascal":
        tasks = ("segmentation", "parts", "saliency", "normal", "boundary")
        return partial(scenes.rooms, tasks=tasks)
    return {
        "nyuv2": scenes.rooms,
        "cityscapes": scenes.streets,
        "cityscapes-small": _small_streets,
    }[name]


def _no_treebank(split: str) -> "Stored":
    raise FileNotFoundError(
        "the treebank has no synthetic twin: python -m tssbn data where treebank"
    )


def _small_streets(split: str, **arguments: Any) -> "Stored":
    from tssbn.data.stored import Stored
    from tssbn.data.synthetic import scenes

    recipe = arguments.pop("recipe", scenes.Streets(classes=7))
    streets = scenes.streets(split, recipe=recipe, tasks=("segmentation", "disparity"), **arguments)
    tensors, targets = (
        {"depth" if entry == "disparity" else entry: value for entry, value in part.items()}
        for part in (streets.tensors, streets.targets)
    )
    return Stored(tensors, targets)

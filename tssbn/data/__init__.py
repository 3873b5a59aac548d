"""Data sets, real and synthetic, and what is done to their samples.

``real`` reads the published sets. ``synthetic`` draws rooms, streets, faces and digits, with exact
labels for the same tasks. ``target`` says what an entry of a sample is, ``stored`` keeps a whole
set in memory, and ``augment`` moves an image and its targets together.

:func:`load` gives a set by its name: the real one where its folder is found, else its synthetic
twin.
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
    """The class that reads a real set.

    Args:
        name: a key of ``SETS``.

    Raises:
        ValueError: unknown name.

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

    Printed, it says which of the two it is.

    ================ ============================ ================================================
    name             real set                     synthetic twin
    ================ ============================ ================================================
    nyuv2            NYUv2                        rooms
    cityscapes       Cityscapes, 256 x 512        streets
    cityscapes-small Cityscapes, 128 x 256        streets of 7 classes, the disparity as ``depth``
    celeba           CelebA                       faces, with 36 of the 40 attributes
    pascal           PASCAL-Context               rooms with the five tasks
    census           Census-Income                none: its people that the package brings along
    treebank         English Web Treebank         none
    ================ ============================ ================================================

    CelebA and the treebank are published in three parts, and Census-Income is cut into three. Of
    the other real sets, ``"test"`` and ``"val"`` are the same images, those that the published
    numbers are measured on; so choose nothing by ``"val"`` that you report on ``"test"``. Of
    synthetic sets the three splits are three sets.

    Samples come untransformed. A real set has a ``transform`` to set.

    Args:
        name: of the table.
        split: ``"train"``, ``"val"`` or ``"test"``.
        root: the folder of the real set; ``None`` for the synthetic twin; ``"auto"`` for the real
            set where :func:`~tssbn.data.real.find.find` finds the folder ``name``, else the twin.
        arguments: of the function that draws the twin, such as ``n`` and ``recipe``; of no effect
            on a real set.

    Raises:
        ValueError: unknown name or split.
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
    signature(make).bind(split, **arguments)  # a slip of the pen is one where the set is real, too
    root = find(name) if root == "auto" else root
    if root is None:
        return make(split, **arguments)
    return dataset(root, split if split in dataset.official else "val")


def _twin(name: str) -> "Callable[..., Stored]":
    """The function that draws the twin of a set, with the tasks of the set."""
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

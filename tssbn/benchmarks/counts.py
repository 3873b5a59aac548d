"""The numbers of parameters in tables 3 and 4 of arXiv 2512.20420, and those of the networks here.

The tables mix several ways to count. Each row here has the trained parameters of the trunk and of
the decoders as built, and a sum of two such numbers that rounds to the paper's number. The sum
shows what a printed number can mean, not that it was counted in this way. ``fit`` gives the origin
of the
sum: ``"code"``, it follows from the code of the method's authors; ``"decoders"``, the method leaves
no choice, but decoders were chosen so that several rows agree; ``"search"``, settings were searched
until the number came out, and others may agree as well; ``"none"``, no settings were found.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from tssbn.benchmarks.transformers import swin_network, vit_network
from tssbn.cost import parameters
from tssbn.methods import METHODS, Network, find_method, heads, nothing

__all__ = ["TABLES", "Counted", "PaperTable", "Row", "count", "rows"]


@dataclass(frozen=True)
class Row:
    """A row of the paper's table.

    Attributes:
        method: name of the method here.
        printed: the paper's number, in millions of parameters.
        trunk: number of trunk parameters that agrees with the paper's number together with
            `decoders`; None where none was found.
        decoders: the number of decoder parameters.
        fit: the origin of the two numbers, see this module.
        meaning: a description of what they count.
        beside: whether the parameters that :attr:`tssbn.methods.Network.trains` selects are trained
            in a frozen trunk.
        options: options of the method, for the count here.

    Example:
        >>> SWIN[2].method, SWIN[2].printed
        ('hps', 30.06)
    """

    method: str
    printed: float
    trunk: int | None
    decoders: int | None
    fit: str
    meaning: str
    beside: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        title: data set, trunk and number of tasks.
        network: makes the network of its benchmark.
        outputs: channels of the prediction of each task.
        rows: the rows, in the paper's order.

    Example:
        >>> TABLES["4"].title, len(TABLES["4"].rows)
        ('PASCAL-Context, Swin-T, 4 tasks', 16)
    """

    title: str
    network: Callable[[], Network]
    outputs: Mapping[str, int]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Counted:
    """A row of the paper's table, with the trained parameters of its method here.

    Attributes:
        row: the row.
        title: title of the method, or its name where it is not in this package.
        trunk: number of trained parameters without the decoders; None where the method is not in
            this package.
        decoders: number of parameters of the decoders, the same for all methods.

    Example:
        >>> Counted(SWIN[2], "HPS", 27_517_818, 1_946_624).row.printed
        30.06
    """

    row: Row
    title: str
    trunk: int | None
    decoders: int


ALL_MLP = 2_537_504 + 11_520  # four decoders and a LayerNorm of each on four maps
OWN, ONE = 1_946_624, 1_397_120  # MTLoRA's, whose narrowing is each task's own, or is shared
CONV = 1_668_322  # five of MLoRE's
WHOLE = 27_519_354 + 1_344  # a Swin-T with its final norm, and norms on the three other maps
PRETRAINED = {"affine": "preserve"}  # gates γ and biases β, as in a trunk with given weights

SWIN = (
    Row("stl", 112.62, 4 * WHOLE, ALL_MLP - 11_520, "decoders", "four trunks, norms on their maps"),
    Row("hyperformer", 72.77, 72_770_768, 0, "search", "without decoders; an eighth of the width"),
    Row("hps", 30.06, WHOLE, ALL_MLP - 11_520, "decoders", "one trunk, norms on its maps"),
    Row("adapter", 11.24, 8_670_336 + 23_232, ALL_MLP, "search", "with the norms, one set"),
    Row("polyhistor", 8.96, 6_413_648, ALL_MLP, "search", "one of many settings that meet it"),
    Row("mtlora", 4.95, 3_006_522, OWN, "code", "updates and all but linear layers", beside=True),
    Row("vl-adapter", 4.74, 2_167_584 + 23_232, ALL_MLP, "search", "with the norms"),
    Row("tssbn-lora", 4.25, 2_851_098, ONE, "search", "as below; and LoRA", True, PRETRAINED),
    Row("vpt-deep", 3.43, 883_200, ALL_MLP, "decoders", "50 prompts in each block"),
    Row("mtlora+", 3.15, 1_201_722, OWN, "code", "patch mergings have updates, too", beside=True),
    Row("tssbn-frozen", 3.08, 1_680_858, ONE, "search", "9 vectors a norm", True, PRETRAINED),
    Row("lora", 2.87, 282_624 + 39_744, ALL_MLP, "search", "with the biases of linear layers"),
    Row("bitfit", 2.85, 299_112, ALL_MLP, "decoders", "with the tables of positions"),
    Row("compacter", 2.78, 230_784, ALL_MLP, "search", "8 products of rank 1; one of two"),
    Row("compacter++", 2.66, 115_392, ALL_MLP, "search", "8 products of rank 1; one of two"),
    Row("vpt-shallow", 2.57, 19_200, ALL_MLP, "decoders", "50 prompts"),
)
VIT = (
    Row("m3vit", 42, 42_467_328, 0, "search", "matrices of the blocks alone", beside=True),
    Row("mod-squad", 52, 51_904_512, 0, "search", "matrices of the blocks alone", beside=True),
    Row("taskexpert", 55, None, None, "none", "no decoder that was tried", beside=True),
    Row("mlore", 44, 40_508_596, 2 * CONV, "code", "with heads that are not used", beside=True),
    Row("tsbn", 29, 27_678_528, CONV, "search", "all, with our fusion", beside=True),
    Row("tssbn", 29, 27_622_848, CONV, "search", "all, with our fusion", beside=True),
)

#: The tables, by number.
TABLES = {
    "3": PaperTable(
        "PASCAL-Context, ViT-S/16, 5 tasks",
        vit_network,
        {"segmentation": 21, "parts": 7, "saliency": 2, "normals": 3, "boundary": 1},
        VIT,
    ),
    "4": PaperTable(
        "PASCAL-Context, Swin-T, 4 tasks",
        swin_network,
        {"segmentation": 21, "parts": 7, "saliency": 1, "normals": 3},
        SWIN,
    ),
}


def count(method: str, table: PaperTable, beside: bool = True, **options: Any) -> tuple[int, int]:
    """Count the trained parameters of a method's network at full size.

    The network is built on the meta device, which takes no memory.

    Args:
        method: one of :data:`tssbn.methods.METHODS`.
        table: the table whose network and tasks are used.
        beside: as in :class:`Row`.
        options: options of the method.

    Returns:
        The number without the decoders, and the number of the decoders.

    Example:
        >>> count("hps", TABLES["4"])
        (27517818, 1946624)
    """
    with torch.device("meta"):
        network = table.network()
        network = network if beside else replace(network, trains=nothing)
        decoders = parameters(heads(network, table.outputs))
        whole = parameters(find_method(method).build(network, table.outputs, **options))
    return whole - decoders, decoders


def rows(table: PaperTable) -> Iterator[Counted]:
    """Count the parameters of each method of a table.

    Args:
        table: the table.

    Example:
        >>> next(rows(TABLES["4"])).trunk  # STL has four trunks
        110071272
    """
    _, decoders = count("hps", table)
    for row in table.rows:
        if row.method in METHODS:
            trunk, _ = count(row.method, table, row.beside, **row.options)
            yield Counted(row, find_method(row.method).title, trunk, decoders)
        else:
            yield Counted(row, row.method, None, decoders)


def text(counted: Iterable[Counted]) -> str:
    """Format counted rows as a table in Markdown."""
    head = ("method", "trunk", "decoders", "all, M", "paper, M", "met by", "fit", "which counts")
    lines = [head, ("-",) * len(head)]
    for each in counted:
        row, whole = each.row, None if each.trunk is None else each.trunk + each.decoders
        met = "-" if row.trunk is None else f"{row.trunk:,} + {row.decoders:,}"
        ours = "-" if each.trunk is None else f"{each.trunk:,}"
        printed = f"{row.printed:g}"
        millions = "-" if whole is None else f"{whole / 1e6:.2f}"
        lines.append(
            (each.title, ours, f"{each.decoders:,}", millions, printed, met, row.fit, row.meaning)
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )

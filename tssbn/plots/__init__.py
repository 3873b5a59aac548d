"""What the figures of several chapters share: one look, one palette, a few marks."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from torch import Tensor

from tssbn.data.target import Target
from tssbn.gate_plots import capacity, importance, similarity
from tssbn.methods import METHODS, find_method
from tssbn.plots.palettes import CITYSCAPES
from tssbn.records.scores import constant

__all__ = [
    "COLORS",
    "capacity",
    "class_colors",
    "dots",
    "gate_histogram",
    "images",
    "importance",
    "learning",
    "method_color",
    "samples",
    "similarity",
    "spread",
    "style",
]

#: Okabe and Ito's set, distinct to colour-blind readers and in grey.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
}

KEY = 10  # classes in a line of a key


def style() -> None:
    """Give every figure that follows the look of the book (changes matplotlib's defaults).

    Example:
        >>> style()
        >>> plt.rcParams["figure.figsize"]
        [7.0, 3.5]
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.5),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=list(COLORS.values())),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "image.cmap": "gray",
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
        }
    )


def spread(ax: Axes, x: Sequence, runs: Iterable, color: str, label: str, **line) -> None:
    """Draw the mean over runs as a line, and from the lowest to the highest run a band.

    Args:
        x: the K abscissas.
        runs: (runs, K) values, one row per seed.
        color: a name of the palette or any matplotlib colour.
        line: further properties of the line, such as ``marker="o"``.

    Example:
        >>> _, ax = plt.subplots()
        >>> spread(ax, [0, 1], [[0.1, 0.4], [0.3, 0.6]], "blue", "two seeds")
        >>> ax.lines[0].get_ydata().tolist()
        [0.2, 0.5]
    """
    runs, color = np.asarray(runs), COLORS.get(color, color)
    ax.plot(x, runs.mean(0), color=color, label=label, **line)
    ax.fill_between(x, runs.min(0), runs.max(0), color=color, alpha=0.2, linewidth=0)


def method_color(method: str) -> str:
    """Give the colour of a method in all figures, black where it has none.

    Example:
        >>> method_color("tssbn") == COLORS["blue"]
        True
    """
    return COLORS[(find_method(method).color if method in METHODS else "") or "black"]


def dots(ax: Axes, scores: Mapping[str, Sequence[float]], constant: float | None = None) -> None:
    """Draw a dot for each run of each method, and a bar at their mean.

    Args:
        scores: By method, one value for each run.
        constant: The score of the best answer that ignores the image, a dotted line.
    """
    for height, (method, values) in enumerate(scores.items()):
        color = method_color(method)
        ax.plot(values, [height] * len(values), "o", alpha=0.5, color=color)
        ax.plot(np.mean(values), height, "|", ms=22, mew=3, color=color)
    if constant is not None:
        ax.axvline(constant, color="black", linestyle=":", label="constant baseline")
        ax.legend()
    ax.set_yticks(range(len(scores)), [find_method(method).title for method in scores])
    ax.set_ylim(len(scores) - 0.5, -0.5)


def learning(ax: Axes, records: Iterable[Mapping], task: str, methods: Sequence[str]) -> None:
    """Draw the first metric of a task on the test images by epoch; bands are lowest to highest.

    A dotted line is the answer that ignores the image, where a run has its scores.

    Args:
        records: of :func:`tssbn.training.loop.train`, any number of seeds of each method.
        task: of the benchmark; ``"mean"`` for the mean of all.
    """
    records = list(records)
    for method in methods:
        runs = [
            [_score(record, entry["test"], task) for entry in record["epochs"]]
            for record in records
            if record["method"] == method
        ]
        if runs:
            epochs = range(1, len(runs[0]) + 1)
            title = find_method(method).title if method in METHODS else method
            spread(ax, epochs, runs, method_color(method), title)
    for scores in filter(None, map(constant, records)):
        blind = scores[task] if task != "mean" else np.mean([*scores.values()])
        ax.axhline(blind, color="#555555", linestyle=":", label="constant baseline")
        break
    ax.set_xlabel("epoch")


def _score(record: Mapping, scores: Mapping, task: str) -> float:
    metric = record["metric"]
    names = metric if task == "mean" else [task]
    return float(np.mean([scores[name][metric[name]] for name in names]))


def gate_histogram(ax: Axes, values: Tensor, color: str, label: str | None = None) -> None:
    """Draw a histogram of gates, or of any values in [0, 1], in 40 equal bins, as a share of them.

    Example:
        >>> import torch
        >>> _, ax = plt.subplots()
        >>> gate_histogram(ax, torch.tensor([0.01, 0.99, 0.99, 0.99]), "blue")
        >>> float(max(bar.get_height() for bar in ax.patches))
        0.75
    """
    values = values.detach().cpu().numpy().ravel()
    share, color = np.full(len(values), 1 / len(values)), COLORS.get(color, color)
    ax.hist(values, np.linspace(0, 1, 41), weights=share, color=color, label=label)
    ax.set(xlim=(0, 1), ylabel="share of channels")


def images(pictures: Tensor, titles: Sequence[str], columns: int = 8) -> None:
    """Show grey pictures (N, 1, H, W) in rows of ``columns``, each with its title.

    Example:
        >>> import torch
        >>> images(torch.zeros(3, 1, 8, 8), ["a", "b", "c"])
        >>> [ax.get_title() for ax in plt.gcf().axes[:3]]
        ['a', 'b', 'c']
    """
    rows = -(-len(pictures) // columns)
    width = plt.rcParams["figure.figsize"][0]
    _, axes = plt.subplots(rows, columns, figsize=(width, 1.25 * rows * width / columns))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, picture, title in zip(axes.flat, pictures, titles, strict=False):
        ax.imshow(picture.squeeze(0).numpy(), vmin=0, vmax=1)
        ax.set_title(title, loc="center", fontsize=9)


def class_colors(target: Target) -> np.ndarray:
    """Choose RGB for the classes of a target, (classes + 1, 3); the last, white, is void (-1).

    Classes of Cityscapes have Cityscapes' own colours (:mod:`tssbn.plots.palettes`). Else the first
    of two classes, and one named background, is light grey.

    Example:
        >>> class_colors(Target("classes", ("background", "salient"), ignore=-1)).shape
        (3, 3)
    """
    if CITYSCAPES.keys() >= set(target.classes):
        known = np.array([CITYSCAPES[name] for name in target.classes]) / 255
        return np.vstack([known, [1, 1, 1]])
    first, second = plt.get_cmap("tab20").colors, plt.get_cmap("tab20b").colors
    colors = np.array([*first[::2], *first[1::2], *second])[: len(target.classes)]
    if len(target.classes) == 2 or target.classes[0] == "background":
        colors = np.vstack([[0.88] * 3, colors[:-1]])
    return np.vstack([colors, [1, 1, 1]])


def samples(batch: Mapping[str, Tensor], targets: Mapping[str, Target], *named: str) -> None:
    """Show the images of a batch and their maps: a column a sample, a row an entry.

    What is not to be counted is white. Depth and disparity: the nearer, the brighter, each row in
    a scale of its own. Normals: red, green and blue grow to the right, upwards and to the camera.

    Args:
        batch: entries (N, ...), as a data set gives them for a list of indices.
        targets: of the data set. Those of whole images are passed over.
        named: targets whose classes are named under their row.

    Example:
        >>> import torch
        >>> targets = {"depth": Target("depth", ignore=0)}
        >>> samples({"image": torch.rand(2, 3, 4, 6), "depth": torch.rand(2, 1, 4, 6)}, targets)
        >>> len(plt.gcf().axes)
        4
    """
    rows = {"image": None, **{k: t for k, t in targets.items() if t.dense}}
    columns, _, height, wide = batch["image"].shape
    width = plt.rcParams["figure.figsize"][0]
    layout, heights = [], []
    for name in rows:
        layout.append([f"{name} {column}" for column in range(columns)])
        heights.append(width / columns * height / wide)
        if name in named:
            layout.append([f"key of {name}"] * columns)
            heights.append(0.16 * -(-len(targets[name].classes) // KEY) + 0.04)
    figure, axes = plt.subplot_mosaic(
        layout, figsize=(width, sum(heights)), height_ratios=heights, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for name, target in rows.items():
        for column, picture in enumerate(_colored(batch[name].numpy(), target)):
            axes[f"{name} {column}"].imshow(picture)
            axes[f"{name} {column}"].set(xticks=[], yticks=[])
            axes[f"{name} {column}"].spines[:].set_visible(False)
        axes[f"{name} 0"].set_ylabel(name, fontsize=8)
    for name in named:
        axes[f"key of {name}"].set_axis_off()
        figure.legend(
            [Patch(color=color) for color in class_colors(targets[name])[:-1]],
            targets[name].classes,
            loc="center",
            bbox_to_anchor=(0.5, 0.5),
            bbox_transform=axes[f"key of {name}"].transAxes,
            ncols=KEY,
            fontsize=6.5,
            handlelength=1,
            columnspacing=1,
        )


def _colored(values: np.ndarray, target: Target | None) -> np.ndarray:
    """(N, H, W, 3) in [0, 1]."""
    if target is None:
        return values.transpose(0, 2, 3, 1)
    if target.kind == "classes":
        return class_colors(target)[values]
    if target.kind == "normal":
        known = (values != 0).any(1, keepdims=True) & ~np.isnan(values).any(1, keepdims=True)
        turned = (values * np.reshape([1, -1, -1], (3, 1, 1)) + 1) / 2
        return np.where(known, turned, 1).clip(0, 1).transpose(0, 2, 3, 1)
    known = (values[:, 0] != target.ignore) & ~np.isnan(values[:, 0])
    near = values[:, 0] if target.kind == "disparity" else -values[:, 0]
    low, high = np.percentile(near[known], (1, 99)) if known.any() else (0, 1)
    shade = plt.get_cmap("viridis")((near - low) / max(high - low, 1e-9))[..., :3]
    return np.where(known[..., None], shade, 1)

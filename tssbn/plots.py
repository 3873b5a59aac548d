"""What the figures of several chapters share: one look, one palette, a few marks."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

__all__ = ["COLORS", "gates", "images", "spread", "style"]

# Okabe and Ito's set: distinct to colour-blind readers and in grey.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
}


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
    """A curve per method: the mean over runs as a line, lowest to highest run as a band.

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


def gates(ax: Axes, values: Tensor, color: str, label: str | None = None) -> None:
    """Histogram of gates, or of any values in [0, 1], in 40 equal bins, as a share of them.

    Example:
        >>> import torch
        >>> _, ax = plt.subplots()
        >>> gates(ax, torch.tensor([0.01, 0.99, 0.99, 0.99]), "blue")
        >>> float(max(bar.get_height() for bar in ax.patches))
        0.75
    """
    values = values.detach().cpu().numpy().ravel()
    share, color = np.full(len(values), 1 / len(values)), COLORS.get(color, color)
    ax.hist(values, np.linspace(0, 1, 41), weights=share, color=color, label=label)
    ax.set(xlim=(0, 1), ylabel="share of channels")


def images(pictures: Tensor, titles: Sequence[str], columns: int = 8) -> None:
    """Grey pictures (N, 1, H, W) in rows of ``columns``, each with its title.

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

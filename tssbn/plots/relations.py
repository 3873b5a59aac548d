"""The figures of the chapter on which tasks are alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots

__all__ = ["agreements", "cosines", "families", "pairs", "ranks"]


def cosines(matrices: Mapping[str, Any]) -> Figure:
    """Draw similarity matrices side by side, with the lowest and the highest pair above each.

    Args:
        matrices: by title, (T, T).

    Example:
        >>> figure = cosines({"trained": [[1, 0.9, 0.8], [0.9, 1, 0.7], [0.8, 0.7, 1]]})
        >>> figure.axes[0].get_title()
        'trained: 0.70 to 0.90'
    """
    figure, axes = plots.plt.subplots(1, len(matrices), figsize=(7, 3.2), squeeze=False)
    for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        matrix = np.asarray(matrix)
        shown = ax.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
        of_pairs = matrix[np.triu_indices(len(matrix), 1)]
        ax.set_title(f"{title}: {of_pairs.min():.2f} to {of_pairs.max():.2f}")
        ax.set(xticks=[], yticks=[], xlabel=f"{len(matrix)} tasks")
        ax.grid(visible=False)
    figure.colorbar(shown, ax=axes, label="cosine of two rows of gates")
    return figure


def agreements(
    beds: Mapping[str, Mapping[str, tuple[Any, Any]]], printed: float | None = None
) -> Figure:
    """Draw how well runs agree: a dot for each pair of runs, and in grey that of shuffled gates.

    Args:
        beds: by title, for each way to compare tasks the correlations of the pairs of runs and of
            the same runs with shuffled gates.
        printed: what the paper has, a dashed line.
    """
    figure, axes = plots.plt.subplots(1, len(beds), figsize=(7, 3.2), sharey=True, squeeze=False)
    dice = np.random.default_rng(0)
    for ax, (title, views) in zip(axes[0], beds.items(), strict=True):
        for x, both in enumerate(views.values()):
            for values, side, color in zip(both, (-0.2, 0.2), ("blue", "#999999"), strict=True):
                values, at = np.asarray(values), x + side
                color = plots.COLORS.get(color, color)
                ax.plot(at + dice.uniform(-0.1, 0.1, len(values)), values, "o", ms=4, color=color)
                ax.plot([at - 0.17, at + 0.17], [values.mean()] * 2, color="black", lw=1.5)
        ax.axhline(0, color="black", lw=0.8)
        if printed is not None:
            ax.axhline(printed, color="black", lw=1, ls="--")
        ax.set_xticks(range(len(views)), views)
        ax.set_title(title)
        ax.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("agreement of two networks")
    for color, label in (plots.COLORS["blue"], "trained"), ("#999999", "shuffled in layers"):
        ax.plot([], [], "o", ms=4, color=color, label=label)
    if printed is not None:
        ax.plot([], [], color="black", lw=1, ls="--", label="the paper")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def families(
    ax: Axes, similarity: Any, tasks: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> None:
    """Draw the tree of :func:`tssbn.clusters.linkage`, with the names of groups in their colours.

    Args:
        similarity: (T, T).
        tasks: their names.
        groups: by a colour of the palette, names of tasks.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> alike = [[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]]
        >>> families(ax, alike, ["Goatee", "Bangs", "Mustache"], {"red": ["Goatee"]})
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['Mustache', 'Goatee', 'Bangs']
    """
    from scipy.cluster.hierarchy import dendrogram

    from tssbn.clusters import linkage

    colors = {task: plots.COLORS[color] for color, of in groups.items() for task in of}
    with plots.plt.rc_context({"lines.linewidth": 1.1}):
        order = dendrogram(
            linkage(similarity),
            ax=ax,
            orientation="left",
            labels=[task.replace("_", " ") for task in tasks],
            color_threshold=0,
            above_threshold_color="#555555",
            leaf_font_size=8,
        )["leaves"]
    for label, task in zip(ax.get_yticklabels(), order, strict=True):
        label.set_color(colors.get(tasks[task], "black"))
    ax.grid(visible=False)


def pairs(
    ax: Axes, x: Any, y: Any, tasks: Sequence[str], named: Sequence[tuple[str, str]] = ()
) -> None:
    """Draw one matrix over another, a dot for each pair of tasks.

    Args:
        x: (T, T).
        y: (T, T).
        tasks: their names.
        named: pairs whose dots are labelled.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> alike = np.array([[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]])
        >>> pairs(ax, alike, alike, ["Bangs", "Male", "Young"], [("Bangs", "Young")])
        >>> [text.get_text() for text in ax.texts]
        ['Bangs, Young']
    """
    x, y = np.asarray(x), np.asarray(y)
    above = np.triu_indices(len(tasks), 1)
    ax.plot(x[above], y[above], "o", ms=3, alpha=0.4, color=plots.COLORS["blue"])
    edge = np.quantile([x[above].min(), x[above].max()], 0.75)
    for pair in named:
        s, t = (list(tasks).index(task) for task in pair)
        ax.plot(x[s, t], y[s, t], "o", ms=5, color=plots.COLORS["black"])
        room = x[s, t] < edge  # on the right
        ax.annotate(
            ", ".join(pair).replace("_", " "),
            (x[s, t], y[s, t]),
            (6, -3) if room else (-6, -8),
            textcoords="offset points",
            ha="left" if room else "right",
            fontsize=7.5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )


def ranks(ax: Axes, x: Any, y: Any, title: str) -> None:
    """Draw one number of each task over another.

    The title has their correlation, :func:`tssbn.claims.correlation.rank_correlation`.

    Args:
        x: a number for each task.
        y: another.
        title: what stands before the correlation.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> ranks(ax, [1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 6, 5], "faces")
        >>> ax.get_title()
        'faces, n = 6: +0.89 [+0.23, +0.99]'
    """
    from tssbn.claims.correlation import rank_correlation

    ax.plot(x, y, "o", ms=4)
    r, low, high = rank_correlation(x, y)
    ax.set_title(f"{title}, n = {len(x)}: {r:+.2f} [{low:+.2f}, {high:+.2f}]", size=9.5)

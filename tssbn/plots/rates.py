"""The figures of the chapter on σBN: what becomes of a network at a larger rate of its scales."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from tssbn import plots

__all__ = ["gates", "losses", "sweep"]

METHOD_OF = {"BN": "tsbn", "σBN": "tssbn"}  # whose colour a layer has


def losses(
    runs: Mapping[int, Sequence[Sequence[float]]],
    errors: Mapping[int, Sequence[float]],
    constant: float,
) -> Figure:
    """Draw training losses over the steps, and beside them the test errors, a dot for each run.

    Args:
        runs: by multiplier of the rate, a line of losses for each run.
        errors: by multiplier, the test error of each run in per cent.
        constant: the loss of the best answer that ignores the image, a dotted line.

    Returns:
        The figure.

    Example:
        >>> figure = losses({1: [[2.0, 0.5]]}, {1: [8.0]}, constant=2.3)
        >>> figure.axes[0].get_title()
        'Last 10 steps: 1.25 at ×1'
    """
    figure, (left, right) = plots.plt.subplots(1, 2, width_ratios=(3, 1))
    for (m, lines), color in zip(runs.items(), ("black", "red"), strict=False):
        color = plots.COLORS[color]
        left.plot(np.transpose(lines), lw=1, color=color)[0].set_label(f"×{m}")
        right.plot([f"×{m}"] * len(errors[m]), errors[m], "o", alpha=0.6, color=color)
    left.axhline(constant, color="grey", ls=":", label="constant baseline")
    left.set(xlabel="step", ylabel="training loss", ylim=(0, 1.7 * constant))
    left.legend()
    ends = (f"{np.mean(np.transpose(lines)[-10:]):.2f} at ×{m}" for m, lines in runs.items())
    left.set_title("Last 10 steps: " + ", ".join(ends))
    right.set_title("mean " + ", ".join(f"{np.mean(values):.0f} %" for values in errors.values()))
    right.set(ylabel="test error, %", xlim=(-0.5, len(runs) - 0.5), ylim=(0, None))
    return figure


def sweep(errors: Mapping[tuple[str, str, int], Sequence[float]], constant: float) -> Figure:
    """Draw the test error over the multiplier of the rate, a panel for each optimiser.

    Lines are means, bands go from the lowest to the highest run.

    Args:
        errors: by normalisation layer ("BN" or "σBN"), optimiser and multiplier, in per cent.
        constant: the error of the best answer that ignores the image, a dotted line.

    Returns:
        The figure.

    Example:
        >>> found = {("BN", "SGD", m): [8.0 * m, 10.0 * m] for m in (1, 10)}
        >>> ax, = sweep(found, constant=90).axes
        >>> ax.get_title(), [round(y) for y in ax.lines[0].get_ydata()]
        ('SGD', [9, 90])
    """
    kinds, optimisers, multipliers = (
        list(dict.fromkeys(part)) for part in zip(*errors, strict=True)
    )
    figure, axes = plots.plt.subplots(1, len(optimisers), sharey=True, squeeze=False)
    for ax, optimiser in zip(axes.flat, optimisers, strict=True):
        for kind in kinds:
            runs = np.transpose([errors[kind, optimiser, m] for m in multipliers])
            color = plots.method_color(METHOD_OF[kind])
            plots.spread(ax, list(multipliers), runs, color, kind, marker="o")
        ax.axhline(constant, color="grey", ls=":", label="constant baseline")
        ax.set(xscale="log", yscale="log", title=optimiser, xlabel="multiplier of the rate")
        ax.set_xticks(list(multipliers), [f"×{m}" for m in multipliers])
        ax.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        ax.minorticks_off()
    axes[0, 0].set(ylabel="test error, %", ylim=(4, 105))
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(0, 0.9))
    return figure


def gates(found: Mapping[int, tuple[Tensor, Tensor]]) -> Figure:
    """Draw histograms of gates, a column for each multiplier, the inner layers above the last.

    Args:
        found: by multiplier, the gates of all inner layers and those of the last one.

    Returns:
        The figure.

    Example:
        >>> import torch
        >>> figure = gates({1: (torch.rand(4), torch.rand(2)), 10: (torch.rand(4), torch.rand(2))})
        >>> [ax.get_title() for ax in figure.axes]
        ['×1', '×10', '', '']
    """
    figure, axes = plots.plt.subplots(
        2, len(found), figsize=(7, 3.6), sharex=True, sharey=True, squeeze=False
    )
    for (above, below), (m, (inner, last)) in zip(axes.T, found.items(), strict=True):
        plots.gate_histogram(above, inner, "blue")
        plots.gate_histogram(below, last, "sky")
        above.set(title=f"×{m}", ylabel="")
        below.set(xlabel="gate σ(γ)", ylabel="")
    axes[0, 0].set_ylabel("share, inner layers")
    axes[1, 0].set_ylabel("share, last layer")
    return figure

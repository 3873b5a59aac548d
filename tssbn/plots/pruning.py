"""The figures of the chapter on pruning."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes

from tssbn import plots

__all__ = ["cuts", "pulls"]

COLOR_OF = {"RNI": "blue", "L1": "orange", "no penalty": "black"}


def cuts(ax: Axes, runs: Mapping[str, Sequence[Mapping[float, float]]], constant: float) -> None:
    """Draw right answers over the share of channels that are gone; bands are lowest to highest.

    Args:
        runs: by penalty ("RNI", "L1" or "no penalty"), for each network its right answers in per
            cent by share.
        constant: what an answer that ignores the image gets, a dotted line.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> cuts(ax, {"RNI": [{0: 90, 0.5: 80}, {0: 92, 0.5: 84}]}, constant=10)
        >>> ax.lines[0].get_ydata().tolist()
        [91.0, 82.0]
    """
    for penalty, networks in runs.items():
        shares = [100 * share for share in networks[0]]
        rows = [list(network.values()) for network in networks]
        plots.spread(ax, shares, rows, COLOR_OF[penalty], penalty, marker="o")
    ax.axhline(constant, color="grey", ls=":", label="constant baseline")
    ax.set(xlabel="channels gone, %", ylabel="right answers, %", ylim=(0, 100))


def pulls(ax: Axes, l1: float, rni: float, shift: float, lr: float, multiplier: float) -> None:
    """Draw how far one step of SGD moves a scale, or a gate, towards 0 under either penalty.

    A scale moves by ``lr * l1``. A gate g = σ(γ), with p = σ(γ + shift), moves by
    ``multiplier * lr * rni * -p(1 - p) ln p``, times its slope g(1 - g).

    Args:
        l1: the weight of :func:`tssbn.pruning.slimming_penalty`.
        rni: the weight of :func:`tssbn.pruning.rni_penalty`.
        shift: of that penalty.
        lr: the learning rate.
        multiplier: how many times faster gates learn.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> pulls(ax, l1=0.04, rni=0.2, shift=1, lr=0.1, multiplier=10)
        >>> [f"{max(line.get_ydata()):.4f}" for line in ax.lines]
        ['0.0040', '0.0070']
    """
    g = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    p = (g.logit() + shift).sigmoid()
    step = multiplier * lr * rni * -p * (1 - p) * p.log() * g * (1 - g)
    ax.plot([0, 1], [lr * l1] * 2, color=plots.COLORS["orange"], label=f"L1, λ = {l1:g}")
    ax.plot(g, step, color=plots.COLORS["blue"], label=f"RNI, λ = {rni:g}")
    ax.set(xlabel="scale or gate", ylabel="way to 0 in one step")
    ax.legend()

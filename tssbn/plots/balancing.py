"""Pictures of balancings: steps over two losses in the plane, and what they add to a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tssbn.claims import BedOfRuns

__all__ = [
    "KINDS",
    "added",
    "arrow",
    "compass",
    "compasses",
    "contours",
    "pareto",
    "repeats",
    "walks",
]

COLORS = "#E69F00", "#009E73"  # of the two tasks
KINDS = {
    "weights of the losses": (
        *("sum", "si", "rlw", "dwa", "uw", "imtl-l", "gls", "famo", "stch", "gradnorm"),
    ),
    "weights of the gradients": (
        *("mgda", "cagrad", "imtl-g", "imtl", "nash-mtl", "fairgrad", "aligned-mtl", "db-mtl"),
    ),
    "other gradients": ("pcgrad", "gradvac", "upgrad", "graddrop", "cosreg"),
}
RANDOM = "rlw", "graddrop"
LINE = 0.2  # between two names
LEVELS = 0.1, 0.5, 1.5, 3.0, 5.0  # in parts of the least loss, above it


def arrow(ax: Axes, step: Tensor, color: str, start: Sequence[float] = (0, 0), **how) -> None:
    """Draw a step (2,) as an arrow from a start; `how` goes to matplotlib's quiver."""
    how = {"width": 0.01, "zorder": 3, **how}
    ax.quiver(*start, *step, color=color, angles="xy", scale_units="xy", scale=1, **how)


def pareto(losses: Callable[[Tensor], Tensor]) -> Tensor:
    """Give the Pareto set of two quadratic losses, (201, 2): from the least point of the second on.

    Each point is the least of w L_0 + (1 - w) L_1 for a w from 0 to 1.

    Args:
        losses: Maps θ (2,) to losses (2,).

    Example:
        >>> centres = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> found = pareto(lambda theta: (theta - centres).square().sum(-1))
        >>> found.shape, found[100]
        (torch.Size([201, 2]), tensor([0.5000, 0.5000]))
    """
    zero = torch.zeros(2)
    slopes = jacobian(losses, zero)
    bends = torch.stack([hessian(lambda theta, t=t: losses(theta)[t], zero) for t in (0, 1)])
    w = torch.linspace(0, 1, 201).to(slopes)
    w = torch.stack([w, 1 - w], 1)
    return -torch.linalg.solve(torch.einsum("kt,tij->kij", w, bends), w @ slopes)


def contours(
    ax: Axes, losses: Callable[[Tensor], Tensor], box: tuple[float, float, float, float]
) -> None:
    """Draw the contour lines of two quadratic losses over the plane, and their Pareto set in grey.

    Args:
        losses: Maps points (..., 1, 2) to losses (..., 2).
        box: Left, right, bottom and top.
    """
    x, y = np.linspace(*box[:2], 120), np.linspace(*box[2:], 120)
    values = losses(torch.from_numpy(np.stack(np.meshgrid(x, y), -1))[:, :, None])
    curve = pareto(losses)
    ends = curve[-1], curve[0]
    for task, (end, color, name) in enumerate(zip(ends, COLORS, "AB", strict=True)):
        least = float(losses(end[None])[..., task])
        levels = [least * (1 + level) for level in LEVELS]
        ax.contour(x, y, values[..., task], levels, colors=color, alpha=0.45, linewidths=1)
        ax.plot(*end, "o", color=color)
        ax.annotate(name, end, (4, -13), textcoords="offset points")
    ax.plot(*curve.T, color="#888888", lw=4, alpha=0.5, zorder=1)
    ax.set(aspect="equal", xlabel="$θ_1$", ylabel="$θ_2$", xlim=box[:2], ylim=box[2:])
    ax.grid(visible=False)


def compass(ax: Axes, steps: Mapping[str, Tensor], gradients: Tensor) -> None:
    """Draw the directions of steps in the plane, all equally long, with their names.

    Grey is where all losses fall; the wide arrows are the steps that each task would make alone.
    Names of directions within two degrees of each other stand together.

    Args:
        steps: By name, d (2,), or several draws (N, 2) of which the mean has the name. The step
            goes against it.
        gradients: Of the tasks, (2, 2).
    """
    turns = np.deg2rad(np.arange(0, 360.5, 0.5))
    rim = np.stack([np.cos(turns), np.sin(turns)], 1)
    for u, v in pairwise(rim):
        if (gradients.numpy() @ (u + v) < 0).all():
            ax.fill([0, u[0], v[0]], [0, u[1], v[1]], color="#E4E4E4", zorder=0, lw=0)
    for g, color in zip(gradients, COLORS, strict=True):
        arrow(ax, -g / g.norm(), color, width=0.03, alpha=0.6, zorder=1)
    angles = {}
    for name, d in steps.items():
        draws = torch.atleast_2d(d)
        for draw in draws if len(draws) > 1 else ():
            arrow(ax, -draw / draw.norm(), "#999999", width=0.004, zorder=2)
        x, y = -draws.mean(0)
        angles[name] = float(torch.rad2deg(torch.atan2(y, x)))
    groups: list[list[str]] = []
    for name in sorted(angles, key=angles.__getitem__):
        if groups and angles[name] - angles[groups[-1][0]] < 2:
            groups[-1].append(name)
        else:
            groups.append([name])
    height = 0.3  # of the next name, in a column on the right, from the top
    for names in sorted(groups, key=lambda names: -angles[names[0]]):
        turn = np.deg2rad(angles[names[0]])
        x, y = np.cos(turn), np.sin(turn)
        arrow(ax, torch.tensor([x, y]), "black", width=0.008)
        lines = [", ".join(names[k : k + 2]) for k in range(0, len(names), 2)]
        height = min(y, height - LINE * (1 + len(lines)) / 2)
        ax.plot([x, 1.12], [y, height], color="#AAAAAA", lw=0.6, zorder=2)
        ax.text(1.15, height, ",\n".join(lines), fontsize=8, va="center")
        height -= LINE * (len(lines) - 1) / 2
    ax.set(aspect="equal", xlim=(-0.6, 2.1), ylim=(-1.6, 0.2), xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def compasses(point: Tensor, losses: Callable[[Tensor], Tensor]) -> None:
    """Draw a step of every balancing at a point of the plane, a compass for each kind.

    What a balancing learns has settled at the point before; of random ones 30 draws are shown.

    Args:
        point: (2,)
        losses: Maps θ (2,) to losses (2,).
    """
    import matplotlib.pyplot as plt

    from tssbn.training.balancing.probe import Probe

    slopes = jacobian(losses, point)
    _, axes = plt.subplots(1, len(KINDS), figsize=(8, 2.6))
    for ax, (kind, names) in zip(axes, KINDS.items(), strict=True):
        steps = {}
        for name in names:
            probe = Probe(name, point, losses)
            steps[name] = probe.settle(150, lr=0.1)
            if name in RANDOM:
                steps[name] = torch.stack([probe.step() for _ in range(30)])
        compass(ax, steps, slopes)
        ax.set_title(kind)


def walks(
    ax: Axes, losses: Callable[[Tensor], Tensor], start: Tensor, names: Mapping[str, str]
) -> None:
    """Draw the paths of balancings from a start, in steps that are equally long for all.

    The first line is the widest and the last the narrowest, so that all show where they coincide.

    Args:
        losses: Maps θ (2,) to losses (2,).
        start: (2,)
        names: The colours of the palette, by balancing.
    """
    from tssbn.plots import COLORS as PALETTE
    from tssbn.training.balancing.probe import Probe

    widths = np.linspace(6, 1.2, len(names))
    for (name, color), width in zip(names.items(), widths, strict=True):
        path = Probe(name, start, losses).path(300, decay=0.99)
        ax.plot(*path.T, color=PALETTE[color], lw=width, label=name)
        ax.plot(*path[-1], "s", ms=4 + width, color=PALETTE[color])


def added(bed: BedOfRuns) -> None:
    """Draw what each balancing adds to HPS and to TSσBN, a panel for each, with intervals.

    The dashed line is TSσBN with the plain sum, below stands the constant baseline.

    Args:
        bed: of :func:`tssbn.claims.balanced.balanced`.
    """
    import matplotlib.pyplot as plt

    from tssbn.claims import constant_gain
    from tssbn.claims.balanced import METHODS
    from tssbn.claims.compared import gains, sure
    from tssbn.plots import experts, method_color

    found = {method: gains(bed, method) for method in METHODS}
    height = 1.7 + 0.17 * max(map(len, found.values()))
    _, axes = plt.subplots(1, len(found), figsize=(9, height), sharex=True)
    for ax, (method, effects) in zip(axes, found.items(), strict=True):
        experts.effects(ax, effects)
        better, worse = sure(effects)
        runs = {n for effect in effects.values() for n in effect.n}
        n = f", n = {min(runs)} to {max(runs)}" if runs else ""
        said = f"{method}{n}: {better} intervals above zero, {worse} below"
        ax.set_title(said, pad=16, fontsize=10)
        ax.set_xlabel("minus its plain sum, points of Δm")
    first = axes[0]
    if gap := bed.against("TSσBN", "HPS")["HPS"]:
        first.axvline(gap.value, color=method_color("tssbn"), linestyle="--")
        place = {"xycoords": "axes fraction", "textcoords": "offset points"}
        first.annotate("dashed: TSσBN with the plain sum", (0, 1), (0, 2), fontsize=9, **place)
    if (gain := constant_gain(bed.runs["STL"])) is not None:
        first.set_xlabel(
            f"{first.get_xlabel()}\n← constant baseline at {gain:.1f} % over single-task networks"
        )


def repeats(ax: Axes, table: Mapping[str, tuple[float, float]]) -> None:
    """Draw two measurements of each balancing against each other, and print how they spread.

    The title has their correlation, :func:`tssbn.claims.correlation.correlation`.

    Args:
        table: of :func:`tssbn.claims.libmtl.repeated`.
    """
    from tssbn.claims.correlation import correlation

    x, y = np.array(list(table.values())).T
    r, low, high = correlation(x, y)
    ax.plot(x, y, "o", color="C0")
    for name, (a, b) in table.items():
        crowded = ((x > a) & (x < a + 0.3) & (abs(y - b) < 0.12)).any()
        offset, side = ((-6, -3), "right") if crowded else ((6, -3), "left")
        ax.annotate(name, (a, b), offset, textcoords="offset points", fontsize=8, ha=side)
    ax.set_title(f"Correlation of the two tables: {r:.2f} [{low:.2f}, {high:.2f}], n = {len(x)}")
    print(f"SD between balancings: {x.std(ddof=1):.2f} and {y.std(ddof=1):.2f} points of Δm")
    apart = y - x
    print(f"SD of the difference: {apart.std(ddof=1):.2f}; its mean: {apart.mean():+.2f}")

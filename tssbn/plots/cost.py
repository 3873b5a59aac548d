"""The figures of the chapter on cost."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tssbn import plots
from tssbn.timing.record import fraction_of_peak, time_ratio

__all__ = ["TITLES", "in_memory", "prices", "stacked"]

#: What the networks of ``python -m tssbn bench`` are called in figures and tables.
TITLES = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "segnet": "SegNet",
    "deeplab": "DeepLab's ResNet-50",
    "celeba": "CelebA's network",
    "vit_s": "ViT-S",
    "swin_t": "Swin-T",
}


def in_memory(images: int = 2, tasks: int = 3, channels: int = 4) -> Figure:
    """Draw a stacked batch as rows of channels, and the same numbers as channels of all tasks.

    A cell is a channel, its number the place in memory, its colour the task. The batch has a row
    for each image and task on the left, a row for each image on the right.

    Example:
        >>> rows, columns = in_memory(images=1, tasks=2, channels=2).axes
        >>> [text.get_text() for text in rows.texts] == [text.get_text() for text in columns.texts]
        True
    """
    figure, (rows, columns) = plots.plt.subplots(1, 2, figsize=(7, 2.4), width_ratios=(1, 2))
    colors = list(plots.COLORS.values())
    for place in range(images * tasks * channels):
        row, channel = divmod(place, channels)
        image, task = divmod(row, tasks)
        for ax, x, y in ((rows, channel, row), (columns, task * channels + channel, image)):
            look = {"facecolor": colors[task], "alpha": 0.75, "edgecolor": "white"}
            ax.add_patch(Rectangle((x, y), 1, 1, **look))
            ax.text(x + 0.5, y + 0.5, str(place), ha="center", va="center", fontsize=8)
    rows.set(xlim=(0, channels), ylim=(images * tasks, 0), title="rows b·T + t")
    columns.set(xlim=(0, tasks * channels), ylim=(images, 0), title="the same memory, T·C channels")
    names = [f"image {b}, task {t}" for b in range(images) for t in range(tasks)]
    rows.set_yticks([y + 0.5 for y in range(images * tasks)], names)
    rows.set_xticks([])
    columns.set_yticks([y + 0.5 for y in range(images)], [f"image {b}" for b in range(images)])
    middles = [(t + 0.5) * channels for t in range(tasks)]
    columns.set_xticks(middles, [f"task {t}" for t in range(tasks)])
    for ax in (rows, columns):
        ax.set_xlabel("channels")
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return figure


def prices(ways: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw time and memory of the ways to run tasks, a labelled dot for each.

    Args:
        ways: time, in steps of the plain network, and memory, in that of one task, by way.

    Example:
        >>> (ax,) = prices({"separate": (10.0, 1.0), "stacked": (4.0, 10.0)}).axes
        >>> [text.get_text() for text in ax.texts]
        ['separate', 'stacked']
    """
    figure, ax = plots.plt.subplots(figsize=(7, 3.6))
    upwards = sorted(ways, key=lambda way: ways[way][1])
    for (way, at), color in zip(ways.items(), plots.COLORS.values(), strict=False):
        side = 4 if upwards.index(way) % 2 else -12  # names of neighbours part
        ax.plot(*at, "o", ms=9, color=color)
        ax.annotate(way, at, (8, side), textcoords="offset points", fontsize=9)
    time, memory = zip(*ways.values(), strict=True)
    ax.set(xlim=(0, 1.2 * max(time)), ylim=(0, 1.1 * max(memory)))
    ax.set_xlabel("time, in steps of the plain network")
    ax.set_ylabel("memory kept / that of one task")
    ax.set_title("Fewer tasks a pass: less memory, more time")
    return figure


def stacked(networks: Mapping[str, Mapping[str, Mapping]]) -> Figure:
    """Draw what a stacked step takes of T plain steps, over T and over the plain step's rate.

    Left a line for each network. Right its ratio at the largest T over the share of the peak rate
    that a plain step reaches. Bands and bars reach from the lower to the upper quartile.

    Args:
        networks: of a record of ``python -m tssbn bench``, with the way ``"stem"``.

    Example:
        >>> seconds = {"matmul": [1.0], "plain": [1.0], "stem": [1.5]}
        >>> cell = {"macs": {"plain": 1}, "matmul": 2, "seconds": seconds}
        >>> times, shares = stacked({"resnet18": {"2": cell}}).axes
        >>> times.lines[0].get_ydata().tolist()
        [0.75]
    """
    figure, (times, shares) = plots.plt.subplots(1, 2, figsize=(8, 3.8))
    dots = {}
    ticks = sorted({int(tasks) for cells in networks.values() for tasks in cells})
    for (name, cells), color in zip(networks.items(), plots.COLORS.values(), strict=False):
        ratios = [time_ratio(cell, "stem", int(tasks)) for tasks, cell in cells.items()]
        low, middle, high = zip(*ratios, strict=True)
        x, title = [int(tasks) for tasks in cells], TITLES.get(name, name)
        times.plot(x, middle, "o-", ms=4, color=color, label=title)
        times.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
        at = fraction_of_peak(list(cells.values())[-1], "plain").median, middle[-1]
        error = [[middle[-1] - low[-1]], [high[-1] - middle[-1]]]
        shares.errorbar(*at, yerr=error, fmt="o", ms=7, color=color)
        dots[title.replace("'s ", "'s\n")] = at
    times.set_xscale("log")
    times.set_xticks(ticks, ticks)
    times.minorticks_off()
    for ax in (times, shares):
        ax.axhline(1, color="#888888", lw=1, zorder=0)
        ax.set_ylim(0, 1.3)
    for title, (x, y) in dots.items():
        crowded = any(0 < a - x < 0.15 and abs(b - y) < 0.1 for a, b in dots.values())
        offset, side = ((-8, 0), "right") if crowded else ((8, 0), "left")
        look = {"textcoords": "offset points", "fontsize": 8, "va": "center"}
        shares.annotate(title, (x, y), offset, ha=side, **look)
    times.set(xlabel="tasks T", ylabel="time of a stacked step / T plain steps")
    shares.set(xlabel="rate of a plain step / peak rate", xlim=(0, 1.1))
    times.legend(loc="lower left")
    times.set_title("Time of T tasks in one stacked step")
    shares.set_title("Networks far below the peak gain most")
    return figure

"""Figures and tables of the gradients of tasks: cosines, what narrows them, features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tssbn import plots
from tssbn.methods import find_method

if TYPE_CHECKING:
    import pandas

    from tssbn.claims import Effect
    from tssbn.records import SavedRuns

__all__ = [
    "claim",
    "densities",
    "differences",
    "features",
    "histograms",
    "interventions",
    "islands",
    "parts_of",
    "table",
    "training",
]

NULL = "random gates"
PARTS = 10  # of a training
FIRST_EPOCH = {  # the study's names, by method; the null has no method
    "hps": "hps",
    "tsbn": "tsbn .1",
    "tssbn": "tssbn .1",
    NULL: "random gates",
}
ASKED = {
    "own gates": "same",
    "gates shuffled": "shuffled",
    "gates averaged": "averaged",
    "a task with itself": "within",
}

LOOKS = (  # of the kinds of cosines, in their order
    {"color": plots.COLORS["blue"], "alpha": 0.5},
    {"color": "black", "histtype": "step", "lw": 1.4},
    {"color": plots.COLORS["red"], "histtype": "step", "lw": 1.6, "ls": "--"},
)


def histograms(found: Mapping[str, Sequence[Mapping[str, ArrayLike]]]) -> Figure:
    """Draw histograms of cosines in a panel for each pair of tasks, all runs together.

    Args:
        found: by the title of a panel, the runs; of each run up to three kinds of cosines, such
            as those of two tasks and, as a null, those of one task with itself.

    Returns:
        The figure.

    Example:
        >>> figure = histograms({"a and b": [{"two tasks": [0.0] * 9}]})
        >>> figure.axes[0].get_title()
        'a and b'
    """
    figure, axes = plots.plt.subplots(
        1, len(found), sharey=True, squeeze=False, figsize=(7, 2.7), layout="constrained"
    )
    for ax, (title, runs) in zip(axes.flat, found.items(), strict=True):
        for kind, look in zip(runs[0], LOOKS, strict=False):
            values = np.concatenate([run[kind] for run in runs])
            ax.hist(values, np.linspace(-1, 1, 41), density=True, label=kind, **look)
        ax.axvline(0, color="#777777", lw=0.8)
        ax.set_title(title, size=10)
        ax.set_xlabel("cosine")
    axes.flat[0].set_ylabel("density over steps")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def claim(study: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Say in a sentence how learned and random gates narrow the cosines.

    Args:
        study: By variant, the runs of ``book/studies/angles.py``.
    """
    hps, tssbn, null = (
        np.std([run["all"] for run in study[FIRST_EPOCH[name]]]) for name in ("hps", "tssbn", NULL)
    )
    return (
        "In the first epoch on small rooms gates narrow the spread of cosines between task "
        f"gradients from {hps:.2f} to {tssbn:.2f}; random gates narrow it to {null:.2f}."
    )


def densities(ax: Axes, study: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw the density of cosines of each method, and of random gates; spread and conflicts named.

    As the left part of Figure 2 of arXiv 2512.20420.

    Args:
        study: By variant, the runs of ``book/studies/angles.py``.
    """
    from scipy.stats import gaussian_kde

    x = np.linspace(-1, 1, 801)
    for name, variant in FIRST_EPOCH.items():
        cosines = np.concatenate([np.ravel(run["all"]) for run in study[variant]])
        title = name if name == NULL else find_method(name).title
        label = f"{title}: {cosines.std():.2f}, {_conflicts(cosines):.0f} %"
        y = gaussian_kde(cosines)(x)
        if name == NULL:
            ax.plot(x, y, "--", color="black", label=label)
        else:
            ax.plot(x, y, color=plots.method_color(name), label=label)
            ax.fill_between(x, y, color=plots.method_color(name), alpha=0.15, lw=0)
    ax.axvline(0, color="black", lw=0.8)
    ax.set(xlabel="cosine of two tasks' gradients, first epoch", ylabel="density", ylim=(0, None))
    ax.legend(title="spread, conflicts", loc="upper left", alignment="left")


def parts_of(run: Mapping[str, Any], cosines: ArrayLike | None = None) -> list[np.ndarray]:
    """Give the cosines (steps, pairs) of the first measured step, and of each tenth of a training.

    Args:
        run: A saved run that was trained with ``angles``.
        cosines: (steps, pairs), such as those of a layer; those of all filters by default.

    Example:
        >>> run = {
        ...     "angles": {"steps": [1, 2, 60, 100], "all": [[0.1], [0.2], [0.3], [0.4]]},
        ...     "recipe": {"epochs": 1, "batch": 1},
        ...     "data": {"splits": {"train": {"samples": 100}}},
        ... }
        >>> [part.ravel().tolist() for part in parts_of(run) if part.size]
        [[0.1], [0.1, 0.2], [0.3], [0.4]]
    """
    recipe, images = run["recipe"], run["data"]["splits"]["train"]["samples"]
    last = max(recipe["epochs"] * images // recipe["batch"], max(run["angles"]["steps"]))
    tenth = (np.array(run["angles"]["steps"]) - 1) * PARTS // last
    cosines = np.array(run["angles"]["all"] if cosines is None else cosines)
    return [cosines[:1], *(cosines[tenth == part] for part in range(PARTS))]


def training(ax: Axes, runs: Mapping[str, SavedRuns]) -> None:
    """Draw the mean absolute cosine over the training, beginning with the untrained network.

    Args:
        runs: By method.
    """
    for method, found in runs.items():
        curves = [[_size(part) for part in parts_of(run)] for run in found if "angles" in run]
        if curves:
            name = f"{find_method(method).title}, n = {len(curves)}"
            color = plots.method_color(method)
            plots.spread(ax, range(PARTS + 1), curves, color, name, marker="o", ms=4)
    ax.set_xticks(range(PARTS + 1), ["untrained", *range(1, PARTS + 1)])
    ax.set(xlabel="tenth of the training", ylabel="mean |cosine|", ylim=(0, None))
    ax.legend(loc="lower right")


def table(runs: Mapping[str, SavedRuns], reference: str = "hps") -> pandas.DataFrame:
    """Show spread, size and conflicts of the cosines in the first tenth, and differences.

    A row for each measure; "by layer" is the mean over convolutions, each with cosines of its own.

    Args:
        runs: By method.
        reference: The method that the others are compared with; 95 % intervals are Dunnett's.
    """
    import pandas

    from tssbn.claims import Bed

    measures = {
        "spread": lambda run: np.std(parts_of(run)[1]),
        "mean |cos|": lambda run: _size(parts_of(run)[1]),
        "mean |cos|, by layer": lambda run: np.mean(
            [_size(parts_of(run, layer)[1]) for layer in run["angles"]["layers"].values()]
        ),
        "conflicts, %": lambda run: _conflicts(parts_of(run)[1]),
    }
    titles = {method: find_method(method).title for method in runs}
    rows = {}
    for name, measure in measures.items():
        values = {m: [measure(run) for run in of if "angles" in run] for m, of in runs.items()}
        digits = 0 if "%" in name else 2
        rows[name] = {titles[m]: f"{np.mean(of):.{digits}f}" for m, of in values.items() if of}
        others = [method for method in runs if method != reference]
        for method, effect in Bed(values).against(reference, *others).items():
            if effect:
                said = (-effect).interval if digits else _whole(-effect)
                rows[name][f"{titles[method]} − {titles[reference]}"] = said
    return pandas.DataFrame(rows).T


def differences(study: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Say how TSσBN differs from the others in cosines and conflicts, a line for each.

    The spread of a run is pooled over all variants of the study; intervals are Dunnett's, of 95 %.

    Args:
        study: By variant, the runs of ``book/studies/angles.py``.
    """
    from tssbn.claims import Bed

    own, *others = ("tssbn", "hps", "tsbn", NULL)
    sizes = Bed({v: [_size(run["all"]) for run in runs] for v, runs in study.items()})
    conflicts = Bed({v: [_conflicts(run["all"]) for run in runs] for v, runs in study.items()})
    names = [FIRST_EPOCH[other] for other in others]
    cosine, conflict = (bed.against(FIRST_EPOCH[own], *names) for bed in (sizes, conflicts))
    lines = []
    for other, name in zip(others, names, strict=True):
        if cosine[name]:
            title = other if other == NULL else find_method(other).title
            lines.append(
                f"TSσBN − {title}: mean |cos| {cosine[name].interval}, "
                f"conflicts {_whole(conflict[name])} points, n = {cosine[name].n[0]} each"
            )
    return "\n".join(lines)


def _conflicts(cosines: ArrayLike) -> float:
    return float(100 * (np.asarray(cosines) < 0).mean())


def _whole(effect: Effect) -> str:
    """An effect in points with its interval, without digits after the point."""
    return f"{effect.value:+.0f} [{effect.low:+.0f}, {effect.high:+.0f}]"


def _size(cosines: ArrayLike) -> float:
    return float(np.abs(cosines).mean())


def interventions(study: Mapping[str, Sequence[Mapping[str, Any]]]) -> pandas.DataFrame:
    """Show the mean absolute cosine after the first epoch, with the gates changed.

    Args:
        study: By variant, the runs of ``book/studies/angles.py``.
    """
    import pandas

    rows = {}
    for name in ("tssbn", NULL):
        runs = study[FIRST_EPOCH[name]]
        found = {
            asked: f"{np.mean([_size(run['end'][key]) for run in runs]):.2f}"
            for asked, key in ASKED.items()
        }
        rows[name if name == NULL else find_method(name).title] = found
    return pandas.DataFrame(rows).T


def islands(points: Mapping[str, ArrayLike], tasks: Sequence[str]) -> None:
    """Draw features by t-SNE, a panel for each network and a colour for each task.

    Titles have the silhouette of the features themselves, by task.

    Args:
        points: By network, (T, images, features).
        tasks: T names.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    figure, axes = plots.plt.subplots(1, len(points), figsize=(7, 3.4), squeeze=False)
    for ax, (name, each) in zip(axes.flat, points.items(), strict=True):
        each = np.asarray(each)
        flat, labels = each.reshape(-1, each.shape[-1]), np.repeat(range(len(tasks)), each.shape[1])
        layout = TSNE(random_state=0, perplexity=min(30, len(flat) / 4)).fit_transform(flat)
        for i, (task, color) in enumerate(zip(tasks, plots.COLORS.values(), strict=False)):
            label = task.replace("_", " ")
            ax.plot(*layout[labels == i].T, ".", ms=4, color=color, label=label)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{name}: silhouette {silhouette_score(flat, labels):.2f}", size=10)
    names = axes.flat[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=3, markerscale=2)


def features(study: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Show silhouettes and probes of features, and what TSσBN's probes are better by.

    A probe is a linear classifier of a task's own attribute; its score is the area under the ROC
    curve.

    Args:
        study: The runs of ``book/studies/features.py``.
    """
    import pandas

    from tssbn.claims import above

    names = {
        "trained": "TSσBN",
        "trained, shuffled": "its gates shuffled",
        "trained, averaged": "its gates averaged",
        "untrained, shuffled": "untrained, shuffled gates",
        "HPS": "HPS",
        "STL": "STL",
    }
    own = {key: np.array([np.diag(run[key]["probes"]).mean() for run in study]) for key in names}
    rows = {}
    for key, name in names.items():
        apart = [run[key]["silhouette"] for run in study if "silhouette" in run[key]]
        rows[name] = {"silhouette": f"{np.mean(apart):.2f}" if apart else ""}
        rows[name]["AUC of probes"] = f"{own[key].mean():.2f}"
        if key != "trained" and (effect := above(own["trained"] - own[key])):
            rows[name]["TSσBN's is better by"] = effect.interval
    return pandas.DataFrame(rows).T.fillna("")

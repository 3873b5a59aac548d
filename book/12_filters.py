# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:
    # %pip install -q "tssbn[train] @ git+https://github.com/tssbn/tssbn"
    pass

# %% [markdown]
# # Whose filter is it?
#
# :::{admonition} The claim
# How *many* filters belong to a task says little by itself: gates that were
# shuffled have owners, too. *Which* filters do can be asked of the network: take
# away those of which a task holds the largest share, and compare what it loses
# with what the other tasks lose.
# :::
#
# *Runs in under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from scipy import stats

from tssbn import gates, plots, records
from tssbn.benchmarks.constant import constant_scores
from tssbn.claims import Bed
from tssbn.norm import TaskSigmoidNorm
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train
from tssbn.training.run import Run

torch.set_num_threads(1)
plots.style()
SEEDS = range(20)  # those that are saved are read

# %% [markdown]
# ## How many filters have an owner?
#
# A {term}`specialised filter` is one that a single task uses. By its gates: of
# the importance that all $T$ tasks give to filter $i$, task $t$ holds the
# share
#
# $$
# s_{t,i} = \frac{I_{t,i}}{\sum_{t'=1}^{T} I_{t',i}}, \qquad
# I_{t,i} = \sigma(\gamma_{t,i}),
# $$ (eq-share)
#
# and the filter is the task's own if $s_{t,i} > \tau$. The paper takes
# $\tau = 0.5$: a gate wider than all the others together
# {cite:p}`suteu2025tssbn`. As a loop, and as the package has it:


# %%
def owners_by_hand(values, tau):
    owners = []
    for column in values.T:
        owner = -1
        for t, gate in enumerate(column):
            if gate > tau * column.sum():
                owner = t
        owners.append(owner)
    return torch.tensor(owners)


tuned = records.of("rooms", "tssbn", SEEDS).gates()
for importance in tuned:
    by_hand = owners_by_hand(importance.values, 0.5)
    assert torch.equal(by_hand, gates.specialised(importance, 0.5))
print(f"{len(by_hand)} filters, tasks {importance.tasks}")

# %% [markdown]
# These are networks of {term}`TSσBN` on synthetic rooms (chapter 6). How many of
# their filters have an owner? And how many, if each task's gates are shuffled
# within each layer? Then no task knows anything of the others' choices, and who
# owns what is an accident. Fifty shuffles for each network, at all gate rates
# that are saved; *tuned* is the one that is best on validation images:


# %%
def owned(importance, tau=0.5):
    """Which filters have an owner; 0 or 1, (F,)."""
    return (gates.specialised(importance, tau) >= 0).double()


def by_chance(importance, tau=0.5, times=50):
    """For each filter how often it has one, the gates being shuffled."""
    generator = torch.Generator().manual_seed(0)
    draws = [gates.permuted(importance, generator) for _ in range(times)]
    return torch.stack([owned(draw, tau) for draw in draws]).mean(0)


best = records.gate_rate(Run("rooms", "tssbn"))
by_rate = records.by_gate_rate("rooms", "tssbn", SEEDS)
networks = {
    f"{rate:g}" + ", tuned" * (rate == best): runs.gates()
    for rate, runs in by_rate.items()
}
rows = {}
for rate, found in networks.items():
    values = torch.cat([g.values for g in found])
    rows[rate] = {
        "seeds": len(found),
        "with an owner, %": 100 * np.mean([owned(g).mean() for g in found]),
        "shuffled, %": 100 * np.mean([by_chance(g).mean() for g in found]),
        "gates below 0.1, %": 100 * (values < 0.1).double().mean().item(),
        "above 0.9, %": 100 * (values > 0.9).double().mean().item(),
    }
hook = pd.DataFrame(rows).T
hook.index.name = "gate rate"
hook.astype({"seeds": int}).round(1)

# %% [markdown]
# How much can chance give? Let the gates of a filter be independent of each
# other. If they are spread evenly over (0, 1), the probability that one of
# them is wider than all the others together, and if each is open with
# probability $p$ and else shut, the probability that exactly one is open, are
#
# $$
# P_\text{even} = T \cdot \frac{1}{T!} = \frac{1}{(T-1)!}, \qquad
# P_\text{binary} = T\, p\, (1 - p)^{T-1} .
# $$ (eq-filters-chance)
#
# For three tasks the first is one half, the second at most four ninths. (And a
# filter that is shut for all, more or less, may still have an owner: a gate of
# 0.02 beside two of 0.005.)

# %%
T = np.array([2, 3, 4, 12])
p = np.linspace(0, 1, 1001)[:, None]
chance = pd.DataFrame(
    {
        "even": 1 / np.array([math.factorial(n - 1) for n in T]),
        "binary, p = 1/2": T * 0.5**T,
        "binary, at most": (T * p * (1 - p) ** (T - 1)).max(0),
    },
    pd.Index(T, name="T"),
)
even = torch.rand(3, 100_000, generator=torch.Generator().manual_seed(0))
for gates_drawn, expected in ((even, 1 / 2), (even < 1 / 3, 4 / 9)):
    share = owned(gates_drawn.double()).mean().item()
    assert abs(share - expected) < 0.01
chance.map("{:.2g}".format)

# %% [markdown]
# With many tasks it is the other way round: of twelve gates that are spread
# evenly none is ever wider than all the others together. So the number of
# specialised filters is first of all a matter of how many tasks there are and
# how far their gates spread. It becomes a statement about the tasks only by
# comparison with shuffled gates, the null: they keep every task's gates in
# every layer, and forget which channel each belongs to.
#
# (specialisation-depth)=
# ## Figure 4, left: deeper, more specialised?
#
# In the paper the share of specialised filters grows with the depth of the
# layer. (It is a figure without printed numbers.) Here is the same for our
# U-Net, in the order in which its layers run.


# %%
def over_depth(importance, of_filters):
    """The mean over each layer in per cent, from the first to the last."""
    parts = of_filters.split(list(importance.layers.values()))
    return 100 * torch.stack([part.mean() for part in parts])


shares = {
    (rate, kind): torch.stack([over_depth(g, count(g)) for g in found])
    for rate, found in networks.items()
    for kind, count in (("trained", owned), ("shuffled", by_chance))
}

# %% mystnb={"image": {"alt": "Share of specialised filters over the eleven layers of the U-Net in the order in which they run, for trained and for shuffled gates, a panel for each gate rate."}}
fig, axes = plt.subplots(
    1, len(networks), figsize=(7.5, 2.8), sharey=True, squeeze=False
)
layers = list(tuned[0].layers)
up = next(k for k, name in enumerate(layers, 1) if ".up." in name)
for ax, rate in zip(axes[0], networks, strict=True):
    layer = range(1, len(layers) + 1)
    for kind, color in ("trained", "blue"), ("shuffled", "orange"):
        plots.spread(ax, layer, shares[rate, kind], color, kind)
    ax.axvline(up - 0.5, color="#999999", lw=0.8)
    ax.set(xlabel="layer: down | up", ylim=(0, None), xticks=layer[::2])
    ax.set_title(f"gate rate {rate}", loc="center", fontsize=10)
axes[0, 0].set_ylabel("specialised filters, %")
axes[0, 0].legend(fontsize=8)
plt.show()

# %% [markdown]
# Bands are the lowest and highest of the seeds. In an untrained network all
# gates are 0.5, each task holds a third of every filter, and no filter has an
# owner.
#
# A slope for each seed, in percentage points from the first layer to the last,
# and the 95 % interval of their mean (Student's t over seeds):


# %%
def slopes(curves):
    x = np.linspace(0, 1, curves.shape[1])
    return np.polyfit(x, curves.numpy().T, 1)[0]


def with_interval(values):
    low = high = math.nan
    if len(values) > 1:
        low, high = stats.t.interval(
            0.95, len(values) - 1, values.mean(), stats.sem(values)
        )
    return [len(values), values.mean(), low, high]


rows = {}
for rate in networks:
    trained, null = (slopes(shares[rate, k]) for k in ("trained", "shuffled"))
    rows[rate, "trained"] = with_interval(trained)
    rows[rate, "shuffled"] = with_interval(null)
    rows[rate, "difference"] = with_interval(trained - null)
slope = pd.DataFrame(rows, ["seeds", "mean", "from", "to"]).T
slope.astype({"seeds": int}).round(1)

# %% [markdown]
# A slope of trained gates that lies above zero is the paper's finding. What
# shuffled gates have of it is due to the *spread* of the gates, where that grows
# with depth; it needs no word of who uses what. The difference is the rest.
#
# (choosing-tau)=
# ## Choosing τ
#
# Reviewers of the paper asked how to choose $\tau$. Let the null choose. For
# each $\tau$, what share of the filters has an owner, and what share would
# have one by chance?

# %% mystnb={"image": {"alt": "Share of filters with an owner over the threshold tau, for trained and for shuffled gates, on rooms and on faces with twelve tasks."}}
faces = records.of("faces", "tssbn", range(3), multiplier=10).gates()
TAUS = np.linspace(0.05, 0.95, 37)
panels = {"rooms: T = 3": tuned, "faces: T = 12": faces}
sweep = {}
fig, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True)
for ax, (title, of_set) in zip(axes, panels.items(), strict=True):
    trained, null = (
        torch.stack(
            [
                torch.stack([100 * count(g, tau).mean() for tau in TAUS])
                for g in of_set
            ]
        )
        for count in (
            owned,
            lambda g, tau: by_chance(g, tau, times=10),
        )
    )
    plots.spread(ax, TAUS, trained, "blue", "trained")
    plots.spread(ax, TAUS, null, "orange", "shuffled", ls="--")
    sweep[title] = trained.mean(0), null.mean(0)
    ax.axvline(1 / len(of_set[0].tasks), color="black", lw=0.8, ls=":")
    ax.set(xlim=(0, 1), xlabel="τ")
    ax.set_title(title, fontsize=10)
axes[0].set_ylabel("filters with an owner, %")
axes[0].legend(loc="upper right")
plt.show()

# %% [markdown]
# The dotted line is $1/T$, the share of a task where all gates are alike.
# Below it every filter has an owner. Above it the curves fall the later, the
# more the gates spread. Of the filters that have an owner, which part would
# have one by chance?

# %%
table = pd.DataFrame(
    {
        (title, column): values
        for title, (trained, null) in sweep.items()
        for column, values in (
            ("owned, %", trained.numpy()),
            ("by chance", (null / trained.clamp(min=1e-9)).numpy()),
        )
    },
    pd.Index(TAUS.round(3), name="τ"),
).loc[[0.1, 0.15, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6]]
table = table.where(
    table.xs("owned, %", axis=1, level=1)
    .ge(1)
    .reindex(columns=table.columns, level=0)
)
table.round(2)

# %% [markdown]
# (Fields with less than one filter in a hundred are left empty.) So:
#
# - report a share of specialised filters with its null beside it, or not at
#   all;
# - look above $1/T$ for the $\tau$ where chance explains least of what you
#   find; if it explains nearly all at every $\tau$, there is nothing to count;
# - with many tasks do not cut, rank: which filters have the largest share for
#   a task is a question that needs no $\tau$.
#
# (removal-by-hand)=
# ## Take them away
#
# A count says how many, and can be an accident. Whether those filters are the
# right ones is another question, and one can ask the network. The paper removes
# the 200 most important filters of each task, {math}`200/7168 = 2.8` % of its
# SegNet, and looks at how much each task loses. Whether those are the filters
# with the widest gates, or those of which the task holds the largest share, can
# be read either way; both come below.
#
# What does it mean to remove a filter? The paper does not say. We set its
# normalised output to zero for *every* task, and train nothing afterwards.
# If only the owner's gate were shut, nobody else could lose anything.
#
# Here is a small network, trained now: four attributes of synthetic faces.

# %%
SMALL = {"n": 1200, "epochs": 8, "side": 24, "attributes": 4, "multiplier": 10}
run = Run("faces", "tssbn", 0, SMALL)
net, record = train(run)
importance = gates.importance(net)
T, F = importance.values.shape
COUNT = round(200 / 7168 * F)
print(f"{T} tasks, {F} filters, of which {COUNT} for each task are removed")

# %% [markdown]
# By hand it is a hook behind each gated layer, which overwrites the chosen
# channels. The package shuts the gates instead, $\gamma = -\infty$, and
# `ablated` puts them back when the context ends. The two agree to the last
# bit:

# %%
own = gates.most_specialised(importance, COUNT)  # (T, F), a row for each task


def without_by_hand(net, filters, images):
    layers = [m for m in net.modules() if isinstance(m, TaskSigmoidNorm)]
    chosen = filters.split([layer.num_features for layer in layers])
    hooks = []
    for layer, off in zip(layers, chosen, strict=True):

        def overwrite(layer, inputs, output, off=off):
            output[:, off] = 0

        hooks.append(layer.register_forward_hook(overwrite))
    outputs = net(images)
    for hook in hooks:
        hook.remove()
    return outputs


data = run.benchmark.data("test")
batches = [data[rows] for rows in torch.arange(len(data)).split(100)]
images = batches[0]["image"]
with torch.no_grad():
    before = net(images)
    by_hand = without_by_hand(net, own[0], images)
    with gates.ablated(net, own[0]):
        package = net(images)
    after = net(images)
for task in net.tasks:
    assert torch.equal(by_hand[task], package[task])
    assert torch.equal(before[task], after[task])
    assert not torch.equal(before[task], package[task])
print("by hand = the package; and everything is back in its place")

# %% [markdown]
# Now remove the own filters of each task in turn and score all tasks each
# time. What comes out is a $T \times T$ matrix $D$: row $s$ is whose filters
# went, column $t$ who lost how much. If the shares mean something its diagonal
# stands out, and
#
# $$
# \delta = \frac1T \sum_t D_{t,t}
#         - \frac{1}{T(T-1)} \sum_{s \ne t} D_{s,t}
# $$ (eq-self-cross)
#
# is above 0. Each task has one field on the diagonal and $T - 1$ off it,
# so a task that is easily hurt does not tip the scales. If the sets of filters
# have nothing to do with the tasks, the expected $\delta$ is 0.

# %%
tasks = run.benchmark.tasks(data.targets)


def f1():
    scores = evaluate(net, tasks, batches)
    return np.array([scores[task]["f1"] for task in tasks])


def drops(sets):
    """F1 that each task loses without each of the sets, in points."""
    base, rows = f1(), []
    for filters in sets:
        with gates.ablated(net, filters):
            rows.append(100 * (base - f1()))
    return np.array(rows)


def self_and_cross(matrix):
    diagonal = np.eye(len(matrix), dtype=bool)
    return matrix[diagonal].mean(), matrix[~diagonal].mean()


generator = torch.Generator().manual_seed(0)
shuffles = [gates.permuted(importance, generator) for _ in range(4)]
live = {"own": drops(own)}
live["shuffled"] = np.mean(
    [drops(gates.most_specialised(s, COUNT)) for s in shuffles], axis=0
)


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Two four by four matrices of lost F1. Left, without the filters of which a task holds the largest share, the diagonal is the darkest part. Right, without filters chosen by shuffled gates, there is no diagonal."}}
def show(ax, matrix, names, limit, numbers=True):
    sns.heatmap(
        matrix,
        vmin=-limit,
        vmax=limit,
        cmap="RdBu_r",
        annot=numbers,
        fmt=".0f",
        annot_kws={"fontsize": 8},
        square=True,
        cbar=False,
        xticklabels=names,
        yticklabels=[*names, "(ignores)"][: len(matrix)],
        ax=ax,
    )
    ax.tick_params("x", labelsize=7, rotation=90)
    ax.tick_params("y", labelsize=7, rotation=0)
    return ax.collections[0]


def named(tasks):
    return [task.replace("_", " ") for task in tasks]


_, axes = plt.subplots(1, 2, figsize=(7, 3.2))
for ax, (kind, matrix) in zip(axes, live.items(), strict=True):
    show(ax, matrix, named(tasks), 60)
    own_loss, other_loss = self_and_cross(matrix)
    ax.set_title(
        f"{kind}: own task {own_loss:.0f},\nothers {other_loss:.0f} points"
    )
    ax.set_xlabel("loses F1, points")
axes[0].set_ylabel("whose filters went")
plt.show()

# %% [markdown]
# One small network with one seed is an anecdote. No score was used to choose the
# filters, gates alone were.
#
# (removal-matrix)=
# ## Figure 4, right: who misses them?
#
# The same on the networks of the saved runs: three tasks on rooms, twelve on
# faces (at ×10), the same share of filters as in the paper, and the controls
# that say what a diagonal is worth:
#
# - **random**: as many filters, anywhere;
# - **matched**: as many in every layer as were the task's own, but random
#   ones. Filters near the heads may hurt more than others, whoever owns them;
# - **shuffled**: the task's own by shuffled gates;
# - **widest**: those whose gates are widest for the task, whatever the others
#   think of them;
# - **least**: those whose gates are narrowest for the task.
#
# This takes a few hundred evaluations, so it is saved. It comes from
# `book/studies/removal.py`. On rooms a loss is in per cent of the score that
# the task has with all filters; on faces, where a rare attribute may have an
# F1 near zero to be divided by, it is in points of F1. The last row of a matrix
# is what the answer loses that ignores the image.


# %%
def study(benchmark):
    found = []
    for seed in SEEDS:
        try:
            found.append(records.load(f"removal/{benchmark}-{seed}"))
        except FileNotFoundError:
            continue
    return found


def lost(record, scores):
    """What the tasks lose: (rows, T)."""
    base, scores = np.array(record["base"]), np.array(scores)
    if record["benchmark"] == "faces":
        return 100 * (base - scores)
    up = np.where(list(record["directions"].values()), 1, -1)
    return 100 * up * (base - scores) / base


def mean_lost(record, kind):
    """Over the draws, where there are several."""
    draws = [lost(record, scores) for scores in record["without"][kind]]
    return np.mean(draws, axis=0)


studies = {name: study(name) for name in ("rooms", "faces")}
studies = {name: found for name, found in studies.items() if found}
for benchmark, found in studies.items():
    first = found[0]
    print(
        f"{benchmark}: {first['count']} of {first['filters']} filters, "
        f"{first['images']} test images, {len(found)} seeds"
    )

# %% mystnb={"image": {"alt": "Left, the three by three matrix of rooms, right, the twelve by twelve matrix of faces: whose filters went, and who loses how much. A frame marks the row in which a task loses most; the last row is the answer that ignores the image."}}
faces_data = Run("faces", "tssbn").benchmark
splits = [faces_data.data(split) for split in ("train", "test")]
of_faces = constant_scores(faces_data.tasks(splits[0].targets), *splits, 100)
blind = {
    benchmark: found[0].get("constant")
    or [of_faces[task][metric] for task, metric in found[0]["metric"].items()]
    for benchmark, found in studies.items()
}
UNITS = {"rooms": "loses, % of its score", "faces": "loses F1, points"}
fig, axes = plt.subplots(1, len(studies), figsize=(7.5, 4.8), squeeze=False)
for ax, (benchmark, found) in zip(axes[0], studies.items(), strict=True):
    matrix = np.mean([mean_lost(r, "own") for r in found], axis=0)
    ignores = np.mean([lost(r, blind[benchmark]) for r in found], axis=0)
    names = named(found[0]["metric"])
    picture = show(
        ax,
        np.vstack([matrix, ignores]),
        names,
        100 if benchmark == "rooms" else 60,
        numbers=len(names) < 5,
    )
    for column, row in enumerate(matrix.argmax(0)):
        ax.add_patch(plt.Rectangle((column, row), 1, 1, fill=False, lw=2))
    bar = {"location": "bottom", "aspect": 30, "label": UNITS[benchmark]}
    plt.colorbar(picture, ax=ax, **bar)
    most = (matrix.argmax(0) == np.arange(len(names))).sum()
    ax.set_title(
        f"{benchmark}: {most} of {len(names)} tasks\nlose most by their own",
        fontsize=10,
    )
axes[0, 0].set_ylabel("whose filters went")
plt.show()

# %% [markdown]
# The matrices are means over the seeds; a frame marks where a task loses most.
# Now the diagonal against the rest, a dot for each seed:

# %% mystnb={"image": {"alt": "For six ways to choose filters the mean loss of the task that they were chosen for and of the other tasks, a dot for each seed, on rooms and on faces."}}
KINDS = ("own", "widest", "shuffled", "matched", "random", "least")
fig, axes = plt.subplots(
    1, len(studies), figsize=(7.5, 3.4), sharey=True, squeeze=False
)
for ax, (benchmark, found) in zip(axes[0], studies.items(), strict=True):
    for row, kind in enumerate(KINDS[::-1]):
        for offset, record in zip(
            np.linspace(0.2, -0.2, len(found)), found, strict=True
        ):
            y = row + offset
            pair = self_and_cross(mean_lost(record, kind))
            ax.plot(pair, (y, y), color="#BBBBBB", lw=1, zorder=0)
            for value, color in zip(pair, ("blue", "orange"), strict=True):
                ax.plot(value, y, "o", ms=4, color=plots.COLORS[color])
    ax.set_yticks(range(len(KINDS)), KINDS[::-1])
    ax.axvline(0, color="black", lw=0.8)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(UNITS[benchmark])
    ax.set_title(benchmark, fontsize=10)
for color, label in ("blue", "the task itself"), ("orange", "the others"):
    axes[0, -1].plot([], [], "o", color=plots.COLORS[color], label=label)
axes[0, -1].legend(loc="lower right")
plt.show()


# %%
rows = {}
for benchmark, found in studies.items():
    pairs = {
        kind: [self_and_cross(mean_lost(r, kind)) for r in found]
        for kind in KINDS
    }
    apart = {kind: [a - b for a, b in of] for kind, of in pairs.items()}
    against = Bed(apart).against("own", *KINDS[1:])
    for kind in KINDS:
        n, mean, low, high = with_interval(np.array(apart[kind]))
        effect = against.get(kind)
        rows[benchmark, kind] = {
            "the task": f"{np.mean(pairs[kind], 0)[0]:.1f}",
            "the others": f"{np.mean(pairs[kind], 0)[1]:.1f}",
            "difference": f"{mean:+.1f}"
            + f" [{low:+.1f}, {high:+.1f}]" * (n > 1),
            "own − this": str(effect) if effect else "",
            "seeds": n,
        }
pd.DataFrame(rows).T

# %% [markdown]
# Differences have their 95 % intervals, those of *own* from the controls
# Dunnett's. A set drawn once for each task is itself a matter of luck. There is
# a control that needs no draws: keep the sets, and deal them to the tasks in
# another order, that is, permute the rows of $D$, in each network by itself. In
# which part of ten thousand such deals does the diagonal, summed over networks,
# lose as much as in the right one?


# %%
def dealt_at_random(matrices, times=10_000):
    """The part of row orders whose diagonal is as large as it is."""
    tasks, random = len(matrices[0]), np.random.default_rng(0)
    sums = np.zeros(times)
    for matrix in matrices:
        orders = np.tile(np.arange(tasks), (times, 1))
        orders[1:] = random.permuted(orders[1:], axis=1)
        sums += matrix[orders, np.arange(tasks)].sum(1)
    return (sums >= sum(map(np.trace, matrices)) - 1e-9).mean()


pd.DataFrame(
    {
        benchmark: {
            kind: dealt_at_random([mean_lost(r, kind) for r in found])
            for kind in KINDS
        }
        for benchmark, found in studies.items()
    }
).round(4)

# %% [markdown]
# (removal-sweep)=
# ## How many?
#
# The paper removes 2.8 % of the filters for each task. Half as many and twice
# as many:

# %% mystnb={"image": {"alt": "What a task loses without its own filters beyond what the others lose, over the number of filters removed, a line for each seed, for rooms and faces."}}
fig, axes = plt.subplots(1, len(studies), figsize=(7, 2.8), squeeze=False)
for ax, (benchmark, found) in zip(axes[0], studies.items(), strict=True):
    counts = sorted(map(int, [*found[0]["sweep"], found[0]["count"]]))
    for record in found:
        sweep = {str(record["count"]): mean_lost(record, "own")}
        for count, scores in record["sweep"].items():
            sweep[count] = lost(record, scores)
        line = [np.subtract(*self_and_cross(sweep[str(k)])) for k in counts]
        part = [100 * count / record["filters"] for count in counts]
        ax.plot(part, line, "o-", ms=4, lw=1.2, color=plots.COLORS["blue"])
    ax.axhline(0, color="black", lw=0.8)
    ax.axvline(100 * 200 / 7168, color="#999999", lw=0.8, ls=":")
    ax.set_xlabel("filters removed for each task, %")
    ax.set_ylabel(f"δ, {'%' if benchmark == 'rooms' else 'points of F1'}")
    ax.set_title(benchmark, fontsize=10)
plt.show()

# %% [markdown]
# ## Limits
#
# - Removing a filter without training afterwards is a blunt tool. It changes
#   what all later layers see, and their running statistics were not made for
#   it. A filter may be missed and yet be replaceable.
# - A filter is removed with the gates of all tasks, so a loss of another task
#   may mean that it used the filter or that it depended on a later one which
#   did.
# - Gates of different layers are compared as if a gate of 0.6 meant the same
#   everywhere. {doc}`10_capacity` shows that it need not: a factor for each
#   task and layer is free. So the ranking does not have to work.
# - Our networks are small. With more room tasks may part ways more than here.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-12-two-tasks
# For two tasks with gates that are independent and evenly spread over (0, 1),
# what share of the filters is specialised at $\tau = 0.5$, and what at 0.75?
# :::
#
# :::{solution} ex-12-two-tasks
# :class: dropdown
# At 0.5 all of them: one of two gates is always wider. At 0.75 it has to be
# three times as wide, which in the unit square are two triangles of area 1/6
# each, so one third.
#
# ```python
# pair = torch.rand(2, 100_000)
# print(owned(pair).mean().item(), owned(pair, 0.75).mean().item())
# ```
# :::
#
# :::{exercise}
# :label: ex-12-only-mine
# In the small network of this chapter shut the gates of a task's own filters
# for that task alone. What does it lose, and what do the others?
# :::
#
# :::{solution} ex-12-only-mine
# :class: dropdown
#
# ```python
# layers = [m for m in net.modules() if isinstance(m, TaskSigmoidNorm)]
# widths = [layer.num_features for layer in layers]
# base = f1()
# for t, task in enumerate(net.tasks):
#     kept = [layer.gamma.detach().clone() for layer in layers]
#     with torch.no_grad():
#         for layer, off in zip(layers, own[t].split(widths)):
#             layer.gamma[t, off] = -torch.inf
#     print(task, (100 * (base - f1())).round(1))
#     with torch.no_grad():
#         for layer, gamma in zip(layers, kept):
#             layer.gamma.copy_(gamma)
# ```
#
# The task loses exactly what it lost before: its pass through the trunk sees
# its own gates only. The others lose nothing at all. So the diagonal of the
# matrix does not depend on what removal means for the others; everything off
# it does.
# :::
#
# :::{exercise}
# :label: ex-12-fair-shares
# Shares divide a filter among tasks as if all tasks opened their gates equally
# far on average. Divide each task's gates by its {term}`capacity` first. Which
# filters change owner?
# :::
#
# :::{solution} ex-12-fair-shares
# :class: dropdown
#
# ```python
# values = importance.values
# fair = values / values.mean(dim=1, keepdim=True)
# both = gates.most_specialised(fair, COUNT) & own
# print("kept:", both.sum(1).tolist(), "of", COUNT)
# for tau in 0.3, 0.5:
#     for name, matrix in ("as they are", values), ("fair", fair):
#         owners = gates.specialised(matrix, tau)
#         counts = [(owners == t).sum().item() for t in range(len(values))]
#         print(tau, name, counts)
# ```
#
# The lists hardly change: which filters come first for a task has little to do
# with how wide its gates are on average. The counts do change, in favour of
# the task of the smallest capacity.
# :::
#
# ## What we learned
#
# - A share of specialised filters needs a null. Gates that spread make owners
#   by accident, for few tasks in great numbers; shuffled gates tell how many.
# - Which filters are whose is another matter, and a network can be asked: does a
#   task miss its own more than the others do, and more than random ones?
# - With many tasks rank filters by their share. If you have to count, let
#   shuffled gates choose $\tau$.

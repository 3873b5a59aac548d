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
# Gates tell *which* filters belong to a task: take away the few of which it
# holds the largest share, and it loses more than the other tasks do, among
# twelve tasks several times as much. They do not tell *how many* filters
# belong to somebody: shuffled gates have more than half of that number, too,
# and most of its growth with depth.
# :::
#
# *Runs in under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import itertools
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from scipy import stats

from tssbn import gates, plots, records
from tssbn.norm import TaskSigmoidNorm
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train
from tssbn.training.run import Run

torch.set_num_threads(1)
plots.style()
SEEDS = range(3)

# %% [markdown]
# (more-than-half)=
# ## More than half have an owner
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
def gates_of(benchmark, multiplier=10):
    """The gates of the saved runs after their last epoch."""
    return records.of(benchmark, "tssbn", SEEDS, multiplier=multiplier).gates()


def owners_by_hand(values, tau):
    owners = []
    for column in values.T:
        owner = -1
        for t, gate in enumerate(column):
            if gate > tau * column.sum():
                owner = t
        owners.append(owner)
    return torch.tensor(owners)


fast = gates_of("rooms", multiplier=100)
for importance in fast:
    by_hand = owners_by_hand(importance.values, 0.5)
    assert torch.equal(by_hand, gates.specialised(importance, 0.5))
print(f"{len(by_hand)} filters, tasks {importance.tasks}")

# %% [markdown]
# These are three networks of {term}`TSσBN` on made rooms (chapter 5), a SegNet
# of an eighth of the paper's width. Their gates learned at 100 times the base
# rate, as in the paper. How many of their filters have an owner? And how many,
# if each task's gates are shuffled within each layer? Then no task knows
# anything of the others' choices, and who owns what is an accident. Fifty
# shuffles for each network:


# %%
def owned(importance, tau=0.5):
    """Which filters have an owner; 0 or 1, (F,)."""
    return (gates.specialised(importance, tau) >= 0).double()


def by_chance(importance, tau=0.5, times=50):
    """For each filter how often it has one, the gates being shuffled."""
    generator = torch.Generator().manual_seed(0)
    draws = [gates.permuted(importance, generator) for _ in range(times)]
    return torch.stack([owned(draw, tau) for draw in draws]).mean(0)


hook = pd.DataFrame(
    {
        "with an owner, %": [100 * owned(g).mean().item() for g in fast],
        "shuffled, %": [100 * by_chance(g).mean().item() for g in fast],
    },
    pd.Index(SEEDS, name="seed"),
)
assert (hook > 50).all(axis=None)
assert (hook.diff(axis=1).iloc[:, 1].abs() < 4).all()
hook.round(1)

# %% [markdown]
# More than half the filters are specialised, and it means nothing. As many
# would be if the tasks had rolled dice.
#
# How can chance give so much? Let the gates of a filter be independent of each
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

# %%
spread_of = {
    f"seed {seed}": {
        "below 0.1": (g.values < 0.1).double().mean().item(),
        "between": ((g.values - 0.5).abs() <= 0.4).double().mean().item(),
        "above 0.9": (g.values > 0.9).double().mean().item(),
    }
    for seed, g in enumerate(fast)
}
pd.DataFrame(spread_of).round(2)

# %% [markdown]
# The gates of these networks are somewhere between the two cases. At 100 times
# this benchmark's rate a gate moves by 0.3 in a step, and after 400 steps it
# can be anywhere; {doc}`13_knobs` has more of that.
#
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
# SegNet, in the order in which its layers run. Left the gates at ten times the
# base rate; with the rate of this short benchmark that is nearest to what
# gates do in the paper ({doc}`13_knobs`). Right those of the hook.


# %%
def depth(layer):
    """Where a layer of SegNet runs: the decoder's stages run backwards."""
    stage, block, _ = map(int, re.findall(r"\d+", layer))
    return (0, stage, block) if "encoder" in layer else (1, -stage, block)


def over_depth(importance, of_filters):
    """The mean over each layer in per cent, from the first to the last."""
    layers = importance.layers
    parts = of_filters.split(list(layers.values()))
    means = {
        name: part.mean() for name, part in zip(layers, parts, strict=True)
    }
    return 100 * torch.stack(
        [means[name] for name in sorted(layers, key=depth)]
    )


slow = gates_of("rooms")
still = gates_of("rooms", multiplier=1)
shares = {
    name: torch.stack([over_depth(g, count(g)) for g in networks])
    for name, networks, count in (
        ("×10", slow, owned),
        ("×10, shuffled", slow, by_chance),
        ("×100", fast, owned),
        ("×100, shuffled", fast, by_chance),
        ("×1", still, owned),
    )
}

# %% mystnb={"image": {"alt": "Share of specialised filters over the 26 layers of SegNet in the order in which they run. Left, gates at ten times the rate: near zero in the encoder, rising in the decoder to a third of the filters; shuffled gates rise to most of that. At the base rate there are none. Right, gates at a hundred times the rate: about sixty per cent in all layers, for trained and for shuffled gates alike."}}
_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
layer = range(1, 27)
for ax, name in (left, "×10"), (right, "×100"):
    plots.spread(ax, layer, shares[name], "blue", f"{name}, trained")
    null = shares[f"{name}, shuffled"]
    plots.spread(ax, layer, null, "orange", f"{name}, shuffled", ls="--")
    ax.axvline(13.5, color="#999999", lw=0.8)
    ax.set(xlabel="layer: encoder | decoder", xlim=(1, 26))
plots.spread(left, layer, shares["×1"], "black", "×1, trained", lw=1)
left.set_ylabel("specialised filters, %")
left.set_ylim(-1, 50)
left.set_title("It grows with depth, and\nmost of the growth is chance")
right.set_ylim(0, 100)
right.set_title("At ×100 it is chance,\nin every layer")
for ax in (left, right):
    ax.legend(loc="upper left" if ax is left else "lower left", fontsize=8)
plt.show()

# %% [markdown]
# Bands are the lowest and highest of three seeds. In an untrained network all
# gates are 0.5, each task holds a third of every filter, and no filter has an
# owner; at the base rate the gates hardly leave that point.
#
# A slope for each seed, in percentage points from the first layer to the last,
# and the 95 % interval of their mean (Student's t over seeds):


# %%
def slopes(curves):
    x = np.linspace(0, 1, curves.shape[1])
    return np.polyfit(x, curves.numpy().T, 1)[0]


def with_interval(values):
    low, high = stats.t.interval(
        0.95, len(values) - 1, values.mean(), stats.sem(values)
    )
    return [*values, values.mean(), low, high]


rows = {}
for name in "×10", "×100":
    trained, null = slopes(shares[name]), slopes(shares[f"{name}, shuffled"])
    rows[name] = with_interval(trained)
    rows[f"{name}, shuffled"] = with_interval(null)
    rows[f"{name}, difference"] = with_interval(trained - null)
slope = pd.DataFrame.from_dict(
    rows,
    orient="index",
    columns=[*(f"seed {seed}" for seed in SEEDS), "mean", "from", "to"],
)
assert slope.loc["×10", "from"] > 0
assert slope.loc["×10, shuffled", "mean"] > slope.loc["×10", "mean"] / 2
assert slope.loc["×100", "from"] < 0 < slope.loc["×100", "to"]
slope.round(1)

# %% [markdown]
# The paper's finding is there at ×10: specialisation grows with depth, on
# every seed. But most of that growth is there in shuffled gates, and whether
# anything is left of the difference three networks cannot tell. What grows for
# certain is the *spread* of the gates: towards the heads tasks open and shut,
# in the encoder they leave the gates near the middle. That is a finding, too.
# It needs no word of who uses what.
#
# (choosing-tau)=
# ## Choosing τ
#
# Reviewers of the paper asked how to choose $\tau$. Let the null choose. For
# each $\tau$, what share of the filters has an owner, and what share would
# have one by chance?

# %% mystnb={"image": {"alt": "Share of filters with an owner over the threshold tau, for trained and for shuffled gates: rooms at ten and at a hundred times the rate, and faces with twelve tasks at ten times. In all three panels the curves fall with tau, and those of the shuffled gates lie close to the trained ones. On faces no filter is left at 0.5."}}
faces = gates_of("faces")
assert not any(owned(g).any() for g in faces)
TAUS = np.linspace(0.05, 0.95, 37)
panels = {
    "rooms ×10: T = 3": slow,
    "rooms ×100: T = 3": fast,
    "faces ×10: T = 12": faces,
}
sweep = {}
fig, axes = plt.subplots(1, 3, figsize=(7, 3), sharey=True)
for ax, (title, networks) in zip(axes, panels.items(), strict=True):
    trained, null = (
        torch.stack(
            [
                torch.stack([100 * count(g, tau).mean() for tau in TAUS])
                for g in networks
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
    ax.axvline(1 / len(networks[0].tasks), color="black", lw=0.8, ls=":")
    ax.set(xlim=(0, 1), xlabel="τ")
    ax.set_title(title, fontsize=10)
axes[0].set_ylabel("filters with an owner, %")
axes[0].legend(loc="upper right")
fig.suptitle("Whatever τ, a count is close to chance", fontsize=11)
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
# (Fields with less than one filter in a hundred are left empty.) At ×100 no
# $\tau$ separates trained gates from shuffled ones, and on faces none does. On
# rooms at ×10 it is best around the paper's 0.5: there about half of the owned
# filters are more than chance. So:
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
# right ones is another question, and one can ask the network. The paper
# removes, for each task, the 200 filters of which it holds the largest share,
# {math}`200/7168 = 2.8` % of its SegNet, and looks at how much each task
# loses.
#
# What does it mean to remove a filter? The paper does not say. We set its
# normalised output to zero for *every* task, and train nothing afterwards.
# If only the owner's gate were shut, nobody else could lose anything.
#
# Here is a small network, trained now: four attributes of drawn faces.

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
# \rho = \frac{\frac1T \sum_t D_{t,t}}
#             {\frac{1}{T(T-1)} \sum_{s \ne t} D_{s,t}}
# $$ (eq-self-cross)
#
# is well above 1. Each task has one field on the diagonal and $T - 1$ off it,
# so a task that is easily hurt does not tip the scales. If the sets of filters
# have nothing to do with the tasks, the expected $\rho$ is about 1.

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
        yticklabels=names,
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

# %%
own_loss, other_loss = self_and_cross(live["own"])
print("own filters: the task itself loses more:", own_loss > other_loss)

# %% [markdown]
# One small network with one seed is an anecdote. But the rows on the left
# differ, and they did come from gates alone: no score was used to choose the
# filters.
#
# (removal-matrix)=
# ## Figure 4, right: who misses them?
#
# The same on the networks of the saved runs at ×10: three tasks on rooms, twelve on
# faces, the same share of filters as in the paper, and the controls that say
# what a diagonal is worth:
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
# F1 near zero to be divided by, it is in points of F1.


# %%
def study(benchmark, seeds=SEEDS):
    return [records.load(f"removal/{benchmark}-{seed}") for seed in seeds]


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


studies = {"rooms": study("rooms"), "faces": study("faces", range(6))}
for benchmark, found in studies.items():
    first = found[0]
    print(
        f"{benchmark}: {first['count']} of {first['filters']} filters, "
        f"{first['images']} test images, {len(found)} seeds"
    )

# %% mystnb={"image": {"alt": "Left, the three by three matrix of rooms: losses off the diagonal are of a similar size as on it, and largest for depth without the filters of segmentation. Right, the twelve by twelve matrix of faces: the diagonal stands out for most attributes."}}
UNITS = {"rooms": "loses, % of its score", "faces": "loses F1, points"}
TITLES = {
    "rooms": "all suffer,\nthe owner not always most",
    "faces": "most tasks miss\ntheir own filters most",
}
_, axes = plt.subplots(1, 2, figsize=(7.5, 4.6), width_ratios=(2, 3))
for ax, (benchmark, found) in zip(axes, studies.items(), strict=True):
    matrix = np.mean([mean_lost(r, "own") for r in found], axis=0)
    limit = 100 if benchmark == "rooms" else 60
    names = named(found[0]["metric"])
    picture = show(ax, matrix, names, limit, numbers=len(names) < 5)
    bar = {"location": "bottom", "aspect": 30, "label": UNITS[benchmark]}
    plt.colorbar(picture, ax=ax, **bar)
    ax.set_title(f"{benchmark}: {TITLES[benchmark]}", fontsize=10)
axes[0].set_ylabel("whose filters went")
plt.show()

# %% [markdown]
# The matrices are means over the seeds. Now the diagonal against the rest, a
# dot for each seed:

# %% mystnb={"image": {"alt": "For six ways to choose filters the mean loss of the task that they were chosen for and of the other tasks, a dot for each seed, on rooms and on faces. On faces own filters cost their task several times as much as the others, random ones all the same. On rooms the gap is small."}}
OWNER = {
    "rooms": "own filters hurt\ntheir task a little more",
    "faces": "own filters hurt\ntheir task by far the most",
}
KINDS = ("own", "widest", "shuffled", "matched", "random", "least")
_, axes = plt.subplots(1, 2, figsize=(7, 3.4), sharey=True)
for ax, (benchmark, found) in zip(axes, studies.items(), strict=True):
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
    ax.set_title(f"{benchmark}: {OWNER[benchmark]}", fontsize=10)
for color, label in ("blue", "the task itself"), ("orange", "the others"):
    axes[1].plot([], [], "o", color=plots.COLORS[color], label=label)
axes[1].legend(loc="lower right")
plt.show()


# %%
def ratio(matrix):
    own_loss, other_loss = self_and_cross(matrix)
    return own_loss / other_loss


ratios = pd.DataFrame(
    {
        (benchmark, f"seed {record['seed']}"): {
            kind: ratio(mean_lost(record, kind)) for kind in KINDS
        }
        for benchmark, found in studies.items()
        for record in found
    }
)
ratios.round(2)

# %% [markdown]
# (Where the others lose hardly anything, a ratio jumps.) A set drawn once for
# each task is itself a matter of luck. There is a control that needs no draws:
# keep the sets, and deal them to the tasks in every other order, that is,
# permute the rows of $D$. In which part of all orders, the right one included,
# does the diagonal lose as much as in the right one?


# %%
def dealt_at_random(matrix, times=10_000):
    """The part of row orders whose diagonal is as large as it is."""
    tasks, random = len(matrix), np.random.default_rng(0)
    if tasks < 6:
        orders = np.array(list(itertools.permutations(range(tasks))))
    else:
        orders = random.permuted(np.tile(np.arange(tasks), (times, 1)), axis=1)
        orders[0] = np.arange(tasks)
    diagonals = matrix[orders, np.arange(tasks)].sum(1)
    return (diagonals >= np.trace(matrix) - 1e-9).mean()


dealt = pd.DataFrame(
    {
        (benchmark, f"seed {record['seed']}"): {
            kind: dealt_at_random(mean_lost(record, kind)) for kind in KINDS
        }
        for benchmark, found in studies.items()
        for record in found
    }
)
dealt.round(4)

# %% [markdown]
# Three sets can be dealt to three tasks in six ways only, so on rooms no
# network alone can show much. The three together have 216:


# %%
def dealt_together(matrices):
    """The same, each network's sets dealt by themselves."""
    tasks = np.arange(len(matrices[0]))
    orders = np.array(list(itertools.permutations(tasks)))
    sums = [matrix[orders, tasks].sum(1) for matrix in matrices]
    every = np.array([sum(of_seeds) for of_seeds in itertools.product(*sums)])
    return (every >= sum(map(np.trace, matrices)) - 1e-9).mean()


together = pd.Series(
    {
        kind: dealt_together([mean_lost(r, kind) for r in studies["rooms"]])
        for kind in KINDS
    }
)
together.rename("rooms, three seeds").to_frame().round(3)

# %%
assert 1 / 18 < together["own"] < 1 / 16  # what the text calls 1 in 17
assert together["widest"] < 0.1
assert (together[["shuffled", "matched", "random"]] > 0.3).all()
assert (dealt["faces"].loc["own"] < 0.001).all()
assert (dealt["faces"].loc[["shuffled", "matched"]] > 0.05).all(axis=None)
assert (dealt["faces"].loc["random"] < 0.05).any()
for control in KINDS[1:]:
    assert (ratios["faces"].loc["own"] > ratios["faces"].loc[control]).all()
for control in "shuffled", "matched", "random", "least":
    assert (ratios["rooms"].loc["own"] > ratios["rooms"].loc[control]).all()
wider = ratios["rooms"].loc["widest"] > ratios["rooms"].loc["own"]
assert wider.sum() == 2 and len(wider) == 3
assert (ratios.loc["own"] > 1).all() and (ratios.loc["least"] < 0.5).all()

# %% [markdown]
# **On faces** the diagonal is real. Without its own filters a task loses
# several times as much as the others do, on every seed, and of ten thousand
# ways to deal the same filters to the tasks next to none does as well. Random
# filters in the same layers, and those that shuffled gates name, show nothing
# of the kind. (One or two of the random draws would pass for a finding by
# themselves, which is why the order of the sets is the control to trust.) So
# although not one filter is specialised by $\tau = 0.5$, and the number at any
# lower $\tau$ is that of chance, the ranking names filters that the task needs
# and the others do not.
#
# **On rooms** it is there, and weak. The owner loses more than the others on
# every seed, and more so than with random, matched or shuffled ones. But own
# filters hurt everybody, and of the 216 ways to deal the sets about one in
# seventeen does as well. Classes, depth and normals of the same pixels have
# more in common than glasses and beards. And most of what goes lies near the
# heads, where all three tasks pass.
#
# Two rows deserve a second look. The **widest** gates of a task hurt it, too,
# but on faces they tell owners from others less well than shares do: a filter
# that is wide for one is often wide for many. On rooms widest gates tell
# owners better on two of three seeds. And the **least**: without the filters
# whose gates are narrowest for a task, that task loses next to nothing on
# faces, while the others lose as much as they do without random ones. What the
# gates call unimportant is unimportant, and for that task alone.
#
# (removal-sweep)=
# ## How many?
#
# The paper removes 2.8 % of the filters for each task. Half as many and twice
# as many:

# %% mystnb={"image": {"alt": "Ratio of own to other loss over the number of filters removed, a line for each seed, for rooms and faces. On most seeds it falls as more filters are removed; on rooms it is nearer to one than on faces."}}
_, ax = plt.subplots(figsize=(6, 2.8))
swept = {}
for (benchmark, found), color in zip(
    studies.items(), ("orange", "blue"), strict=True
):
    counts = sorted(map(int, [*found[0]["sweep"], found[0]["count"]]))
    for record in found:
        line = [
            ratio(
                mean_lost(record, "own")
                if count == record["count"]
                else lost(record, record["sweep"][str(count)])
            )
            for count in counts
        ]
        swept[record["name"]] = line
        part = [100 * count / record["filters"] for count in counts]
        (drawn,) = ax.plot(
            part, line, "o-", ms=4, lw=1.2, color=plots.COLORS[color]
        )
    drawn.set_label(benchmark)
ax.axhline(1, color="black", lw=0.8)
ax.axvline(100 * 200 / 7168, color="#999999", lw=0.8, ls=":")
ax.set(xlabel="filters removed for each task, %", ylabel="self / cross ρ")
ax.set_ylim(bottom=0)
ax.set_title("Fewer filters are more its own, on most seeds")
ax.legend()
plt.show()
assert min(map(min, swept.values())) > 1

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
#   task and layer is free. So that the ranking works was found here, for these
#   networks; it does not have to.
# - Our SegNet has an eighth of the paper's width and 400 steps of training.
#   With more room tasks may part ways more than here.
# - $\rho$ is a ratio of two means; where hardly anything is lost, it is noise.
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
# - In our SegNet specialisation grows with depth as in the paper. Most of the
#   growth is that of the spread.
# - Which filters are whose is another matter, and a network can be asked.
#   Among twelve tasks the filters with the largest share for a task were its
#   own in the only sense that counts: it missed them, and the others hardly
#   did. Among three related tasks on the same pixels little is anybody's own.
# - Narrow gates can be trusted, too. What is shut for a task, it does not
#   miss.
# - With many tasks rank filters by their share. If you have to count, let
#   shuffled gates choose $\tau$.

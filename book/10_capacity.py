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
# # Where the capacity goes
#
# :::{admonition} The claim
# The mean gate of a task is its capacity, and a projection on the other tasks'
# gates splits it into a shared and an independent part. That the shared part is
# much the larger one says nothing: it is so for gates that were shuffled. What
# is left without the mean, compared with shuffled gates and with its sign, says
# more.
# :::
#
# *Runs in under half a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import copy
import math

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from matplotlib.patches import Patch
from scipy import stats
from torch import nn

import tssbn
from tssbn import gates, plots, records
from tssbn.networks.unet import UNet
from tssbn.plots import COLORS
from tssbn.training.run import Run

torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Which of the three was trained?
#
# Here are the gates of three networks, or so it seems. Each has the U-Net of the
# synthetic rooms (chapter 6), three tasks and 528 filters with a gate for each
# task. One was trained. One was not, so all its gates are half open. One is
# the trained one, but in each layer each task's gates were dealt out anew to
# the filters: every task keeps its gates, and what a filter means to two tasks
# is left to chance.
#
# The paper sums such a matrix up by two numbers per task, the shared and the
# independent part of its {term}`capacity` {cite:p}`suteu2025tssbn`. How they
# are computed comes below. Here is the shared part as a percentage of the
# capacity:


# %%
SEEDS = range(20)  # those that are saved are read
rooms = records.of("rooms", "tssbn", SEEDS).gates()
tasks = rooms[0].tasks
deal = torch.Generator().manual_seed(0)
three = {
    "A": gates.permuted(rooms[0], deal),
    "B": gates.importance(tssbn.task_specific(UNet(), tasks)),
    "C": rooms[0],
}


def shared_percent(matrix, centred=False):
    split = gates.capacity_split(matrix, centred)
    return 100 * split.shared / gates.capacity(matrix)


pd.DataFrame(
    {name: shared_percent(matrix) for name, matrix in three.items()}, tasks
).round(1)

# %% [markdown]
# The network that has never seen an image shares most. Here is one layer of
# each, a row for a task and a column for a filter:

# %% mystnb={"image": {"alt": "Heat maps of the gates of one layer of three networks, three tasks by sixty-four filters each. A and C have scattered gates; B is uniform."}}
layer = "trunk.down.2.1.1"
solution = {"A": "C, shuffled", "B": "untrained", "C": "trained"}
fig, axes = plt.subplots(3, 1, figsize=(7, 3.2), sharex=True)
for ax, (name, matrix) in zip(axes, three.items(), strict=True):
    parts = matrix.by_layer()
    part = parts.get(layer, parts.get(layer.removeprefix("trunk.")))
    sns.heatmap(
        part,
        vmin=0,
        vmax=1,
        cmap="viridis",
        cbar=False,
        xticklabels=10,
        yticklabels=tasks,
        ax=ax,
    )
    shown = shared_percent(matrix).mean()
    ax.set_title(f"{name}: {shown:.0f} % shared ({solution[name]})", size=10)
axes[2].set_xlabel("filter of one layer")
plt.colorbar(ax.collections[0], ax=axes, label="gate σ(γ)")
plt.show()

assert shared_percent(three["B"]).min() > 99.9

# %% [markdown]
# So a large number need not come from training. This chapter is about what such
# numbers measure, and what they can tell.
#
# ## Capacity and its two parts
#
# Let $I$ be the {term}`importance matrix`: a row for each of the $T$ tasks, a
# column for each of the $F$ gated filters, and
# $I_{t,i} = \sigma(\gamma_{t,i})$. The capacity of a task is its mean gate,
#
# $$
# C_t = \frac1F \sum_{i=1}^{F} I_{t,i} .
# $$ (eq-capacity)
#
# Let $A$ be the $F \times (T-1)$ matrix with the rows of the other tasks as
# columns. The part of $I_t$ that they explain is its projection on their span,
#
# $$
# \hat I_t = A\,(A^\top A)^{-1} A^\top I_t ,
# \qquad
# I_t^\perp = I_t - \hat I_t ,
# $$ (eq-projection)
#
# and the capacity is divided by the lengths of the two,
#
# $$
# C_t^{\mathrm{shared}} = \frac{\lVert \hat I_t \rVert}{\lVert I_t \rVert}\, C_t ,
# \qquad
# C_t^{\mathrm{indep}} = \frac{\lVert I_t^\perp \rVert}{\lVert I_t \rVert}\, C_t .
# $$ (eq-capacity-split)
#
# (Equations 4 and 5 of the paper.) The two vectors are at right angles, so it
# is the squares that add up, $C_t^2 = (C_t^{\mathrm{shared}})^2 +
# (C_t^{\mathrm{indep}})^2$. With two tasks $C_t^{\mathrm{shared}} / C_t$ is the
# absolute cosine of the two rows. From scratch it is a least-squares problem:


# %%
def shares(rows):
    """‖Î_t‖/‖I_t‖ and ‖I_t - Î_t‖/‖I_t‖ of each row; both (T,)."""
    explained = torch.empty_like(rows)
    for t, row in enumerate(rows):
        others = torch.cat([rows[:t], rows[t + 1 :]]).T  # A
        explained[t] = (
            others @ torch.linalg.lstsq(others, row[:, None])[0][:, 0]
        )
    size = rows.norm(dim=1)
    return explained.norm(dim=1) / size, (rows - explained).norm(dim=1) / size


def centred(rows):
    return rows - rows.mean(dim=1, keepdim=True)


faces = records.of("faces", "tssbn", range(3), multiplier=10).gates()
for matrix in (*rooms, *faces):
    rows, C = matrix.values, matrix.values.mean(dim=1)
    for by_hand, package in (
        (shares(rows), gates.capacity_split(matrix)),
        (shares(centred(rows)), gates.capacity_split(matrix, centred=True)),
    ):
        assert torch.allclose(by_hand[0] * C, package.shared)
        assert torch.allclose(by_hand[1] * C, package.independent)
        squares = package.shared**2 + package.independent**2
        assert torch.allclose(squares, C**2)
print("by hand = the package, for all networks, plain and centred")
for benchmark, settings in ("rooms", {}), ("faces", {"multiplier": 10}):
    rate = records.gate_rate(Run(benchmark, "tssbn", settings=settings))
    print(f"{benchmark}: rate of the gates {rate:.2g}")

# %% [markdown]
# *Centred* means that each row's mean is subtracted before the projection.
# Why one should comes now.
#
# The runs are those of the synthetic benchmarks: rooms with segmentation, depth
# and normals, at the gate rate that is best on validation images, and the drawn
# faces with twelve attributes, at 10 times the base rate. Adam's steps have no
# scale, so what counts is the gates' own rate, multiplier times base rate; the
# paper's 100 times 1e-4 is 0.01.
#
# (sec-capacity-null)=
# ## The paper's figure, and its null
#
# Figure 3 of the paper draws capacity, shared and independent, for the tasks of
# NYUv2, Cityscapes and CelebA. It says that the shared part dominates and that
# no task does. Here is the shared part of our networks, in per cent of the
# capacity; each dot is a seed. Behind it stands what shuffled gates give
# ({func}`tssbn.gates.permuted`), as in network A: a grey box from the lowest to
# the highest of 50 deals of each seed, and a black line for their mean.


# %% mystnb={"image": {"alt": "The shared part of the capacity for the three tasks of rooms, above, and the twelve of faces, below; plain on the left, centred on the right. Dots are seeds, grey boxes are shuffled gates."}}
def null(matrix, measure, deals=50):
    """The measure on shuffled gates, stacked."""
    deal = torch.Generator().manual_seed(0)
    return torch.stack(
        [measure(gates.permuted(matrix, deal)) for _ in range(deals)]
    )


def split_of(centred):
    def measure(matrix):
        return torch.stack(gates.capacity_split(matrix, centred))

    return measure  # (2, T): shared, independent


KINDS = {"plain": split_of(False), "centred": split_of(True)}
BENCHMARKS = {"rooms": rooms, "faces": faces}
found, nulls = {}, {}
for benchmark, matrices in BENCHMARKS.items():
    for kind, measure in KINDS.items():
        key = benchmark, kind
        found[key] = torch.stack([measure(matrix) for matrix in matrices])
        nulls[key] = torch.stack([null(m, measure) for m in matrices])

C = {
    benchmark: torch.stack([gates.capacity(matrix) for matrix in matrices])
    for benchmark, matrices in BENCHMARKS.items()
}
fig, axes = plt.subplots(2, 2, figsize=(7, 5.6), sharey="col")
for row, (benchmark, matrices) in zip(axes, BENCHMARKS.items(), strict=True):
    for ax, kind in zip(row, KINDS, strict=True):
        capacity = C[benchmark]
        values = 100 * found[benchmark, kind][:, 0] / capacity
        chance = 100 * nulls[benchmark, kind][:, :, 0] / capacity[:, None]
        x = torch.arange(values.shape[-1])
        low, high = chance.amin((0, 1)), chance.amax((0, 1))
        ax.bar(x, high - low, 0.5, bottom=low, color="#BBBBBB")
        middle = chance.mean((0, 1))
        ax.hlines(middle, x - 0.25, x + 0.25, color="black", lw=1)
        ax.plot(x, values.T, ".", ms=6, color=COLORS["blue"])
        names = [name.replace("_", " ") for name in matrices[0].tasks]
        turn = {"rotation": 90} if len(names) > 3 else {}
        ax.set_xticks(x, names, fontsize=7.5, **turn)
        ax.grid(axis="x", visible=False)
        ax.set_title(f"{benchmark}, {kind}", size=10)
    row[0].set_ylabel("shared, % of capacity")
fig.legend(
    [Patch(color=COLORS["blue"]), Patch(color="#BBBBBB")],
    ["trained, a dot for each seed", "gates shuffled"],
    loc="outside lower center",
    ncols=2,
)
plt.show()


# %%
def summary(values, chance, C):
    """Shares of capacity in per cent, and how often chance reaches them."""
    share, by_chance = values / C, chance / C[:, None]
    return {
        "shared, %": round(100 * share.mean().item(), 1),
        "shuffled, %": round(100 * by_chance.mean().item(), 1),
        "above all deals": f"{(share > by_chance.amax(1)).sum()} of {share.numel()}",
        "below all deals": f"{(share < by_chance.amin(1)).sum()} of {share.numel()}",
    }


pd.DataFrame(
    {
        key: summary(found[key][:, 0], nulls[key][:, :, 0], C[key[0]])
        for key in found
    }
).T

# %% [markdown]
# *Dominates?* The first column says so, and the second says it of shuffled gates.
# (The paper prints no numbers with its figure, so there are none to put beside
# ours.)
#
# *No task dominates?* All gates start at one half, so capacities begin as equals:

# %%
for benchmark, capacities in C.items():
    ratio = (capacities.amax(1) / capacities.amin(1)).tolist()
    print(
        f"{benchmark}: C_t from {capacities.min():.3f} to {capacities.max():.3f};",
        "largest over smallest, by seed:",
        [round(value, 2) for value in ratio],
    )

# %% [markdown]
# ## Why everything looks shared
#
# Gates are positive and start at one half. So every row is a large constant
# with a little on top, and the other tasks' rows can always explain the
# constant. How much that makes can be computed. Let the rows have nothing in
# common but their mean $m$, and let the gates have the standard deviation $s$.
# The best that $T - 1$ such rows can do for another one is their average, and
#
# $$
# \Bigl(\frac{C^{\mathrm{shared}}}{C}\Bigr)^2 \approx
# \frac{m^2}{m^2 + s^2} \cdot \frac{m^2}{m^2 + s^2/(T-1)} .
# $$ (eq-chance)
#
# With $s = 0$, before training, it is 1. As gates spread it falls, and it
# falls whatever the tasks have to do with one another: the plain split is
# first of all a measure of how far the gates have moved:


# %%
def predicted(matrix):
    rows, T = matrix.values, len(matrix.tasks)
    m2, s2 = rows.mean() ** 2, rows.var(dim=1).mean()
    return (m2 / (m2 + s2) * m2 / (m2 + s2 / (T - 1))).sqrt().item()


rows = {}
for benchmark in BENCHMARKS:
    by_rate = records.by_gate_rate(benchmark, "tssbn", SEEDS)
    for rate, runs in by_rate.items():
        matrices = runs.gates()
        rows[benchmark, rate] = {
            "seeds": len(matrices),
            "std of gates": torch.stack([m.values for m in matrices]).std(),
            "shared, %": torch.stack(
                [shared_percent(m) for m in matrices]
            ).mean(),
            "shuffled, %": torch.stack(
                [null(m, shared_percent, 5).mean() for m in matrices]
            ).mean(),
            "by the formula, %": 100
            * sum(predicted(m) for m in matrices)
            / len(matrices),
        }
table = pd.DataFrame(rows).T.astype(float)
table.index.names = ["", "gate rate"]
table.astype({"seeds": int}).round(2)

# %% [markdown]
# (sec-capacity-centred)=
# ## What is left without the mean
#
# The centred split has no constant to explain. But there is a second thing that
# all rows may have in common, whatever the tasks: some layers are open
# wider than others. (A third is that eleven rows explain a part of any row:
# with $F$ filters and nothing in common it is $\sqrt{(T-1)/F}$.) So we subtract
# the mean of each row *in each layer*, which also is all that shuffling within
# layers can leave unchanged.


# %%
def within_layers(matrix):
    return torch.cat([centred(p) for p in matrix.by_layer().values()], dim=1)


rows = {}
for benchmark, matrices in BENCHMARKS.items():
    by_chance = torch.stack(
        [null(m, lambda m: shares(within_layers(m))[0]) for m in matrices]
    )
    share = torch.stack([shares(within_layers(m))[0] for m in matrices])
    T, F_ = matrices[0].values.shape
    rows[benchmark] = summary(share, by_chance, torch.ones(len(share), T))
    rows[benchmark]["√((T-1)/F), %"] = round(100 * math.sqrt((T - 1) / F_), 1)
pd.DataFrame(rows).T

# %% [markdown]
# A share above all deals says that the gates of the tasks depend on each other.
# But how? A projection has no sign: gates that are open exactly where
# the other task's are shut are explained perfectly, and count as shared. So
# let us look at the pairs, with the sign: the correlation of two rows within
# layers.


# %% mystnb={"image": {"alt": "Correlations within layers. Left, the three pairs of tasks of rooms, a dot for each seed, beside the band of shuffled gates and the lowest possible mean; right, the sixty-six pairs of faces, sorted."}}
def pairs_of(matrix):
    """Correlation within layers of every two tasks, (T (T-1) / 2,)."""
    alike = gates.similarity(within_layers(matrix))
    first, second = torch.triu_indices(len(alike), len(alike), 1)
    return alike[first, second]


fig, axes = plt.subplots(
    1, 2, figsize=(7, 3.4), sharey=True, width_ratios=(2, 3)
)
alike = {}
for ax, (benchmark, matrices) in zip(axes, BENCHMARKS.items(), strict=True):
    alike[benchmark] = torch.stack([pairs_of(m) for m in matrices])
    by_chance = torch.cat([null(m, pairs_of, 20).flatten() for m in matrices])
    low, high = by_chance.quantile(torch.tensor([0.005, 0.995]).double())
    order = alike[benchmark].mean(0).argsort()
    x = range(len(order))
    ax.axhspan(low, high, color="#BBBBBB", label="99 % of shuffled", zorder=0)
    ax.plot(x, alike[benchmark][:, order].T, "o", ms=3, color=COLORS["blue"])
    T = len(matrices[0].tasks)
    floor = -1 / (T - 1)
    ax.axhline(
        floor, color=COLORS["red"], lw=1.2, label="lowest possible mean"
    )
    ax.axhline(0, color="black", lw=0.8)
    ax.set_title(f"{benchmark}: {len(order)} pairs")
    outside = (alike[benchmark] < low).double().mean()
    above = (alike[benchmark] > high).double().mean()
    print(
        f"{benchmark}: {100 * outside:.0f} % of the correlations below the band,",
        f"{100 * above:.0f} % above; mean {alike[benchmark].mean():+.2f},",
        f"lowest possible {floor:+.2f}",
    )
names = [name[:3] for name in tasks]
shorts = [f"{names[i]}\n{names[j]}" for i, j in ((0, 1), (0, 2), (1, 2))]
axes[0].set_xticks(
    range(3), [shorts[i] for i in alike["rooms"].mean(0).argsort()]
)
axes[1].set_xticks([])
axes[1].set_xlabel("pairs, sorted by their mean")
axes[0].set_ylabel("correlation within layers")
axes[1].legend(loc="upper left")
axes[0].set_xlim(-0.6, 2.6)
plt.show()

# %% [markdown]
# A negative correlation means that where one task opens a filter, the other tends
# to shut it. The centred split calls that shared. Faces have both kinds, and
# which pairs stand out is the subject of {doc}`chapter 11 <11_relations>`.
#
# Do tasks with opposed gates have nothing in common? They may have. The sign has
# another cause, and it limits what *any* such number can mean.
#
# (sec-capacity-gauge)=
# ## What a gate cannot say
#
# Behind a gate comes a ReLU, which lets a positive factor through, and then a
# convolution or a linear layer that all tasks share. Write $g_{t,i}$ for the
# gates and $\hat x_{t,i}$ for the normalised inputs. The next layer computes
#
# $$
# z_{t,j} = \sum_i w_{ji}\, \mathrm{ReLU}(g_{t,i}\, \hat x_{t,i})
#         = \sum_i (w_{ji}\, g_{t,i})\, \mathrm{ReLU}(\hat x_{t,i}) ,
# $$ (eq-product)
#
# and then its norm divides by the deviation of $z_{t,j}$. So nothing changes if
# we replace
#
# $$
# g_{t,i} \to c_t\, a_i\, g_{t,i} , \qquad w_{ji} \to w_{ji} / a_i
# $$ (eq-gauge)
#
# with any positive $a_i$, one for each filter, and $c_t$, one for each task.
# What all tasks want of a filter, the shared weights can do; how wide a task's
# gates are open altogether, the next norm undoes. (In the last layer each
# task's own head can even undo its gates one by one.) Let us do it. The network
# is a small one with two tasks, which we need below anyway: 16 inputs, two
# layers of 32 units, trained on two teachers.


# %%
INPUTS, WIDTH, PAIR = 16, 32, ("first", "second")


def student(bank=None):
    trunk = nn.Sequential(
        nn.Linear(INPUTS, WIDTH, bias=False),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH, bias=False),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
    )
    if bank is not None:  # a first layer that is given and stays
        trunk[0].weight = nn.Parameter(bank, requires_grad=False)
    heads = {task: nn.Linear(WIDTH, 1) for task in PAIR}
    return tssbn.MultiTask(tssbn.task_specific(trunk, PAIR), heads)


def fit(net, teachers, seed, steps=400, lr=2e-3, multiplier=10):
    drawn = torch.Generator().manual_seed(1000 + seed)
    optimiser = torch.optim.Adam(
        tssbn.param_groups(net, lr, multiplier), fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x = torch.randn(128, INPUTS, generator=drawn)
        loss = sum(
            F.mse_loss(y, teachers[task](x)) for task, y in net(x).items()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def directions(count, drawn):
    return F.normalize(torch.randn(count, INPUTS, generator=drawn), dim=1)


def teacher(weights):
    """A sum of ReLU units with alternating signs; mean 0 and variance 1."""
    signs = torch.ones(len(weights), 1)
    signs[1::2] = -1
    sample = torch.randn(
        4000, INPUTS, generator=torch.Generator().manual_seed(7)
    )
    y = F.relu(sample @ weights.T) @ signs
    return lambda x: (F.relu(x @ weights.T) @ signs - y.mean()) / y.std()


drawn = torch.Generator().manual_seed(0)
two = {task: teacher(directions(8, drawn)) for task in PAIR}
_ = torch.manual_seed(0)
net = fit(student(), two, seed=0)


# %%
@torch.no_grad()
def rescaled(net, filters, tasks):
    """The same function with other gates in its first layer."""
    net = copy.deepcopy(net)
    first, following = net.trunk[1], net.trunk[3]
    gate = first.gamma.sigmoid() * filters * tasks[:, None]
    first.gamma.copy_(gate.logit())
    following.weight /= filters
    return net


def separation(matrix):
    """Deviation within layers of log(g_t,i / g_s,i), for two tasks."""
    logs = [p.clamp(min=1 / 510).log() for p in matrix.by_layer().values()]
    apart = torch.cat([(a - b) - (a - b).mean() for a, b in logs])
    return apart.square().mean().sqrt().item()


drawn = torch.Generator().manual_seed(1)
lottery = 0.1 + 0.9 * torch.rand(WIDTH, generator=drawn)
ones = torch.ones(WIDTH)
variants = {
    "as trained": net,
    "second task at half": rescaled(net, ones, torch.tensor([1.0, 0.5])),
    "filters by lottery": rescaled(net, lottery, torch.ones(2)),
}
x = torch.randn(1000, INPUTS, generator=drawn)
rows = {}
for name, variant in variants.items():
    with torch.no_grad():
        # Statistics of this batch: the running ones belong to the old scales.
        outputs = torch.cat([*copy.deepcopy(variant).train()(x).values()], 1)
    if name == "as trained":
        reference = outputs
    assert (outputs - reference).abs().max() < 2e-3
    matrix = gates.importance(variant)
    layer = matrix.by_layer()["trunk.1"]
    (first, second) = gates.capacity(layer)
    rows[name] = {
        "capacity, first": first,
        "capacity, second": second,
        "shared, %": shared_percent(layer).mean(),
        "centred shared, %": shared_percent(layer, centred=True).mean(),
        "correlation": gates.similarity(layer, centred=True)[0, 1],
        "separation": separation(matrix),
    }
one_function = pd.DataFrame(rows).T.astype(float)
before, half, lots = one_function["separation"]
assert max(abs(half - before), abs(lots - before)) < 1e-4
assert (
    one_function["correlation"].iloc[2]
    > one_function["correlation"].iloc[0] + 0.3
)

# %% tags=["nbval-ignore-output"]
one_function.round(3)

# %% [markdown]
# Three networks with the same outputs (up to the norm's $\varepsilon$), for
# every input. By their gates the second task needs as much as the first, or
# half of it; the tasks are opposites, or close friends. (The
# numbers are those of the first layer; the last column is of both.)
#
# So capacity and similarity are no properties of the function that a network
# computes. Gradient descent picks one of many, from a start where all gates are
# equal. As what all tasks want of a filter can go into the shared weights, what
# goes into the gates is mostly what they want *differently*. Rows of equal
# variance that only hold differences from their common mean have a mean
# correlation of $-1/(T-1)$, the lowest that is possible: the red line of the
# figure above, −1 for two tasks.
#
# What is a property of the function is the ratio of two tasks' gates, up to
# one factor a layer:
#
# $$
# D_{ts}^2 = \frac1F \sum_{\ell} \sum_{i \in \ell}
#   \bigl(d_i - \bar d_\ell\bigr)^2 ,
# \qquad d_i = \log \frac{g_{t,i}}{g_{s,i}} ,
# $$ (eq-separation)
#
# with $\bar d_\ell$ the mean of layer $\ell$. We call it *separation*. It is
# zero if two tasks use the filters alike, and it is the last column of the
# table.
#
# So an absolute number of shared capacity can be neither right nor wrong. But
# *changes* can be tested. If we make one task harder, or
# two tasks more alike, do the numbers move?
#
# (sec-capacity-knobs)=
# ## Turning difficulty and similarity
#
# The paper answers with synthetic experiments in its Appendix E, which was not
# available to us. These are our own, with networks as above and one knob at a
# time. Let us begin where the truth is known best. The first layer is given: a
# bank of 32 units that are not trained. Each teacher is a sum of 8 of them, and
# the knob says how many of the 8 are the same. So we know for each gate whether
# its task needs it.


# %%
OVERLAPS = (0, 0.25, 0.5, 0.75, 1)


def overlapping(share, seed=0):
    """A trained student, and for each task which units it needs."""
    drawn = torch.Generator().manual_seed(seed)
    bank, both = directions(WIDTH, drawn), round(8 * share)
    order = torch.randperm(WIDTH, generator=drawn)
    chosen = order[:8], torch.cat([order[:both], order[8 : 16 - both]])
    teachers = {t: teacher(bank[c]) for t, c in zip(PAIR, chosen, strict=True)}
    needed = torch.zeros(2, WIDTH, dtype=torch.bool)
    for row, units in zip(needed, chosen, strict=True):
        row[units] = True
    _ = torch.manual_seed(seed)
    return gates.importance(fit(student(bank), teachers, seed)), needed


live = {share: overlapping(share) for share in OVERLAPS}

# %% mystnb={"image": {"alt": "Gates of thirty-two known units for two tasks, grouped by who needs them. Units that both need are open for both, those that one needs are open for it and shut for the other, and those that nobody needs are half shut for both."}} tags=["nbval-ignore-output"]
matrix, needed = live[0.5]
layer = matrix.by_layer()["trunk.1"]
groups = {
    "both need it": needed.all(0),
    "first": needed[0] & ~needed[1],
    "second": needed[1] & ~needed[0],
    "nobody": ~needed.any(0),
}
_, ax = plt.subplots(figsize=(7, 2.8))
start = 0
for name, members in groups.items():
    units = torch.arange(start, start + members.sum())
    for row, color, task in zip(layer, ("blue", "orange"), PAIR, strict=True):
        label = f"gate of the {task} task" if start == 0 else None
        ax.plot(
            units, row[members], "o", ms=5, color=COLORS[color], label=label
        )
    ax.vlines(
        units, *layer[:, members].sort(0).values, color="#BBBBBB", zorder=0
    )
    ax.text(units.double().mean(), 1.02, name, ha="center", fontsize=9)
    start += int(members.sum())
    ax.axvline(start - 0.5, color="#888888", lw=0.8, ls=":")
ax.axhline(0.5, color="black", lw=0.8)
ax.set(ylim=(0, 1), xticks=[], xlabel="unit of the first layer")
ax.set_ylabel("gate")
ax.set_title("With given filters, gates say who needs which", pad=18)
ax.legend(loc="lower right", ncols=2, fontsize=8)
plt.show()

mine = layer[needed].mean(), layer[~needed].mean()
print(f"mean gate of needed units {mine[0]:.2f}, of others {mine[1]:.2f}")

# %% [markdown]
# That is how one would like gates to be read. Filters that learn are another
# matter: they can become what both tasks need. The rest of the study has them
# learn, and is saved, with six seeds (`book/studies/capacity.py`, a few
# minutes). Two tasks, and a knob:
#
# - **units**: the second teacher has 1 to 16 ReLU units, the first has 4;
# - **frequency**: sines of growing frequency, while the first teacher's is 1;
# - **noise**: two teachers of 4 units, and growing noise on the labels of the
#   second: noisier, not harder;
# - **cosine**: two teachers of 8 units, whose directions have this cosine;
# - **overlap**: the one above;
# - **digits**: read the left one of two handwritten digits, and answer another
#   question (chapter 4): read the right one; is the right one under 5? is the
#   left one under 5? and read the left one once more, with a head of its own.


# %%
KNOBS = ("units", "frequency", "noise", "cosine", "overlap", "digits")
study = {knob: records.load(f"capacity/{knob}") for knob in KNOBS}


def capacity_gap(matrix):
    first, second = gates.capacity(matrix)
    return (second - first).item()


def shared(matrix):
    return shared_percent(matrix).mean().item()


def correlation(matrix):
    return pairs_of(matrix).item()


def measured(knob, measure, multiplier=None):
    """The measure of each run, (values of the knob, seeds)."""
    record = study[knob]
    chosen = multiplier or (5 if knob == "digits" else 10)
    runs = {
        (run["value"], run["seed"]): run
        for run in record["runs"]
        if run["multiplier"] == chosen
    }
    return torch.tensor(
        [
            [
                measure(records.unpack_gates(runs[value, seed]["gates"])[1])
                for seed in range(record["seeds"])
            ]
            for value in record["values"]
        ],
        dtype=torch.float64,
    )


here = torch.tensor([separation(live[share][0]) for share in OVERLAPS])
recorded = measured("overlap", separation)[:, 0]
assert (here - recorded).abs().max() < 0.1
print("the runs of this chapter are the record's, seed 0")

# %% [markdown]
# For difficulty we look at the gap, capacity of the second task minus capacity
# of the first; for similarity at the correlation within layers and at the
# separation. Shuffling cannot change a capacity, so the null for the gap is the
# spread over seeds where both tasks are equally hard (circles). For the
# correlation it is the grey band: shuffled gates.

# %% mystnb={"image": {"alt": "Six panels. Above, the capacity gap against units, frequency and noise: it rises with units, rises and then falls steeply with frequency, and stays level with noise. Below, correlation and separation against cosine, overlap and the question asked about digits: correlation rises and separation falls in all three."}}
EQUAL = {"units": 4, "frequency": 1, "noise": 0}
fig, axes = plt.subplots(2, 3, figsize=(7, 5.2), sharey="row")
for ax, knob in zip(axes.flat, KNOBS, strict=True):
    values = study[knob]["values"]
    x = range(len(values))
    if knob in EQUAL:
        gap = measured(knob, capacity_gap)
        ax.plot(x, gap, color=COLORS["blue"], lw=0.7, alpha=0.5)
        ax.plot(x, gap.mean(1), "o-", ms=4, color=COLORS["blue"])
        at = values.index(EQUAL[knob])
        ax.plot(
            [at] * gap.shape[1], gap[at], "o", ms=6, mfc="none", color="black"
        )
        ax.axhline(0, color="black", lw=0.8)
    else:
        by_chance = torch.cat(
            [
                null(records.unpack_gates(run["gates"])[1], pairs_of, 5)
                for run in study[knob]["runs"]
            ]
        )
        low, high = by_chance.quantile(torch.tensor([0.025, 0.975]).double())
        ax.axhspan(
            low, high, color="#DDDDDD", zorder=0, label="correlation, shuffled"
        )
        for measure, color in ((correlation, "blue"), (separation, "orange")):
            runs = measured(knob, measure)
            ax.plot(x, runs, color=COLORS[color], lw=0.7, alpha=0.5)
            ax.plot(
                x,
                runs.mean(1),
                "o-",
                ms=4,
                color=COLORS[color],
                label=measure.__name__,
            )
        ax.axhline(0, color="black", lw=0.8)
    names = [str(value).replace(" ", "\n") for value in values]
    ax.set_xticks(x, names, fontsize=8)
    ax.set_title(knob, size=10)
axes[0, 0].set_ylabel("capacity gap")
axes[1, 0].set_ylabel("correlation, separation")
fig.legend(
    *axes[1, 0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=3,
)
fig.suptitle(
    "Capacity follows the number of units, not difficulty; gates follow similarity",
    size=11,
)
plt.show()


# %%
def interval(values):
    """Mean and 95 % confidence interval over seeds (Student's t)."""
    middle, error = values.mean().item(), stats.sem(values.numpy())
    reach = error * stats.t.ppf(0.975, len(values) - 1)
    return f"{middle:+.3f} [{middle - reach:+.3f}, {middle + reach:+.3f}]"


def response(knob, measure, multiplier=None):
    """Rank correlation with the knob, by seed, and the change from end to end."""
    runs = measured(knob, measure, multiplier)
    rho = torch.tensor(
        [stats.spearmanr(range(len(runs)), seed)[0] for seed in runs.T.numpy()]
    )
    return {
        "Spearman, mean": round(rho.mean().item(), 2),
        "by seed": " ".join(f"{value:+.1f}" for value in rho),
        "last − first": interval(runs[-1] - runs[0]),
    }


def independent(matrix):
    split = gates.capacity_split(matrix)
    return (split.independent / gates.capacity(matrix)).mean().item()


def centred_shared(matrix):
    return shared_percent(matrix, centred=True).mean().item() / 100


MEASURES = {
    "units": (capacity_gap, independent),
    "frequency": (capacity_gap, independent),
    "noise": (capacity_gap, independent),
    "cosine": (correlation, separation, independent, centred_shared),
    "overlap": (correlation, separation, independent, centred_shared),
    "digits": (correlation, separation, independent, centred_shared),
}
pd.DataFrame(
    {
        (knob, measure.__name__.replace("_", " ")): response(knob, measure)
        for knob, measures in MEASURES.items()
        for measure in measures
    }
).T

# %% [markdown]
# **Similarity.** On every seed the correlation rises with cosine and overlap,
# and the separation falls. The paper's independent part falls with them, from a
# level that means nothing; as a *change* it is as good a sign as any. The
# centred shared part follows less steadily where filters learn: unlike tasks
# have a negative correlation, which counts as shared. For digits the order is
# the expected one: tasks that read different digits are furthest apart, two questions about one digit are
# closer, and the same question twice is closest. But not even then are the
# gates equal, since two heads with other start values use the features in their
# own way.
#
# **Difficulty.** A teacher of more units is harder, and the gap grows on every
# seed, from a few per cent of the capacity below the first task's to a few per
# cent above it. Higher frequency is harder as well, by a much larger step in
# error, and here the gap does not grow. It falls, and most of all where the task
# is not learned at all. Noise leaves it alone. So it is not difficulty as such
# that opens gates. A task of one or two units can do with few filters and
# shuts others; sines of any frequency run along two directions. And the
# independent part of the capacity, in the paper's split, follows none of the
# three. Let us take the gap apart by layers, with the second task's test error
# beside it:


# %%
def gap_in(layer):
    def measure(matrix):
        first, second = gates.capacity(matrix.by_layer()[layer])
        return (second - first).item()

    return measure


def errors(knob, task="second", multiplier=10):
    record = study[knob]
    found = {
        value: [
            run["error"][task]
            for run in record["runs"]
            if (run["value"], run["multiplier"]) == (value, multiplier)
        ]
        for value in record["values"]
    }
    return torch.tensor(list(found.values()))  # (values, seeds)


rows = {}
for knob in EQUAL:
    by_layer = [
        measured(knob, gap_in(layer)).mean(1)
        for layer in ("trunk.1", "trunk.4")
    ]
    columns = zip(
        study[knob]["values"], errors(knob).mean(1), *by_layer, strict=True
    )
    for value, error, layer_1, layer_2 in columns:
        rows[knob, value] = {
            "error, second task": error,
            "gap, layer 1": layer_1,
            "gap, layer 2": layer_2,
        }
pd.DataFrame(rows).T.astype(float).round(3)

# %% [markdown]
# The layers do not agree. With noise the gap grows in the first and falls in the
# second, and the mean of both hides it. Equation {eq}`eq-gauge` says why one need not expect
# them to. In a layer with a norm behind it the loss does not depend on the
# scale of a task's gates, so its slope along that direction is zero:
#
# $$
# \sum_{i \in \ell} g_{t,i} \frac{\partial L}{\partial g_{t,i}} = 0 .
# $$ (eq-no-slope)
#
# Nobody asks for capacity there. It changes as a by-product of steps that are
# about something else. In the last layer the scale of the gates is the scale of
# what the head reads, and a task that cannot be predicted, such as the sines of
# frequency 3, is best answered by nearly nothing. We check the equation on the
# small network from above:


# %% tags=["nbval-ignore-output"]
x = torch.randn(500, INPUTS, generator=torch.Generator().manual_seed(2))
probe = copy.deepcopy(net).train()
loss = sum(F.mse_loss(y, two[task](x)) for task, y in probe(x).items())
layers = {name: probe.trunk[i] for name, i in (("layer 1", 1), ("layer 2", 4))}
slopes = torch.autograd.grad(loss, [norm.gamma for norm in layers.values()])
along = {}
for (name, norm), slope in zip(layers.items(), slopes, strict=True):
    g = norm.gamma.detach().sigmoid()
    terms = g * slope / (g * (1 - g))  # from γ to g by the chain rule
    along[name] = (terms.sum(1).abs() / terms.abs().sum(1)).max().item()
print(f"sum over the sum of sizes: {along['layer 1']:.0e} in layer 1,")
print(f"{along['layer 2']:.0e} in layer 2")
assert along["layer 1"] < 1e-3 < along["layer 2"]

# %% [markdown]
# ## At other rates
#
# The same knobs with gates that learn at 1 and at 100 times the base rate: a
# tenth of our rate, and ten times as much.

# %%
rows = {}
for knob, measure in (
    ("units", capacity_gap),
    ("cosine", correlation),
    ("cosine", separation),
    ("cosine", independent),
):
    for multiplier in study[knob]["multipliers"]:
        line = response(knob, measure, multiplier)
        name = measure.__name__.replace("_", " ")
        rows[knob, name, f"×{multiplier}"] = line
pd.DataFrame(rows).T

# %% [markdown]
# The correlation can be read at all three rates, even where the gates have
# hardly moved; it has no scale. The capacity gap and the plain parts change
# with the rate by as much as with the knob, or more. They should be
# compared between tasks of one network, or between runs at one rate, and with
# nothing else.
#
# ## Limits
#
# - **Small evidence.** Rooms and faces are synthetic; the study has two tasks
#   and networks of two layers. What follows from equations {eq}`eq-chance` and
#   {eq}`eq-gauge` holds for any size, what we count on some seeds need not. The
#   paper's figure is of real data and larger networks.
# - **Our difficulty, not theirs.** We do not know which tasks Appendix E of the
#   paper made harder, and how. With units capacity does respond.
# - **The null is one of several.** Shuffling within layers keeps each task's
#   gates in each layer. It does not keep what depends on order within a layer,
#   such as neighbouring filters; there is no reason for any, but it is an
#   assumption.
# - **Separation has a price.** It is invariant where a shared layer and a norm
#   follow. In the last layer before the heads a head can absorb its task's
#   gates, one by one, and there it says no more than the others. And it takes
#   logarithms, so at high rates a few shut gates decide.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-10-two
#
# For two tasks, show on any matrix that the plain shared part over $C_t$ is
# the cosine of the two rows, and the centred one the *absolute* value of their
# correlation. Which is why the latter can fall while tasks get more alike.
# :::
#
# :::{solution} ex-10-two
# :class: dropdown
#
# ```python
# I = torch.rand(2, 200).double()
# I[1] = 1 - I[0]  # opposites
# print(shares(I)[0][0], gates.similarity(I)[0, 1])
# print(shares(centred(I))[0][0], gates.similarity(I, centred=True)[0, 1])
# ```
#
# Opposites: a correlation of −1, and 100 % shared. The projection of $I_1$ on
# the line through $I_2$ has the length $|\cos| \cdot \lVert I_1 \rVert$.
# :::
#
# :::{exercise}
# :label: ex-10-friends
#
# Take the trained network `net` and choose the factors $a_i$ so that the first
# layer's gates have a correlation above 0.95, with the outputs as they were.
# :::
#
# :::{solution} ex-10-friends
# :class: dropdown
#
# ```python
# first, second = gates.importance(net).by_layer()["trunk.1"]
# unlike = (first / second).log().abs()
# a = torch.where(unlike.argsort().argsort() < 8, 1.0, 0.01)
# friends = rescaled(net, a, torch.ones(2))
# layer = gates.importance(friends).by_layer()["trunk.1"]
# print(gates.similarity(layer, centred=True)[0, 1])
# ```
#
# The eight filters that the tasks use alike stay as they are. All others are
# nearly shut for both tasks, and the shared weights behind them make up for
# it. The differences are all still there, in gates too small to be seen.
# :::
#
# :::{exercise}
# :label: ex-10-layers
#
# Is the correlation of segmentation and depth the same at all depths of the
# U-Net? Draw it layer by layer for each seed.
# :::
#
# :::{solution} ex-10-layers
# :class: dropdown
#
# ```python
# for matrix in rooms:
#     parts = matrix.by_layer().values()
#     plt.plot([gates.similarity(p, centred=True)[0, 1] for p in parts])
# plt.axhline(0, color="black")
# plt.show()
# ```
# :::
#
# ## What we learned
#
# - The plain split calls capacity shared for shuffled gates and before training.
#   What it measures is how far gates have moved from one half.
# - A projection hides the sign: gates that are open where others are shut count
#   as shared. So look at correlations within layers, beside shuffled gates.
# - Gates are known only up to a factor for each filter and one for each task
#   and layer. So capacity and similarity have no absolute meaning; the ratios
#   of two tasks' gates have.
# - What gates say about two tasks follows how much they have in common, on
#   every seed. With given filters, gates say which are needed.
# - Capacity follows the number of units that a task needs, on every seed and by
#   a few per cent. It does not follow difficulty of another kind.

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
# # Specialised filters

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn

import tssbn
from tssbn import gates, plots, records
from tssbn.benchmarks import find_benchmark
from tssbn.benchmarks.constant import constant_scores
from tssbn.claims import Bed, above, measures, nulls, studies
from tssbn.plots import filters as draw

torch.set_num_threads(1)
plots.style()

ROOMS, FACES = map(studies.removal_runs, ("rooms", "faces"))


def own_and_others(matrix):
    """What tasks lose without their own filters, and without others'."""
    diagonal = np.eye(len(matrix), dtype=bool)
    return matrix[diagonal].mean(), matrix[~diagonal].mean()


pairs = np.array([own_and_others(studies.losses(r)) for r in ROOMS])
own, more = pairs[:, 0].mean(), above(pairs[:, 0] - pairs[:, 1])
Markdown(
    ":::{admonition} The claim\nWithout the filters of its largest share, a task "
    f"on synthetic rooms loses {own:.0f} % of its score, {more.interval} points "
    f"more than the other tasks (n = {len(pairs)}).\n:::"
)

# %% [markdown]
# *7 minutes to read; runs in a minute on one CPU core, no download.*
#
# All tasks of a {term}`TSσBN` network share all filters. But a filter whose gates are
# shut for all tasks but one serves that task alone. The paper counts such
# {term}`specialised filters <specialised filter>` by layer. It also removes the filters
# of one task and measures which tasks lose (its Figure 4) {cite:p}`suteu2025tssbn`.
#
# ## Half of the filters have an owner
#
# The share of a task in a filter is its gate, divided by the sum of all tasks' gates at
# this filter. If the share is above one half, the task owns the filter. We look at the
# largest share of each filter with 3, 12 and 40 tasks: synthetic rooms
# ({doc}`06_nyuv2`), synthetic and real faces
# ({doc}`11_relations`).
#
# **Before you look:** how many filters have an owner among 40 tasks?

# %% mystnb={"image": {"alt": "Three histograms of the largest share that a task holds of each filter, with a dashed line at 0.5. With three tasks about half of the filters lie right of the line; with twelve tasks all lie below 0.3, with forty below 0.1."}}
SOURCES = {
    "rooms, T = 3": ("rooms", {}),
    "synthetic faces, T = 12": ("faces", {"multiplier": 10}),
    "real faces, T = 40": ("celeba_small", {"multiplier": 10}),
}
nets = {
    title: records.of(bed, "tssbn", range(20), settings).gates()
    for title, (bed, settings) in SOURCES.items()
}
draw.largest_shares(nets)
plt.show()

# %% [markdown]
# With 40 tasks no filter has an owner, and none can have one. To hold more than half, a
# gate must be larger than the sum of the other 39. A gate is at most 1, so those would
# have to be below 1/39 = 0.026 on average. The rule of the paper for $T$ tasks, with
# the share $p_{ti}$ and a threshold $\tau$, is
#
# $$
# p_{ti} = \frac{I_{ti}}{\sum_{u=1}^{T} I_{ui}} > \tau, \qquad
# I_{ti} = \color{#D55E00}{\sigma(\gamma_{ti})}, \qquad \tau = 0.5 .
# $$ (eq-share)


# %%
def owners(values, tau=0.5):
    """The owner of each filter, or -1; values are (T, F)."""
    shares = values / values.sum(0)
    largest, task = shares.max(0)
    return torch.where(largest > tau, task, -1)


# %% tags=["remove-cell"]
for net in nets["rooms, T = 3"]:
    assert torch.equal(owners(net.values), gates.specialised(net))

# %% [markdown]
# With three tasks half of the filters have an owner, about as chance would give.
# For $T$ independent gates, spread evenly over (0, 1), the probability that one
# of the gates is larger than the sum of the others is
#
# $$
# P = T \cdot \frac{1}{T!} = \frac{1}{(T-1)!} .
# $$ (eq-filters-chance)
#
# For three tasks that is one half. Trained gates are not spread evenly. A
# better null model keeps their values and shuffles each task's gates within
# each layer.


# %%
def owned(net):
    return 100 * (owners(net.values) >= 0).double().mean().item()


rooms = nets["rooms, T = 3"]
share = nulls.beside_shuffled("rooms", rooms, owned)
slope = nulls.beside_shuffled("rooms", rooms, measures.depth_slope)

# %% tags=["hide-input"]
rows = {"filters with an owner, %": share, "slope over layers, points": slope}
pd.DataFrame(
    {
        title: {
            "trained": above(found.values["gates"]).interval,
            "shuffled": above(found.values["shuffled"]).interval,
            "difference": above(np.subtract(*found.values.values())).interval,
        }
        for title, found in rows.items()
    }
).T

# %% [markdown]
# ## More in deeper layers?
#
# The first row of the table shows that trained gates give few more owners than shuffled
# ones. In the left panel of the paper's Figure 4, which has no printed numbers, the
# share of specialised filters grows with depth. The second row has the slope of a line
# that is fitted from the first to the last layer.
#
# **Before you look:** will the share grow with depth for shuffled gates, too?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Share of specialised filters over the eleven layers of the U-Net, for trained and shuffled gates. Both grow from below 20 per cent to about 80 and 60 per cent in the ninth layer, and fall in the last."}}
curves = {"trained": [], "shuffled": []}
dice = torch.Generator().manual_seed(0)
for net in rooms:
    for kind, seen in ("trained", net), ("shuffled", gates.permuted(net, dice)):
        parts = owners(seen.values).ge(0).split(list(net.layers.values()))
        curves[kind].append([100 * part.double().mean() for part in parts])
_, ax = plt.subplots(figsize=(7, 2.6))
layers = range(1, len(parts) + 1)
for kind, color in ("trained", "blue"), ("shuffled", "#999999"):
    plots.spread(ax, layers, curves[kind], color, kind, marker="o")
ax.set(xlabel="layer", ylabel="with an owner, %", ylim=(0, None))
ax.set_title("The share grows up to the last but one layer, shuffled or not")
ax.legend()
plt.show()

# %% [markdown]
# Lines are means, bands go from the lowest to the highest of three networks. The share
# grows with depth, as in the paper, but falls in the last layer. More than half of the
# slope is left after shuffling, because gates of deeper layers are spread more widely.
# The rest is more than chance (the interval of the difference is above zero). In deep
# layers two trained tasks open the same filter less often than shuffled ones.
#
# ## Take them away
#
# A count cannot show whether a task needs its filters. Removal can. For each task the
# paper removes 200 of its SegNet's 7168 filters, 2.8 %. It does not describe how. We
# set the normalised output of a filter to 0 for *all* tasks and do not train
# afterwards. The code has a small network with three tasks and random gates. A hook
# behind the normalisation layer removes the filters.

# %%
TASKS = ("a", "b", "c")
_ = torch.manual_seed(0)
conv = nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU()
trunk = tssbn.task_specific(nn.Sequential(*conv, nn.Flatten()), TASKS)
heads = {task: nn.Linear(16 * 36, 1) for task in TASKS}
net, x = tssbn.MultiTask(trunk, heads).eval(), torch.rand(4, 3, 8, 8)
norm = trunk[1]
nn.init.normal_(norm.gamma)


def without(filters, x):
    def overwrite(layer, inputs, output):
        output[:, filters] = 0

    handle = norm.register_forward_hook(overwrite)
    y = net(x)
    handle.remove()
    return y


own = gates.most_specialised(gates.importance(net), 2)  # (T, F), by share
removed = without(own[0], x)  # without the two filters of task a

# %% [markdown]
# The package shuts the gates instead, $\gamma = -\infty$, for as long as the
# context `tssbn.gates.ablated(net, own[0])` lasts. The outputs are the same.

# %% tags=["remove-cell"]
for filters in own:
    by_hand = without(filters, x)
    with gates.ablated(net, filters):
        assert all(torch.equal(y, by_hand[task]) for task, y in net(x).items())

# %% [markdown]
# We remove the filters of each task in turn and score all tasks. $D_{st}$ is
# what task $t$ loses without the filters of task $s$. If a large share marks
# the task that needs a filter, the diagonal of $D$ is largest, and
#
# $$
# \delta = \frac1T \sum_t D_{tt} - \frac{1}{T(T-1)} \sum_{s \ne t} D_{st}
# $$ (eq-self-cross)
#
# is above 0. `book/studies/removal.py` did this with trained networks and 2.8 % of the
# filters for each task. The paper removes "the most important filters" of a task. This
# can mean the filters of its largest *share*, or those where its gate is *most open*
# (widest). We removed either, and *random* ones.
#
# **Before you look:** in which of the three matrices is the diagonal largest?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three matrices of what the three tasks of rooms lose. By the largest share only the diagonal is far from zero. By random filters all tasks lose 5 to 55 per cent. By the widest gates, depth and normals lose most without the filters of segmentation. A last row is the answer that ignores the image."}}
KINDS = {"own": "largest share", "random": "random", "widest": "widest gates"}
ignores = np.mean([studies.lost(r, r["constant"]) for r in ROOMS], 0)
_, axes = plt.subplots(1, 3, figsize=(9, 3.6), sharey=True)
for ax, kind in zip(axes, KINDS, strict=True):
    mean = np.mean([studies.losses(r, kind) for r in ROOMS], 0)
    draw.losses(ax, mean, [*ROOMS[0]["metric"]], 100, ignores)
    ax.set_title(f"Removed: {KINDS[kind]}")
axes[0].set_ylabel("whose filters are removed")
axes[1].set_xlabel(f"loses, % of its score (mean of {len(ROOMS)} networks)")
plt.show()

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
widest, drawn = (
    np.mean([studies.losses(r, kind) for r in ROOMS], 0)
    for kind in ("widest", "random")
)
k = ROOMS[0]["count"]  # segmentation is row 0, depth is row 1
open_to_depth = [n.values[1, n.values[0].topk(k).indices] for n in rooms]
Markdown(
    "A frame marks the removal that costs a task most (in its column). A dot "
    "marks the task that loses most by a removal (in its row).\n\n"
    "- **By the largest share** the rooms agree with the paper. Each task loses "
    "without its own filters, and next to nothing without those of others.\n"
    "- **By the widest gates** they contradict it. Depth loses "
    f"{widest[0, 1]:.0f} % without the filters of segmentation, and "
    f"{widest[1, 1]:.0f} % without its own. (An answer that ignores the image "
    f"loses {ignores[1]:.0f} %.) Segmentation's widest filters are open for "
    "depth as well. Its mean gate there is "
    f"{torch.stack(open_to_depth).mean():.2f}.\n"
    f"- Depth is fragile. It loses {drawn[:, 1].min():.0f} to "
    f"{drawn[:, 1].max():.0f} % without random filters."
)

# %% [markdown]
# With more tasks the diagonal may be less clear. For twelve attributes of
# synthetic faces losses are in points of F1. The last row is below 0 (blue)
# where the networks are worse than the answer that ignores the image.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Twelve by twelve matrix of faces: whose filters went, and who loses how much. Frames mark the row in which a task loses most, dots the task that loses most by a removal; most of both are on the diagonal."}}
faces = find_benchmark("faces")()
train, test = (faces.data(split) for split in ("train", "test"))
known = constant_scores(faces.tasks(train.targets), train, test, 100)
constant = [known[task]["f1"] for task in FACES[0]["metric"]]
ignores = np.mean([studies.lost(r, constant) for r in FACES], 0)
mean = np.mean([studies.losses(r) for r in FACES], 0)
_, ax = plt.subplots(figsize=(6.5, 5.2))
draw.losses(ax, mean, [*FACES[0]["metric"]], 80, ignores)
most = (mean.argmax(0) == np.arange(len(mean))).sum()
ax.set_title(f"{most} of {len(mean)} tasks lose most by their own filters")
plt.colorbar(ax.images[0], label=f"loses F1, points ({len(FACES)} networks)")
plt.show()

# %% tags=["hide-input"]
rows = {}
for bed, found in {"rooms, %": ROOMS, "faces, points": FACES}.items():
    deltas = {}
    for kind in ("own", "matched", "random", "widest"):
        pairs = [own_and_others(studies.losses(r, kind)) for r in found]
        own, others = np.transpose(pairs)
        deltas[kind] = own - others
        rows[bed, kind] = {
            "the task": f"{own.mean():.0f}",
            "the others": f"{others.mean():.0f}",
            "δ": above(deltas[kind]).interval,
        }
    del deltas["widest"]  # no control, and of another spread
    for kind, effect in Bed(deltas).against("own", *list(deltas)[1:]).items():
        rows[bed, kind]["δ of own, minus this"] = effect.interval
pd.DataFrame(rows).T.fillna("")

# %% [markdown]
# *Own* are the filters of the largest share. *Matched* are random filters, in each
# layer as many as the task's own. Brackets are 95 % intervals over networks, in the
# last column Dunnett's. $\delta$ of own filters is above that of both controls.
#
# ## What to do with it
#
# 1. Do not use a fixed $\tau$. Rank the filters by the task's share instead
#    (`gates.most_specialised`), which works for any number of tasks.
# 2. Print the count of shuffled gates (`gates.permuted`) beside your own.
# 3. Test filters by removal, against random ones, in every task.
#
# ## Limits
#
# - Removal without training is crude. Later layers get inputs unlike those of
#   the training. With more training other filters might replace a removed one.
# - Filters are removed for all tasks. Another task's loss can come from a later
#   filter that depended on this one.
# - Gates of different layers are compared as they are. {doc}`10_capacity` shows
#   that their scale is partly free.
# - With half and with twice as many filters $\delta$ is above 0 as well, in
#   every network. On faces random filters were drawn once for each task.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-12-two-tasks
# Two tasks have independent gates, spread evenly over (0, 1). What share of
# filters has an owner at $\tau = 0.5$, and at 0.75?
# :::

# %%
values = torch.rand(2, 100_000, generator=torch.Generator().manual_seed(0))
# your turn: the share of `owners(values, tau)` that is not -1

# %% [markdown]
# :::{solution-start} ex-12-two-tasks
# :class: dropdown
# :::

# %%
half, more = ((owners(values, tau) >= 0).double().mean() for tau in (0.5, 0.75))
assert half > 0.99 and abs(more - 1 / 3) < 0.01
three = torch.rand(3, 100_000, generator=torch.Generator().manual_seed(0))
assert abs((owners(three) >= 0).double().mean() - 1 / 2) < 0.01

# %% [markdown]
# At 0.5 all have one, since one of two gates is larger. At 0.75 one gate must
# be three times as large as the other. In the unit square these are two
# triangles of area 1/6 each, so the share is 1/3.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-12-only-mine
# In the small network above, shut the gates of the filters of `a` for task `a`
# alone. What changes for `a`, and what for the others?
# :::

# %%
mine = gates.most_specialised(gates.importance(net), 2)[0]
before, removed = net(x), without(mine, x)
# your turn: set norm.gamma[0, mine] to -torch.inf, under torch.no_grad()

# %% [markdown]
# :::{solution-start} ex-12-only-mine
# :class: dropdown
# :::

# %%
with torch.no_grad():
    norm.gamma[0, mine] = -torch.inf
after = net(x)
assert torch.equal(after["a"], removed["a"])
assert all(torch.equal(after[task], before[task]) for task in ("b", "c"))

# %% [markdown]
# Task `a` loses what it lost before, because its pass sees its own gates only,
# and the others lose nothing. The diagonal of $D$ would be the same.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - At $\tau = 0.5$ half of the filters have an owner among 3 tasks, nearly as
#   many by chance, and none among 40. Shuffle before you count, or rank by share.
# - The filters of the widest gates differ. On rooms, depth loses more without
#   those of segmentation than without its own.

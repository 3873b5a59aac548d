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
# # From gates to branches

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from bisect import bisect_left

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn
from torch.optim.swa_utils import update_bn

import tssbn
from tssbn import plots, records
from tssbn.claims.sample import above
from tssbn.claims.studies import tree_effect
from tssbn.cost import macs
from tssbn.data.synthetic import digits
from tssbn.export import branches, trees
from tssbn.plots import branches as branch_plots

torch.set_num_threads(1)
plots.style()
SEEDS, BEDS = range(3), {"rooms_segnet": "rooms", "faces": "faces"}
saved = {b: [records.load(f"branches/{b}-{s}") for s in SEEDS] for b in BEDS}
rooms, faces = (tree_effect(saved[b], "loss", "tuned").value for b in BEDS)
times = [r for r in records.load("branches/time")["rows"] if r["benchmark"] == "faces"]
ms = {r["network"]: r["ms"] for r in times if r["images"] == 16}  # for the limits below
assert 0.28 < 1 - ms["loss 0.5"] / ms["stacked passes"] < 0.4
Markdown(
    ":::{admonition} The claim\nA tree at half the cost of a pass for each task loses "
    f"{-rooms:.1f} % on synthetic rooms and {-faces:.1f} % on faces (3 runs "
    "each); the goal was 1 % at most.\n:::"
)

# %% [markdown]
# *Eight minutes to read; runs in a minute on one CPU core, no download.*
#
# A trained {term}`TSσBN` network makes a {term}`pass` for each task that is
# wanted. Can tasks share the first layers and part later?
# :::{image} images/branches.svg
# :alt: Left, four rows of six coloured layers, a row for each task. Middle, a tree with three grey layers that all tasks share, two branches of two tasks for two layers, and a layer for each task. Right, one row of six grey layers for all tasks.
# :class: only-light
# :::
# :::{image} images/branches-dark.svg
# :alt: The same drawing, on a dark ground.
# :class: only-dark
# :::
#
# ## Four questions about two digits
#
# A canvas has two digits. For the left and for the right one there are two
# tasks: which digit is it, and is it under five? The trunk has six convolutions.

# %%
TASKS = ("left", "left under 5", "right", "right under 5")
APART = tuple((task,) for task in TASKS)


def canvases(split, per_pair):
    found = digits.pairs(split, parity=False, per_pair=per_pair, root=None)
    for side in "left", "right":
        found[f"{side} under 5"] = (found[side] < 5).long()
    return found


def block(inputs, stride=1):
    conv = nn.Conv2d(inputs, 16, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(16), nn.ReLU())


def network(seed):
    _ = torch.manual_seed(seed)
    first = block(1, 2), block(16), block(16, 2)
    trunk = nn.Sequential(*first, *(block(16) for _ in range(3)))
    linear = {t: nn.Linear(400, 2 if "under" in t else 10) for t in TASKS}
    heads = {t: nn.Sequential(nn.Flatten(), linear[t]) for t in TASKS}
    return tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads)


def loss(net, data):
    outputs = net(data["image"]).items()
    return sum(F.cross_entropy(y, data[task]) for task, y in outputs)


def descend(net, optimiser, steps, seed):
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        i = torch.randint(len(train["image"]), (64,), generator=order)
        optimiser.zero_grad()
        loss(net.train(), {k: v[i] for k, v in train.items()}).backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def fit(seed):
    net = network(seed)
    groups = tssbn.param_groups(net, 4e-3, multiplier=10)
    return descend(net, torch.optim.Adam(groups, fused=True), 150, seed)


train = canvases("train", 60)
held_out, test = canvases("val", 20), canvases("test", 40)
nets, image = [fit(seed) for seed in SEEDS], test["image"][:1]

# %% [markdown]
# A **tree** names, for each layer, the groups of tasks that share it.
# `tssbn.export.branches` makes a plain network of it. A group has the *mean*
# of its tasks' gates and {term}`running statistics`. What follows a shared
# layer sees other values, so we estimate statistics anew (`update_bn`).
#
# Before you look: how many of six layers can all four tasks share?


# %%
@torch.no_grad()
def accuracy(net):
    """Per cent of right answers on the test canvases, mean over tasks."""
    outputs = net(test["image"])
    right = [(y.argmax(1) == test[t]).double() for t, y in outputs.items()]
    return 100 * torch.stack(right).mean().item()


def merged(net, tree):
    net = branches(net, tree)
    update_bn(train["image"][:512].split(128), net)
    return net


LAYERS = list(trees.distances(nets[0]))  # in the order in which they run
part_at = [{layer: APART} for layer in LAYERS] + [{}]
scores = [[accuracy(merged(net, tree)) for tree in part_at] for net in nets]

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Right answers of three networks over the number of layers that all four tasks share, from none to six. The score hardly changes for one layer and falls by several points towards six. A dotted line near 30 per cent is the constant baseline."}}
_, ax = plt.subplots(figsize=(7, 3))
branch_plots.shared(ax, scores, constant=30)
lost = [of_network[0] - of_network[-1] for of_network in scores]
ax.set_title(f"Sharing six layers costs {min(lost):.0f} to {max(lost):.0f} points")
plt.show()

# %% [markdown]
# One trunk for all loses points in each network. Which tasks should share?
#
# ## What a tree costs
#
# Let $P(v)$ be the groups of tasks for which a value $v$ of the network is the
# same. Two tasks share $v$ if the tree lets them, and if they share everything
# that $v$ is computed from:
#
# $$
# P(v) = P_\text{tree}(v) \wedge \bigwedge_{u \to v} P(u) ,
# \qquad C = \sum_v |P(v)|\, c_v .
# $$ (eq-refinement)
#
# $\wedge$ is the common refinement: all non-empty intersections of a group of
# one partition with a group of the other. $c_v$ are the {term}`MACs` of $v$,
# and $C$ is the cost. Skips and sums follow the same rule. We count the tree of
# the drawing.


# %%
def cost(tree):
    return macs(branches(nets[0], tree), image) / macs(nets[0], image)


tree = {LAYERS[3]: (TASKS[:2], TASKS[2:]), LAYERS[5]: APART}
print(f"cost, of four passes: {cost(tree):.2f}; of one trunk: {cost({}):.2f}")

# %% [markdown]
# ## Which tasks go together?
#
# **By gates.** In evaluation a normalisation layer gives $y_t = a_t x + c_t$
# for each channel, with $a_t = \color{#D55E00}{\sigma(\gamma_t)} / s_t$ and
# $c_t = -a_t m_t$ of running mean $m_t$ and deviation $s_t$. Let $m$ and $s^2$
# be the averages of mean and variance of tasks $t$ and $u$. For an input that
# has these, with $\Delta a = a_t - a_u$, $\Delta c = c_t - c_u$ and means over
# channels, the outputs of both tasks are apart by
#
# $$
# d_{t,u} = \sqrt{\frac{
#   \operatorname{mean}\bigl[(\Delta a\, m + \Delta c)^2 + \Delta a^2 s^2\bigr]
# }{
#   \operatorname{mean}\bigl[(\sigma(\gamma_t)^2 + \sigma(\gamma_u)^2)/2\bigr]
# }} .
# $$ (eq-apart)


# %%
def apart(layer, t, u):
    w, m, v = layer.gamma.sigmoid(), layer.running_mean, layer.running_var
    a = w / (v + layer.eps).sqrt()
    c, pair = -a * m, [t, u]
    da, dc = a[t] - a[u], c[t] - c[u]
    off = (da * m[pair].mean(0) + dc) ** 2 + da**2 * v[pair].mean(0)
    return (off.mean() / (w[pair] ** 2).mean()).sqrt()


for name, expected in trees.distances(nets[0]).items():
    found = apart(nets[0].trunk.get_submodule(name), 0, 1)
    assert torch.allclose(found.double(), expected[0, 1], rtol=1e-3)

# %% [markdown]
# `tree_by_similarity(net, tolerance)` keeps tasks together while no two are
# further apart than the tolerance. It sees no image and no answer.
#
# **By the loss.** `greedy` starts with all passes. Each move lets two groups
# share one more layer. It makes the move with the least increase of the loss
# on held-out images for each MAC saved, down to half of the cost. Trees were
# also grown from plain networks {cite:p}`lu2017adaptive,vandenhende2020branched`.


# %%
@torch.no_grad()
def held_out_loss(net):
    update_bn(train["image"][:512].split(128), net)
    return loss(net, held_out).item()


half = macs(nets[0], image) / 2
paths = [trees.greedy(net, held_out_loss, image, budget=half) for net in nets]
by_loss = [path[-1].tree for path in paths]

# %% [markdown]
# Before you look: which of the four questions will stay together?

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Three trees over six layers, one for each network. All four tasks share the first layer. Behind it only questions about the same digit share a branch. At the end each task has a layer of its own."}}
_, axes = plt.subplots(1, 3, figsize=(8, 2.4))
for seed, (ax, chosen) in enumerate(zip(axes, by_loss, strict=True), 1):
    branch_plots.tree(ax, chosen, LAYERS, TASKS)
    ax.set_title(f"network {seed}", fontsize=10)
axes[1].set_xlabel("normalisation layer")
plt.suptitle("Behind the first layer only questions about one digit share")
plt.show()

# %% [markdown]
# We gave no network the information which questions are about the same digit.
#
# ## Half the cost for one per cent?
#
# Our goal was half of the cost for at most 1 % of the score. We train merged
# networks on, filters and heads included, and the four passes for as long.

# %%
def by_gates(net):
    seen = torch.stack([*trees.distances(net).values()]).unique().tolist()
    found = [trees.tree_by_similarity(net, tolerance) for tolerance in seen]
    return found[bisect_left(found, True, key=lambda tree: cost(tree) <= 0.5)]


def tuned(net, tree):
    smaller = merged(net, tree)
    adam = torch.optim.Adam(smaller.parameters(), 2e-3, fused=True)
    return accuracy(descend(smaller, adam, steps=60, seed=0))


passes = [tuned(net, part_at[0]) for net in nets]
networks = {}
for name, chosen in {
    "tree by loss": by_loss,
    "tree by gates": [by_gates(net) for net in nets],
    "one trunk": [{} for _ in nets],
}.items():
    networks[name] = [
        (cost(tree), 100 * (tuned(net, tree) / reference - 1))
        for net, tree, reference in zip(nets, chosen, passes, strict=True)
    ]

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Change of the score in per cent over the cost, relative to four passes trained on as long, three dots for each kind of network. Trees by loss and by gates at half of the cost or less lie near minus one per cent, one trunk at a quarter of the cost lower. A grey band reaches to minus one per cent."}}
_, ax = plt.subplots(figsize=(7, 3.2))
branch_plots.prices(ax, networks, goal=-1)
by_seed = above([change for _, change in networks["tree by loss"]])
ax.set_title(f"Trees by loss: {by_seed.interval} % at half of the cost")
plt.show()

# %% [markdown]
# On larger problems the mean loss is larger. `book/studies/branches.py` did this for
# three tasks on synthetic rooms and twelve attributes of synthetic faces, and
# trained trees and passes on for two epochs. Below are the changes at half of
# the cost, in %, of Δm for rooms and of the mean F1 for faces, with 95 %
# intervals over three seeds. *Statistics* means that only these were estimated
# anew, *tuned* that all was trained on.

# %%
STAGES, rows = ["statistics", "tuned"], {}
for bed, name in BEDS.items():
    for c in ("loss", "gates", "random", "together"):
        rows[name, c] = [tree_effect(saved[bed], c, stage) for stage in STAGES]
    less = [tree_effect(saved[bed], "loss", s, over="random") for s in STAGES]
    rows[name, "loss − random"] = less
larger = [tree_effect(saved["rooms_segnet"], "loss", s, 0.6) for s in STAGES]
rows["rooms", "loss, 60 % of cost"] = larger
pd.DataFrame(rows, STAGES).T

# %% [markdown]
# *Random* is the tree by loss with names shuffled (on rooms two differ from it);
# *together* parts all tasks at one layer. At half of the cost no tuned mean
# reaches -1 %. The intervals of *loss − random* hold zero, so these runs do not
# show that it matters which tasks share. At 60 % of the cost the tuned mean on
# rooms is within the goal, but its interval is not.
#
# ## What to do with it
#
# Train with all passes. Take a tree for inference on batches, train it on, and
# compare it with passes that were trained on as long.
#
# ## Limits
#
# - Four epochs of further training instead of two brought no tree by loss of the
#   rooms to the goal.
# - The rooms' small SegNet is hardly better in mIoU than the constant baseline.
#   Its heads cost much, and no tree saves any of that.
# - Half the cost is not half the time. On one image of faces a tree of half the
#   cost saves no time over stacked passes; on 16 images it saves a third.
# - Trees were chosen after training; one from the start was not tried. A mean
#   of layers is the simplest merger, {eq}`eq-apart` looks at one layer at a
#   time, and `greedy` never takes a move back.
# - A tree takes no new task by a row of gates. One task alone costs as before.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-17-wide
# A tree has {a}, {b, c} at a first layer and {a, c}, {b} at the next. Which
# groups does the second layer have? Write the common refinement.
# :::

# %%
first = {frozenset("a"), frozenset("bc")}
second = {frozenset("ac"), frozenset("b")}
# your turn: the refinement of both

# %% [markdown]
# :::{solution-start} ex-17-wide
# :class: dropdown
# :::

# %%
groups = {g & h for g in first for h in second} - {frozenset()}
assert groups == {frozenset("a"), frozenset("b"), frozenset("c")}

# %% [markdown]
# Three: a and c parted before, so they cannot share the second.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-17-free
# In all trees above the tasks part at the last layer. What does it save to
# share that one, too? Why does `greedy` never do it?
# :::

# %%
print(by_loss[0][LAYERS[-1]])
# your turn: the cost of the tree without that entry

# %% [markdown]
# :::{solution-start} ex-17-free
# :class: dropdown
# :::

# %%
less = {name: p for name, p in by_loss[0].items() if name != LAYERS[-1]}
assert cost(less) == cost(by_loss[0])

# %% [markdown]
# Nothing: only the heads follow, one for each task. A move that saves no MACs
# has no loss *for each MAC saved*.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - A tree of tasks is a plain network, and its cost is counted beforehand.
# - First layers can be shared after training, by the mean of their gates.
# - At half of the cost no rule kept the mean loss within 1 % on rooms or faces.

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
#
# :::{admonition} The claim
# Between a pass for each task and one trunk for all lies a range of trees, and
# not every task needs its own pass all the way. A tree can be chosen by the
# gates alone, or by measured losses; it becomes a plain network whose cost is
# known beforehand. What it loses depends on the tasks, and it is compared with
# passes that were trained on as long.
# :::
#
# *Runs in under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
from bisect import bisect_left
from collections import Counter
from functools import reduce
from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import update_bn

import tssbn
from tssbn import claims, plots, records
from tssbn.data.synthetic import digits
from tssbn.export import branches, trees
from tssbn.cost import delta_m, macs

torch.set_num_threads(1)
plots.style()
SEEDS = range(3)

# %% [markdown]
# ## The same thing four times
#
# Two digits stand on a canvas, as in {doc}`04_task_specific`. Four questions
# are asked: which is the left one, is it under five, which is the right one,
# is it under five. A trunk of six convolutions with a gate for each task and
# channel answers them in four passes. Before it is trained, all gates are half
# open, so the four passes compute the same thing four times:

# %%
TASKS = ("left", "left under 5", "right", "right under 5")


def canvases(split, per_pair):
    found = digits.pairs(split, parity=False, per_pair=per_pair, root=None)
    for side in "left", "right":
        found[f"{side} under 5"] = (found[side] < 5).long()
    return found


train = canvases("train", 60)
held_out, test = canvases("val", 20), canvases("test", 40)


def block(inputs, stride=1):
    conv = nn.Conv2d(inputs, 16, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(16), nn.ReLU())


def network(seed):
    _ = torch.manual_seed(seed)
    trunk = nn.Sequential(
        block(1, 2), block(16), block(16, 2), *(block(16) for _ in range(3))
    )
    heads = {
        task: nn.Sequential(
            nn.Flatten(), nn.Linear(400, 2 if "under" in task else 10)
        )
        for task in TASKS
    }
    return tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads)


fresh, image = network(0).eval(), test["image"][:1]
LAYERS = list(trees.distances(fresh))  # in the order in which they run
APART = tuple((task,) for task in TASKS)
one_trunk = branches(fresh, {})
with torch.no_grad():
    expected, outputs = fresh(image), one_trunk(image)
for task in TASKS:
    assert torch.equal(outputs[task], expected[task])
print(f"{macs(fresh, image):,} MACs in four passes")
print(f"{macs(one_trunk, image):,} in one, with the same outputs")

# %% [markdown]
# `tssbn.export.branches` made that network. It is given a *tree*: for each
# norm layer, the groups of tasks that share it. The tree `{}` says that nobody
# parts anywhere. `{LAYERS[0]: APART}` would say that everybody parts at the
# first layer, and this is what the four passes are.
#
# Now three networks are trained, from three seeds, and all gates go their own
# ways. What if the tasks still shared the first layers, each with the *mean*
# of the gates and statistics that the tasks have there? Nothing is trained to
# make up for it. (With the mean layers, the activations that follow are no
# longer quite those that their statistics were taken of; `update_bn` of
# PyTorch estimates these anew, from training images.)


# %%
def descend(net, optimiser, steps, seed):
    """Training; all rates fall to zero along a cosine."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        i = torch.randint(len(train["image"]), (64,), generator=order)
        outputs = net.train()(train["image"][i])
        losses = [F.cross_entropy(y, train[t][i]) for t, y in outputs.items()]
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def fit(seed, lr=4e-3):
    net = network(seed)
    groups = tssbn.param_groups(net, lr, multiplier=10)
    return descend(net, torch.optim.Adam(groups, fused=True), 150, seed)


@torch.no_grad()
def accuracy(net):
    """Share of right answers on the test canvases, mean over tasks."""
    outputs = net(test["image"])
    right = [(y.argmax(1) == test[t]).double() for t, y in outputs.items()]
    return torch.stack(right).mean().item()


def merged(net, tree):
    """The network with this tree, its statistics estimated anew."""
    net = branches(net, tree)
    update_bn(train["image"][:512].split(128), net)
    return net


nets = [fit(seed) for seed in SEEDS]
shared_until = {
    seed: [accuracy(merged(net, {layer: APART})) for layer in LAYERS]
    + [accuracy(merged(net, {}))]
    for seed, net in enumerate(nets)
}

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Mean accuracy of three networks over the number of norm layers that all four tasks share, from none to all six. It stays nearly level for the first layer and falls from there."}}
_, ax = plt.subplots(figsize=(7, 3))
for seed, values in shared_until.items():
    ax.plot(range(7), values, "o-", ms=5, label=f"seed {seed}")
ax.set(xlabel="norm layers that all share", ylabel="mean accuracy")
ax.set_title("Averaged layers still work, the worse the more there are")
ax.legend()
plt.show()

for seed, values in shared_until.items():
    print(f"seed {seed}:", " ".join(f"{value:.2f}" for value in values))

# %% [markdown]
# With one pass for everybody much of what was learned is lost, and yet the
# answers are far better than guesses (which are right in three cases of ten):
# gates that went their own ways are still gates of the same filters. And the
# first shared layer costs less than all that follow together.
#
# Between one pass for each task and one pass for all there is a whole range of
# networks: trees that start with one trunk and end with a branch for each
# task. This chapter is about which of them to take.
#
# ## When can two passes be one?
#
# Let $P(v)$ be the groups of tasks for which a value $v$ of the network is the
# same, and $P_\text{tree}(v)$ the groups that the tree names for it, if a norm
# layer puts it out. Two tasks have the same $v$ if they had the same of
# everything it is computed from, and share its norm layer:
#
# $$
# P(v) = P_\text{tree}(v) \wedge \bigwedge_{u \to v} P(u) ,
# \qquad P(\text{image}) = \{\text{all tasks}\} .
# $$ (eq-refinement)
#
# Here $\wedge$ is the *common refinement* of two partitions: all the non-empty
# intersections of a group of one with a group of the other. The value is
# computed once for each group, so that all of it costs
#
# $$
# C = \sum_v |P(v)|\, c_v
# $$ (eq-branch-cost)
#
# multiply-accumulates, where $c_v$ are those of one time. Nothing else is
# needed to get skips and residual streams right. A value that goes around a
# split keeps its groups until it meets one that has parted. Take a trunk with
# a skip, and three tasks of which one leaves in the middle:

# %%
LETTERS = ("a", "b", "c")


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)
        self.deep, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.side = nn.Conv2d(4, 4, 1)
        self.last, self.norm3 = nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        fine = self.norm1(self.stem(x))
        deep = self.norm2(self.deep(fine))
        return self.norm3(self.last(torch.cat([self.side(fine), deep], 1)))


INPUTS = {  # of each step
    "stem": ["image"],
    "norm1": ["stem"],
    "deep": ["norm1"],
    "norm2": ["deep"],
    "side": ["norm1"],
    "last": ["side", "norm2"],
    "norm3": ["last"],
}
ONCE = {"stem": 4, "deep": 16, "side": 16, "last": 32}  # c_v of an 1x1 image
tree = {"norm2": (("a", "b"), ("c",)), "norm3": (("a",), ("b", "c"))}


def meet(one, other):
    return {g & h for g in one for h in other} - {frozenset()}


def sets(partition):
    return {frozenset(group) for group in partition}


groups = {"image": {frozenset(LETTERS)}}
for step, sources in INPUTS.items():
    own = sets(tree.get(step, [LETTERS]))
    groups[step] = reduce(meet, [groups[source] for source in sources], own)
    names = sorted("".join(sorted(group)) for group in groups[step])
    print(f"{step:6}", *names)

# %% [markdown]
# The tree asks for *b* and *c* together in the last layer, in vain: there they
# have met different things before. And `side`, which lies on the skip, runs
# once. The package traces the trunk with `torch.fx`, which lists its steps,
# and emits each as often as the rule says. Count them:

# %%
heads = {task: nn.Identity() for task in LETTERS}
toy = tssbn.MultiTask(tssbn.task_specific(Skip(), LETTERS), heads).eval()
unrolled = branches(toy, tree)
steps = [node for node in unrolled.graph.nodes if node.op == "call_module"]
calls = Counter(node.target.split(".")[1] for node in steps)
for step in INPUTS:
    assert calls[step] == len(groups[step])
dot = torch.rand(1, 1, 1, 1)
assert macs(unrolled, dot) == sum(
    len(groups[step]) * c for step, c in ONCE.items()
)
for name, part in unrolled.trunk.norm3.named_children():
    print(name, type(part).__name__)

# %% [markdown]
# What comes out is a plain network: convolutions that are called several
# times, and an ordinary BatchNorm for each group. It can be trained, saved and
# exported like any other ({doc}`16_export`). With every task alone it gives
# what the passes give, which holds for trunks with residual sums and
# Transformers as well; the tests of the package check it to $10^{-10}$.
#
# ## How far are two layers apart?
#
# In evaluation a norm layer is a line for each channel. With scale $w_t$ (the
# gate), bias $b_t$, running mean $m_t$ and deviation $s_t$ of task $t$,
#
# $$
# y_t = a_t x + c_t, \qquad a_t = \frac{w_t}{s_t}, \quad
# c_t = b_t - a_t m_t .
# $$
#
# If two tasks have shared everything before, both layers see the same $x$. Say
# it has mean $m$ and variance $s^2$, those that the two have on average. Then
# their outputs differ, in the root mean square over values and channels and
# relative to the size of what they put out, by
#
# $$
# d_{t,u} = \sqrt{\frac{
#   \operatorname{mean}\bigl[(\Delta a\, m + \Delta c)^2 + \Delta a^2 s^2\bigr]
# }{
#   \operatorname{mean}\bigl[(w_t^2 + w_u^2)/2\bigr]
# }} .
# $$ (eq-apart)
#
# By hand, for the first two tasks of the first network:


# %% tags=["nbval-ignore-output"]
def line(layer, t):
    """a, c, m, s², w of a task, each (channels,), in float64."""
    w = layer.gamma[t].detach().double().sigmoid()
    m, var = layer.running_mean[t].double(), layer.running_var[t].double()
    a = w / (var + layer.eps).sqrt()
    return a, -a * m, m, var, w


def apart_by_hand(layer, t, u):
    (a1, c1, m1, v1, w1), (a2, c2, m2, v2, w2) = (
        line(layer, i) for i in (t, u)
    )
    da, dc, m, v = a1 - a2, c1 - c2, (m1 + m2) / 2, (v1 + v2) / 2
    size = ((w1**2 + w2**2) / 2).mean()
    return (((da * m + dc) ** 2 + da**2 * v).mean() / size).sqrt()


found = trees.distances(nets[0])
for name in LAYERS:
    by_hand = apart_by_hand(nets[0].trunk.get_submodule(name), 0, 1)
    assert torch.allclose(by_hand, found[name][0, 1])
print(" ".join(f"{apart[0, 1]:.2f}" for apart in found.values()))

# %% [markdown]
# `trees.tree_by_similarity(net, tolerance)` makes a tree of these numbers.
# Layer by layer from the input, it clusters the tasks of each group by
# complete linkage: no two that stay together are further apart than the
# tolerance. Once apart they are apart for good.
#
# That costs nothing. But what matters is not how far apart two outputs are, it
# is what the heads make of it. `trees.greedy(net, loss, ...)` measures that.
# It begins with all passes apart. A move lets two groups share one more layer;
# the loss of the network is measured on held-out images, and the move with the
# least increase for each MAC that it saves is made. (So trees were grown
# from other networks, too: see {cite:t}`lu2017adaptive` and
# {cite:t}`vandenhende2020branched`, who start from one trunk or from
# affinities of single-task networks.)


# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def held_out_loss(net):
    update_bn(train["image"][:512].split(128), net)
    outputs = net(held_out["image"])
    losses = [F.cross_entropy(y, held_out[t]) for t, y in outputs.items()]
    return sum(losses).item()


BUDGET = 0.4 * macs(nets[0], image)
paths = [
    trees.greedy(net, held_out_loss, image, budget=BUDGET) for net in nets
]
for seed, path in enumerate(paths):
    print(f"seed {seed}: {len(path) - 1} moves, to {path[-1].cost:,} MACs")


# %% tags=["hide-input"]
def draw(ax, tree, layers, tasks, marks=None):
    """A line for each group of tasks from layer to layer."""
    partitions, last = [], (tuple(tasks),)
    for layer in layers:
        groups = tree.get(layer, last)
        last = tuple(map(tuple, groups))
        partitions.append(last)

    def place(task):
        return [
            [task in group for group in partition].index(True)
            for partition in partitions
        ]

    lane = {task: i for i, task in enumerate(sorted(tasks, key=place))}
    heights = [
        {t: np.mean([lane[u] for u in group]) for group in p for t in group}
        for p in [(tuple(tasks),), *partitions]
    ]
    for depth, (before, now) in enumerate(pairwise(heights)):
        for y0, y1 in {(before[task], now[task]) for task in tasks}:
            ax.plot([depth, depth + 1], [y0, y1], color="#888888", lw=1.5)
            ax.plot(depth + 1, y1, "o", ms=4, color=plots.COLORS["blue"])
    for task in tasks:
        place_of_name = 1.04 * len(layers), lane[task]
        ax.text(*place_of_name, task, va="center", fontsize=7)
    ax.set(yticks=[], ylim=(len(tasks) - 0.5, -0.5))
    ax.set_xlim(0, 1.75 * len(layers))
    ax.set_xticks(marks or range(1, len(layers) + 1))
    ax.grid(visible=False)


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three trees over six norm layers, one for each seed: one line for all four tasks in the first layers, four lines at the end, and in between groups of tasks that stay together."}}
_, axes = plt.subplots(1, 3, figsize=(8, 2.4))
for seed, (ax, path) in enumerate(zip(axes, paths, strict=True)):
    draw(ax, path[-1].tree, LAYERS, TASKS)
    ax.set_title(f"seed {seed}", fontsize=10)
axes[1].set_xlabel("norm layer")
plt.suptitle("Trees by measured losses: who stays together?")
plt.show()

# %% [markdown]
# Nobody told these networks which questions are about the same digit. Of the
# three ways to pair four tasks, only one makes sense: the two questions about
# the left digit, and the two about the right one. (At the last norm layer
# parting is free, as no convolution follows.) How often does the greedy path
# find it, and how often do the gates alone, at the same cost?


# %% tags=["nbval-ignore-output"]
def by_gates(net):
    """The tree of the smallest tolerance that is cheap enough."""

    def affordable(tolerance):
        tree = trees.tree_by_similarity(net, tolerance)
        return macs(branches(net, tree), image) <= BUDGET

    seen = torch.stack(list(trees.distances(net).values()))
    seen = seen.unique().tolist()
    lowest = bisect_left(seen, True, key=affordable)
    return trees.tree_by_similarity(net, seen[lowest])


def siblings(tree):
    """All groups of several tasks, but not of all."""
    groups = {group for partition in tree.values() for group in partition}
    return sorted(group for group in groups if 1 < len(group) < len(TASKS))


RIGHT = [("left", "left under 5"), ("right", "right under 5")]
gated = [by_gates(net) for net in nets]
for seed, (path, tree) in enumerate(zip(paths, gated, strict=True)):
    print(f"seed {seed}, by loss: ", siblings(path[-1].tree))
    print(f"seed {seed}, by gates:", siblings(tree))
for name, chosen in {
    "by loss": [path[-1].tree for path in paths],
    "by gates": gated,
}.items():
    right = sum(siblings(tree) == RIGHT for tree in chosen)
    print(f"{name}: the same digit together in {right} of {len(chosen)} seeds")

# %% [markdown]
# `tree_by_similarity` has seen no image and no answer, only the gates and
# statistics.
#
# ## What it costs
#
# A merged network is a start. It can be trained on, for a moment, all of it:
# filters, heads, and the norm layers of its groups. To know what that is
# worth, we need controls: the four passes trained on as long, one trunk for
# all, and the same tree with the tasks' names shuffled (the left digit's two
# questions no longer together), which costs the same.

# %%
SWAP = {"left under 5": "right under 5", "right under 5": "left under 5"}


def swapped(tree):
    """The tree with two of the tasks in each other's place."""
    return {
        layer: tuple(tuple(SWAP.get(t, t) for t in group) for group in groups)
        for layer, groups in tree.items()
    }


rows = []
for seed, (net, path) in enumerate(zip(nets, paths, strict=True)):
    for name, tree in {
        "four passes": {LAYERS[0]: APART},
        "tree by loss": path[-1].tree,
        "the same, swapped": swapped(path[-1].tree),
        "tree by gates": gated[seed],
        "one trunk": {},
    }.items():
        smaller = merged(net, tree)
        before = accuracy(smaller)
        optimiser = torch.optim.Adam(smaller.parameters(), 2e-3, fused=True)
        after = accuracy(descend(smaller, optimiser, 60, seed))
        cost = macs(smaller, image) / path[0].cost
        rows.append((name, seed, cost, before, after))
columns = ("network", "seed", "cost", "merged", "trained on")
live = pd.DataFrame(rows, columns=columns)

# %% tags=["nbval-ignore-output"]
by_name = live.groupby("network", sort=False)
by_name[["cost", "merged", "trained on"]].mean().round(3)

# %% [markdown]
# (That all networks gain by training on says that 150 steps are few; so they
# are compared among each other.)
#
# ## On rooms and faces
#
# `book/studies/branches.py` did the same with TSσBN on the synthetic rooms
# (three tasks, a small SegNet) and the synthetic faces (twelve attributes,
# chapter 8), with gates at ten times the base rate, and three seeds. The small
# SegNet is hardly better than the constant baseline: the best answer that
# ignores the image has 35.4 mIoU, 0.600 m and 36.6°, TSσBN 41.1, 0.533 and
# 35.8. So what follows shows cost and mechanics, not how accurate trees can
# be. The study takes a tree for each of several shares of the cost of all
# passes, in four ways: by **gates** and statistics (the smallest tolerance
# that is cheap enough), by the **loss** on validation images (the greedy
# path), and for control the tree of the loss with names **shuffled**, and all
# **together** up to some layer, each alone after it. No test image has a say
# in the choice.
#
# A tree can be used as it is *merged*, with *statistics* estimated anew, or
# *tuned*: all of it trained for two more epochs (the passes had eight). The
# passes gain by that, too. So we compare a tree with all passes that were
# treated in the same way, and read the difference of the test metrics, mean
# over the tasks, in per cent (of faces, of the mean F1). Cost is relative to
# that of the passes, heads included, with what precedes the first norm layer
# computed once. Not every tree costs what was asked for: trees by gates come
# in few sizes, and "together" can part at a few layers only.

# %%
STAGES = ["merged", "statistics", "tuned"]


def behind(record, scores, reference):
    """Change of the metrics in per cent, up is better."""
    if record["benchmark"] == "faces":
        return 100 * (sum(scores) / sum(reference) - 1)
    names = list(record["metric"])
    named = (dict(zip(names, x, strict=True)) for x in (scores, reference))
    return delta_m(*named, record["directions"])


def passes(record):
    (point,) = (p for p in record["points"] if p["chooser"] == "apart")
    return point


SHOWN = {"rooms_segnet": "rooms (SegNet)", "faces": "faces"}
STUDY = {
    (shown, seed): records.load(f"branches/{benchmark}-{seed}")
    for benchmark, shown in SHOWN.items()
    for seed in SEEDS
}
points = pd.DataFrame(
    [
        {
            "benchmark": benchmark,
            "seed": seed,
            "chooser": point["chooser"],
            "share": point["share"],
            "cost": point["cost"],
            **{
                stage: behind(record, scores, passes(record)["scores"][stage])
                for stage, scores in point["scores"].items()
            },
            "untuned": point["change"].get("tuned"),
        }
        for (benchmark, seed), record in STUDY.items()
        for point in record["points"]
    ]
)
what = ["benchmark", "share", "chooser"]
groups_of_points = points.groupby(what, sort=False, dropna=False)
mean = groups_of_points[["cost", *STAGES]].mean()
mean["seeds"] = groups_of_points.size()
mean.round(2)

# %% [markdown]
# (A tree of which nobody's name matters cannot be shuffled: there are fewer
# shuffled trees than seeds where the tree by loss is "all together".)

# %% mystnb={"image": {"alt": "Four panels: difference to equally treated passes in per cent over cost, for rooms on a SegNet on the left and faces on the right, with a dot for each seed. Above, trees chosen by the loss as merged, with statistics estimated anew, and tuned. Below, tuned trees by loss, by gates, with names shuffled and all together. All lines fall from zero, at the cost of all passes, to their lowest point at one trunk; a grey band marks one per cent."}}
fig, axes = plt.subplots(2, 2, figsize=(8, 6), sharex="col")
ROWS = {
    "loss": {"merged": "red", "statistics": "orange", "tuned": "blue"},
    "tuned": {
        "loss": "blue",
        "gates": "green",
        "random": "orange",
        "together": "purple",
    },
}
ENDS = ["apart", "trunk"]
for column, benchmark in enumerate(SHOWN.values()):
    of_one = points[points.benchmark == benchmark]
    for row, (what, lines) in enumerate(ROWS.items()):
        ax = axes[row, column]
        for name, color in lines.items():
            stage, chooser = (name, what) if row == 0 else (what, name)
            shown = of_one[of_one.chooser.isin([*ENDS, chooser])]
            shown = shown.dropna(subset=[stage])
            means = shown.groupby(["chooser", "share"], dropna=False)
            means = means[["cost", stage]].mean().sort_values("cost")
            color = plots.COLORS[color]
            ax.plot(means["cost"], means[stage], color=color, label=name)
            ax.plot(shown["cost"], shown[stage], "o", ms=4, color=color)
        ax.axhspan(-1, 0, color="#DDDDDD", zorder=0)
        ax.axvline(0.5, color="black", lw=1, ls=":")
    axes[0, column].set_title(benchmark)
    axes[1, column].set_xlabel("cost, relative to a pass for each task")
axes[0, 0].set_ylabel("to passes, % (trees by loss)")
axes[1, 0].set_ylabel("to tuned passes, % (tuned)")
for ax in axes[:, 0]:
    ax.legend(loc="lower right")
fig.suptitle("Cheaper trees, against passes that were treated alike")
plt.show()

# %% [markdown]
# (Above: trees by loss, in the three states. Below: all four ways to choose,
# tuned. The ends of all lines are the passes and one trunk. A dot is a seed;
# the grey band reaches to one per cent below passes treated alike.)
#
# Is a chosen tree better than one that is not? The differences of the columns
# *statistics* and *tuned*, in percentage points, with 95 % intervals of
# {mod}`tssbn.claims` (one spread for the four ways to choose; not all trees of
# a share have the same cost, see above):

# %%
PAIRS = ("loss", "random"), ("loss", "together"), ("gates", "random")
rows = []
for (benchmark, share), part in points.groupby(["benchmark", "share"]):
    for stage in STAGES[1:]:
        arms = part.dropna(subset=[stage]).groupby("chooser")[stage]
        bed = claims.Bed({name: list(values) for name, values in arms})
        for pair in PAIRS:
            if set(pair) <= set(bed.arms):
                effect = bed.compare(*pair)
                found = f"{effect}, n = {effect.n[0]}, {effect.n[1]}"
                rows.append((benchmark, share, stage, " − ".join(pair), found))
columns = "benchmark", "share", "stage", "trees", "difference"
table = pd.DataFrame(rows, columns=columns)
table.pivot(index=[*columns[:3]], columns="trees", values="difference").fillna(
    ""
)

# %% [markdown]
# How much can be shared depends on how far the gates of the tasks are apart
# (means over pairs of tasks, by {eq}`eq-apart`; the smallest and the largest
# layer):

# %%
apart = {
    benchmark: np.mean(
        [
            list(STUDY[benchmark, seed]["differences"].values())
            for seed in SEEDS
        ],
        0,
    )
    for benchmark in SHOWN.values()
}
for benchmark, values in apart.items():
    print(f"{benchmark}: {values.min():.2f} to {values.max():.2f}")

# %% [markdown]
# What if the trees of the rooms train for longer, four epochs, and the passes,
# too?

# %%
rows = []
for seed in SEEDS:
    record = STUDY[SHOWN["rooms_segnet"], seed]
    long = records.load(f"branches/rooms_segnet-{seed}-longer")
    assert long["tuning"]["epochs"] == 4
    ref = passes(long)
    for point in long["points"]:
        rows.append(
            {
                "network": point["chooser"],
                "seed": seed,
                "cost": point["cost"],
                "to passes with four": behind(
                    record, point["scores"], ref["scores"]
                ),
                "to passes with none": point["change"],
            }
        )
more = pd.DataFrame(rows).set_index(["network", "seed"]).sort_index()
more.round(2)

# %% [markdown]
# Passes gain by the longer training as well. Those who compare with the passes
# as they were before see the gain of the training, not of the tree.
#
# Here are the trees by loss at half of the cost:

# %% mystnb={"image": {"alt": "Six trees, for three seeds of rooms and of faces. In the rooms all three tasks share most of the 26 norm layers and part near the end. In the faces twelve attributes begin in several groups at the first of nine norm layers."}}
fig, axes = plt.subplots(2, 3, figsize=(8, 5), height_ratios=(2, 3))
kept = []  # rooms first
for row, benchmark in enumerate(SHOWN.values()):
    for seed, ax in enumerate(axes[row]):
        record = STUDY[benchmark, seed]
        (half,) = (
            point
            for point in record["points"]
            if (point["chooser"], point["share"]) == ("loss", 0.5)
        )
        layers, short = record["layers"], record["tasks"]
        kept.append(half["tree"])
        draw(ax, half["tree"], layers, short)
        ax.set_title(f"{benchmark}, seed {seed}", fontsize=10)
        ax.set_xticks([1, len(layers)])
    axes[1, 1].set_xlabel("norm layer")
plt.show()

# %%
start = [[set(g) for g in next(iter(tree.values()))] for tree in kept[3:]]


def begin_together(*names):
    return all(any({*names} <= g for g in groups) for groups in start)


names = STUDY["faces", 0]["tasks"]
print("together at the first norm layer in all seeds of the faces:")
always = [p for p in combinations(names, 2) if begin_together(*p)]
print(*(" + ".join(pair) for pair in always), sep="\n")

# %% [markdown]
# With gates that are far apart, there are many trees that are as good as each
# other.
#
# ## What the clock says
#
# A tree computes a group's step in a call of its own. Stacked passes
# ({doc}`04_task_specific`) do the steps of all tasks in one. So half the
# arithmetic is half the time only where the calls are large enough. What is
# saved has the time of an inference of all tasks on one CPU core, every
# network once in a round. There are three ways to make all passes: stacked,
# one pass a task, and unrolled with every task apart. Times are relative to
# the fastest of the three, whichever that is:

# %%
clock = pd.DataFrame(records.load("branches/time")["rows"])
clock["cost"] = clock["macs"].round(2)
clock["benchmark"] = clock["benchmark"].map(SHOWN)
table = clock.pivot_table(
    index=["benchmark", "network", "cost"],
    columns="images",
    values="ms",
    sort=False,
)
ALL = ["stacked passes", "one pass a task", "apart"]
is_all = table.index.get_level_values("network").isin(ALL)
table /= table[is_all].groupby("benchmark").min()
table.columns = [f"time, {n} image{'s' * (n > 1)}" for n in table.columns]
table.round(2)

# %% [markdown]
# With sixteen images the time mostly follows the arithmetic. With a single
# image a tree of half the cost saves the faces little or no time against
# stacked passes: dozens of small calls take as long as fewer large ones.
#
# ## Limits
#
# - Small networks, short training, three seeds; the rooms' SegNet is hardly
#   better than the constant baseline. The rate of the short training was
#   chosen on validation images of the first seed, for each benchmark. The
#   miniatures' heads are a large part of the rooms' cost, and no tree saves
#   any of it.
# - The trees were chosen for networks that had been trained as passes, and
#   then adapted. A tree that is known beforehand can be trained as such from
#   the start; this was not tried.
# - A mean of layers is the simplest way to merge them. Where two tasks use the
#   same gate for opposite ends, it serves neither.
# - {eq}`eq-apart` looks at one layer at a time, for an input that nobody has
#   seen. It knows neither what an early difference does later, nor the heads.
# - The greedy path is greedy. It never takes a merger back.
# - A tree gives up two things that passes have: a task cannot be added with
#   nothing but a row of gates, and one task alone costs the same as before.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-17-free
# In all three trees the tasks part once more at the last norm layer. Share
# that one, too: how many MACs does it save, and what does it cost? Why does
# the greedy path never do it?
# :::
#
# :::{solution} ex-17-free
# :class: dropdown
#
# ```python
# for net, path in zip(nets, paths, strict=True):
#     tree = {name: p for name, p in path[-1].tree.items() if name != LAYERS[-1]}
#     smaller = merged(net, tree)
#     print(macs(smaller, image) - path[-1].cost, accuracy(smaller))
# ```
#
# It saves nothing: after the last norm layer there are only the heads, and
# they are one a task in any case. (The norm layer itself is not counted as
# MACs.) A move that saves nothing has no loss *for each MAC saved*; it is
# never made.
# :::
#
# :::{exercise}
# :label: ex-17-wide
# Let *a* part from *b* and *c* at `norm1` of the toy trunk, and *b* from the
# others at `norm2`. Which groups does each step have? Work it out by
# {eq}`eq-refinement` before you run the loop above.
# :::
#
# :::{solution} ex-17-wide
# :class: dropdown
#
# ```python
# wide = {"norm1": (("a",), ("b", "c")), "norm2": (("a", "c"), ("b",))}
# unrolled = branches(toy, wide)
# steps = [n for n in unrolled.graph.nodes if n.op == "call_module"]
# print(Counter(node.target.split(".")[1] for node in steps))
# ```
#
# `stem` one; `norm1`, `deep` and `side` two, {a} and {b, c}; `norm2`, `last`
# and `norm3` three. That the tree wants *a* and *c* together in `norm2` is in
# vain, they parted at `norm1`.
# :::
#
# :::{exercise}
# :label: ex-17-mixture
# Merge the first norm layer of `nets[0]` for all tasks, but give the merged
# layer the variance of a mixture: the mean of the variances plus the variance
# of the means. Does it matter? Try the last layer, too.
# :::
#
# :::{solution} ex-17-mixture
# :class: dropdown
#
# ```python
# for name in LAYERS[0], LAYERS[-1]:
#     layer = nets[0].trunk.get_submodule(name)
#     means, variances = layer.running_mean, layer.running_var  # (T, C)
#     more = means.var(0, unbiased=False) / variances.mean(0)
#     print(name, more.max().item())
# ```
#
# In the first layer all tasks see the same activations, so their means are
# equal and there is nothing to add. In the last one it would be a few per cent
# of the variance of the channel in which it is most: here it hardly matters.
# In principle it would be too much, as the merged layer sees one stream and
# not a mixture of four.
# :::
#
# ## What we learned
#
# - Before training, a pass for each task computes the same thing for each. How
#   long passes stay one is a choice for each layer, and the rule of the common
#   refinement makes a network of it, with skips and residual sums right by
#   construction.
# - A tree can be chosen without any data, by gates and statistics.
# - How much of the computation can be saved is a property of the tasks: look
#   at how far their gates are apart first.
# - Merged layers are a start. Statistics estimated anew and a short training
#   repair much. Passes gain by training, too, so a tree is compared with
#   passes that had the same. Where nearly everything is shared they matter
#   more than who shares what.

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
# not every task needs its own pass all the way. Where gates agree, branches
# part late: on made rooms the trees that gates or losses choose save a quarter
# of the computation at next to no loss as they are, and about half of it for
# one or two per cent after a short training. Twelve attributes of made faces
# agree less, and lose four to six per cent at half of the cost. Half of the cost
# for one per cent, the goal that was set, is missed by both after two epochs of
# training. Four reach it on rooms, in the one seed that was tried.
# :::
#
# *Runs in under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
from bisect import bisect_left
from collections import Counter
from functools import reduce
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import update_bn

import tssbn
from tssbn import plots
from tssbn.data import digits
from tssbn.export import branches, trees
from tssbn.training import records
from tssbn.training.cost import macs

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
LAYERS = list(trees.differences(fresh))  # in the order in which they run
APART = tuple((task,) for task in TASKS)
one_trunk = branches(fresh, {})
with torch.no_grad():
    expected, outputs = fresh(image), one_trunk(image)
for task in TASKS:
    assert torch.equal(outputs[task], expected[task])
print(f"{macs(fresh, image):,} MACs in four passes")
print(f"{macs(one_trunk, image):,} in one, with the same outputs")

# %% [markdown]
# `tssbn.export.branches` made that network. It is given a *tree*: for each norm
# layer, the groups of tasks that share it. The tree `{}` says that nobody
# parts anywhere. `{LAYERS[0]: APART}` would say that everybody parts at the
# first layer, and this is what the four passes are.
#
# Now three networks are trained, from three seeds, and all gates go their own
# ways. What if the tasks still shared the first layers, each with the *mean* of
# the gates and statistics that the tasks have there? Nothing is trained to
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

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Mean accuracy of three networks over the number of norm layers that all four tasks share, from none to all six. It stays nearly level for the first layer and falls faster and faster from there."}}
_, ax = plt.subplots(figsize=(7, 3))
for seed, values in shared_until.items():
    ax.plot(range(7), values, "o-", ms=5, label=f"seed {seed}")
ax.set(xlabel="norm layers that all share", ylabel="mean accuracy")
ax.set_title("Averaged layers still work, the worse the more there are")
ax.legend()
plt.show()

for seed, values in shared_until.items():
    print(f"seed {seed}:", " ".join(f"{value:.2f}" for value in values))
    assert values[0] > values[-1] + 0.01 and values[-1] > 0.4

# %% [markdown]
# With one pass for everybody much of what was learned is lost, and yet the
# answers are far better than guesses (which are right in three cases of ten):
# gates that went their own ways are still gates of the same filters. And the
# first shared layer costs about a point.
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
# once. The package traces the trunk with `torch.fx`, which lists its steps, and
# emits each as often as the rule says. Count them:

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
    m, var = (
        layer._buffers[f"running_{name}"][t].double()
        for name in ("mean", "var")
    )
    a = w / (var + layer.eps).sqrt()
    return a, -a * m, m, var, w


def apart_by_hand(layer, t, u):
    (a1, c1, m1, v1, w1), (a2, c2, m2, v2, w2) = (
        line(layer, i) for i in (t, u)
    )
    da, dc, m, v = a1 - a2, c1 - c2, (m1 + m2) / 2, (v1 + v2) / 2
    size = ((w1**2 + w2**2) / 2).mean()
    return (((da * m + dc) ** 2 + da**2 * v).mean() / size).sqrt()


found = trees.differences(nets[0])
for name in LAYERS:
    by_hand = apart_by_hand(nets[0].trunk.get_submodule(name), 0, 1)
    assert torch.allclose(by_hand, found[name][0, 1])
print(" ".join(f"{apart[0, 1]:.2f}" for apart in found.values()))

# %% [markdown]
# `trees.agree(net, tolerance)` makes a tree of these numbers. Layer by layer
# from the input, it clusters the tasks of each group by complete linkage: no
# two that stay together are further apart than the tolerance. Once apart they
# are apart for good.
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


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three trees over six norm layers, one for each seed, all alike: one line for all four tasks in the first layer or two, then one for both questions on the left digit and one for both on the right digit, and four lines at the end."}}
_, axes = plt.subplots(1, 3, figsize=(8, 2.4))
for seed, (ax, path) in enumerate(zip(axes, paths, strict=True)):
    draw(ax, path[-1].tree, LAYERS, TASKS)
    ax.set_title(f"seed {seed}", fontsize=10)
axes[1].set_xlabel("norm layer")
plt.suptitle("Measured losses find out who looks at the same digit")
plt.show()

# %% [markdown]
# Nobody told these networks which questions are about the same digit. The
# greedy path finds it out: after a layer or two the questions about one digit
# part from those about the other, and stay together nearly to the end. (At
# the last norm layer parting is free, as no convolution follows.) Of the three
# ways to pair four tasks, this is the one that makes sense. And the gates
# alone, at the same cost?


# %% tags=["nbval-ignore-output"]
def by_gates(net):
    """The tree of the smallest tolerance that is cheap enough."""

    def affordable(tolerance):
        tree = trees.agree(net, tolerance)
        return macs(branches(net, tree), image) <= BUDGET

    seen = torch.stack(list(trees.differences(net).values()))
    seen = seen.unique().tolist()
    return trees.agree(net, seen[bisect_left(seen, True, key=affordable)])


def siblings(tree):
    """All groups of several tasks, but not of all."""
    groups = {group for partition in tree.values() for group in partition}
    return sorted(group for group in groups if 1 < len(group) < len(TASKS))


RIGHT = [("left", "left under 5"), ("right", "right under 5")]
gated = [by_gates(net) for net in nets]
for seed, (path, tree) in enumerate(zip(paths, gated, strict=True)):
    print(f"seed {seed}, by loss: ", siblings(path[-1].tree))
    print(f"seed {seed}, by gates:", siblings(tree))
assert sum(siblings(path[-1].tree) == RIGHT for path in paths) >= 2

# %% [markdown]
# They say the same. `agree` has seen no image and no answer, only the gates and
# statistics. So here the gates know who needs the same filters, up to the
# depth at which it matters.
#
# ## What it costs
#
# A merged network is a start. It can be trained on, for a moment, all of it:
# filters, heads, and the norm layers of its groups. To know what that is worth,
# we need controls: the four passes trained on as long, one trunk for all, and
# the same tree with the tasks' names shuffled (the left digit's two
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

# %%
after = by_name["trained on"].mean()
assert after["four passes"] > after["tree by loss"] > after["one trunk"]
assert after["tree by loss"] > after["the same, swapped"]

# %% [markdown]
# At well under half the cost the trees keep most of what separates four passes
# from one trunk, as they are and trained on. The swapped tree, with the same
# shape and the same cost, keeps less. (That all networks gain by training on
# says that 150 steps are few; so they are compared among each other.)
#
# ## On rooms and faces
#
# `experiments/branches.py` did the same with TSσBN on the made rooms (three
# tasks, a SegNet) and the made faces (twelve attributes), at the sizes of
# chapters 6 and 8, with the matched multiplier of {doc}`13_knobs`, and three
# seeds. It takes a tree for each of several shares of the cost of all passes,
# in four ways: by **gates** and statistics (the smallest tolerance that is
# cheap enough), by the **loss** on validation images (the greedy path), and for
# control the tree of the loss with names **shuffled**, and all **together** up
# to some layer, each alone after it. No test image has a say in the choice. What
# is read here is the change of the test metrics against the passes as they were
# trained, mean over the tasks, in per cent (of faces, of the mean F1). Cost is
# relative to that of the passes, heads included, with what precedes the first
# norm layer computed once.

# %%
STUDY = {
    (benchmark, seed): records.read(f"branches/{benchmark}-{seed}.json")
    for benchmark in ("rooms", "faces")
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
            **point["change"],
        }
        for (benchmark, seed), record in STUDY.items()
        for point in record["points"]
    ]
)
STAGES = ["merged", "statistics", "tuned"]
what = ["benchmark", "share", "chooser"]
groups_of_points = points.groupby(what, sort=False, dropna=False)
mean = groups_of_points[["cost", *STAGES]].mean()
mean.round(2)

# %% mystnb={"image": {"alt": "Four panels: change of the test metrics in per cent over cost, for rooms on the left and faces on the right, with a dot for each seed. Above, trees chosen by the loss as merged, with statistics estimated anew, and tuned. On rooms all three stay near zero down to a cost of 0.7 and then fall, the tuned ones least. On faces they fall from the start. Below, tuned trees by loss, by gates, with names shuffled and all together: the lines are close to each other."}}
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
for column, benchmark in enumerate(("rooms", "faces")):
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
axes[0, 0].set_ylabel("change, % (trees by loss)")
axes[1, 0].set_ylabel("change, % (after tuning)")
for ax in axes[:, 0]:
    ax.legend(loc="lower right")
fig.suptitle(
    "At half the cost rooms lose two per cent, faces four to six (tuned)"
)
plt.show()

# %%
at = {key: row for key, row in mean.iterrows()}
rooms = {key[1:]: row for key, row in at.items() if key[0] == "rooms"}
faces = {key[1:]: row for key, row in at.items() if key[0] == "faces"}
for chooser in "random", "together":  # better than both controls at 3/4 ...
    assert rooms[0.75, "loss"].statistics > rooms[0.75, chooser].statistics
assert rooms[0.75, "loss"].statistics > -0.5
close = [rooms[0.5, c].tuned for c in ("loss", "gates", "random", "together")]
assert max(close) - min(close) < 1  # ... and like them at 1/2
assert min(close) > -2.5 and max(close) < -1
assert rooms[0.6, "gates"].tuned > -1 and rooms[0.6, "gates"].cost < 0.55
for chooser in "gates", "loss":
    assert -8 < faces[0.5, chooser].tuned < -3
    for control in "random", "together":
        chosen, other = faces[0.5, chooser], faces[0.5, control]
        assert chosen.statistics > other.statistics + 2
(passes,) = (row for key, row in at.items() if key[::2] == ("faces", "apart"))
assert 2 < passes.tuned < 4

# %% [markdown]
# (Above: trees by loss, in the three states. Below: all four ways to choose,
# tuned. The ends of all lines are the passes and one trunk. A dot is a seed; the
# grey band is the goal, up to one per cent below the passes.)
#
# **Rooms.** Three quarters of the cost are to be had for nothing: with their
# statistics estimated anew, the trees by loss lose less than half a per cent
# there, those of the controls more. Then it becomes steep. At half
# the cost a merged network is several per cent below the passes, and two epochs
# of training (the passes had eight) bring it to about two. Which tree it was
# is hardly seen any more: nearly everything is shared by all there, and
# the trees differ in a few layers near the end. The trees by gates for a cost
# of 0.6 turned out cheaper than asked, and are within one per cent at little
# more than half. One trunk, trained on, is far better than its averaged gates
# and worse than any tree.
#
# **Faces.** Here no part of the way is free. Their gates are further apart:

# %%
apart = {
    benchmark: np.mean(
        [
            list(STUDY[benchmark, seed]["differences"].values())
            for seed in SEEDS
        ],
        0,
    )
    for benchmark in ("rooms", "faces")
}
for benchmark, values in apart.items():
    print(f"{benchmark}: {values.min():.2f} to {values.max():.2f}")
assert apart["faces"].mean() > 1.5 * apart["rooms"].mean()

# %% [markdown]
# (Means over pairs of tasks, by {eq}`eq-apart`; the smallest and the largest
# layer.) At half the cost all trees lose several per cent of the mean F1. Before
# they are trained, those by gates and by loss are well ahead of the controls,
# so both have chosen something. The short training evens this out: shuffled
# names catch up with them. And it makes the passes themselves better by some
# three per cent, so that against passes that were trained on, too, the trees lose
# more than the figure shows.
#
# What if the rooms' trees train for longer, four epochs? One seed, the first:

# %%
long = records.read("branches/rooms-0-longer.json")["points"]
first = points[(points.benchmark == "rooms") & (points.seed == 0)]
more = pd.DataFrame(long).set_index("chooser")[["cost", "change"]]
two = first[first.share != 0.6].set_index("chooser").tuned.dropna()
more["2 epochs"] = two[more.index]
more = more.rename(columns={"change": "4 epochs"})
assert (more.loc[["gates", "loss"], "4 epochs"] > -1).all()
assert (more.loc[["gates", "loss"], "cost"] <= 0.5).all()
assert (more["4 epochs"] > more["2 epochs"]).all()
more.round(2)

# %% [markdown]
# Both trees are within one per cent then, at half the cost. It is one seed, and
# four epochs are half of the training that the passes had. The passes gain, too,
# if they get them (the row *apart*): against those the trees are two per cent
# behind, as after two epochs.
#
# Here are the trees by loss at half of the cost:

# %% mystnb={"image": {"alt": "Six trees, for three seeds of rooms and of faces. In the rooms all three tasks share most of the 26 norm layers and part near the end. In the faces twelve attributes begin in several groups at the first of nine norm layers."}}
fig, axes = plt.subplots(2, 3, figsize=(8, 5), height_ratios=(2, 3))
for row, benchmark in enumerate(("rooms", "faces")):
    for seed, ax in enumerate(axes[row]):
        record = STUDY[benchmark, seed]
        (half,) = (
            point
            for point in record["points"]
            if (point["chooser"], point["share"]) == ("loss", 0.5)
        )
        layers, short = record["layers"], record["tasks"]
        draw(ax, half["tree"], layers, short)
        ax.set_title(f"{benchmark}, seed {seed}", fontsize=10)
        ax.set_xticks([1, len(layers)])
    axes[1, 1].set_xlabel("norm layer")
plt.show()

# %% [markdown]
# The rooms' three tasks share the encoder and most of the decoder; in two seeds
# depth and segmentation stay together longest. In the faces the shadow of a
# beard and having no beard are in one group in all three seeds; most other groups
# differ from seed to seed. With gates as far apart as these, there are many
# trees that are as good as each other.
#
# ## What the clock says
#
# A tree computes a group's step in a call of its own. Stacked passes
# ({doc}`04_task_specific`) do the steps of all tasks in one. So half the
# arithmetic is half the time only where the calls are large enough. The record
# has the seconds of an inference of all tasks on one CPU core, every network
# once in a round, as ratios to stacked passes of the same round:

# %%
clock = pd.DataFrame(records.read("branches/time.json")["rows"])
clock["cost"] = clock["macs"].round(2)
table = clock.pivot_table(
    index=["benchmark", "network", "cost"],
    columns="images",
    values="ratio",
    sort=False,
)
table.columns = [f"time, {n} image{'s' * (n > 1)}" for n in table.columns]
for benchmark in "rooms", "faces":
    assert table.loc[benchmark, "loss 0.5"].iloc[0, 1] < 0.7
table.round(2)

# %% [markdown]
# With sixteen images the time follows the arithmetic, on rooms and on faces. With
# a single image the twelve passes of the faces are faster stacked than in a
# tree of half their cost: a dozen small calls take longer than a large one.
#
# ## Limits
#
# - Small networks, short training, three seeds. The rate of the short training
#   was chosen on validation images of the first seed, for each benchmark. The
#   miniatures' heads are a large part of the rooms' cost, and no tree saves any
#   of it.
# - The trees were chosen for networks that had been trained as passes, and then
#   adapted. A tree that is known beforehand can be trained as such from the
#   start; this was not tried.
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
# that one, too: how many MACs does it save, and what does it cost? Why does the
# greedy path never do it?
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
# It saves nothing: after the last norm layer there are only the heads, and they
# are one a task in any case. (The norm layer itself is not counted as MACs.) A
# move that saves nothing has no loss *for each MAC saved*; it is never made.
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
# `stem` one; `norm1`, `deep` and `side` two, {a} and {b, c}; `norm2`, `last` and
# `norm3` three. That the tree wants *a* and *c* together in `norm2` is in vain,
# they parted at `norm1`.
# :::
#
# :::{exercise}
# :label: ex-17-mixture
# Merge the first norm layer of `nets[0]` for all tasks, but give the merged
# layer the variance of a mixture: the mean of the variances plus the variance of
# the means. Does it matter? Try the last layer, too.
# :::
#
# :::{solution} ex-17-mixture
# :class: dropdown
#
# ```python
# for name in LAYERS[0], LAYERS[-1]:
#     layer = nets[0].trunk.get_submodule(name)
#     means, variances = (
#         layer._buffers[key] for key in ("running_mean", "running_var")
#     )
#     more = means.var(0, unbiased=False) / variances.mean(0)
#     print(name, more.max().item())
# ```
#
# In the first layer all tasks see the same activations, so their means are
# equal and there is nothing to add. In the last one it would be a few per cent
# of the variance of the channel in which it is most: here it hardly matters. In
# principle it would be too much, as the merged layer sees one stream and not a
# mixture of four.
# :::
#
# ## What we learned
#
# - Before training, a pass for each task computes the same thing for each. How
#   long passes stay one is a choice for each layer, and the rule of the common
#   refinement makes a network of it, with skips and residual sums right by
#   construction.
# - On tasks that are alike in pairs, gates find the pairs, without any data.
# - How much of the computation can be saved is a property of the tasks: look at
#   how far their gates are apart first.
# - Merged layers are a start. Statistics estimated anew and a short training
#   repair most, and where nearly everything is shared they matter more than
#   who shares what.

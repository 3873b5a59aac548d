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
    # %pip install -q "tssbn @ git+https://github.com/tssbn/tssbn"
    pass

# %% [markdown]
# # TSσBN in twenty minutes
#
# *Runs in a minute on one CPU core; no GPU, no download.*
#
# Several tasks can share all filters of a network if each has its own
# normalisation layers, with a gate between 0 and 1 for every channel. This
# page trains such a network, reads its gates and shuts some of them.

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots
from tssbn.claims import Bed
from tssbn.data.synthetic import digits

_ = torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Why share, and what it costs
#
# Two networks for two tasks need twice the filters. One network for both, hard
# parameter sharing (HPS), needs them once, but one task's gradient can undo
# what the other's has done. Most remedies add modules: experts, attention,
# units that mix. Task-specific normalisation adds none: every task makes its
# own pass through the same filters, and gates their channels.
#
# :::{image} images/experts.svg
# :alt: Ten ways to share a network among three tasks; the last, TSσBN, is one grey trunk with coloured gates, through which each task makes a pass.
# :class: only-light
# :::
# :::{image} images/experts-dark.svg
# :alt: The same ten ways, on a dark ground.
# :class: only-dark
# :::
#
# $$
# \mathrm{TS}\sigma\mathrm{BN}(x;\, \gamma_t) = \sigma(\gamma_t)\cdot\hat{x}_t,
# \qquad \sigma(\gamma) = \frac{1}{1 + e^{-\gamma}} .
# $$
#
# Here $\hat{x}_t$ is a channel, normalised over the pass of task $t$, and
# $\gamma_t$ is one learned number {cite:p}`suteu2025tssbn`.
#
# ## Two digits, one network
#
# A canvas shows two handwritten digits. Task `left` reads the even digit on
# the left, task `right` the odd one on the right. The test pairs, such as 4
# and 5, never occur in training.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five canvases with two handwritten digits each, an even one on the left and an odd one on the right."}}
TASKS = ("left", "right")
train = digits.pairs("train", root=None)
test = digits.pairs("test", per_pair=200, root=None)
plots.images(test["image"][::200], [""] * 5)
plt.show()


# %% [markdown]
# The trunk has two small convolutions that both tasks share; each task has a
# head. One line, `tssbn.task_specific`, gives the tasks normalisation layers
# of their own. It does the same for a ResNet or a ViT.


# %%
def conv(inputs, stride):
    layer = nn.Conv2d(inputs, 8, 3, stride, bias=False)
    return layer, nn.BatchNorm2d(8), nn.ReLU()


def make(norm):
    trunk = nn.Sequential(*conv(1, 2), *conv(8, 2))
    heads = {
        task: nn.Sequential(*conv(8, 1), nn.Flatten(), nn.Linear(32, 5))
        for task in TASKS
    }
    if norm != "shared":
        trunk = tssbn.task_specific(trunk, TASKS, norm=norm)
    return tssbn.MultiTask(trunk, heads)


# %% [markdown]
# Training is ordinary. Only the gates learn faster, at 100 times the rate:
# they start half open, at $\gamma = 0$, and have a long way to go.


# %%
def fit(norm, seed, lr=4e-3):
    torch.manual_seed(seed)
    net = make(norm)
    groups = net.parameters()
    if norm != "shared":
        groups = tssbn.param_groups(net, lr, multiplier=100)
    optimiser = torch.optim.Adam(groups, lr)
    for _ in range(300):
        i = torch.randint(len(train["image"]), (64,))
        outputs = net(train["image"][i])
        sum(F.cross_entropy(outputs[t], train[t][i]) for t in TASKS).backward()
        optimiser.step()
        optimiser.zero_grad()
    return net.eval()


@torch.no_grad()
def percent_right(net):
    """Of the test pairs, for each task."""
    outputs = net(test["image"]).items()
    right = [(y.argmax(1) == test[task]).float() for task, y in outputs]
    return torch.stack([100 * each.mean() for each in right])


METHODS = {"hps": "shared", "tsbn": "plain", "tssbn": "sigmoid"}
nets = {
    method: [fit(norm, seed) for seed in range(12)]
    for method, norm in METHODS.items()
}
scores = {
    method: [percent_right(net).mean().item() for net in runs]
    for method, runs in nets.items()
}

# %% [markdown]
# TSBN is the same network with the usual scale and bias in place of the gate.
# Before you look: which of the three reads most digits?

# %% tags=["hide-input"] mystnb={"image": {"alt": "A dot for each of twelve networks of HPS, TSBN and TSσBN, and their means, in per cent of right answers; a dotted line at 20 per cent, which is what an answer that ignores the image gets."}}
ax = plt.subplots(figsize=(6, 2))[1]
plots.dots(ax, scores, constant=20)
ax.set_xlabel("right answers on unseen pairs, %; bar: mean")
plt.show()

# %% tags=["nbval-ignore-output"]
for method, gain in Bed(scores).against("tssbn", "hps", "tsbn").items():
    print(f"TSσBN minus {method}: {gain} points")

# %% [markdown]
# The intervals are 95 %. Where one holds 0, twelve networks do not settle it.
# Chapter {doc}`04_task_specific` compares more ways,
# and the page {doc}`claims` has the same question for every data set.
#
# ## Read the gates
#
# A gate says how much of a filter a task lets through. This is one network: a
# row for each task, a column for each of the 16 filters.

# %% mystnb={"image": {"alt": "Heat map of two rows and sixteen columns: a few filters are open for one task and shut for the other."}}
net = nets["tssbn"][0]
plots.importance(net, plt.subplots(figsize=(7, 1.4))[1])
plt.show()

# %% [markdown]
# The mean of a row is the capacity that a task uses; a column that is bright
# in one row alone is a filter of that task.
#
# ## Shut some of them
#
# Take the four filters in which `left` has the largest share, and shut their
# gates, for both tasks. Which task loses more? Then do it with those of
# `right`.


# %%
def loss_without(net, task):
    gates = tssbn.gates.importance(net).values
    shares = gates / gates.sum(0)
    chosen = shares[TASKS.index(task)].topk(4).indices
    filters = torch.zeros(16, dtype=torch.bool)
    filters[chosen] = True
    before = percent_right(net)
    with tssbn.gates.ablated(net, filters):
        return before - percent_right(net)


# %% tags=["nbval-ignore-output"]
for task in TASKS:
    losses = torch.stack([loss_without(net, task) for net in nets["tssbn"]])
    of_left, of_right = losses.mean(0)
    print(
        f"without four filters of {task}: "
        f"left -{of_left:.0f} points, right -{of_right:.0f}"
    )

# %% [markdown]
# ## What it costs

# %%
one, two = (
    sum(p.numel() for p in make(norm).trunk.parameters())
    for norm in ("shared", "sigmoid")
)
print(f"parameters of the trunk: {one} shared, {two} with gates for two tasks")

# %% [markdown]
# Two gates take the place of a scale and a bias, so with two tasks nothing is
# added; a further task adds one number a filter. The price is time: each task
# makes a pass. {doc}`15_cost` says how to make it small.
#
# ## Where to go
#
# - **Learn**: {doc}`01_sigmoid_bn`, {doc}`03_tasks_fight` and
#   {doc}`04_task_specific` build the method from the first line.
# - **Audit**: {doc}`claims` has each claim of the paper and what our runs say.
# - **Build**: {doc}`your_own_data` begins with a folder of images,
#   {doc}`16_export` ends with one plain network a task.

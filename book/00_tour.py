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
# *Five minutes to read; runs in a minute on one CPU core, no download.*
#
# We train a network whose tasks share all filters. Each task has its own
# normalisation layers, with a gate between 0 and 1 for every channel.

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots
from tssbn.claims import Bed
from tssbn.data.synthetic import digits

torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Why share, and what it costs
#
# Two networks for two tasks need twice the filters. One network for both, hard
# parameter sharing (HPS), needs them once, but one task's gradient can undo
# what the other's has done. With task-specific normalisation every task makes
# its own pass through the same filters and gates their channels.
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
# \mathrm{TS}\sigma\mathrm{BN}(x; \gamma_t)
# = {\color{#0072B2}{\sigma(\gamma_t)}}\,\hat{x}_t, \qquad \sigma(\gamma) = \frac{1}{1 + e^{-\gamma}} .
# $$
#
# Here $\hat{x}_t$ is a channel, normalised over the pass of task $t$, and
# $\gamma_t$ is one learned number {cite:p}`suteu2025tssbn`.
#
# ## Two digits, one network
#
# Task `left` reads the even digit on the left, task `right` the odd one on the
# right. The test pairs, such as 4 and 5, never occur in training.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five canvases with two handwritten digits each, an even one on the left and an odd one on the right."}}
TASKS = ("left", "right")
train = digits.pairs("train", root=None)
test = digits.pairs("test", per_pair=200, root=None)
plots.images(test["image"][::200], [""] * 5)
plt.show()

# %% [markdown]
# The tasks share a trunk of two convolutions, and each has a head. One line,
# `tssbn.task_specific`, gives each task its own normalisation layers. It does
# the same for a ResNet or a ViT. The gates learn 100 times faster.

# %%
def conv(inputs, stride):
    layer = nn.Conv2d(inputs, 8, 3, stride, bias=False)
    return layer, nn.BatchNorm2d(8), nn.ReLU()

def make(norm):
    trunk = nn.Sequential(*conv(1, 2), *conv(8, 2))
    heads = {}
    for t in TASKS:
        heads[t] = nn.Sequential(*conv(8, 1), nn.Flatten(), nn.Linear(32, 5))
    if norm:
        trunk = tssbn.task_specific(trunk, TASKS, norm=norm)
    return tssbn.MultiTask(trunk, heads)

# %%
def fit(norm, seed, lr=4e-3):
    torch.manual_seed(seed)
    net = make(norm)
    groups = tssbn.param_groups(net, lr, 100) if norm else net.parameters()
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
    right = [y.argmax(1) == test[t] for t, y in net(test["image"]).items()]
    return torch.stack([100 * each.float().mean() for each in right])

# %% [markdown]
# TSBN has the usual scale and bias in place of the gate. *Before you look:
# which of the three reads most digits?* An interval with 0 decides nothing.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "A dot for each of twelve networks of HPS, TSBN and TSσBN, and their means, in per cent of right answers; a dotted line at 20 per cent, which is what an answer that ignores the image gets."}}
METHODS = {"hps": None, "tsbn": "plain", "tssbn": "sigmoid"}
nets = {m: [fit(n, seed) for seed in range(12)] for m, n in METHODS.items()}
scores = {m: [percent_right(n).mean().item() for n in nets[m]] for m in nets}
ax = plt.subplots(figsize=(6, 2))[1]
plots.dots(ax, scores, constant=20)
ax.set_xlabel("right answers on unseen pairs, %; bar: mean")
plt.show()
for method, gain in Bed(scores).against("tssbn", "hps", "tsbn").items():
    print(f"TSσBN minus {method}: {gain} points [95 % interval]")

# %% [markdown]
# ## Read the gates
#
# These are the gates of one network. The mean of a row is the capacity that a
# task uses. A column that is bright in one row alone is a filter of that task.

# %% mystnb={"image": {"alt": "Heat map of two rows and sixteen columns: a few filters are open for one task and shut for the other."}}
plots.importance(nets["tssbn"][0], plt.subplots(figsize=(7, 1.4))[1])
plt.show()

# %% [markdown]
# ## Shut some of them
#
# Take the four filters in which `left` has the largest share. Shut their gates
# for both tasks. Then do so for `right`. Which task loses more points?

# %% tags=["nbval-ignore-output"]
def loss_without(net, task):
    gates = tssbn.gates.importance(net).values
    chosen = (gates / gates.sum(0))[TASKS.index(task)].topk(4).indices
    filters = torch.zeros(16, dtype=torch.bool).index_fill(0, chosen, True)
    before = percent_right(net)
    with tssbn.gates.ablated(net, filters):
        return before - percent_right(net)

for task in TASKS:
    left, right = sum(loss_without(n, task) for n in nets["tssbn"]) / 12
    print(f"without filters of {task}: left -{left:.0f}, right -{right:.0f}")

# %% [markdown]
# ## What it costs, and where to go
#
# Two gates take the place of a scale and a bias, so the trunk is as large as
# in HPS. A further task adds one number a filter, and a pass ({doc}`15_cost`).
#
# - **Learn** the method from its first line: {doc}`01_sigmoid_bn` and on.
# - **Audit** each claim of the paper with our runs: {doc}`claims`.
# - **Build** on your images: {doc}`your_own_data`; and ship: {doc}`16_export`.

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
# *Five minutes to read; runs in a minute on one CPU core, no download. The other
# minutes are yours: change a number and run it again.*
#
# We train a network whose tasks share all filters. Each task has its own
# normalisation layers, with a gate between 0 and 1 for every channel. Then we
# read the gates and shut some of them.

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
# Two networks for two tasks (single-task learning, STL) need twice the filters.
# One network for both needs them once. This is hard parameter sharing (HPS). But
# a step that helps one task can harm the other. With task-specific normalisation
# each task multiplies the channels of the same filters by its own gates. Behind
# the first gates the activations of the tasks differ, so each task runs the rest
# of the network in its own pass. This is TSσBN, the last panel of the drawing.
# MMoE mixes several networks; {doc}`18_experts` explains it, and six others.
# :::{image} images/ways.svg
# :alt: Four ways to share a network among three tasks. STL has a trunk for each task, HPS one for all, MMoE mixes two. TSσBN is one grey trunk with coloured gates, through which each task makes a pass.
# :class: only-light
# :::
# :::{image} images/ways-dark.svg
# :alt: The same four ways, on a dark ground.
# :class: only-dark
# :::
#
# $$
# \mathrm{TS}\sigma\mathrm{BN}(x; \gamma_t)
# = {\color{#0072B2}{\sigma(\gamma_t)}}\,\hat{x}_t, \qquad \sigma(\gamma) = \frac{1}{1 + e^{-\gamma}} .
# $$
#
# Here $\hat{x}_t$ is a channel, normalised to mean 0 and variance 1 over the
# pass of task $t$, and $\gamma_t$ is one learned number for this channel and
# task {cite:p}`suteu2025tssbn`. A gate $\sigma(\gamma_t)$ near 0 removes the
# channel for this task alone, and a gate near 1 passes it on.
#
# ## Two digits, one network
#
# Task `left` reads the even digit on the left, task `right` the odd one on the
# right. The test pairs, such as 4 and 5, never occur in training.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five canvases with two handwritten digits each, an even one on the left and an odd one on the right."}}
TASKS = ("left", "right")
train = digits.pairs("train", root=None)
test = digits.pairs("test", per_pair=100, root=None)
plots.images(test["image"][3:8], [""] * 5)
plt.show()

# %% [markdown]
# The tasks share a trunk of two convolutions, and each has a head. One line,
# `tssbn.task_specific`, gives each task its own normalisation layers. It does
# the same for a ResNet or a ViT. The gates learn 100 times faster than the
# filters; otherwise they would hardly leave their start ({doc}`01_sigmoid_bn`).
# The paper takes this factor with a base rate of 0.0001. Ours is 0.004, in a short
# training; {doc}`13_knobs` tells how to choose the factor.

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
    optimiser = torch.optim.Adam(groups, lr, fused=True)
    for _ in range(300):
        i = torch.randint(len(train["image"]), (48,))
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
# We compare HPS, TSσBN and TSBN, which has the usual scale and bias in place
# of the gate. *Before you look: which of the three reads most digits?* A 95 %
# interval that contains 0 leaves open which method is better.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "A dot for each of six networks of HPS, TSBN and TSσBN, and their means, in per cent of right answers; a dotted line at 20 per cent, which is what an answer that ignores the image gets."}}
METHODS = {"hps": None, "tsbn": "plain", "tssbn": "sigmoid"}
nets = {m: [fit(n, seed) for seed in range(6)] for m, n in METHODS.items()}
scores = {m: [percent_right(n).mean().item() for n in nets[m]] for m in nets}
ax = plt.subplots(figsize=(6, 2))[1]
plots.dots(ax, scores, constant=20)
ax.set_xlabel("right answers on unseen pairs, %; bar: mean")
plt.show()
for method, gain in Bed(scores).against("tssbn", "hps", "tsbn").items():
    print(f"TSσBN minus {method}: {gain} points [95 % interval]")

# %% [markdown]
# The means differ by a few points, and the intervals reach about as far to each
# side. On this problem six networks hardly decide which method is best.
#
# ## Read the gates
#
# These are the gates of one network, 8 in each of its two normalisation layers
# (`trunk.1` and `trunk.4`). A row is a task, a column is a filter. The mean of
# a row is called the capacity that the task uses. A column that is bright in
# one row alone is a filter of that task. The paper calls a gate an importance.

# %% mystnb={"image": {"alt": "Heat map of two rows and sixteen columns: a few filters are open for one task and shut for the other."}}
plots.importance(nets["tssbn"][0], plt.subplots(figsize=(7, 1.4))[1])
plt.show()

# %% [markdown]
# ## Shut some of them
#
# The share of `left` in a filter is its gate divided by the sum of both gates.
# We take the four filters with the largest share of `left` and shut them for
# both tasks. Then we do the same for `right`. Which task loses more points?

# %% tags=["nbval-ignore-output"]
def loss_without(net, task):
    gates = tssbn.gates.importance(net).values
    chosen = (gates / gates.sum(0))[TASKS.index(task)].topk(4).indices
    filters = torch.zeros(16, dtype=torch.bool).index_fill(0, chosen, True)
    before = percent_right(net)
    with tssbn.gates.ablated(net, filters):
        return before - percent_right(net)

for task in TASKS:
    left, right = sum(loss_without(n, task) for n in nets["tssbn"]) / 6
    print(f"without filters of {task}: left -{left:.0f}, right -{right:.0f}")

# %% [markdown]
# Each task loses most without its own filters. {doc}`12_filters` puts random
# filters beside them.
#
# ## What it costs, and where to go
#
# Two gates take the place of a scale and a bias, so with two tasks the trunk is
# as large as in HPS. A further task adds one number for each filter. The main
# cost is time, because each task makes its own pass ({doc}`15_cost`).
#
# - **Learn** the method from its first line: {doc}`01_sigmoid_bn` and on.
# - **Audit** each claim of the paper with our runs: {doc}`claims`.
# - **Build** on your images: {doc}`your_own_data`; and ship: {doc}`16_export`.

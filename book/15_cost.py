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
# # What does it cost?

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.cost import macs
from tssbn.plots import cost as cost_plots
from tssbn.timing.networks import NETWORKS
from tssbn.timing.record import time_ratio
from tssbn.timing.rounds import time_relative
from tssbn.timing.estimate import count_step
from tssbn.timing.strategies import Setting, TimedStep, make_network

torch.set_num_threads(1)
plots.style()
saved = records.load("bench/cpu")["networks"]
steps = 10 * time_ratio(saved["resnet18"]["10"], "stem", 10).median
Markdown(
    ":::{admonition} The claim\n"
    "On two CPU cores, ten tasks in one stacked pass of a ResNet-18 take the "
    f"time of {steps:.1f} plain steps, not ten, and chunks of tasks bound the "
    "memory.\n:::"
)

# %% [markdown]
# *Nine minutes to read; runs in a minute on one CPU core, no download.*
#
# {term}`TSσBN` makes a {term}`pass` through the {term}`trunk` for each of $T$
# tasks, which is $T$ times the arithmetic. How much time and memory that takes
# depends on how the passes are run.
# :::{image} images/stacking.svg
# :alt: Memory over time for four tasks. Separate passes are four low triangles in a row. Stacked is one high triangle that ends earlier. In chunks of two there are two triangles of half that height.
# :class: only-light
# :::
# :::{image} images/stacking-dark.svg
# :alt: The same drawing, on a dark ground.
# :class: only-dark
# :::
# Memory grows in a forward pass, which keeps its activations, and falls in the
# backward pass, which uses them.
#
# ## Ten tasks on a ResNet-18
#
# We time a training step, forward and backward, on two images of 32x32: of the
# plain ResNet-18 {cite:p}`he2016resnet`, of ten separate passes, and of ten
# tasks stacked.

# %%
T, SIZE = 10, (2, 3, 32, 32)
trunk = NETWORKS["resnet18"].build


def build(way, recomputed=()):
    net = make_network(way, trunk(SIZE[2:]), T, stem="layer1")
    if recomputed:
        tssbn.recompute(net.trunk, recomputed)
    return net


def time(ways):
    images = torch.rand(SIZE)
    nets = {way: build(*how) for way, how in ways.items()}
    steps = {way: TimedStep(nets[way], images, Setting()) for way in ways}
    return time_relative(steps, 4)  # to the first


# %% tags=["nbval-ignore-output"]
ways = {"plain": ["plain"], "separate": ["sequential"], "stacked": ["stacked"]}
pd.DataFrame(time(ways), ["time"]).round(1)

# %% [markdown]
# Times are relative to the plain step. The last figure times separate passes
# again, and the difference shows how exact one measurement is. The stacked pass
# takes less time for as much work. Why, and why can tasks share a batch?
#
# ## One batch for all tasks
#
# A convolution and a ReLU treat every row of a batch alike. Only a
# normalisation layer depends on the task. So we repeat each image $T$ times:
# row $bT + t$ is image $b$ as task $t$ sees it. Of $C$ channels and $P$ pixels,
# the value of channel $c$ at pixel $p$ in that row has this place in memory:
#
# $$
# \bigl((b T + t)\, C + c\bigr) P + p
# = \bigl(b\, (T C) + (t C + c)\bigr) P + p .
# $$ (eq-cost-address)
#
# The right side is the place of channel $tC + c$ of row $b$ in a batch of $B$
# rows with $TC$ channels. So the memory of $(BT, C, H, W)$ *is* that of
# $(B, TC, H, W)$. Every task has channels of its own, and nothing is copied.

# %% tags=["hide-input"] mystnb={"image": {"alt": "The same strip of memory read in two ways. Left, six rows, two images times three tasks, with four channels each, coloured by task. Right, two rows, one for each image, with twelve channels: four of task 0, four of task 1, four of task 2."}}
cost_plots.in_memory()
plt.show()

# %% [markdown]
# Batch normalisation treats channels separately. So one ordinary call with $TC$
# channels serves all tasks. Its scales are the gates
# $\color{#D55E00}{\sigma(\gamma_t)}$ of all tasks, end to end.


# %%
def separate(x, filters, gates):  # gates: (T, C) for each layer
    outputs = []
    for t in range(len(gates[0])):
        y = x
        for w, gate in zip(filters, gates, strict=True):
            y = F.conv2d(y, w, padding=1)
            y = F.batch_norm(y, None, None, gate[t], training=True).relu()
        outputs.append(y)
    return torch.stack(outputs, 1)  # (B, T, C, H, W)


def stacked(x, filters, gates):
    y = x.repeat_interleave(len(gates[0]), 0)  # rows b·T + t
    for w, gate in zip(filters, gates, strict=True):
        y = F.conv2d(y, w, padding=1)  # (B·T, C, H, W)
        y = y.view(len(x), gate.numel(), *y.shape[2:])  # (B, T·C, H, W)
        y = F.batch_norm(y, None, None, gate.flatten(), training=True).relu()
        y = y.view(-1, gate.shape[1], *y.shape[2:])
    return y.unflatten(0, (len(x), -1))


# %% [markdown]
# (cost-intensity)=
# ## Why one batch is faster
#
# A convolution of $C$ to $C'$ channels with $k \times k$ filters gives $P$
# pixels for each of $n$ rows. It reads its input and its filters and writes
# its output. Its **arithmetic intensity** is the number of multiplications,
# {term}`MACs`, for each byte moved:
#
# $$
# I(n) = \frac{n P\, C C' k^2}{4\,\bigl(n P\, (C + C') + C C' k^2\bigr)} .
# $$ (eq-cost-intensity)
#
# A machine that can do $R$ MACs and move $M$ bytes a second waits for its memory
# while $I < R/M$ {cite:p}`williams2009roofline`. Separate passes have $n = B$
# and read the filters $T$ times. The stacked pass has $n = BT$ and reads once.


# %%
def intensity(n, inputs, outputs, k, pixels):
    """Of n rows, for an input of as many pixels as the output."""
    work = n * pixels * inputs * outputs * k**2
    moved = n * pixels * (inputs + outputs) + inputs * outputs * k**2
    return work / (4 * moved)


first, last = (3, 64, 7, 16 * 16), (512, 512, 3, 1)  # of our ResNet-18
for name, layer in {"first": first, "last": last}.items():
    gain = intensity(20, *layer) / intensity(2, *layer)
    print(f"ten tasks, {name} layer: intensity x{gain:.1f}")

# %% [markdown]
# The last layer has 2.4 million weights for one pixel and gains a factor near
# ten. The first has few filters and many pixels, and gains little.
#
# `python -m tssbn bench` saved times on two cores of a CPU. A *rate* is MACs over
# time; the *peak rate* is that of a product of two large matrices. Before you
# look: will networks near the peak gain more from stacking, or those below it?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, time of a stacked step relative to T plain steps over the number of tasks, a line for each of seven networks. ResNets and transformers fall to about a half; SegNet and CelebA's network stay near one. Right, the same ratio over the rate of a plain step: networks at a fifth to two fifths of the peak gain most, those at two thirds gain little."}}
cost_plots.stacked(saved)
plt.show()

# %% [markdown]
# On the right each dot is a network at its largest $T$. The four networks below
# half of the peak rate take half to two thirds of $T$ plain steps. The three
# above it take about $T$ plain steps, stacked or not.
#
# (cost-stem)=
# ## The stem runs once
#
# In front of the first gates all tasks see the same activations. In training
# even $\hat x$ of the first normalisation layer is common, since all tasks
# share its batch. A positive gate may act after a ReLU or a max pooling:
#
# $$
# \max(0, \color{#D55E00}{\sigma(\gamma_t)}\, \hat x)
# = \color{#D55E00}{\sigma(\gamma_t)} \max(0, \hat x) .
# $$ (eq-cost-commute)
#
# So the first convolution, its normalisation, ReLU and pooling need to run
# once, not $T$ times. This part is the {term}`stem`. Its end is declared with
# `MultiTask(trunk, heads, stem="layer1")`; `find_stem` proposes it.

# %%
net = build("stem")
assert tssbn.find_stem(net.trunk) == net.stem == "layer1"
net.check(torch.rand(2, 3, 64, 64))  # equal to separate passes, or an error
work = [macs(each, torch.rand(SIZE)) for each in (net, build("stacked"))]
print(f"the stem saves {1 - work[0] / work[1]:.0%} of the MACs of ten tasks")

# %% [markdown]
# ## Memory need not grow
#
# Stacked, the activations of all tasks live at once. Gradients add up, so a
# backward pass after each group $K$ of tasks gives the same sum:
#
# $$
# \nabla \sum_{t=1}^{T} L_t
# = \sum_{\text{groups } K} \nabla \sum_{t \in K} L_t .
# $$ (eq-cost-groups)
#
# `tasks_per_pass=5` makes groups, or **chunks**, of five, and `net.passes()`
# gives their names. `tssbn.recompute` bounds memory inside a pass: the parts
# that are named keep their inputs only, and run again for the backward pass.

# %% tags=["hide-cell"]
_ = torch.manual_seed(0)
TASKS, layers = ("a", "b", "c"), []
for i in 3, 6:
    layers += [nn.Conv2d(i, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()]
layers = tssbn.task_specific(nn.Sequential(*layers).double(), TASKS)
_ = [nn.init.normal_(layers[place].gamma) for place in (1, 4)]
small = tssbn.MultiTask(layers, {task: nn.Identity() for task in TASKS})
x = torch.randn(4, 3, 8, 8).double()
expected = torch.stack([*small(x).values()], 1)
filters = [layers[0].weight, layers[3].weight]
gates = [layers[place].gamma.sigmoid() for place in (1, 4)]
for run in separate, stacked:
    assert torch.allclose(run(x, filters, gates), expected, atol=1e-9)
found = []
for size, recomputed in ((None, []), (2, []), (3, ["0", "3"])):
    small.tasks_per_pass, _ = size, tssbn.recompute(layers, recomputed)
    small.zero_grad()
    for names in small.passes():
        sum((y**3).sum() for y in small(x, names).values()).backward()
    found.append(torch.cat([p.grad.flatten() for p in small.parameters()]))
assert all(torch.allclose(found[0], grad, atol=1e-8) for grad in found)

# %% [markdown]
# The hidden cell checks in float64 that both functions above give the outputs
# of the package, and chunks and recomputation the same gradients. We time each
# way and count what it keeps at most for the backward pass. Before you look:
# which way is both fast and small?

# %%
BLOCKS = [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
WAYS = {
    "separate": ["sequential"],
    "2 a pass": ["chunks:2"],
    "5 a pass": ["chunks:5"],
    "stacked, with a stem": ["stem"],
    "stacked": ["stacked"],
    "with a stem, recomputed": ["stem", BLOCKS],
}


def kept(*way):
    with torch.device("meta"):
        return count_step(build(*way), torch.empty(SIZE)).kept


memory = {way: kept(*how) for way, how in WAYS.items()}
largest = memory["stacked, with a stem"] - kept("stem", BLOCKS[:1])
memory["with a stem, recomputed"] += largest
times = time({"plain": ["plain"], **WAYS})

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Memory over time for six ways to run ten tasks. Separate passes keep least and take longest. One stacked pass takes least time and keeps ten times as much, seven times with a stem. Passes of two and five tasks lie between. A stacked pass with recomputed blocks keeps three times as much and takes little longer."}}
one = memory["separate"]
cost_plots.prices({way: (times[way], memory[way] / one) for way in WAYS})
plt.show()

# %% [markdown]
# Recomputation costs at most a third of a step. Here stacking saves more. The
# table has the peak memory of saved steps of larger networks, over that of one
# task. It includes gradients, and memory that the allocator keeps.

# %%
rows = {}
for name, cells in saved.items():
    tasks, cell = max(cells.items(), key=lambda item: int(item[0]))
    peak = cell["memory"]
    peak.setdefault("chunks:5", peak["stem"])  # with five tasks these are all
    row = [peak[way] / peak["one"] for way in ("stem", "chunks:5", "chunks:1")]
    rows[f"{cost_plots.TITLES[name]}, T = {tasks}"] = row
pd.DataFrame(rows, ["all in a pass", "5 a pass", "1 a pass"]).T.round(1)

# %% [markdown]
# With one task a pass, the peak is up to half above that of one task alone,
# because gradients of the weights stay. It does not grow from 2 to 10 tasks.
#
# ## Beside other methods
#
# The paper's tables count MACs of an image, #F, relative to {term}`HPS`
# {cite:p}`suteu2025tssbn`. With $E$ in the trunk and $D$ in each {term}`head`
# that is $(T E + T D) / (E + T D)$: 1.69 for three tasks of NYUv2 and 1.44 for
# two of Cityscapes, where heads are as heavy as the trunk ({doc}`18_experts`).
# Without heads, saved steps of three tasks on DeepLab's ResNet-50 take 2.7
# plain steps with TSσBN, 2.8 with MTAN {cite:p}`liu2019mtan` and 3.1 with
# Cross-Stitch {cite:p}`misra2016crossstitch`.
#
# ## What to do with it
#
# - **Memory is enough:** all tasks in a pass, with a declared stem.
# - **Memory is short:** `tasks_per_pass=5`, or `recompute` the blocks.
# - **A CPU and tensors above some 32 MiB:** fewer tasks a pass, as Linux takes
#   time to hand out such tensors. CelebA's network with 40 tasks is a sixth
#   faster with five tasks a pass than with all.
# - **Fewer passes later:** `net(x, ("depth",))` makes one. {doc}`16_export`
#   makes it a plain network, {doc}`17_branches` merges passes.
#
# ## Limits
#
# - All times are of one CPU; `python -m tssbn bench --device cuda` measures a
#   GPU. A step leaves out loading of data, heads, the optimiser and scoring.
# - The intensity gives a reason, not an amount. It leaves out caches, the cost
#   of a call, and slow products of small matrices.
# - In evaluation tasks have their own running statistics and part at the first
#   normalisation layer. Sums with a stem agree up to rounding.
# - LibMTL's MTAN and Cross-Stitch {cite:p}`lin2022libmtl` are as fast as ours.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-15-layout
# With `torch.channels_last` the number in row $r$, channel $c$, pixel $p$ lies
# at $(rP + p)\,C + c$. Is this memory also that of $B$ rows of $TC$ channels?
# :::

# %%
y = torch.rand(6, 4, 8, 8).to(memory_format=torch.channels_last)
# your turn: read y, three tasks of two images, as (2, 12, 8, 8)

# %% [markdown]
# :::{solution-start} ex-15-layout
# :class: dropdown
# :::

# %%
assert y.reshape(2, 12, 8, 8).data_ptr() != y.data_ptr()  # a copy

# %% [markdown]
# No: channels of a task are neighbours, those of two tasks are not. No single
# stride reaches all of them, so the layers copy.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-15-batch
# What does stacking ten tasks gain on the last layer with 16 or 256 images in
# a batch instead of 2? When is stacking worth little?
# :::

# %%
print(f"{intensity(20, *last) / intensity(2, *last):.1f}")
# your turn: the same for 16 and 256 images

# %% [markdown]
# :::{solution-start} ex-15-batch
# :class: dropdown
# :::

# %%
gains = [intensity(10 * n, *last) / intensity(n, *last) for n in (2, 16, 256)]
assert gains[0] > 9.8 and 9 < gains[1] < 9.8 and gains[2] < 6

# %% [markdown]
# With 256 images the gain is halved: a large batch gives each filter enough to
# do. So does a layer with many pixels.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - $T$ tasks are $T$ times the arithmetic. Stacked, they take less time where
#   a plain step does not keep the machine busy.
# - One batch norm over $TC$ channels serves $T$ tasks, without a copy.
# - Chunks and recomputation bound the memory, with the same gradients.

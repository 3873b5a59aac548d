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
#
# :::{admonition} The claim
# Many tasks at the price of fewer. $T$ tasks in one stacked pass do the
# arithmetic of $T$ steps of the plain backbone. They take less time where its
# convolutions are too small to keep the machine busy, and as much where they
# do. Memory need not grow with $T$. What stays is the arithmetic, and with it
# $T$ passes when all tasks are wanted of a trained network.
# :::
#
# *Runs in well under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
from collections import Counter
from itertools import cycle
from statistics import median

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.timing.networks import NETWORKS
from tssbn.timing.record import fraction_of_peak, time_ratio
from tssbn.timing.strategies import Setting, TimedStep, make_network
from tssbn.timing.rounds import time_rounds
from tssbn.networks.celeba import CelebANet
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet
from tssbn.cost import macs, parameters

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Ten times the work
#
# A {term}`TSσBN` network makes a pass through the {term}`trunk` for each task.
# That is the method's one real cost, and no trick takes it away: with ten tasks
# there are ten times as many multiplications to do. Here is a ResNet-18
# {cite:p}`he2016resnet` on two images of 32x32, and three ways to make a
# training step, forward and backward:
#
# - **plain**: the backbone as it is, one pass;
# - **sequential**: ten passes, one after another, each with its backward pass;
# - **stacked**: one pass of ten times the rows, as in chapter 4.
#
# We count the {term}`MACs` and take the time. Everything else that runs on the
# machine disturbs a measured time, so we *interleave*: each round makes every
# step once, and the ratio is taken within the round. What is reported is the
# median over rounds.

# %% tags=["nbval-ignore-output"]
T = 10
images = torch.rand(2, 3, 32, 32)
resnet = NETWORKS["resnet18"]
steps = {
    way: TimedStep(
        make_network(way, resnet.build((32, 32)), T), images, Setting()
    )
    for way in ("plain", "sequential", "stacked")
}
timed = list(time_rounds(steps, 4))
work = {way: step.macs() for way, step in steps.items()}
pd.DataFrame(
    {
        "MACs, of plain": {way: work[way] / work["plain"] for way in steps},
        "time, of plain": {
            way: median(now[way] / now["plain"] for now in timed)
            for way in steps
        },
    }
).round(1)

# %%
assert work["stacked"] == work["sequential"] == T * work["plain"]
print("stacked = sequential = 10 plain steps, counted in MACs")

# %% [markdown]
# The same arithmetic, to the last multiplication. Ten passes cost about ten
# passes. Stacked they cost a fraction of that. So MACs are a poor guess of
# time: on two small images a ResNet-18 mostly waits, for its filters to come
# out of memory, and for one small operation after another to be set up.
# Whoever has a machine that waits can have tasks for less.
#
# The questions of this chapter: when is that so, how much is it, and what does
# it need in memory?
#
# ## What the paper counts
#
# The paper reports two sizes of a network, relative to {term}`HPS`:
# parameters, #P, and MACs for one image, #F, heads included
# {cite:p}`suteu2025tssbn`. Write $E$ for the MACs of the trunk and $D$ for those
# of a head. Then
#
# $$
# \#F = \frac{T E + T D}{E + T D} ,
# $$ (eq-cost-macs)
#
# since HPS needs its trunk once, and everybody needs all heads. Both are counted
# by the package, on shapes alone:


# %%
def built(classes, own):
    """A ResNet-50 with a DeepLab head for each task, without numbers."""
    with torch.device("meta"):
        trunk = dilated_resnet()
        heads = {task: DeepLabHead(n) for task, n in classes.items()}
        if own:
            trunk = tssbn.task_specific(trunk, heads)
        return tssbn.MultiTask(trunk, heads)


SIZES = {
    "NYUv2": ({"seg": 13, "depth": 1, "normal": 3}, (288, 384)),
    "Cityscapes": ({"seg": 7, "depth": 1}, (128, 256)),
}
PAPER = {"NYUv2": (1.00, 1.69), "Cityscapes": (1.00, 1.44)}
rows = {}
for name, (classes, size) in SIZES.items():
    image = torch.empty(1, 3, *size, device="meta")
    hps, ours = built(classes, own=False), built(classes, own=True)
    rows[name] = {
        "tasks": len(classes),
        "#P": parameters(ours) / parameters(hps),
        "#P, paper": PAPER[name][0],
        "#F": macs(ours, image) / macs(hps, image),
        "#F, paper": PAPER[name][1],
    }
counted = pd.DataFrame(rows).T
for measure in "#P", "#F":
    assert (counted[measure] - counted[f"{measure}, paper"]).abs().max() < 0.01
counted.round(3)

# %% [markdown]
# The parameters are for nothing; three tasks cost not quite 1.7 times the MACs,
# for the heads of HPS are as heavy as its trunk. (The paper prints two digits,
# and how it rounds we cannot know.) In what follows heads are left out, so that
# the ratio of MACs is $T$: that is the hard case.
#
# ## One call for all tasks, once more
#
# Why is stacking possible at all? A convolution and a ReLU treat every row of
# a batch alike and do not care whose it is. Only the norm layer must know. Rows
# are stacked **image by image**: row $bT + t$ is image $b$ as task $t$ sees it.
# The number in row $bT + t$, channel $c$, pixel $p$ of $P$ lies in memory at
#
# $$
# \bigl((b T + t)\, C + c\bigr) P + p
# = \bigl(b\, (T C) + (t C + c)\bigr) P + p ,
# $$ (eq-cost-address)
#
# and the right side is where a tensor of $B$ rows and $T C$ channels has the
# number in row $b$, channel $tC + c$. So $(B T, C, H, W)$ *is*
# $(B, T C, H, W)$, without moving a byte, and one ordinary batch norm over $TC$
# channels, with the gates of all tasks end to end, serves everybody. Chapter 4
# showed it for a layer. Here is a network from scratch, two layers of it, both
# ways:

# %%
T, B, C, SIDE = 3, 4, 6, 8
x = torch.randn(B, 3, SIDE, SIDE, dtype=torch.float64)
weights = torch.randn(B, T, C, SIDE, SIDE, dtype=torch.float64)  # of a loss


def start():
    """Filters, gates, and running means and variances, of two layers."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        values = torch.randn(shape, dtype=torch.float64, generator=generator)
        return values.requires_grad_()

    filters = [normal(C, 3, 3, 3), normal(C, C, 3, 3)]
    gammas = [normal(T, C), normal(T, C)]
    zeros, ones = torch.zeros(T, C).double(), torch.ones(T, C).double()
    statistics = [(zeros.clone(), ones.clone()) for _ in range(2)]
    return filters, gammas, statistics


def separate(filters, gammas, statistics):
    """T passes -> (B, T, C, H, W)."""
    outputs = []
    for t in range(T):
        y = x
        for w, gamma, (mean, var) in zip(
            filters, gammas, statistics, strict=True
        ):
            y = F.conv2d(y, w, padding=1)
            gate = gamma[t].sigmoid()
            y = F.batch_norm(y, mean[t], var[t], gate, training=True).relu()
        outputs.append(y)
    return torch.stack(outputs, 1)


def stacked(filters, gammas, statistics):
    """One pass -> (B, T, C, H, W)."""
    y = x.repeat_interleave(T, 0)  # rows b·T + t
    for w, gamma, (mean, var) in zip(filters, gammas, statistics, strict=True):
        y = F.conv2d(y, w, padding=1)
        view = y.view(B, T * C, SIDE, SIDE)
        assert view.data_ptr() == y.data_ptr()  # no copy
        gates = gamma.sigmoid().flatten()
        ends = mean.flatten(), var.flatten()
        view = F.batch_norm(view, *ends, gates, training=True)
        y = view.view(B * T, C, SIDE, SIDE).relu()
    return y.unflatten(0, (B, T))


def package(filters, gammas, statistics):
    """The same network, converted; its state is that of the arguments."""
    layers = []
    for w in filters:
        conv = nn.Conv2d(w.shape[1], C, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(C), nn.ReLU()]
    trunk = nn.Sequential(*layers).double()
    trunk = tssbn.task_specific(trunk, ("a", "b", "c"))
    for i in range(2):
        trunk[3 * i].weight = nn.Parameter(filters[i].detach())
        trunk[3 * i + 1].gamma = nn.Parameter(gammas[i].detach())
    tasks = tssbn.tasks.find_tasks(trunk)[0]
    with tasks.running(tasks.names):
        y = trunk(x.repeat_interleave(T, 0)).unflatten(0, (B, T))
    (weights * y).sum().backward()
    found = [y]
    found += [trunk[3 * i].weight.grad for i in range(2)]
    found += [trunk[3 * i + 1].gamma.grad for i in range(2)]
    for layer in trunk[1], trunk[4]:
        found += [layer.running_mean, layer.running_var]
    return found


def everything(run):
    """Outputs, gradients of filters and gates, running statistics."""
    filters, gammas, statistics = start()
    y = run(filters, gammas, statistics)
    (weights * y).sum().backward()
    grads = [v.grad for v in (*filters, *gammas)]
    return [y, *grads, *(v for pair in statistics for v in pair)]


one, other, theirs = (
    everything(separate),
    everything(stacked),
    package(*start()),
)
for a, b, c in zip(one, other, theirs, strict=True):
    assert torch.allclose(a, b, rtol=0, atol=1e-9)
    assert torch.allclose(a, c, rtol=0, atol=1e-9)
print(f"{len(one)} tensors: T passes = one stacked pass = the package")

# %% [markdown]
# (cost-intensity)=
# ## When it pays
#
# Consider one convolution, $C$ channels to $C'$ with filters of $k \times k$,
# that gives $P$ pixels for each of $n$ rows. It makes $n P C C' k^2$ MACs. To do
# so it must at least read its input and its filters and write its output, four
# bytes each number. Its **arithmetic intensity** is how much work it finds for
# a byte:
#
# $$
# I(n) = \frac{n P\, C C' k^2}{4\,\bigl(n P\, (C + C') + C C' k^2\bigr)}
# \quad \text{MACs a byte} .
# $$ (eq-cost-intensity)
#
# A machine that makes $R$ MACs a second and moves $M$ bytes a second needs at
# least
#
# $$
# \text{seconds} \;\ge\; \max\Bigl(
# \frac{\text{MACs}}{R},\; \frac{\text{bytes}}{M} \Bigr) ,
# $$ (eq-cost-roofline)
#
# so below the intensity $R/M$ it waits for memory, and above it, at best, for
# nothing {cite:p}`williams2009roofline`. With $T$ passes, $n = B$, and the
# filters are read $T$ times. Stacked, $n = BT$, and they are read once. So
# stacking raises the intensity, a lot where filters are most of the traffic
# (few pixels, many channels: deep layers, small images, small batches) and
# hardly where activations are. Here are both layers of a ResNet-18 and what ten
# tasks do to them, for eight images of 64x64:


# %%
def convolutions(name):
    """Of each: MACs of an image, its numbers in and out, its filters."""
    known = NETWORKS[name]
    with torch.device("meta"):
        trunk, example = (
            known.build(known.size),
            torch.empty(2, 3, *known.size),
        )
    found = []

    def note(layer, inputs, output):
        filters = layer.weight.numel()
        places = output.numel() // len(layer.weight) // len(example)
        moved = (inputs[0].numel() + output.numel()) // len(example)
        found.append((places * filters, moved, filters))

    for layer in trunk.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(note)
    trunk(example)
    return torch.tensor(found, dtype=torch.float64)


def intensity(layers, n):
    """Equation (eq-cost-intensity), of each layer."""
    work, moved, filters = layers.T
    return n * work / (4 * (n * moved + filters))


layers = convolutions("resnet18")
batch = NETWORKS["resnet18"].batch
gain = intensity(layers, 10 * batch) / intensity(layers, batch)
print("first layer: times", round(gain[0].item(), 2))
print("last layer:  times", round(gain[-1].item(), 2))
assert gain.min() >= 1 and gain[0] < 1.1 and gain[-1] > 5

# %% [markdown]
# The first layer, with few filters and many pixels, gains nothing. The last one
# has millions of filters for a handful of pixels.
#
# How near to its best is a network, then? The best that a machine does in
# practice is a product of two large matrices, which is timed in the same rounds.
# The share of that rate which a step reaches tells how busy the machine is.
# The command
#
# ```
# python -m tssbn bench
# ```
#
# measures times, rates and memory of several networks, and leaves a record.
# This one was made on a CPU:

# %%
RECORD = "bench/cpu"
OURS, CONTROL = "stem", "sequential"
TITLES = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "segnet": "SegNet",
    "deeplab": "DeepLab's ResNet-50",
    "celeba": "CelebA's network",
    "vit_s": "ViT-S",
    "swin_t": "Swin-T",
}
record = records.load(RECORD)
found = {
    name: {int(tasks): cell for tasks, cell in cells.items()}
    for name, cells in record["networks"].items()
}
print(record["device"], "with", record["threads"], "threads")

# %% [markdown]
# All tasks in one pass, with a {term}`stem` that runs once
# ([below](cost-stem)), against $T$ steps of the plain backbone; beside it the
# control, a pass for each task:

# %% mystnb={"image": {"alt": "Two panels with the number of tasks on a logarithmic axis and the time of a step as a ratio to as many steps of the plain backbone, one line for each network with a band from the lower to the upper quartile. Left, stacked: the lines of networks with small convolutions fall well below one as tasks are added, those of networks with large convolutions stay near one; that of CelebA's network falls a little and is back at one with forty tasks. Right, a pass for each task: all lines stay near one."}}
_, axes = plt.subplots(1, 2, figsize=(7, 3.8), sharey=True)
for ax, way in zip(axes, (OURS, CONTROL), strict=True):
    ax.axhline(1, color="#888888", lw=1)
    for (name, cells), color in zip(
        found.items(), cycle(plots.COLORS.values()), strict=False
    ):
        low, middle, high = zip(
            *(time_ratio(cell, way, t) for t, cell in cells.items()),
            strict=True,
        )
        line = {"color": color, "marker": "o", "ms": 4}
        ax.plot(list(cells), middle, label=TITLES[name], **line)
        ax.fill_between(list(cells), low, high, color=color, alpha=0.2, lw=0)
    ticks = sorted({t for cells in found.values() for t in cells})
    ax.set_xscale("log")
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.set(xlabel="tasks T")
axes[0].set_ylim(0, None)
axes[0].set_ylabel("time of a step, of T plain steps")
axes[0].set_title("Stacked, tasks get cheaper")
axes[1].set_title("T passes cost T steps")
axes[1].legend(loc="lower right")
plt.show()

# %% tags=["hide-input"]
rows = {}
for name, cells in found.items():
    tasks, cell = max(cells.items())
    once = time_ratio(cell, OURS, tasks)
    layers, n = convolutions(name), cell["batch"]
    rate = {
        way: 2e-9 * cell["macs"][way] / median(cell["seconds"][way])
        for way in ("plain", OURS)
    }
    peak = {
        way: f"{100 * fraction_of_peak(cell, way).median:.0f} %"
        for way in ("plain", OURS)
    }
    total = layers.sum(0, keepdim=True)
    rows[TITLES[name]] = {
        "T": tasks,
        "of T plain": f"{once.median:.2f} [{once.low:.2f} {once.high:.2f}]",
        "GFLOP/s, plain": round(rate["plain"], 1),
        "stacked": round(rate[OURS], 1),
        "of peak, plain": peak["plain"],
        "of peak, stacked": peak[OURS],
        "MACs/byte, plain": round(intensity(total, n).item(), 1),
        "MACs/byte, T": round(intensity(total, tasks * n).item(), 1),
    }
pd.DataFrame(rows).T

# %%
faster = {}
for name, cells in found.items():
    for t, cell in cells.items():
        ours, control = (time_ratio(cell, way, t) for way in (OURS, CONTROL))
        if t > 1:
            faster[name, t] = ours.median < control.median
assert [case for case in faster if not faster[case]] == [("celeba", 40)]
assert time_ratio(found["resnet18"][3], OURS, 3).median < 0.9
print("faster than T passes in", sum(faster.values()), "of", len(faster))
print("not with forty tasks on CelebA's network; ResNet-18, three tasks:")
print("below 0.9")

# %% [markdown]
# The two rates are in floating-point operations, two to a MAC. Read the table by
# the share of the peak. Where a plain step reaches little of it, its layers are
# too small for the machine, stacking raises the share, and tasks get cheaper.
# Where a plain step is near the peak already, $T$ tasks take $T$ times as long,
# stacked or not. The intensity (of all convolutions and linear layers together)
# points the same way but does not decide alone: a network that is far above
# $R/M$ can still be slow, if its matrices are small or its many layers of other
# kinds take their time. And a pass can be too large
# ([below](cost-stem)): CelebA's network with all forty tasks is no faster than
# forty passes.
#
# With one task (left end of the lines) there is nothing to stack, and what is
# left is the price of the layer itself: a gate is a multiplication that
# BatchNorm would make anyhow.
#
# ## Memory need not grow
#
# In training the price of stacking is memory: the backward pass needs the
# activations of the forward pass, and those of $T$ tasks live at the same time.
# Smaller passes bound it. `MultiTask` stacks `tasks_per_pass` tasks at most,
# `net.passes()` gives the names of each group, and a backward pass after it
# frees what was kept. The gradients add up to those of a single backward pass:
#
# $$
# \nabla \sum_{t=1}^{T} L_t
# = \sum_{\text{groups } K} \nabla \sum_{t \in K} L_t .
# $$ (eq-cost-groups)
#
# How much is kept can be counted, to the byte. PyTorch tells of each tensor that
# it saves for the backward pass, and of each that it lets go, and what several
# operations save in common counts once:


# %%
class Kept:
    """Bytes that are kept for the backward pass: now, and at most so far."""

    def __init__(self, net):
        self.users, self.now, self.peak = Counter(), 0, 0
        self.known = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def pack(self, x):
        return Handle(self, x)

    def change(self, x, by):
        storage = x.untyped_storage()
        address = storage.data_ptr()
        if address in self.known:
            return
        before = self.users[address]
        self.users[address] += by
        if 0 in (before, before + by):  # the first user comes, the last goes
            self.now += by * storage.nbytes()
            self.peak = max(self.peak, self.now)


class Handle:
    """What autograd holds instead of a tensor that it wants to save."""

    def __init__(self, kept, x):
        self.kept, self.x = kept, x
        kept.change(x, 1)

    def __del__(self):
        self.kept.change(self.x, -1)


def train_step(net, images):
    """Forward and backward passes, group by group; the bytes kept at most."""
    kept = Kept(net)
    for names in net.passes():
        with torch.autograd.graph.saved_tensors_hooks(
            kept.pack, lambda handle: handle.x
        ):
            outputs = net(images, names)
            loss = sum(y.square().mean() for y in outputs.values())
        loss.backward()
        del outputs, loss
    assert kept.now == 0
    return kept.peak


# %% [markdown]
# CelebA's network, an eighth as wide, on four images, with up to forty tasks
# (in float64; the gates are drawn at random, so that tasks differ):


# %%
def narrow(tasks, tasks_per_pass):
    _ = torch.manual_seed(0)
    heads = {f"task {t}": nn.Linear(64, 1).double() for t in range(tasks)}
    trunk = tssbn.task_specific(CelebANet(width=8).double(), heads)
    for layer in trunk.modules():
        if isinstance(layer, tssbn.norm.TaskSpecificNorm):
            nn.init.normal_(layer.gamma)
    return tssbn.MultiTask(trunk, heads, tasks_per_pass)


NUMBERS = (1, 2, 3, 5, 10, 20, 40)
GROUPS = {"all in a pass": 40, "5 a pass": 5, "1 a pass": 1}
images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
kept, grads = {}, {}
for way, size in GROUPS.items():
    for tasks in NUMBERS:
        net = narrow(tasks, min(size, tasks))
        kept[way, tasks] = train_step(net, images) / 2**20
    grads[way] = [p.grad for p in net.parameters()]

for way in "5 a pass", "1 a pass":
    for a, b in zip(grads["all in a pass"], grads[way], strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
assert kept["all in a pass", 40] > 35 * kept["all in a pass", 1]
assert kept["5 a pass", 40] < 1.1 * kept["all in a pass", 5]
assert kept["1 a pass", 40] < 1.3 * kept["1 a pass", 1]
print("40 tasks, gradients: all in a pass = 5 a pass = 1 a pass")

# %% mystnb={"image": {"alt": "Memory kept for the backward pass against the number of tasks, both axes logarithmic. With all tasks in a pass it grows in proportion; with five a pass it grows up to five tasks and then stays; with one a pass it is flat from one to forty tasks."}}
_, ax = plt.subplots(figsize=(7, 3))
for (way, _), color in zip(
    GROUPS.items(), ("blue", "green", "orange"), strict=True
):
    values = [kept[way, tasks] for tasks in NUMBERS]
    ax.plot(NUMBERS, values, "o-", ms=4, color=plots.COLORS[color], label=way)
ax.set_xscale("log")
ax.set_yscale("log")
ax.set_xticks(NUMBERS, NUMBERS)
ax.set_yticks([2, 5, 10, 20, 50], [2, 5, 10, 20, 50])
ax.minorticks_off()
ax.set(xlabel="tasks T", ylabel="kept for backward, MiB")
ax.set_title("In groups, memory does not grow with the tasks")
ax.legend()
plt.show()

# %% [markdown]
# The line of 1 a pass is not quite flat. What grows are the gates: a number
# for each task and channel, beside activations that have one for each pixel and
# image, too. With forty tasks at once and the network of the paper the
# difference is whether it can be trained at all; chapter 8 counts gigabytes.
#
# The process as a whole, with gradients and what the kernels need beside, is in
# the record, too: the peak of a step, relative to that of the same network with
# one task. (A dash where five tasks are all.)

# %% tags=["hide-input"]
rows = {}
for name, cells in found.items():
    tasks, cell = max(cells.items())
    memory, one = cell["memory"], cell["memory"]["one"]
    row = {"T": tasks, "one task, MiB": round(one)}
    for way, title in (
        (OURS, "all in a pass"),
        ("chunks:5", "5 a pass"),
        ("chunks:1", "1 a pass"),
    ):
        row[title] = f"{memory[way] / one:.2f}" if way in memory else "–"
    rows[TITLES[name]] = row
pd.DataFrame(rows).T

# %%
alone = {
    tasks: cell["memory"]["chunks:1"] / cell["memory"]["one"]
    for tasks, cell in found["resnet18"].items()
    if "chunks:1" in cell["memory"]
}
print({tasks: round(ratio, 2) for tasks, ratio in alone.items()})
assert max(alone.values()) < 1.05 * min(alone.values())

# %% [markdown]
# One a pass takes somewhat more than one task does, since the gradients of the
# weights, of which there is one set, wait while the next pass makes its
# activations. That is paid once: from two tasks to ten a ResNet-18 needs no
# more, as the last line shows. (The network itself is not counted.)

# %% [markdown]
# ## Beside other methods
#
# Other methods for many tasks have costs of their own: Cross-Stitch runs a
# network for each task {cite:p}`misra2016crossstitch`, MTAN one with masks for
# each {cite:p}`liu2019mtan`. This record has a step of each on the same trunk,
# images and losses, heads left out; where a name begins with LibMTL
# {cite:p}`lin2022libmtl`, the network is that library's and not ours. The unit
# is one step of the plain backbone, so that {term}`HPS` stands for "no price at
# all" and three tasks for 3.

# %% tags=["hide-input"]
peers = records.load("bench/peers")
rows = {}
for name, cells in peers["networks"].items():
    for tasks, cell in cells.items():
        for way in cell["macs"]:
            time = time_ratio(cell, way, 1)
            rows[TITLES[name], f"{tasks} tasks", way] = {
                "MACs": cell["macs"][way] / cell["macs"]["plain"],
                "time": time.median,
                "lower quartile": time.low,
                "upper": time.high,
            }
beside = pd.DataFrame(rows).T
beside.round(2)

# %%
for (name, tasks, way), row in beside.iterrows():
    if way == "tssbn":
        others = beside.loc[name, tasks]["time"]
        for other in "cross-stitch", "mtan":
            ratio = row["time"] / others[other]
            print(f"TSσBN takes {ratio:.2f} of {other}")

# %% [markdown]
# (cost-stem)=
# ## Two things to declare
#
# **Where the tasks part.** In front of the first gates all tasks see the same
# activations, so that part runs once. While training, more is the same: the
# first norm layer takes its statistics from a batch that all tasks share, so
# $\hat x$ is common to all. And its gates can wait, since for a positive factor
#
# $$
# \max(0, \sigma(\gamma_t)\, \hat x) = \sigma(\gamma_t) \max(0, \hat x) ,
# \qquad
# \max_i\, \sigma(\gamma_t)\, \hat x_i = \sigma(\gamma_t) \max_i \hat x_i .
# $$ (eq-cost-commute)
#
# So the first convolution, its norm, the ReLU and the pooling of a ResNet run
# once, and the gates act on the pooled result, in front of the first block.
# `stem="layer1"` declares it. Here is what that block reads, with the stem,
# without it, and by hand:

# %%
tasks = [f"task {t}" for t in range(10)]
trunk = tssbn.task_specific(resnet.build((64, 64)), tasks)
heads = {task: nn.Identity() for task in tasks}
net = tssbn.MultiTask(trunk, heads, stem="layer1")
assert tssbn.find_stem(trunk) == net.stem  # what torch.fx finds in the graph
pictures = torch.rand(2, 3, 64, 64)
net.check(pictures)  # stacked = separate passes

_ = nn.init.normal_(trunk.bn1.gamma)
read = {}
for stem in "layer1", "":
    net.stem = stem
    hook = trunk.layer1[0].register_forward_pre_hook(
        lambda block, args, stem=stem: read.update({stem: args[0]})
    )
    _ = net(pictures)
    hook.remove()

x_hat = F.batch_norm(trunk.conv1(pictures), None, None, training=True)
pooled = trunk.maxpool(x_hat.relu())  # (B, C, H, W), once for all tasks
gates = trunk.bn1.gamma.sigmoid()[..., None, None]  # (T, C, 1, 1)
by_hand = (pooled[:, None] * gates).flatten(0, 1)  # (B·T, C, H, W)
for of_block in read.values():
    assert torch.allclose(of_block, by_hand, atol=1e-5)
print("the first block reads", tuple(by_hand.shape), "either way")

# %% [markdown]
# The sums are others than in separate passes, so results agree up to rounding.
# In evaluation each task has running statistics of its own, and the tasks part
# at the norm layer. Without a declared stem they part at the input, which is
# always right.
#
# **How many share a pass.** All, unless `tasks_per_pass` is a number. Take all
# where they fit in memory; on a CPU fewer, where an activation of the pass
# exceeds some 32 MiB, for the usual allocator of Linux gives such tensors back
# to the system at once, and taken anew they cost a visit for each page. The
# record has both kinds of networks:

# %% tags=["hide-input"]
WAYS = {"chunks:1": "1 a pass", "chunks:5": "5 a pass", OURS: "all"}
rows = {}
for name, cells in found.items():
    for t, cell in cells.items():
        if "chunks:5" in cell["seconds"]:
            rows[f"{TITLES[name]}, T = {t}"] = {
                title: round(time_ratio(cell, way, t).median, 2)
                for way, title in WAYS.items()
            }
by_size = pd.DataFrame(rows).T
by_size

# %%
best = by_size.idxmin(axis=1)
for name, size in best.items():
    assert size == ("5 a pass" if name.startswith("CelebA") else "all")
print("five a pass is best for CelebA's network, all for the others")

# %% [markdown]
# **Less memory still.** Within a pass `tssbn.recompute` keeps only the inputs of
# the parts that are named, and runs them once more for the backward pass: memory
# for, at most, the arithmetic of one more forward pass. (Its time is not
# measured here.) What is learned is the same, running statistics included:

# %%
again = narrow(5, 5)
again.trunk = tssbn.recompute(again.trunk, ["stages.0", "stages.1"])
as_is = narrow(5, 5)
for net in again, as_is:
    sum(y.square().mean() for y in net(images).values()).backward()
for a, b in zip(again.parameters(), as_is.parameters(), strict=True):
    assert torch.allclose(a.grad, b.grad, rtol=1e-9, atol=1e-12)
for a, b in zip(again.buffers(), as_is.buffers(), strict=True):
    assert torch.equal(a, b)
print("gradients and statistics: recomputed = kept")

# %% [markdown]
# ## Limits
#
# - **One machine, and a CPU.** Where a network begins to fill the machine
#   depends on the machine. On a GPU small operations wait longer to be
#   launched, which speaks for stacking, and the peak is further away; this
#   record does not show it. `python -m tssbn bench --device cuda` measures it.
# - **A step is not a training.** Left out are loading of data, heads, the
#   optimiser's own step and scoring, which cost the same whichever way the
#   tasks go.
# - **The roofline says why, not how much.** It leaves out what a call costs by
#   itself, caches, and that small matrices are multiplied less well. We did not
#   separate these.
# - **Arithmetic stays.** Where a plain step is at the machine's best, $T$ tasks
#   take $T$ times as long, and a method with one pass is cheaper by that much.
#   In use, all tasks together take $T$ passes as well: {doc}`16_export` makes a
#   plain network of one task, {doc}`17_branches` merges what tasks have in
#   common.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-15-layout
# Images and filters can also be kept with their channels last in memory
# (`x.to(memory_format=torch.channels_last)`). Which address has the number in
# row $bT + t$, channel $c$, pixel $p$ then? Can a tensor of $B$ rows and $TC$
# channels be read from the same memory? Ask PyTorch, too.
# :::
#
# :::{solution} ex-15-layout
# :class: dropdown
# It is $\bigl((bT + t)\, P + p\bigr)\, C + c$: the channels of one task at a
# pixel are neighbours, those of two tasks at the same pixel lie $PC$ numbers
# apart. No reading as $(B, TC, H, W)$ has these strides:
#
# ```python
# y = torch.rand(B * T, C, SIDE, SIDE)
# y = y.to(memory_format=torch.channels_last)
# try:
#     y.view(B, T * C, SIDE, SIDE)
# except RuntimeError as error:
#     print(error)
# ```
#
# In this layout the norm layers have to copy.
# :::
#
# :::{exercise}
# :label: ex-15-five
# Most of the gain comes with the first few tasks of a pass. From
# `found["resnet18"]`, for the largest number of tasks: how long do passes of 5
# take, of what stacking all tasks takes? And how much do they need in memory?
# :::
#
# :::{solution} ex-15-five
# :class: dropdown
#
# ```python
# tasks, cell = max(found["resnet18"].items())
# for way in "sequential", "chunks:1", "chunks:5", OURS:
#     if way in cell["seconds"]:
#         time = relative(cell, way, tasks).median
#         print(way, round(time, 2), round(cell["memory"][way]), "MiB")
# ```
#
# The intensity of a layer approaches its limit like $n / (n + n_0)$, so that
# each further task of a pass brings less than the one before, while memory
# grows by the same amount each time.
# :::
#
# :::{exercise}
# :label: ex-15-batch
# Stacking $T$ tasks of $B$ images loads the machine like one task with $BT$
# images. Repeat the first experiment of this chapter with a batch of 16 instead
# of 2. What do you expect of the ratio?
# :::
#
# :::{solution} ex-15-batch
# :class: dropdown
#
# ```python
# images = torch.rand(16, 3, 32, 32)
# steps = {
#     way: Step(network(way, resnet.build((32, 32)), 10), images, Setting())
#     for way in ("plain", "stacked")
# }
# timed = list(rounds(steps, 2))
# print(median(now["stacked"] / now["plain"] for now in timed))
# ```
#
# Nearer to ten: sixteen images already give each filter something to do. What
# stacking can win is what the batch left over, so a network that trains on
# large batches has less to gain, and one that must train on small ones has
# more.
# :::
#
# ## What we learned
#
# - $T$ tasks are $T$ times the arithmetic, and not always $T$ times the time.
#   How much less depends on how busy a plain step keeps the machine.
# - Stacked image by image, tasks share every read of a filter, and one batch
#   norm serves them all, without a copy.
# - Fewer tasks a pass trade time for memory, down to that of a single task,
#   with the same gradients.
# - Time is measured, not counted: MACs tell what a machine must do, and the
#   share of its peak tells how well it does it.

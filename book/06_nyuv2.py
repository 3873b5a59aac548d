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
# # NYUv2: three tasks, one SegNet
#
# :::{admonition} The claim
# One network for three tasks has a third of the parameters of three networks.
# Task-specific normalisation adds 0.03 to 0.11 % of a SegNet, and takes the
# computation of three. What each method is worth stands in tables with their
# intervals, beside the best answer that ignores the image.
# :::
#
# *Runs in about two minutes on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import inspect

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.claims import Bed
from tssbn.methods import METHODS, Network, find_method
from tssbn.networks.segnet import SegNet, SegNetHead
from tssbn.networks.unet import UNet
from tssbn.training.batches import derive_seed, epoch_batches
from tssbn.cost import macs, parameters
from tssbn.training.epoch import train_epoch
from tssbn.training.loop import train
from tssbn.training.run import Run
from tssbn.records.table import table

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

PAPER = ("stl", "hps", "cross-stitch", "mtan", "tsbn", "tsbn-x100", "tssbn")
SEEDS = range(20)  # those that are saved are read

# %% [markdown]
# ## One network for three answers
#
# From one picture of a room, tell the class of every pixel, how far away it
# is, and which way its surface faces. Three networks can do it
# ({term}`STL`). Or one network can give all three answers
# ({term}`HPS`), at a third of the cost. What does that do to the answers?
#
# A saved run holds the scores of every epoch. Here are those of both on the
# synthetic rooms of the last chapter, with a U-Net {cite:p}`ronneberger2015unet`
# in place of the SegNet.


# %% mystnb={"image": {"alt": "Three panels, one for each task, with a curve over the epochs for separate networks and one for the shared network, and a dotted line for the answer that ignores the image."}}
rooms = records.load_default("rooms", SEEDS)
YLABEL = {
    "segmentation": "mIoU, higher is better",
    "depth": "error, m",
    "normal": "error, degrees",
}
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.6))
for ax, (task, label) in zip(axes, YLABEL.items(), strict=True):
    plots.learning(ax, rooms, task, ("stl", "hps"))
    ax.set_title(task, loc="center", fontsize=10)
    ax.set_ylabel(label)
fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
)
fig.suptitle(
    "One network for each task, or one for all",
    fontsize=11,
    x=0.01,
    ha="left",
)
plt.show()

# %% [markdown]
# Bands are the lowest and highest seed, the dotted line is the best answer that
# ignores the image (chapter 5). In the paper's table for NYUv2 itself, sharing
# lifts depth and costs the normals nearly three degrees.
#
# ## The protocol
#
# :::{admonition} NYUv2 on SegNet, as mtan trains it
# | | |
# |---|---|
# | data | 795 training and 654 test images, 288x384; 13 classes |
# | augmentation | zoom by 1, 1.2 or 1.5 (depth is divided by it), mirror |
# | network | SegNet of VGG-16's widths, Xavier-normal, from scratch; a head for each task: a 3x3 and a 1x1 convolution |
# | losses | cross-entropy; absolute error; 1 - cosine; their plain sum |
# | scores | mIoU of one confusion matrix; mean absolute error; mean angle |
# | training | Adam at 1e-4, halved at epoch 100 of 200; batches of 2 |
# | gates | 100 times the rate, no weight decay |
# | reported | the mean of the last ten epochs; there is no validation set |
# :::
#
# The rows come from the code of MTAN {cite:p}`liu2019mtan`, which the paper
# follows. Two are our decisions, because the paper does not say: that the
# images are augmented (it is an option of that code), and which epoch is
# reported. The synthetic miniature keeps tasks, losses and scores, and shrinks
# the rest: 1,600 rooms of 48x64 pixels, four classes, a U-Net of 0.34 million
# parameters, 30 epochs of 100 steps. The base rate of each method, and that of
# its gates, or scales and biases, is chosen on validation images
# (`book/studies/tuning.py`). Protocol and miniature are one file each in
# `tssbn/benchmarks`.
#
# For a pixel $p$ with the true class $c_p$, depth $d_p$ and normal $n_p$ the
# three losses are
#
# $$
# \begin{aligned}
# L_\text{segmentation} &= -\frac1{|P_1|}\sum_{p\in P_1}
#   \log \operatorname{softmax}(y_p)_{c_p}, \\
# L_\text{depth} &= \frac1{|P_2|}\sum_{p\in P_2} |y_p - d_p|, \\
# L_\text{normal} &= \frac1{|P_3|}\sum_{p\in P_3}
#   \Bigl(1 - \frac{y_p^\top n_p}{\lVert y_p\rVert}\Bigr),
# \end{aligned}
# $$ (eq-losses)
#
# each over the pixels $P_i$ that have a truth, and what is minimised is
# $L = L_\text{segmentation} + L_\text{depth} + L_\text{normal}$. There are no
# weights. The score of a method $m$ over the $T$ tasks is its mean relative
# gain over single-task networks,
#
# $$
# \Delta m = \frac{100}{T}\sum_{t=1}^{T} s_t\,\frac{M_{m,t} - M_{\text{STL},t}}
# {M_{\text{STL},t}}, \qquad s_t = \pm 1,
# $$ (eq-delta)
#
# where $s_t$ is negative if lower is better.
#
# ## The loop, from scratch
#
# Everything that happens in an epoch of training is this function of the
# package:

# %%
source = inspect.getsource(train_epoch)
print(source[source.index("    net.train()") :])

# %% [markdown]
# A *group* is of tasks that go through the network together: all of them where
# they are {term}`stacked <stacking>`, one after the other if memory is short.
# The balancing is the plain sum here: `backward` adds up the gradients of the
# losses, `finish` takes the mean over the processes. Without devices, processes
# and groups, what remains is the loop that everybody knows. We write it down,
# with the losses of {eq}`eq-losses`, train for two epochs, and compare with what
# `train` makes of the same seed.

# %%
small = {"n": 64, "filters": 4, "epochs": 2, "batch": 16, "tasks_per_pass": 3}
small |= {"lr": 2e-3, "multiplier": 10}
run = Run("rooms", "tssbn", seed=0, settings=small)
data = run.benchmark.data("train")


def seg_loss(y, truth):
    return F.cross_entropy(y, truth, ignore_index=-1)


def depth_loss(y, truth):
    return (y - truth).abs()[truth != 0].mean()


def normal_loss(y, truth):
    known = (truth != 0).any(1)
    return (1 - (F.normalize(y, dim=1) * truth).sum(1))[known].mean()


LOSSES = {
    "segmentation": seg_loss,
    "depth": depth_loss,
    "normal": normal_loss,
}

_ = torch.manual_seed(0)
trunk = tssbn.task_specific(UNet(width=4), LOSSES)
outputs = {"segmentation": 4, "depth": 1, "normal": 3}
heads = {t: nn.Conv2d(4, channels, 1) for t, channels in outputs.items()}
net = tssbn.MultiTask(trunk, heads, stem="down.0.1")
assert net.stem == run.benchmark.network.stem
optimiser = torch.optim.Adam(tssbn.param_groups(net, lr=2e-3, multiplier=10))
steps = 2 * len(data) // 16
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

for epoch in (1, 2):
    for rows in epoch_batches(len(data), 16, seed=derive_seed(0, epoch)):
        batch = data[rows]
        outputs = net(batch["image"])
        loss = sum(LOSSES[t](outputs[t], batch[t]) for t in LOSSES)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()

trained, _ = train(run)
mine, theirs = (
    torch.cat([p.detach().flatten() for p in n.parameters()])
    for n in (net, trained)
)
print("largest difference of a parameter:", (mine - theirs).abs().max().item())
assert torch.allclose(mine, theirs, atol=1e-6)

# %% [markdown]
# The same numbers. All that `train` has beyond this is book-keeping: devices,
# checkpoints, scores and the saved run. (With the declared {term}`stem` the first
# convolution runs once instead of three times.)
#
# ## Six methods, seven rows
#
# - **STL**: a SegNet for each task. What the others are measured against.
# - **HPS**: one SegNet, three heads {cite:p}`caruana1997multitask`.
# - **Cross-Stitch**: three SegNets; between any two stages each task
#   reads a learned mixture of what the three have
#   {cite:p}`misra2016crossstitch`.
# - **MTAN**: one SegNet; at every stage each task computes a mask in
#   (0, 1) for each value of the features {cite:p}`liu2019mtan`.
# - **{term}`TSBN`**: one SegNet with an ordinary BatchNorm for each task. The
#   paper's text gives it no learning rate of its own, but its table 1 has the
#   number that its table of multipliers has at 100. So it has two rows, at the
#   common rate and at 100 times that rate for scales and biases.
# - **{term}`TSσBN`**: one SegNet with a gate for each task and channel, at 100
#   times the common rate.
#
# A method is a function that makes a network out of the benchmark's trunk and
# heads. So the sizes can be counted before anything is trained: #P, the
# parameters, and #F, the {term}`multiply-accumulates <MACs>` for one image, as
# a ratio to those of STL; beside them, the paper's #P.

# %%
full = Network(SegNet, SegNetHead, torch.zeros(2, 3, 288, 384))
OUTPUTS = {"segmentation": 13, "depth": 1, "normal": 3}
PAPER_P = dict(zip(PAPER, (1, 0.33, 1, 0.59, 0.33, 0.33, 0.33), strict=True))

sizes = {}
with torch.device("meta"):
    image = torch.empty(1, 3, 288, 384)
    for name in PAPER:
        net = find_method(name).build(full, OUTPUTS)
        sizes[find_method(name).title] = (parameters(net), macs(net, image))

rows = {}
for (title, (p, f)), printed in zip(
    sizes.items(), PAPER_P.values(), strict=True
):
    rows[title] = {
        "parameters": f"{p:,}",
        "#P": round(p / sizes["STL"][0], 3),
        "#P, paper": printed,
        "GMACs": round(f / 1e9, 1),
        "#F": round(f / sizes["STL"][1], 2),
    }
ratios = [round(p / sizes["STL"][0], 2) for p, _ in sizes.values()]
assert ratios == list(PAPER_P.values())
more = sizes["TSσBN"][0] / sizes["HPS"][0] - 1
print(f"parameters of TSσBN beyond HPS: {100 * more:.2f} %")
pd.DataFrame(rows).T

# %% [markdown]
# Every #P of the paper is met. Task-specific norms have a third of the
# parameters of STL, and all of its computation: each task makes a pass of its
# own. What they save is memory for weights, not time. (MTAN computes the most:
# its masks work at full resolution.)
#
# ## Trained here, small
#
# With one seed, on a few rooms for a few epochs; MTAN needs a SegNet. Then five
# test images that none has seen. One run is an anecdote, and these are short:
# they show that everything works and what the answers look like, no more.

# %%
QUICK = {"n": 200, "epochs": 3, "batch": 4, "lr": 5e-3}
GATES = {"multiplier": 5}
HERE = {"stl": {}, "hps": {}, "cross-stitch": {}, "tsbn": GATES, "tssbn": GATES}
runs = {
    name: train(Run("rooms", name, 0, QUICK | rates))
    for name, rates in HERE.items()
}

# %% mystnb={"image": {"alt": "Five synthetic rooms; below each the true classes, depth and normals, and those of the shared network and of the task-gated network."}}
unseen = Run("rooms", "stl", 0, QUICK).benchmark.data("test")
batch = unseen[[0, 1, 2, 3, 5]]
shown, kinds = {"image": batch["image"]}, {}
for task, target in unseen.targets.items():
    shown[task], kinds[task] = batch[task], target
    for name in ("hps", "tssbn"):
        with torch.no_grad():
            y = runs[name].net(batch["image"], (task,))[task]
        row = f"by {find_method(name).title}" + " " * len(kinds)
        kinds[row] = target
        if task == "segmentation":
            shown[row] = y.argmax(1)
        elif task == "normal":
            shown[row] = F.normalize(y, dim=1)
        else:
            shown[row] = y.clamp(min=0.1)
plots.samples(shown, kinds)
plt.show()

# %% tags=["nbval-ignore-output"]
quick = table("rooms", [record for _, record in runs.values()])
quick.frame()[["segmentation", "depth", "normal", "Δm", "#P", "#F"]].round(3)

# %% [markdown]
# mIoU in per cent, metres, degrees; Δm is {eq}`eq-delta`, in per cent. The first
# row is the best answer that ignores the image.
#
# ## More seeds, and longer
#
# The same benchmark at its own size was run with several seeds by
#
# ```
# python -m tssbn train rooms --method tssbn --seed 0
# ```
#
# and its likes. The saved runs are in `data/results/rooms`. Below the paper's
# methods stand controls: a wider HPS, one row of gates for all tasks, and
# TSσBN with gates that are drawn at random, or shuffled, and do not learn.

# %%
made = table("rooms", rooms)
print(made)

# %% mystnb={"image": {"alt": "Bars of Δm for the methods on synthetic rooms with the standard deviation over seeds; a grey band around zero is the error of the single-task baseline."}}
found = {name: records.of("rooms", name, SEEDS) for name in METHODS}
found = {name: of_method for name, of_method in found.items() if of_method}
bed = Bed.of(found)
fig, ax = plt.subplots(figsize=(7, 0.35 * len(found) + 1))
plots.deltas(ax, made, bed.band())
blind = made.constant.delta.mean
ax.set_title(f"The answer that ignores the image is at {blind:.0f} %")
plt.show()

# %% [markdown]
# The grey band is the error of the baseline itself, which all bars share. What
# are the differences, with their 95 % intervals ({doc}`claims` has the rule)?


# %%
PAIRS = (
    ("hps", "stl"),
    ("tsbn", "hps"),
    ("tssbn", "hps"),
    ("tssbn", "stl"),
    ("tssbn", "tsbn"),
    ("tssbn", "cross-stitch"),
    ("tssbn", "hps-wide"),
    ("tssbn", "shared-gates"),
    ("tssbn", "random-gates"),
    ("tssbn", "shuffled-gates"),
)


def row(effect):
    return {
        "difference of Δm": f"{effect.value:+.1f}",
        "95 % interval": f"{effect.low:+.1f} to {effect.high:+.1f}",
        "seeds": f"{effect.n[0]}, {effect.n[1]}",
    }


rows = {}
for one, other in PAIRS:
    if {one, other} <= set(bed.arms):
        names = (find_method(name).title for name in (one, other))
        rows[" − ".join(names)] = row(bed.compare(one, other))
pd.DataFrame(rows).T

# %% [markdown]
# ## How fast gates learn
#
# What counts for Adam is the step that a gate makes, multiplier times base rate:
# 0.01 in the paper's protocol. What do the gates look like at the rates of the
# saved runs?

# %% mystnb={"image": {"alt": "Histograms of the gates of TSσBN on rooms after the first and the last epoch, a panel for each gate rate."}}
gated = records.by_gate_rate("rooms", "tssbn", SEEDS)
fig, axes = plt.subplots(
    1, len(gated), figsize=(7, 2.4), sharey=True, squeeze=False
)
for ax, (rate, of_rate) in zip(axes[0], gated.items(), strict=True):
    run = of_rate[0]
    for epoch, color in zip(
        (run.gate_epochs[0], run.gate_epochs[-1]),
        ("sky", "blue"),
        strict=True,
    ):
        values, edges = run.gates(epoch).values.histogram(40, range=(0, 1))
        ax.stairs(
            values / values.sum(),
            edges,
            color=plots.COLORS[color],
            label=f"epoch {epoch}",
        )
    ax.set_title(f"gate rate {rate:g}", loc="center", fontsize=10)
    ax.set_xlabel("σ(γ)")
axes[0, 0].set_ylabel("share of gates")
axes[0, 0].legend()
plt.show()

# %%
by_rate = {"STL": found["stl"]}
for method in ("tsbn", "tssbn"):
    best = records.gate_rate(Run("rooms", method))
    for rate, of_rate in records.by_gate_rate("rooms", method, SEEDS).items():
        chosen = ", best on validation" * (rate == best)
        by_rate[f"{find_method(method).title} at {rate:g}{chosen}"] = of_rate
rates = Bed.of(by_rate, baseline="STL")
effects = {n: rates.compare(n, "STL") for n in rates.arms if n != "STL"}
pd.DataFrame({n: row(effect) for n, effect in effects.items()}).T

# %% [markdown]
# Differences are those from STL; {doc}`13_knobs` has more of rates.
#
# ## The real thing
#
# The same function trains the protocol of the box above on the real images:
#
# ```
# python -m tssbn train nyuv2 --method tssbn --seed 0 --data data/nyuv2
# ```
#
# What saved runs there are of it fills this table; a dash is a run that has not
# been made. The second line of each method is the paper's. `nyuv2_short` is the
# same in a quarter of the epochs, for all methods alike. Above a table stands
# what its numbers are of: how many images, what the runs note of their data,
# which epochs count, on what device. Where there are saved runs, the second table
# has the best epoch on the test images, which nobody can choose in advance.

# %% tags=["nbval-ignore-output"]
for name in ("nyuv2", "nyuv2_short"):
    real = records.load_default(name)
    if real or name == "nyuv2":
        print(table(name, real), end="\n\n")
    if real:
        print(table(name, real, best=True), end="\n\n")

# %% [markdown]
# Rows of our own are empty as long as no run on the real images has been
# saved: an epoch of TSσBN is 398 steps of two images, each with a forward
# and a backward pass of the GMACs above, which is for a GPU. The runs are
# wanted, first of all in `data/queue.toml`, and ready to go:
# `tools/README.md` tells how. Without them nothing here confirms or
# refutes the paper's rows.

# %% [markdown]
# ## Limits
#
# - The rooms are synthetic, small and of four classes, the network is not the
#   protocol's, and training takes minutes. Which method is best here says
#   little about which is best on NYUv2.
# - Δm weighs a relative gain of a coarse mIoU like one of a fine angle. It
#   depends on the STL it is measured against; a weak STL makes everybody look
#   good.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-06-delta
# The paper prints 41.45 / 0.580 / 23.80 for STL and 42.17 / 0.502 / 26.63
# for HPS: mIoU in per cent, metres, degrees. Compute Δm. Which task decides
# its sign, and what would Δm be without it?
# :::
#
# :::{solution} ex-06-delta
# :class: dropdown
# The gains are +1.7 % for segmentation, +13.4 % for depth and -11.9 % for the
# normals; their mean is +1.1 %. Depth alone makes it positive: without it the
# mean is -5.1 %. A Δm near 0 can be a quiet draw or a large exchange.
# :::
#
# :::{exercise}
# :label: ex-06-augment
# The augmentation divides depth by the zoom. Why, and what happens to the
# normals?
# :::
#
# :::{solution} ex-06-augment
# :class: dropdown
# A picture enlarged by $s$ is what the same camera would see of the scene
# shrunk by $s$ towards it, so depths shrink by $s$. Shrinking does not turn any
# surface: the normals stay, and only move with their pixels. A mirrored image
# has normals with the sign of $x$ changed.
# :::
#
# :::{exercise}
# :label: ex-06-memory
# On rooms one task goes through the network at a time. Train TSσBN with
# `settings={"tasks_per_pass": 3}`, the stacked pass, for one epoch and compare
# parameters and time. What is the same, and what is either good for?
# :::
#
# :::{solution} ex-06-memory
# :class: dropdown
# The parameters agree up to rounding: gradients of the tasks' passes add up,
# and each task has its own statistics. Of single tasks only one's activations
# are alive at a time, so the memory is that of HPS; a stacked pass is faster
# where one task does not keep the machine busy.
# :::
#
# ## What we learned
#
# - A benchmark is data, network, losses, scores and a recipe; a method is a
#   function from network to multi-task network. All comparisons here change
#   the method alone.
# - Task-specific normalisation adds 0.03 to 0.11 % of a SegNet, and a pass
#   for each task.
# - A Δm has the error of its baseline in it, and a score means little without
#   that of the answer that ignores the image.
# - The order of methods on a miniature, with its own learning rate and its few
#   steps, is a statement about the miniature.

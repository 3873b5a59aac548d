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
# # Do task gradients still fight?
#
# :::{admonition} The claim
# In the paper the tasks' gradients on the shared filters are close to orthogonal
# from the start, each task's features lie apart from the others', and a further
# task costs next to no parameters (Figure 2). But any gates that differ narrow
# the angles and make islands, gates drawn at random as well. Only the parameters
# can be counted.
# :::
#
# *Runs in well under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import copy
from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score, silhouette_score
from sklearn.model_selection import cross_val_predict
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.claims import Bed
from tssbn.methods import Network, find_method
from tssbn.data.synthetic.faces import ATTRIBUTES, Faces, faces
from tssbn.data.stored import Stored
from tssbn.gradients import cosines, task_gradients
from tssbn.networks.deeplab import dilated_resnet
from tssbn.norm import TaskSigmoidNorm
from tssbn.training.loop import train
from tssbn.training.run import Run

torch.set_num_threads(1)
plots.style()

# %% [markdown]
# (untrained-peace)=
# ## Peace without learning
#
# Chapter 3 measured how two tasks pull at the filters that they share: the
# {term}`gradient cosine`, 1 for agreement, -1 for open conflict, 0 for
# indifference. If gates of its own let each task choose its filters, the tasks
# should get out of each other's way, and the cosines go to 0. The paper shows
# that they do.
#
# Here are synthetic rooms (chapter 5) with their three tasks: classes, depth and
# surface normals. We train the benchmark's U-Net with hard sharing
# ({term}`HPS`) for one short epoch. Then we give each task gates
# $\sigma(\gamma_t)$, but instead of learning them we draw each $\gamma$ from a
# normal distribution, and compute the cosines between the three tasks'
# gradients, all shared filters taken together. The filters are those of hard
# sharing. A width of 0 leaves every gate half open: all tasks see the same
# features.


# %%
SMALL = {"n": 320, "height": 32, "width": 48, "epochs": 1, "lr": 3e-3}
run = Run("rooms", "hps", 1, SMALL)
data = run.benchmark.data("test")
tasks = run.benchmark.tasks(data.targets)
PAIRS = list(combinations(range(len(tasks)), 2))
hard = train(run).net
trunk = tssbn.task_specific(hard.trunk, tasks)
net = tssbn.MultiTask(trunk, hard.heads)


def gated(net):
    return [m for m in net.modules() if isinstance(m, TaskSigmoidNorm)]


def shared_filters(trunk):
    return [m.weight for m in trunk.modules() if isinstance(m, nn.Conv2d)]


def of_pairs(net, batch):
    """Cosine of the gradients of each two tasks."""
    predictions = net.train()(batch["image"])
    losses = {t: tasks[t].loss(predictions[t], batch[t]) for t in tasks}
    angles = cosines(task_gradients(losses, shared_filters(net.trunk)))
    return [angles[pair].item() for pair in PAIRS]


WIDTHS, DRAWS = (0, 0.5, 1, 2, 4), range(5)
hook = torch.empty(len(WIDTHS), len(DRAWS), len(PAIRS))
for row, width in enumerate(WIDTHS):
    for seed in DRAWS:
        _ = torch.manual_seed(seed)
        for layer in gated(net):
            nn.init.normal_(layer.gamma, std=width)
        hook[row, seed] = torch.tensor(of_pairs(net, data[seed::5]))

# %% mystnb={"image": {"alt": "Cosines between task gradients against the width of the distribution that the gates are drawn from. At width 0 they are widely scattered; the wider the distribution, the closer they lie to zero."}} tags=["nbval-ignore-output"]
_, ax = plt.subplots(figsize=(7, 3.2))
jitter = torch.linspace(-0.15, 0.15, hook[0].numel())
for row in range(len(WIDTHS)):
    ax.plot(row + jitter, hook[row].flatten(), "o", ms=5, alpha=0.7)
ax.axhspan(-0.1, 0.1, color="#DDDDDD", zorder=0)
ax.set_xticks(range(len(WIDTHS)), WIDTHS)
ax.set_xlabel("standard deviation of γ; at 0 all gates are half open")
ax.set_ylabel("cosine of two tasks' gradients")
ax.set(ylim=(-1, 1))
ax.set_title("Random gates make peace")
plt.show()

mean = hook.abs().mean((1, 2))
print("mean |cosine|:", [round(x, 2) for x in mean.tolist()])

# %% [markdown]
# No gate knows what it is for, and the angles close in on 90 degrees. So a picture of cosines
# that gather at zero cannot by itself show that the network has *learned* to
# keep its tasks apart. We need to know where the zero comes from before we look
# at trained networks.
#
# ## Why a gate turns a gradient
#
# Take one shared layer. Channel $c$ has the filter $w_c$, normalised
# activations $\hat x_{t,c}$ in the pass of task $t$, and what follows is
# $y_{t,c} = \sigma(\gamma_{t,c})\, \hat x_{t,c}$. By the chain rule the gate is
# a factor of all that comes back to the filter:
#
# $$
# g_{t,c} = \frac{\partial L_t}{\partial w_c}
#         = \sigma(\gamma_{t,c})\, a_{t,c}, \qquad
# a_{t,c} = \frac{\partial \hat x_{t,c}}{\partial w_c}
#           \frac{\partial L_t}{\partial y_{t,c}} .
# $$ (eq-gated-gradient)
#
# So the angle between two tasks is one between vectors that were stretched by
# different gates,
#
# $$
# \cos(g_1, g_2) =
# \frac{\sum_c \sigma(\gamma_{1,c})\, \sigma(\gamma_{2,c})\;
#       a_{1,c} \cdot a_{2,c}}
#      {\sqrt{\sum_c \sigma(\gamma_{1,c})^2 \lVert a_{1,c} \rVert^2}
#       \sqrt{\sum_c \sigma(\gamma_{2,c})^2 \lVert a_{2,c} \rVert^2}} .
# $$ (eq-gated-cosine)
#
# If the gates have nothing to do with the $a_{t,c}$, this is on average the
# cosine of the $a$ times a number that belongs to the gates alone,
#
# $$
# \cos(g_1, g_2) \approx \rho \cos(a_1, a_2), \qquad
# \rho = \frac{\sum_c \sigma(\gamma_{1,c})\, \sigma(\gamma_{2,c})}
#             {\sqrt{\sum_c \sigma(\gamma_{1,c})^2}
#              \sqrt{\sum_c \sigma(\gamma_{2,c})^2}} ,
# $$ (eq-gate-factor)
#
# the similarity of the two tasks' gates, which chapter 11 uses to tell who is
# related to whom. Equal gates have $\rho = 1$. Of independent gates, those spread
# evenly over $[0, 1]$ have $\rho = 3/4$, and those that are open with
# probability $p$ and shut otherwise have $\rho = p$:

# %%
gate = torch.Generator().manual_seed(0)
even = torch.rand(2, 1_000_000, generator=gate)
kinds = {"even": (even, 3 / 4)}
for p in 0.5, 0.1:
    kinds[f"open with p = {p}"] = (even < p).float(), p
for name, (pair, expected) in kinds.items():
    rho = tssbn.gates.similarity(pair)[0, 1].item()
    print(f"{name}: {rho:.2f}")
    assert abs(rho - expected) < 0.005

# %% [markdown]
# One layer of independent gates that are half open on average thus takes up to
# a half off a cosine; gates that are mostly shut, or opposed, take more. And
# gates act on every layer: what the filter of a deep layer reads has passed the
# gates below, and the error that it receives has passed those above. The tasks
# differ in both, and the factors multiply.
#
# Statistics of its own do not have such a factor: as long as the gates are
# equal all tasks have the same statistics.
#
# ## From scratch
#
# Two tasks share one linear map $W$ with four outputs, then comes TSσBN, and
# each task has a linear head and a squared error. All gradients by hand, in
# float64. The one step that is not a product is that of normalisation: with
# $u_i = \partial L / \partial \hat x_i$ and deviation $s$ over a batch,
# $\partial L / \partial z_i = (u_i - \overline{u} - \hat x_i\,
# \overline{u \hat x}) / s$.

# %%
_ = torch.manual_seed(0)
toy = torch.randn(32, 6).double()
goal = {"a": torch.randn(32, 1).double(), "b": torch.randn(32, 1).double()}
trunk = nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4)).double()
trunk = tssbn.task_specific(trunk, goal)
heads = {task: nn.Linear(4, 1, bias=False).double() for task in goal}
two = tssbn.MultiTask(trunk, heads)
with torch.no_grad():
    trunk[1].gamma.normal_(std=2)

W, gates = trunk[0].weight.detach(), trunk[1].gamma.detach().sigmoid()
z = toy @ W.T
s = (z.var(0, unbiased=False) + trunk[1].eps).sqrt()
x_hat = (z - z.mean(0)) / s
rows = []
for gate, task in zip(gates, goal, strict=True):
    v = heads[task].weight.detach()
    error = 2 * ((gate * x_hat) @ v.T - goal[task]) / len(toy)
    u = gate * (error @ v)  # the gate is a factor of what comes back
    dz = (u - u.mean(0) - x_hat * (u * x_hat).mean(0)) / s
    rows.append((dz.T @ toy).flatten())
by_hand = torch.stack(rows)

predictions = two(toy)
losses = {t: (predictions[t] - goal[t]).square().mean() for t in goal}
package = task_gradients(losses, trunk[0].weight)
assert torch.allclose(by_hand, package, rtol=0, atol=1e-12)
g1, g2 = by_hand
by_hand_cosine = g1 @ g2 / (g1.norm() * g2.norm())
assert abs(by_hand_cosine - cosines(package)[0, 1]) < 1e-12
print(f"cosine {by_hand_cosine:.4f}, by hand as by the package")

# %% [markdown]
# (early-gradients)=
# ## While they train
#
# Now the trained ones. The trainer can write the angles down as it goes
#
# ```
# python -m tssbn train rooms --method tssbn --angles 30
# ```
#
# which in every thirtieth step differentiates each task's loss by itself, over
# the whole batch. What counts as shared are the filters that all tasks' losses
# depend on, taken together as one long vector. (The paper says "over the shared
# convolutions" and "early", not how it pools; ours are all pairs and measured
# steps of the first tenth of the training.) Each method has the rates that suit
# it best on validation images.


# %%
RUNS = {"HPS": "hps", "TSBN": "tsbn", "TSσBN": "tssbn"}
COLOR = dict(zip(RUNS, ("orange", "green", "blue"), strict=True))
angles = {}
for name, method in RUNS.items():
    found = records.of("rooms", method, range(20))
    angles[name] = [run["angles"] for run in found if "angles" in run]
recipe = found[0]["recipe"]
images = found[0]["data"]["splits"]["train"]["samples"]
last = recipe["epochs"] * images // recipe["batch"]  # step


def tenth(entry):
    """In which tenth of the training each measured step is, from 1."""
    return (np.array(entry["steps"]) - 1) * 10 // last + 1


def cosines_of(entry, part):
    """Of all pairs, in a tenth of the training."""
    return np.array(entry["all"])[tenth(entry) == part].ravel()


def size(cells):
    """Mean absolute cosine."""
    return np.abs(np.asarray(cells)).mean()


def sizes_by_layer(entry):
    """That of each convolution, in the first tenth."""
    first = tenth(entry) == 1
    return [size(np.array(v)[first]) for v in entry["layers"].values()]


# %% mystnb={"image": {"alt": "Distributions of early gradient cosines. Left, the saved runs of HPS, TSBN and TSσBN; right, a smaller setting, with TSBN and TSσBN at equal gate rates and gates drawn at random."}}
NAMES = {
    "hps": "HPS",
    "statistics": "statistics only",
    "tsbn .01": "TSBN, 0.01",
    "tssbn .01": "TSσBN, 0.01",
    "tsbn .1": "TSBN, 0.1",
    "tssbn .1": "TSσBN, 0.1",
    "random gates": "random gates",
}
study = records.load("angles/first_epoch")["runs"]
study = {NAMES[name]: runs for name, runs in study.items()}
shown = {
    "saved runs, first tenth": {
        name: [cosines_of(entry, 1) for entry in found]
        for name, found in angles.items()
    },
    "smaller setting, first epoch": {
        name: [np.ravel(run["all"]) for run in study[name]]
        for name in ("HPS", "TSBN, 0.1", "TSσBN, 0.1", "random gates")
    },
}
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.2), sharex=True)
bins = np.linspace(-1, 1, 31)
for ax, (title, of_method) in zip(axes, shown.items(), strict=True):
    for name, seeds in of_method.items():
        cells = np.concatenate(seeds)
        color = plots.COLORS[COLOR.get(name.split(",")[0], "purple")]
        share, _ = np.histogram(cells, bins)
        ax.stairs(
            share / len(cells),
            bins,
            color=color,
            lw=1.6,
            label=f"{name}: {cells.std():.2f}",
        )
    ax.axvline(0, color="black", lw=0.8)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("cosine of two tasks, early")
    ax.legend(fontsize=7.5, loc="upper left", title="spread", title_fontsize=8)
axes[0].set_ylabel("share of cosines")
plt.show()


# %%
def compared(values, pairs):
    """Differences of means, with their 95 % intervals, from values by seed."""
    bed, rows = Bed(values), {}
    mean = {name: f"{np.mean(of):.2f}" for name, of in values.items()}
    for one, other in pairs:
        effect = bed.compare(one, other)
        if effect is not None:
            rows[f"{one} − {other}"] = {
                "means": f"{mean[one]} − {mean[other]}",
                "difference": f"{effect.value:+.2f}",
                "95 % interval": f"{effect.low:+.2f} to {effect.high:+.2f}",
                "seeds": f"{effect.n[0]}, {effect.n[1]}",
            }
    return pd.DataFrame(rows).T


for name in ("TSBN", "TSσBN"):
    rate = records.gate_rate(Run("rooms", RUNS[name]))
    print(f"{name}: scales and biases, or gates, at {rate:g}")
MEASURES = {
    "mean |cos|": size,
    "|cos| < 0.1": lambda cells: (abs(cells) < 0.1).mean(),
    "cos < 0": lambda cells: (cells < 0).mean(),
}
among = [("TSBN", "HPS"), ("TSσBN", "HPS"), ("TSσBN", "TSBN")]
early = {
    measure: {
        name: [of(cells) for cells in seeds]
        for name, seeds in shown["saved runs, first tenth"].items()
    }
    for measure, of in MEASURES.items()
}
early["mean |cos|, by layer"] = {
    name: [np.mean(sizes_by_layer(entry)) for entry in found]
    for name, found in angles.items()
}
pd.concat({name: compared(of, among) for name, of in early.items()})

# %% [markdown]
# One long vector counts a layer by the size of its gradients; the last rows
# take the cosine of each layer by itself, and their mean.
#
# How do they go on, and where in the network are they?

# %% mystnb={"image": {"alt": "Left, mean absolute cosine in each tenth of the training for HPS, TSBN and TSσBN; bands are the spread of seeds. Right, the same by convolution of the trunk in the first tenth."}}
_, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.2), sharey=True)
parts = range(1, 11)
for name, found in angles.items():
    curves = [
        [size(cosines_of(entry, part)) for part in parts] for entry in found
    ]
    plots.spread(left, parts, curves, COLOR[name], name)
    layers = [sizes_by_layer(entry) for entry in found]
    depth = range(1, len(layers[0]) + 1)
    plots.spread(right, depth, layers, COLOR[name], name)
left.set(xlabel="tenth of the training", ylabel="mean |cosine|", ylim=(0, None))
left.legend(fontsize=8)
right.set(xlabel="convolution, from the image on (first tenth)")
plt.show()

# %%
rows = {}
for name, found in angles.items():
    for entry in found:
        later = np.array(entry["all"])[tenth(entry) > 1]
        for pair, cells in zip(entry["pairs"], later.T, strict=True):
            rows.setdefault(" and ".join(pair), {}).setdefault(
                name, []
            ).append(cells.mean())
print("mean cosine of each pair after the first tenth, and its standard")
print("deviation over seeds")
pd.DataFrame(rows).map(
    lambda seeds: f"{np.mean(seeds):+.2f} ± {np.std(seeds, ddof=1):.2f}"
)

# %% [markdown]
# A mean above zero is agreement. Right angles are not peace alone; where tasks
# agree they are also help that is no longer given.
#
# (what-narrows)=
# ## What narrows them
#
# Four things can pull cosines to zero without any task having made way for
# another.
#
# **High dimension.** Two random directions among $P$ numbers have a cosine with
# standard deviation $1/\sqrt P$. For our filters that would be

# %%
P = sum(weight.numel() for weight in shared_filters(net.trunk))
print(f"P = {P:,}: 1/√P = {P**-0.5:.4f}")

# %% [markdown]
# which is no measure for the spreads above: task gradients have far fewer
# directions to choose from than there are weights. And the spread of a network
# with other layers is not to be compared with them.
#
# **Noise.** A gradient of sixteen images is signal and noise. If a method only
# made gradients noisier, their angles would go to 90 degrees, too. The check is
# the cosine of *one* task with itself on different images.
#
# **Statistics of their own**, the other thing that TSσBN gives each task.
#
# **Different gates**, whatever they are, as in the hook.
#
# `book/studies/angles.py` takes the first epoch apart in a smaller setting: HPS;
# statistics of its own for each task and nothing else; TSBN and TSσBN, both with
# scales or gates that learn at 0.01 and at 0.1 a step; and TSσBN whose gates are
# drawn at random and frozen. At the end of the epoch each network is asked once
# more, with its own gates, with the mean of the tasks' gates for every task, and
# with each task's gates shuffled among the channels of a layer. The filters
# stay.

# %% mystnb={"image": {"alt": "Left, mean absolute cosine between tasks for seven variants during the first epoch, a dot for each seed. Right, for the networks with gates, the same at the end of the epoch with the tasks' own gates, shuffled gates and averaged gates, and the cosine of a task with itself on other images; lines join the values of a seed."}}
_, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.4))
for x, runs in enumerate(study.values()):
    dots = [size(run["all"]) for run in runs]
    left.plot([x] * len(dots), dots, "o", color=plots.COLORS["blue"])
    left.plot(x, np.mean(dots), "_", ms=22, color="black")
left.set_xticks(range(len(study)), study, rotation=35, ha="right")
left.set(ylim=(0, None), ylabel="mean |cosine|, first epoch")

GATED = {"TSσBN, 0.01": "sky", "TSσBN, 0.1": "blue", "random gates": "purple"}
ASKED = {
    "own gates": "same",
    "shuffled": "shuffled",
    "averaged": "averaged",
    "a task\nwith itself": "within",
}
for name, color in GATED.items():
    lines = right.plot(
        range(len(ASKED)),
        [
            [size(run["end"][cells]) for run in study[name]]
            for cells in ASKED.values()
        ],
        "o-",
        ms=4,
        lw=1,
        color=plots.COLORS[color],
    )
    lines[0].set_label(name)
right.set_xticks(range(len(ASKED)), ASKED)
right.set(ylim=(0, None), ylabel="mean |cosine|, after it")
right.legend(fontsize=8)
plt.show()

# %%
compared(
    {name: [size(r["all"]) for r in runs] for name, runs in study.items()},
    (
        ("statistics only", "HPS"),
        ("TSBN, 0.01", "HPS"),
        ("TSσBN, 0.01", "HPS"),
        ("TSσBN, 0.01", "TSBN, 0.01"),
        ("TSBN, 0.1", "HPS"),
        ("TSσBN, 0.1", "HPS"),
        ("TSσBN, 0.1", "TSBN, 0.1"),
        ("random gates", "HPS"),
        ("TSσBN, 0.1", "random gates"),
    ),
)

# %%
rows = {
    name: {
        "other images": np.mean([size(run["end"]["other"]) for run in runs]),
        "task with itself": np.mean(
            [size(run["end"]["within"]) for run in runs]
        ),
        "other / itself": np.mean(
            [
                size(run["end"]["other"]) / size(run["end"]["within"])
                for run in runs
            ]
        ),
    }
    for name, runs in study.items()
}
for name in GATED:
    of_gates = [run["gates"] for run in study[name]]
    rows[name]["spread of gates"] = np.mean([g["spread"] for g in of_gates])
    rows[name]["ρ"] = np.mean([g["similarity"] for g in of_gates])
pd.DataFrame(rows).T.round(2).fillna("")

# %% [markdown]
# *Other / itself* is what is left of the angle between two tasks on different
# images when the noise is divided out, and ρ the similarity of the tasks' gates
# in {eq}`eq-gate-factor`. Whatever narrows the angles of random gates, it is not
# that tasks have learned to avoid each other: it is what {eq}`eq-gated-cosine`
# does to gates that differ, for whatever reason. Whether it helps the tasks
# must be read from their scores.
#
# (features-apart)=
# ## Features of their own
#
# The middle of Figure 2 shows the features of the encoder for the first five
# attributes of CelebA, one point for each image and task, laid out by t-SNE
# {cite:p}`maaten2008tsne`: five islands. We make the same picture from drawn
# faces. A small network is trained on the same five attributes, with the
# paper's multiplier of 100, at 16x16 pixels.

# %%
FIVE = sorted(ATTRIBUTES)[:5]
print(*FIVE)


def five(split, root=None):
    """Faces with these attributes alone."""
    count = 600 if split == "train" else 300
    made = faces(split, count, recipe=Faces(size=16))
    tensors = {name: made.tensors[name] for name in ("image", *FIVE)}
    return Stored(tensors, {name: made.targets[name] for name in FIVE})


recipe = {"side": 16, "batch": 32, "epochs": 8, "schedule": "cosine"}
run = Run("faces", "tssbn", 0, recipe)
run = Run(replace(run.benchmark, data=five), "tssbn")
trained = train(run).net
images, seen = five("test")[:], five("train")[:]["image"]

# %% [markdown]
# Beside it, four other networks:
#
# - **half open**: untrained, all gates half open;
# - **untrained, trained gates shuffled**: filters that nobody trained, and the
#   trained gates of each task in random order within each layer. What remains
#   is that the tasks have *different* gates, as far open and shut as the
#   trained ones;
# - **trained, gates shuffled**: the same with trained filters;
# - **trained, gates averaged**: trained filters, every task with the mean of
#   the tasks' gates.
#
# Each gets running statistics that fit it, from the training images.


# %%
def with_gates(net, gammas):
    """A copy with these gates, one (T, C) a layer, and fitting statistics."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        for layer, gamma in zip(gated(net), gammas, strict=True):
            layer.gamma.copy_(gamma)
            layer.reset_running_stats()
            layer.momentum = 1.0
        net.train()(seen)
    return net.eval()


def shuffle(gamma):
    return torch.stack([row[torch.randperm(len(row))] for row in gamma])


def average(gamma):
    return gamma.sigmoid().mean(0).logit().expand_as(gamma)


_ = torch.manual_seed(0)
fresh = find_method("tssbn").build(
    run.benchmark.network, dict.fromkeys(FIVE, 1)
)
start = [layer.gamma.detach() for layer in gated(fresh)]
end = [layer.gamma.detach() for layer in gated(trained)]
nets = {
    "trained": with_gates(trained, end),
    "half open": with_gates(fresh, start),
    "untrained,\ntrained gates shuffled": with_gates(fresh, map(shuffle, end)),
    "trained,\ngates shuffled": with_gates(trained, map(shuffle, end)),
    "trained,\ngates averaged": with_gates(trained, map(average, end)),
}


@torch.no_grad()
def features(net, count):
    """What the encoder gives for these faces, (tasks, faces, 64), scaled."""
    each = []
    for task in FIVE:
        with tssbn.select(net.trunk, task):
            each.append(net.trunk(images["image"][:count]).double())
    each = torch.stack(each)
    scale = each.flatten(0, 1).std(0)
    return ((each - each.flatten(0, 1).mean(0)) / (scale + 1e-9)).numpy()


def silhouette(points):
    """By task, of (tasks, faces, D)."""
    labels = np.repeat(np.arange(len(points)), points.shape[1])
    return silhouette_score(points.reshape(len(labels), -1), labels)


# %% [markdown]
# The silhouette of a point compares its distance to the points of its own task
# with that to the nearest other task: 1 for islands far apart, 0 for none,
# below 0 for the wrong one {cite:p}`rousseeuw1987silhouettes`. We take it of
# the 64 features themselves, and for comparison of the two coordinates of the
# picture.

# %% mystnb={"image": {"alt": "Three t-SNE pictures, 500 points each in five colours for five tasks. Trained: each task is an island or two. Untrained filters with shuffled gates: islands just as clear. Gates half open: the five colours coincide everywhere."}} tags=["nbval-ignore-output"]
SHOWN = ("trained", "untrained,\ntrained gates shuffled", "half open")
figure, axes = plt.subplots(1, 3, figsize=(7.5, 3.3))
palette = list(plots.COLORS.values())[:5]
layouts = {}
for ax, name in zip(axes, SHOWN, strict=True):
    points = features(nets[name], 100)
    flat = TSNE(random_state=0).fit_transform(points.reshape(500, -1))
    layouts[name] = flat.reshape(5, 100, 2)
    for task, cloud, color in zip(FIVE, layouts[name], palette, strict=True):
        ax.plot(*cloud.T, ".", ms=4, color=color, label=task)
    ax.set(xticks=[], yticks=[])
    ax.set_title(name, loc="center", fontsize=9)
    ax.set_xlabel(
        f"silhouette {silhouette(points):.2f}\n"
        f"(of the picture {silhouette(layouts[name]):.2f})"
    )
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=5,
    fontsize=8,
    markerscale=2,
    handletextpad=0,
    columnspacing=1,
)
plt.suptitle("Islands by task, trained or not", fontsize=11)
plt.show()

# %% [markdown]
# Now a number for what a picture of islands cannot show. Are the features of a
# task good for *its* attribute? For each network, task $t$ and attribute $s$ we
# fit a linear probe to the features of $t$ that tells $s$, and score it on held
# out faces by the area under the ROC curve (0.5 is chance). If features have
# become the task's own in more than their place, the probe of its own attribute
# should gain most.


# %% tags=["nbval-ignore-output"]
def probes(net):
    """AUC of each attribute (columns) from each task's features (rows)."""
    table = np.empty((5, 5))
    for row, points in enumerate(features(net, len(images["image"]))):
        for column, name in enumerate(FIVE):
            labels = images[name].ravel().numpy()
            probe = LogisticRegression(C=0.1, max_iter=300)
            scores = cross_val_predict(
                probe, points, labels, cv=3, method="decision_function"
            )
            table[row, column] = roc_auc_score(labels, scores)
    return table


rows = {}
for name, one in nets.items():
    table = probes(one)
    own = np.eye(5, dtype=bool)
    rows[name.replace("\n", " ")] = {
        "silhouette": silhouette(features(one, 100)),
        "probe, own attribute": table[own].mean(),
        "probe, from another task": table[~own].mean(),
    }
apart = pd.DataFrame(rows).T
apart["gain"] = apart.iloc[:, 1] - apart.iloc[:, 2]
apart.round(2)

# %% [markdown]
# The same from several seeds, saved by `book/studies/features.py`, with the
# controls that matter: the features of HPS, which are the same for all tasks,
# and of separate networks.

# %%
kept = records.load("features/five_attributes")["runs"]


def by_seed(measure):
    """By network, the measure of each seed."""
    return {name: [measure(run[name]) for run in kept] for name in kept[0]}


def own_attribute(found):
    return np.diag(found["probes"]).mean()


def gain(found):
    """AUC of the own attribute, less that from another task's features."""
    return own_attribute(found) - np.array(found["probes"])[~own].mean()


def means(values):
    return {
        name: f"{np.mean(of):.2f} ± {np.std(of, ddof=1):.2f}"
        for name, of in values.items()
    }


on_one_trunk = [
    {name: found for name, found in run.items() if "silhouette" in found}
    for run in kept
]
pd.DataFrame(
    {
        "silhouette": means(
            {
                name: [run[name]["silhouette"] for run in on_one_trunk]
                for name in on_one_trunk[0]
            }
        ),
        "probe, own attribute": means(by_seed(own_attribute)),
        "gain": means(by_seed(gain)),
    },
    list(kept[0]),
).fillna("")

# %%
probed = by_seed(own_attribute)
probed["TSσBN"] = probed.pop("trained")
controls = ("HPS", "STL", "trained, averaged", "trained, shuffled")
compared(probed, [("TSσBN", control) for control in controls])

# %% [markdown]
# The islands are flat: t-SNE pulls neighbours together and pushes the rest away,
# so a small shift that all points of a task share becomes an ocean. They come
# from gates that differ, of trained filters or others; with equal gates all
# tasks have the same features and nothing is apart. The probes tell more, but
# separate networks have such a gain, too, and HPS has features that are good for
# all five: the last table says whether those of TSσBN are better.
#
# (growth)=
# ## What a further task costs
#
# The right part of Figure 2: parameters of the encoder against the number of
# tasks $T$, relative to a ResNet-50. No formula is needed, we build the
# networks, without their heads and without numbers (on PyTorch's meta device),
# and count.

# %%
resnet50 = dilated_resnet()
RESNET = sum(p.numel() for p in resnet50.parameters())
resnet = Network(
    dilated_resnet, lambda outputs: nn.Identity(), torch.empty(2, 3, 64, 64)
)
TASKS = (1, 2, 3, 4, 6, 8, 10)


def encoder(method, count):
    """Parameters of everything but the heads."""
    tasks = dict.fromkeys((f"task {i}" for i in range(count)), 1)
    with torch.device("meta"):
        net = find_method(method).build(resnet, tasks)
    return sum(p.numel() for p in net.parameters())


counted = {
    name: np.array([encoder(name, count) for count in TASKS])
    for name in ("stl", "cross-stitch", "mtan", "tsbn", "tssbn")
}

# %% [markdown]
# And now the formulas. With $N$ parameters of a ResNet-50, $C$ of its channels
# normalised and $T$ tasks,
#
# $$
# \begin{aligned}
# \text{STL} &= T N, &
# \text{TSBN} &= N + 2 (T - 1)\, C, \\
# \text{Cross-Stitch} &= T N + 3\, T^2, &
# \text{TS}\sigma\text{BN} &= N + (T - 2)\, C, \\
# \text{MTAN} &= N + S + T A . &&
# \end{aligned}
# $$ (eq-growth)
#
# Cross-Stitch has a unit for each pair of tasks at three places. TSσBN has one
# gate for each channel where BatchNorm has two numbers, so that a single task
# saves $C$ and two tasks cost what one network costs. In MTAN the blocks that
# carry features from a stage to the next are shared, $S$, and the masks are
# each task's, $A$. Its two numbers follow from the widths $w_1, \dots, w_4$ of
# the four stages: a mask goes from $e$ channels over $w/4$ to $w$ (with
# biases, BatchNorm and $e = w_1$ in the first, $2 w_j$ in later stages), a
# carrier is a bottleneck with a projection.

# %%
w = np.array([256, 512, 1024, 2048])
C = sum(
    m.num_features for m in resnet50.modules() if isinstance(m, nn.BatchNorm2d)
)
m, e = w // 4, np.array([256, 1024, 2048, 4096])
A = int(((e + 1) * m + 2 * m + (m + 1) * w + 2 * w).sum())
a, b = w[:-1], w[1:]
m = b // 4
S = int((a * m + 9 * m**2 + m * b + 2 * (2 * m + b) + a * b + 2 * b).sum())
T = np.array(TASKS)
formula = {
    "stl": T * RESNET,
    "cross-stitch": T * RESNET + 3 * T**2,
    "mtan": RESNET + S + T * A,
    "tsbn": RESNET + 2 * (T - 1) * C,
    "tssbn": RESNET + (T - 2) * C,
}
for name in counted:
    assert (counted[name] == formula[name]).all()
assert (RESNET, C) == (23_508_032, 26_560)
print(f"N = {RESNET:,}, C = {C:,}, S = {S:,}, A = {A:,}")

# %% mystnb={"image": {"alt": "Encoder parameters relative to ResNet-50 against the number of tasks, 1 to 10. STL and Cross-Stitch lie on one straight line from 1 to 10, MTAN rises from 1.5 to 3.1, TSBN and TSσBN stay at 1. A second panel enlarges the two: TSBN reaches 1.020, TSσBN 1.009."}}
_, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), width_ratios=(3, 2))
LINES = {"stl": "o-", "cross-stitch": "x--", "mtan": "s-", "tsbn": "^-"}
for name, cells in counted.items():
    line = {
        "color": plots.method_color(name),
        "label": find_method(name).title,
        "ms": 5,
    }
    for ax in (left, right) if name in ("tsbn", "tssbn") else (left,):
        ax.plot(T, cells / RESNET, LINES.get(name, "o-"), **line)
left.set(xlabel="tasks", ylabel="encoder parameters / ResNet-50")
left.set_title("A task costs a network, or a thousandth of one")
left.legend()
right.set(xlabel="tasks")
right.set_title("TSBN and TSσBN, enlarged")
plt.show()
pd.DataFrame(
    {find_method(n).title: cells / RESNET for n, cells in counted.items()},
    pd.Index(T, name="tasks"),
).round(4)

# %% [markdown]
# This part of the figure is a fact of counting and holds to the last digit. What
# it leaves out is computation: TSσBN and TSBN run the encoder once for each
# task, so its multiplications grow like those of STL (chapter 8).
#
# ## Limits
#
# - Rooms are synthetic and the U-Net is small; the paper's left panel is of NYUv2
#   on a SegNet. Fewer filters mean fewer directions and wider cosines for every
#   method.
# - The paper's "early" is ours to interpret: here it is the first tenth. It does
#   not say over how many images a gradient is taken either; ours is that of a
#   batch.
# - Cosines say nothing of lengths. A task whose gradient is ten times as long
#   moves the filters ten times as far, at whatever angle.
# - We shuffled gates to see whether it matters *which* filters a task holds
#   open. That is about angles and islands alone. Whether the choice helps the
#   task is asked by removing filters in {doc}`12_filters`.
# - The five attributes are read by a small network, trained for seconds. What
#   its probes say of drawn faces they need not say of CelebA.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-09-disjoint
# Set the gates of the toy so that task a has the first two channels wide open
# and the others shut, and task b the other way round. What is the cosine, and
# what in {eq}`eq-gated-cosine` says so?
# :::
#
# :::{solution} ex-09-disjoint
# :class: dropdown
#
# ```python
# with torch.no_grad():
#     shut = torch.tensor([40.0, 40.0, -40.0, -40.0])
#     trunk[1].gamma.copy_(torch.stack([shut, -shut]))
# predictions = two(toy)
# losses = {t: (predictions[t] - goal[t]).square().mean() for t in goal}
# g = task_gradients(losses, trunk[0].weight)
# print(cosines(g)[0, 1].item(), tssbn.gates.similarity(trunk[1].gamma.sigmoid()))
# assert abs(cosines(g)[0, 1]) < 1e-12
# ```
#
# Zero: in every term of the numerator one of the two gates is shut. The tasks
# have two channels each and share nothing but the name of a layer.
# :::
#
# :::{exercise}
# :label: ex-09-one-layer
# In the hook all gates are drawn at random. Draw those of the first gated layer
# alone, or those of the last. How much of the effect is left? Which of the two
# factors of a gradient, what a filter reads or the error that comes back, does
# each of them change?
# :::
#
# :::{solution} ex-09-one-layer
# :class: dropdown
#
# ```python
# for where in "none", "first", "last", "all":
#     cells, layers = [], gated(net)
#     chosen = {"none": [], "first": layers[:1], "last": layers[-1:]}
#     for seed in range(5):
#         _ = torch.manual_seed(seed)
#         for layer in layers:
#             nn.init.zeros_(layer.gamma)
#         for layer in chosen.get(where, layers):
#             nn.init.normal_(layer.gamma, std=2)
#         cells += of_pairs(net, data[seed::5])
#     print(where, round(size(cells), 3))
# ```
#
# The gates of the first layer change what all later filters read, and through
# that the errors as well. Those of the last layer change the errors of all
# earlier filters and leave what they read alone.
# :::
#
# ## What we learned
#
# - A gate is a factor of the gradient of its filter. Tasks with different gates
#   have gradients that are closer to orthogonal, learned or not.
# - Right angles end agreement as well as conflict.
# - Islands in a t-SNE picture say that the tasks' gates differ. Untrained
#   filters with shuffled gates make islands, too. Whether a task's features suit
#   its own attribute, a probe tells, beside those of other methods.
# - Parameters grow by a gate for each channel and task, as the paper says, to
#   the digit.

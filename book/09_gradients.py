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

# %% [markdown]
# # Do task gradients still fight?

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from itertools import combinations

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.gates import similarity
from tssbn.gradients import cosines, task_gradients
from tssbn.methods import Network, find_method
from tssbn.networks.deeplab import dilated_resnet
from tssbn.norm import TaskSigmoidNorm
from tssbn.plots import gradients as gradient_plots
from tssbn.training.loop import train
from tssbn.training.run import Run

torch.set_num_threads(1)
plots.style()
study = records.load("angles/first_epoch")["runs"]
Markdown(f":::{{admonition}} The claim\n{gradient_plots.claim(study)}\n:::")

# %% [markdown]
# *8 minutes to read; runs in a minute on one CPU core, no download.*
#
# ## Right angles without learning
#
# Two tasks conflict where their gradients on shared filters point in opposite
# directions. The {term}`gradient cosine` measures it ({doc}`03_tasks_fight`): 1 is
# agreement, 0 a right angle, and below 0 is a conflict. In Figure 2 of the paper
# {cite:p}`suteu2025tssbn` the cosines of {term}`TSσBN` are close to 0 early in
# training, and those of hard sharing ({term}`HPS`) spread widely. Did the gates learn
# to keep the tasks apart?
#
# We train HPS on small synthetic rooms ({doc}`05_miniatures`) for one short epoch
# and keep its filters. Then each task gets gates $\sigma(\gamma_t)$ that have
# learned nothing: every $\gamma$ is drawn from a normal distribution.

# %%
SMALL = {"n": 320, "height": 32, "width": 48, "epochs": 1, "lr": 3e-3}
run = Run("rooms", "hps", 1, SMALL)
data = run.benchmark.data("test")
tasks = run.benchmark.tasks(data.targets)
hps = train(run).net
net = tssbn.MultiTask(tssbn.task_specific(hps.trunk, tasks), hps.heads)


def layers(net, kind):
    return [layer for layer in net.modules() if isinstance(layer, kind)]


def of_pairs(batch):
    """The cosine of the gradients of every two tasks."""
    y = net.train()(batch["image"])
    losses = {t: task.loss(y[t], batch[t]) for t, task in tasks.items()}
    filters = [conv.weight for conv in layers(net.trunk, nn.Conv2d)]
    found = cosines(task_gradients(losses, filters))
    return [found[pair].item() for pair in combinations(range(len(tasks)), 2)]


def drawn(width, chosen, seed):
    """The cosines on some images, with these gates drawn and others half open."""
    _ = torch.manual_seed(seed)
    for layer in layers(net, TaskSigmoidNorm):
        nn.init.normal_(layer.gamma, std=width if layer in chosen else 0)
    return of_pairs(data[seed::10])


gated = layers(net, TaskSigmoidNorm)
WIDTHS = (0, 0.5, 1, 2, 4)
hook = [[drawn(width, gated, seed) for seed in range(5)] for width in WIDTHS]

# %% [markdown]
# **Before you look:** at width 0 all gates are half open, and all tasks read the same
# features. Where will the cosines be when gates come from a wide distribution?

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Cosines between task gradients against the width of the distribution that the gates are drawn from. At width 0 they are widely scattered; the wider the distribution, the closer they lie to zero."}}
hook = torch.tensor(hook).flatten(1)
_, ax = plt.subplots(figsize=(7, 2.8))
places = torch.arange(len(WIDTHS))[:, None] + torch.linspace(-0.15, 0.15, 15)
ax.plot(places.T, hook.T, "o", ms=5, alpha=0.6, color=plots.COLORS["blue"])
ax.axhline(0, color="black", lw=0.8)
names = [f"{w}\n{m:.2f}" for w, m in zip(WIDTHS, hook.abs().mean(1), strict=True)]
ax.set_xticks(range(len(WIDTHS)), names)
ax.set_xlabel("width of the distribution of γ, and mean |cosine|")
ax.set_ylabel("cosine of two tasks")
ax.set(ylim=(-1, 1), title="Random gates bring cosines near 0")
plt.show()

# %% [markdown]
# These gates were never trained. So cosines near 0 do not show that tasks *learned*
# to avoid each other.
#
# ## Why a gate turns a gradient
#
# Channel $c$ of a shared layer has the filter $w_c$ and the normalised output
# $\hat x_{t,c}$ in the pass of task $t$. Behind the gate it is $y_{t,c} =
# {\color{#D55E00}{\sigma(\gamma_{t,c})}}\, \hat x_{t,c}$. By the chain rule the
# gate is a factor of the filter's gradient:
#
# $$
# g_{t,c} = \frac{\partial L_t}{\partial w_c}
#         = {\color{#D55E00}{\sigma(\gamma_{t,c})}}\, a_{t,c}, \qquad
# a_{t,c} = \frac{\partial \hat x_{t,c}}{\partial w_c}
#           \frac{\partial L_t}{\partial y_{t,c}} .
# $$ (eq-gated-gradient)
#
# Let $\sigma_t$ be the vector of the gates of task $t$. If the gates are independent
# of the $a_{t,c}$, the cosine is multiplied on average by $\rho$, the similarity of
# the two tasks' gates:
#
# $$
# \cos(g_1, g_2) \approx \rho\, \cos(a_1, a_2), \qquad
# \rho = \frac{\sigma_1 \cdot \sigma_2}
#             {\lVert \sigma_1 \rVert\, \lVert \sigma_2 \rVert} .
# $$ (eq-gate-factor)
#
# Equal gates have $\rho = 1$. Independent gates that are open with probability $p$
# and shut otherwise have $\rho = p$. Gates of other layers bring further factors.
# Those of earlier layers change the input of a filter, and those of later layers
# change the error that comes back. All factors multiply.

# %%
drawn_gates = torch.rand(2, 100_000, generator=torch.Generator().manual_seed(0))
for p in (1.0, 0.5, 0.1):
    rho = similarity((drawn_gates < p).double())[0, 1]
    print(f"open with probability {p}: ρ = {rho:.1f}")

# %% [markdown]
# ## Early in training
#
# `book/studies/angles.py` trains small rooms for one epoch with three seeds, and
# measures the cosines in every second step. Gates and scales learn at a rate of 0.1,
# the best for TSσBN on the full rooms. {term}`TSBN` has scales and biases instead
# of gates. The {term}`null` is TSσBN with random gates of width 1 that stay frozen.
#
# **Before you look:** which of the four will be narrowest? Which will have most
# conflicts, that is, cosines below 0?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Densities of the cosines of task gradients in the first epoch, on one axis. HPS is wide and lies mostly below zero. TSσBN, TSBN and, dashed, random gates are narrow peaks close to zero."}}
ax = plt.subplots(figsize=(7, 3.2))[1]
gradient_plots.densities(ax, study)
ax.set_title("Gates narrow the cosines, learned or drawn at random")
plt.show()

# %% [markdown]
# TSσBN is narrower than HPS, as in the paper, and has fewer conflicts. The same holds
# for random gates and for TSBN. (The paper prints no numbers with its figure.) By the
# 95 % intervals over three seeds the conflicts are surely fewer, and the mean absolute
# cosine may be smaller by chance:

# %% tags=["hide-input"]
print(gradient_plots.differences(study))

# %% [markdown]
# After the epoch we change the gates and keep the filters. *Shuffled* gates are in
# random order within each layer and task. With *averaged* gates every task has the
# mean gate of all tasks. The table has mean absolute cosines.

# %% tags=["hide-input"]
gradient_plots.interventions(study)

# %% [markdown]
# With equal gates the cosines are several times as large. So most of the effect
# comes from gates that *differ*. Shuffled gates have a smaller effect than a task's
# own gates, because the filters have adapted to the gates in their places. They adapt
# to random gates, too. The last column compares gradients of one task on different
# images. It would be 1 without noise. It is far from 1, so all numbers contain noise.
#
# ## A whole training
#
# The saved runs on full-size rooms have the cosines of every 30th step
# (`python -m tssbn train rooms --method tssbn --angles 30`), each method at its
# best rate. The first point is before the first step, when nothing was learned.
#
# **Before you look:** are the gradients of an untrained network closer to right
# angles than those of a trained one, or further away?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Mean absolute cosine of HPS, TSBN and TSσBN before training and in each tenth of it; bands are the spread of seeds. All begin below 0.1, rise in the first tenth, where HPS is highest, and run close together later."}}
METHODS = ("hps", "tsbn", "tssbn")
runs = {method: records.of("rooms", method, range(20)) for method in METHODS}
ax = plt.subplots(figsize=(7, 3))[1]
gradient_plots.training(ax, runs)
ax.set_title("Untrained networks are closest to right angles")
plt.show()

# %% [markdown]
# With every method the gradients of an *untrained* network are closest to right
# angles. The table has the first tenth of the training, and differences from HPS
# with their 95 % intervals.

# %% tags=["hide-input"]
gradient_plots.table(runs)

# %% [markdown]
# In the first tenth TSσBN has smaller cosines than HPS layer by layer. Over the whole
# trunk the interval reaches zero.
# Later the methods hardly differ. The share of conflicts is not smaller with TSσBN
# than with HPS. On full-size rooms the tasks mostly agree, and right angles end
# agreement as well as conflict. Only scores show what helps ({doc}`06_nyuv2`).
#
# ## Features apart
#
# The middle of the paper's Figure 2 shows features of five attributes of CelebA faces.
# Each point is an image in the pass of one task. In the plane of t-SNE
# {cite:p}`maaten2008tsne` each task has an island of its own. We train five attributes
# of synthetic faces. The null is an untrained network with random gates.
#
# **Before you look:** will the untrained network have islands?


# %%
FACES = {"attributes": 5, "n": 600, "side": 16, "batch": 32, "epochs": 8}
run = Run("faces", "tssbn", 0, FACES)
trained = train(run).net
five, images = trained.heads.keys(), run.benchmark.data("test")[:100]["image"]
null = find_method("tssbn").build(run.benchmark.network, dict.fromkeys(five, 1))
for layer in layers(null, TaskSigmoidNorm):
    nn.init.normal_(layer.gamma, std=2)


@torch.no_grad()
def features(net):
    """Of each task's pass, (tasks, images, features), standardised."""
    found = []
    for task in five:
        with tssbn.select(net.trunk, task):
            found.append(net.train().trunk(images))
    found = torch.stack(found)
    return (found - found.mean((0, 1))) / (found.std((0, 1)) + 1e-6)


# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Two t-SNE pictures, 500 points each in five colours for five tasks. Trained: each task is an island or two. Untrained with random gates: each task has a region of its own, too."}}
networks = {"Trained": trained, "Untrained, random gates": null}
gradient_plots.islands({name: features(one) for name, one in networks.items()}, [*five])
plt.show()

# %% [markdown]
# Random gates separate the tasks without any training. The silhouette
# {cite:p}`rousseeuw1987silhouettes` of the features is 1 for groups that are far
# apart and 0 without groups. It is small in both networks; t-SNE makes gaps larger.
#
# A better question is whether the features of a task predict *its own* attribute.
# We fit a linear classifier, a probe, and score it by the area under the ROC curve
# (AUC, 0.5 by chance). The table has means of saved runs
# (`book/studies/features.py`) and 95 % intervals.

# %% tags=["hide-input"]
gradient_plots.features(records.load("features/five_attributes")["runs"])

# %% [markdown]
# With shuffled gates the silhouette hardly changes, but the AUC falls to that of
# untrained networks. So islands do not show how good features are. TSσBN's features are
# about as good as those of HPS, and worse than those of single-task networks,
# {term}`STL`.
#
# ## One task more
#
# The right of Figure 2 counts parameters of the trunk. With $N$ parameters of a
# ResNet-50, of which $2C$ are scales and biases, STL needs $TN$ and TSσBN
# $N + (T - 2)\, C$, one gate for each channel and task.


# %%
def encoder(method, T):
    outputs = dict.fromkeys(map(str, range(T)), 1)
    with torch.device("meta"):
        net = find_method(method).build(resnet, outputs)
    return sum(p.numel() for p in net.parameters())


resnet = Network(dilated_resnet, lambda n: nn.Identity(), torch.empty(2, 3, 64, 64))
N, C = encoder("stl", 1), 26_560
for T in (2, 3, 10):
    assert encoder("tssbn", T) == N + (T - 2) * C and encoder("stl", T) == T * N
    print(f"{T} tasks: STL {T} N, TSσBN {encoder('tssbn', T) / N:.3f} N")

# %% [markdown]
# These counts are exact. Time grows with each task's pass ({doc}`15_cost`).
#
# ## What to do with it
#
# 1. Do not take cosines near 0 or islands as a sign of learning. Measure them for
#    an untrained network and for random gates, too.
# 2. To see whether tasks help each other, compare scores.
#
# ## Limits
#
# - Rooms are synthetic, and the U-Net is small. The paper has NYUv2 on a SegNet and
#   compares MTAN, of which we have no run. It does not say how early it measures,
#   nor over how many images; ours are single batches.

# %% tags=["remove-input"] mystnb={"markdown_format": "myst"}
size = {k: abs(torch.tensor([run["all"] for run in study[k]])).mean() for k in study}
Markdown(
    f"- At a gate rate of 0.01 TSσBN's mean absolute cosine is {size['tssbn .01']:.2f}, that of "
    f"HPS is {size['hps']:.2f}, with own statistics alone it is {size['statistics']:.2f}."
)

# %% [markdown]
# - Cosines ignore lengths: a longer gradient moves the filters more.
# - High dimension is no explanation: random vectors of this size have a cosine of 0.002.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-09-one-layer
# Draw the gates of the first layer alone, or of the last layer alone, with width 2.
# How much of the effect is left?
# :::

# %%
where = {"none": [], "first": gated[:1], "last": gated[-1:], "all": gated}
# your turn: drawn(2, where[...], seed), the mean of |cosine| over five seeds

# %% [markdown]
# :::{solution-start} ex-09-one-layer
# :class: dropdown
# :::

# %% tags=["nbval-ignore-output"]
left = {}
for name, chosen in where.items():
    found = torch.tensor([drawn(2, chosen, seed) for seed in range(5)])
    left[name] = found.abs().mean().item()
print({name: round(value, 2) for name, value in left.items()})
assert left["all"] < min(left["first"], left["last"]) and left["all"] < left["none"]

# %% [markdown]
# Gates of all layers narrow more than those of one, since their factors multiply.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-09-backward
# Write the gradient of $W$ by hand, by {eq}`eq-gated-gradient`, for one layer
# $z = W x$ with normalisation, a gate and a linear head $v$. With
# $u = \partial L / \partial \hat x$ and the deviation $s$ over the batch,
# $\partial L / \partial z = (u - \bar u - \hat x\, \overline{u \hat x}) / s$.
# :::

# %%
x, goal = torch.randn(32, 6).double(), torch.randn(32, 1).double()
W, v = torch.randn(4, 6).double().requires_grad_(), torch.randn(1, 4).double()
gate = torch.rand(4).double()
z = x @ W.T
x_hat = (z - z.mean(0)) / z.std(0, correction=0)
loss = ((gate * x_hat) @ v.T - goal).square().mean()
# your turn: the gradient of the loss in W, (4, 6)

# %% [markdown]
# :::{solution-start} ex-09-backward
# :class: dropdown
# :::

# %%
error = 2 * ((gate * x_hat) @ v.T - goal) / len(x)
u = gate * (error @ v)  # the gate is a factor of all that comes back
dz = u - u.mean(0) - x_hat * (u * x_hat).mean(0)
by_hand = (dz / z.std(0, correction=0)).T @ x
assert torch.allclose(by_hand, torch.autograd.grad(loss, W)[0], atol=1e-12)

# %% [markdown]
# :::{solution-end}
# :::
#
# ## What we learned
#
# - A gate is a factor of its filter's gradient. Gates that differ bring gradients
#   closer to right angles, learned or not.
# - Untrained networks are closest to right angles; islands need no training either.
# - Parameters grow by one gate for each channel and task, as the paper states.

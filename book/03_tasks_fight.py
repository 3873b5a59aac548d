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
# # When tasks fight
#
# :::{admonition} The claim
# Two tasks that share every filter disagree about what the filters should do.
# Their gradients agree in one step and oppose each other in the next. The
# spread of the angle between them can be seen and made smaller:
# normalisation narrows it, and so does a penalty on the angle.
# :::
#
# *Runs in under a minute on one CPU core; no GPU needed.*
#
# We also ask what a narrow spread is worth. The answer is less flattering than
# we had hoped, and it leads to the next chapter.

# %% tags=["hide-input"]
import copy
import functools
from statistics import harmonic_mean
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import gradients, plots
from tssbn.data.synthetic import digits

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Two digits, two tasks
#
# Each image holds two handwritten digits, an even one on the left and an odd
# one on the right. *Left* is the task to read the left digit, *right* to read
# the right one; both choose among five classes. This is the multi-digit
# experiment of {cite:t}`suteu2019orthogonal`, made like that of
# {cite:t}`sun2019mulitdigitmnist`, but from the small 8×8 scans of
# {cite:t}`pedregosa2011sklearn`.

# %% mystnb={"image": {"alt": "Eight black canvases of 20 by 20 pixels, each with two handwritten digits at random heights: an even one in the left half, an odd one in the right half."}}
TASKS = ("left", "right")
train = digits.pairs("train", root=None)
test = digits.pairs("test", root=None)


def pair_names(data):
    pairs = zip(data["left"].tolist(), data["right"].tolist(), strict=True)
    return [f"{2 * left}{2 * right + 1}" for left, right in pairs]


plots.images(train["image"][:8], pair_names(train)[:8])
plt.show()

# %%
for split in digits.SPLITS:
    print(f"{split:6}", *(f"{a}{b}" for a, b in digits.pairs_in(split)))

# %% [markdown]
# Mind the split. There are 25 pairs of an even and an odd digit, and **the
# pairs of the test set never occur in training**. Every digit does occur, on
# its side, but in other company. A network that has learnt to read two digits
# does not care. A network that has learnt 16 *pictures of pairs* does. No
# scan is in two splits either.
#
# ## Where sharing loses
#
# The network follows the paper: a {term}`trunk` of two convolutions with 20
# filters, with a stride in place of pooling and without bias, and for each
# task a {term}`head` with one more convolution and two linear layers. A
# network for one task alone ({term}`STL`, single-task learning) is a trunk and
# a head. With {term}`HPS`, hard parameter sharing, one trunk serves both
# heads {cite:p}`caruana1997multitask`.


# %%
def conv(inputs, stride, norm):
    return (
        nn.Conv2d(inputs, 20, 3, stride, bias=False),
        nn.BatchNorm2d(20) if norm else nn.Identity(),
        nn.ReLU(),
    )


def make_net(tasks, norm, seed):
    _ = torch.manual_seed(seed)
    trunk = nn.Sequential(*conv(1, 2, norm), *conv(20, 2, norm))
    heads = {
        task: nn.Sequential(
            *conv(20, 1, norm),
            nn.Flatten(),
            nn.Linear(80, 50),
            nn.ReLU(),
            nn.Linear(50, 5),
        )
        for task in tasks
    }
    return tssbn.MultiTask(trunk, heads)


def last_shared(net):
    return net.trunk[3].weight  # 20 x 20 filters of 3 x 3


# %% [markdown]
# One training loop serves the whole chapter. The line with `gradients` will be
# explained below; for now, `alpha` is 0 and it only watches. The score is
# the paper's: the harmonic mean of the two accuracies.

# %%
EPOCHS, BATCH, LR = 6, 64, 3e-3
SEEDS = range(3)


class Run(NamedTuple):
    nets: list
    cosine: torch.Tensor  # of the task gradients, one a step


def fit(net, seed, alpha=0.0):
    optimiser = torch.optim.Adam(net.parameters(), LR, fused=True)
    shuffle = torch.Generator().manual_seed(seed)
    seen = []
    for _ in range(EPOCHS):
        order = torch.randperm(len(train["image"]), generator=shuffle)
        for batch in order.split(BATCH):
            scores = net(train["image"][batch])
            losses = {
                task: F.cross_entropy(scores[task], train[task][batch])
                for task in scores
            }
            total = sum(losses.values())
            if len(losses) == 2:
                g = gradients.task_gradients(
                    losses, last_shared(net), create_graph=alpha > 0
                )
                cosine = gradients.cosines(g)[0, 1]
                total = total + alpha * cosine**2
                seen.append(cosine.item())
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
    _ = net.eval()
    return torch.tensor(seen)


@functools.cache
def hps(norm, alpha, seed):
    net = make_net(TASKS, norm, seed)
    return Run([net], fit(net, seed, alpha))


@functools.cache
def stl(norm, seed):
    nets = [make_net([task], norm, seed) for task in TASKS]
    for net in nets:
        _ = fit(net, seed)
    return Run(nets, torch.tensor([]))


def score(run, data):
    with torch.no_grad():
        answers = [net(data["image"]).items() for net in run.nets]
    accuracies = [
        (y.argmax(1) == data[task]).double().mean().item()
        for answer in answers
        for task, y in answer
    ]
    return 100 * harmonic_mean(accuracies)


# %% [markdown]
# To see what new *pairs* cost, we need test images with the pairs of training
# too. Each digit stays in its half of the canvas, so we can cut the test
# images in two and paste the halves together again: new scans, known pairs.


# %%
def paste(data, pairs):
    """Left halves with the right halves of other images, if in `pairs`."""
    other = torch.randperm(
        len(data["image"]), generator=torch.Generator().manual_seed(0)
    )
    half = data["image"].shape[-1] // 2
    image = torch.cat(
        (data["image"][..., :half], data["image"][other][..., half:]), -1
    )
    left, right = data["left"], data["right"][other]
    pasted = {"image": image, "left": left, "right": right}
    wanted = torch.tensor([name in pairs for name in pair_names(pasted)])
    return {key: value[wanted] for key, value in pasted.items()}


known = paste(test, {f"{a}{b}" for a, b in digits.pairs_in("train")})
hook = {
    name: torch.tensor(
        [[score(r, data) for data in (known, test)] for r in runs]
    )
    for name, runs in {
        "STL, a trunk each": [stl(True, seed) for seed in SEEDS],
        "HPS, one trunk": [hps(True, 0.0, seed) for seed in SEEDS],
    }.items()
}

# %% mystnb={"image": {"alt": "Score on unseen scans for two kinds of network, three seeds each. On pairs of digits that occur in training, separate networks and the shared one are close. On new pairs both fall, and the shared network falls much further."}}
fig, ax = plt.subplots(figsize=(7, 3))
for (name, scores), color in zip(hook.items(), ("blue", "red"), strict=True):
    _ = ax.plot([0, 1], scores.T, "o", color=plots.COLORS[color], alpha=0.6)
    _ = ax.plot([0, 1], scores.mean(0), color=plots.COLORS[color], label=name)
_ = ax.set_xticks([0, 1], ["pairs of training", "new pairs"])
_ = ax.set(xlim=(-0.4, 1.4), ylabel="score on new scans (%)")
_ = ax.set_title("Sharing costs little on known pairs, and a lot on new ones")
_ = ax.legend()
plt.show()

# %%
alone, shared = (scores.mean(0) for scores in hook.values())
cost = alone - shared
print("new pairs: sharing costs more than 2 points:", bool(cost[1] > 2))
print("over 1 point more than on known pairs:", bool(cost[1] - cost[0] > 1))

# %% [markdown]
# This is {term}`negative transfer`: a task does worse in company than alone.
# All networks here have batch normalisation ({term}`BN`,
# {cite:t}`ioffe2015batchnorm`), so it is not for want of it. On pairs that it
# knows, the shared network reads nearly as well as two separate ones. In new
# company it errs far more often: what a head reads depends on the digit that
# is none of its business. The likely reason: shared filters carry both tasks'
# signals, and each head has learnt to rely on the mixture.
#
# ## The angle between two gradients
#
# What goes on in the shared weights? Call them $\theta$. Task $t$ has the loss
# $L_t$ and pulls with its gradient
#
# $$
# g_t = \frac{\partial L_t}{\partial \theta},
# \qquad
# \cos(g_1, g_2) = \frac{g_1^\top g_2}{\lVert g_1\rVert\,\lVert g_2\rVert}.
# $$ (eq-cosine)
#
# A small step of gradient descent at rate $\eta$ on the sum of the losses
# changes the loss of task 1, to first order, by
#
# $$
# \Delta L_1 \approx -\eta\, g_1^\top (g_1 + g_2)
# = -\eta \left( \lVert g_1\rVert^2
# + \lVert g_1\rVert\,\lVert g_2\rVert \cos(g_1, g_2) \right).
# $$ (eq-interference)
#
# The second term is what task 2 does to task 1. Where the
# {term}`gradient cosine` is positive it helps, where it is negative it harms
# ({term}`task interference`), and at 0 each task minds its own business.
#
# {cite:t}`suteu2019orthogonal` watch the cosine over training. What they find
# telling is not its mean, which is near 0 anyway, but its **spread**, the
# standard deviation $\sigma$ (here $\sigma$ is never the sigmoid). A
# wide one means that the tasks help and harm each other at random. To make it
# small, they penalise it. Let $\hat g_t = g_t / \lVert g_t \rVert$ be
# the columns of $\hat G$, for $T$ tasks, and $I$ the identity:
#
# $$
# R = \frac{1}{T\,(T-1)}\,\bigl\lVert \hat G^\top \hat G - I \bigr\rVert_F^2,
# \qquad
# \text{loss} = \sum_t L_t + \alpha R .
# $$ (eq-cosreg)
#
# This is {term}`CosReg`. $\hat G^\top \hat G$ holds all cosines, and its
# diagonal is 1, so $R$ is the mean squared cosine over the pairs of tasks. It
# lies between 0 and 1, and for two tasks it is $\cos^2(g_1, g_2)$. Agreement
# is penalised as much as conflict: the aim is that tasks let each other alone.
#
# ## From scratch
#
# To descend $R$, one has to differentiate a function of gradients: a
# {term}`double backward`. In PyTorch that is one argument,
# `create_graph=True`.


# %%
def cosreg(losses, weight):
    unit = []
    for loss in losses:
        (g,) = torch.autograd.grad(loss, weight, create_graph=True)
        unit.append(g.flatten() / g.norm())
    G = torch.stack(unit, dim=1)  # one column a task
    T = len(losses)
    return (G.T @ G - torch.eye(T)).square().sum() / (T * (T - 1))


# %% [markdown]
# The package has the same three steps as `task_gradients`, `cosines` and
# `orthogonality`. They also bear a gradient that is zero, and refuse what
# makes no sense.

# %%
net = make_net(TASKS, True, seed=0).double()
image = train["image"][:64].double()
scores, weight = net(image), last_shared(net)
losses = {t: F.cross_entropy(scores[t], train[t][:64]) for t in TASKS}

ours = cosreg(losses.values(), weight)
theirs = gradients.orthogonality(losses, weight)
cosine = gradients.cosines(gradients.task_gradients(losses, weight))[0, 1]
slopes = [
    torch.autograd.grad(r, weight, retain_graph=True)[0]
    for r in (ours, theirs)
]

close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
close(ours, theirs)
close(ours, cosine**2)
close(*slopes)
print("CosReg from scratch equals tssbn.gradients.orthogonality")
print("for two tasks it is the squared cosine; its gradient agrees too")

# %% [markdown]
# Which weights are $\theta$? All shared ones would do, but double backward is
# dear. As in the paper we take only the last layer that is shared,
# `last_shared(net)`: it costs a second pass through the heads, not through the
# trunk.
#
# ## Watching tasks fight
#
# Four shared networks: without normalisation, with CosReg, with BN, and with
# both; three seeds each. The paper takes $\alpha = 10$ alone and 0.1 with BN.
# We take 1 for both, since our training is short: 300 steps, at three times
# the paper's learning rate to make up for it. (What $\alpha = 10$ does in so
# short a time is exercise 2.)

# %%
VARIANTS = {
    "plain": (False, 0.0),
    "CosReg": (False, 1.0),
    "BN": (True, 0.0),
    "BN + CosReg": (True, 1.0),
}
COLORS = dict(zip(VARIANTS, ("red", "orange", "blue", "sky"), strict=True))
runs = {
    name: [hps(*variant, seed) for seed in SEEDS]
    for name, variant in VARIANTS.items()
}
cosines = {
    name: torch.stack([r.cosine for r in several])
    for name, several in runs.items()
}  # (seeds, steps)
spread = {name: c.std(dim=1) for name, c in cosines.items()}
scores = {
    name: torch.tensor([score(r, test) for r in several])
    for name, several in runs.items()
}

# %% mystnb={"image": {"alt": "The gradient cosine at every training step, three seeds, in four panels with the moving spread as a band and a histogram at the side. Plain: dots scattered between about minus 0.6 and 0.6 throughout. CosReg: about half as wide. BN: narrower still. BN with CosReg: the narrowest."}}
WINDOW = 50  # steps, one epoch
fig, axes = plt.subplots(
    1, 8, sharey=True, figsize=(7, 3.4), width_ratios=[3, 1] * 4
)
for (name, c), ax, side in zip(
    cosines.items(), axes[::2], axes[1::2], strict=True
):
    color = plots.COLORS[COLORS[name]]
    steps = torch.arange(c.shape[1])
    _ = ax.plot(steps, c.T, ".", ms=1.5, color=color, alpha=0.5)
    windows = c.unfold(1, WINDOW, 1)  # (seeds, steps - 49, 50)
    middle, width = windows.mean((0, 2)), windows.std(2).mean(0)
    for sign in (-1, 1):
        _ = ax.plot(
            steps[WINDOW // 2 : -WINDOW // 2 + 1],
            middle + sign * width,
            color="black",
            lw=1,
        )
    _ = side.hist(
        c.flatten(),
        torch.linspace(-0.75, 0.75, 31),
        density=True,
        orientation="horizontal",
        color=color,
    )
    _ = side.set_xlim(0, 7)
    side.set_axis_off()
    _ = ax.set_title(f"{name}\nspread {spread[name].mean():.2f}", size=9)
    _ = ax.set_xlabel("step")
_ = axes[0].set(ylim=(-0.75, 0.75), ylabel="cos(g₁, g₂), last shared layer")
_ = fig.suptitle(
    "BN narrows the spread of the gradient cosine, and so does CosReg",
    x=0.01,
    ha="left",
    size=11,
)
plt.show()

# %% [markdown]
# Dots are single steps, all seeds; the bars count them. The black lines are
# one moving standard deviation, over windows of 50 steps, above and below the
# moving mean. The spread is the standard deviation over training, averaged over
# seeds.

# %%
width = {name: s.mean().item() for name, s in spread.items()}
print(
    "CosReg narrows the spread by over a quarter:",
    width["CosReg"] < 0.75 * width["plain"],
)
print("BN narrows it by more than half:", width["BN"] < 0.5 * width["plain"])
print(
    "CosReg on top of BN narrows it further:",
    width["BN + CosReg"] < width["BN"],
)
print(
    "every mean cosine is within 0.1 of zero:",
    all(abs(c.mean().item()) < 0.1 for c in cosines.values()),
)

# %% [markdown]
# The first half of the claim stands. Without normalisation the tasks agree
# and fight in turn, and it does not calm down as training goes on. BN, which
# knows nothing of tasks, narrows the spread more than the penalty made for it.
#
# ## What is a narrow spread worth?
#
# Here are the scores on the test set, with the paper's beside ours. They may
# be compared in their order and spread, not in their level: the paper has five
# times as many images, of larger digits, and trains for longer.

# %% tags=["hide-input", "nbval-ignore-output"]
PAPER = {  # Suteu and Guo (2019): score in %, spread of the cosine, alpha
    "plain": (90.7, 0.27, 0),
    "CosReg": (90.7, 0.03, 10),
    "BN": (91.3, 0.11, 0),
    "BN + CosReg": (92.5, 0.09, 0.1),
}
rows = {
    name: {
        "score (%)": f"{scores[name].mean():.1f} ± {scores[name].std():.1f}",
        "spread": f"{width[name]:.2f}",
        "α": f"{VARIANTS[name][1]:g}",
        "theirs: score (%)": f"{PAPER[name][0]:.1f}",
        "theirs: spread": f"{PAPER[name][1]:.2f}",
        "theirs: α": f"{PAPER[name][2]:g}",
    }
    for name in VARIANTS
}
alone = hook["STL, a trunk each"][:, 1]
rows["STL, BN"] = {"score (%)": f"{alone.mean():.1f} ± {alone.std():.1f}"}
pd.DataFrame.from_dict(rows, orient="index").fillna("")

# %%
mean = {name: s.mean().item() for name, s in scores.items()}
print("BN gains over 1 point:", mean["BN"] - mean["plain"] > 1)
print("CosReg alone is behind:", mean["CosReg"] < mean["plain"])
print(
    "CosReg on top of BN gains less than 2 points:",
    mean["BN + CosReg"] - mean["BN"] < 2,
)
print(
    "STL with BN is ahead of all four:",
    alone.mean().item() > max(mean.values()),
)

# %% [markdown]
# Two of the paper's findings reproduce: both BN and CosReg narrow the spread,
# and BN raises the score. One does not. In the paper CosReg on top of BN is
# best. **In our short training CosReg makes the angle narrower and the score
# no better**: with BN the difference drowns in the scatter of the seeds, and
# without BN the score falls: the penalty costs training time that these few
# steps do not have.
# (Exercise 2 gives it more time, and it does a little better.) And no variant
# comes near the separate networks.
#
# The paper further reports that the spread in the *first epoch* already
# tells the final score. Let us look at our twelve runs.

# %% mystnb={"image": {"alt": "Final score over the spread of the cosine in the first epoch, twelve runs in four colours. Plain runs have the widest spread. CosReg halves it, and those runs end no higher. The runs with BN are the narrowest and end highest, with and without CosReg alike."}}
early = {name: c[:, :WINDOW].std(dim=1) for name, c in cosines.items()}
fig, ax = plt.subplots(figsize=(7, 3))
for name, marker in zip(VARIANTS, "oo^^", strict=True):
    color = plots.COLORS[COLORS[name]]
    _ = ax.plot(
        early[name], scores[name], marker, color=color, ms=8, label=name
    )
_ = ax.set(
    xlabel="spread of the cosine in the first epoch",
    ylabel="score at the end (%)",
    xlim=(0, None),
)
_ = ax.set_title(
    "A narrow start is no promise: CosReg makes one and gains nothing"
)
_ = ax.legend(loc="lower right")
plt.show()

# %%
first = {name: e.mean().item() for name, e in early.items()}
print(
    "CosReg narrows the first epoch by over a quarter:",
    first["CosReg"] < 0.75 * first["plain"],
)
print("BN by more than half:", first["BN"] < 0.5 * first["plain"])

# %% [markdown]
# BN moves a run to the left *and* up. CosReg moves it to the left, and without
# BN down as well. So the spread is a *symptom*: what narrows it may help, and narrowing it for its own
# sake need not. Choose only runs with and without BN, and the paper's
# correlation is there; add runs that differ in the penalty, and it is gone.
#
# ## Why does BN narrow the angle?
#
# BN does not know of tasks, so its effect must have another reason. Look at
# the gradient of a convolution's weights $W$. At each place $p$ of each image
# the layer sees a patch $x_p$ and puts out $y_p = W x_p$. With
# $\delta_{t,p} = \partial L_t / \partial y_p$ and $\bar x$ the mean patch,
#
# $$
# g_t = \sum_p \delta_{t,p}\, x_p^\top
# = \underbrace{\Bigl(\sum_p \delta_{t,p}\Bigr)\, \bar x^\top}_{\text{common}}
# + \sum_p \delta_{t,p}\, (x_p - \bar x)^\top .
# $$ (eq-common)
#
# The first term points along the *same* $\bar x$ for every task, whatever the
# task wants. Behind a ReLU all inputs are positive and $\bar x$ is large. Two
# tasks thus agree or fight over the mere size of a channel. And BN? It
# subtracts each channel's mean, so nothing changes when a constant is added
# to $y$. Hence $\sum_p \delta_{t,p} = 0$, and the common term is gone. We can
# also take it out by hand, from the networks that have no BN.


# %%
def split_cosines(net, seed, batches=50):
    """Spread of the cosine with and without the common term; its share."""
    net = copy.deepcopy(net).train()
    order = torch.Generator().manual_seed(seed)
    whole, rest, share = [], [], []
    for _ in range(batches):
        i = torch.randint(len(train["image"]), (BATCH,), generator=order)
        x = net.trunk[:3](train["image"][i])
        y = net.trunk[3](x)
        features = net.trunk[4:](y)
        losses = {
            t: F.cross_entropy(head(features), train[t][i])
            for t, head in net.heads.items()
        }
        g = gradients.task_gradients(losses, last_shared(net))
        delta = gradients.task_gradients(losses, y).view(2, *y.shape)
        delta = delta.sum((1, 3, 4))  # over images and places: (2, 20)
        patch = F.unfold(x.detach(), 3, stride=2).mean((0, 2))  # (20 * 9,)
        common = torch.stack([torch.outer(d, patch).flatten() for d in delta])
        whole.append(gradients.cosines(g)[0, 1].item())
        rest.append(gradients.cosines(g - common)[0, 1].item())
        share.append((common.norm() / g.norm()).item())
    return [torch.tensor(v) for v in (whole, rest, share)]


plain, bn = (
    [split_cosines(runs[name][seed].nets[0], seed) for seed in SEEDS]
    for name in ("plain", "BN")
)
narrower = [bool(rest.std() < whole.std()) for whole, rest, _ in plain]
print(
    "plain: the common term is over a tenth of the gradient:",
    all(share.mean() > 0.1 for *_, share in plain),
)
print("plain: without it the spread is narrower on", sum(narrower), "of 3")
print(
    "BN: the common term is zero:", all(share.max() < 1e-3 for *_, share in bn)
)

# %% [markdown]
# So a part of what looks like a quarrel is geometry. The common term accounts
# for a part of BN's effect; the rest comes with the division by the standard
# deviation, as exercise 3 shows. This also explains why a wide spread can be
# made narrow without the tasks getting on any better.
#
# ## Limits
#
# - Small scans, a tiny network, 300 steps, three seeds. The order of the
#   spreads is far outside the scatter; differences of a point or two in score
#   are not. While writing we also tried eight seeds, the paper's learning
#   rate, five times the steps, and $\alpha$ from 0.1 to 10. The order of the
#   spreads was always the same. CosReg gained visibly in one case only: a
#   large $\alpha$ on top of BN in a long training, where it was ahead on most
#   seeds, though by less than the seeds differ among each other.
# - The cosine is that of *mini-batch* gradients. It mixes what tasks want with
#   the noise of 64 images, and its spread depends on both, on the number of
#   weights, and on the layer.
# - A step of Adam is not along $-g$, so {eq}`eq-interference` is only a
#   picture here.
# - The gap in the first figure is about *new pairs*. With other tasks and
#   other splits, sharing may well help: more tasks are also more data.
#   Surgery on the gradients {cite:p}`yu2020pcgrad` is another way to treat
#   conflict that we do not try here.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-03-three
#
# Three tasks have the gradients $(1, 0)$, $(1, 1)$ and $(0, 5)$. Compute $R$
# by hand, then with the package. Which $R$ have three gradients that lie at
# 120° to each other in the plane? Can three gradients of two numbers reach
# $R = 0$?
# :::
#
# :::{solution} ex-03-three
# :class: dropdown
#
# The cosines are $\sqrt{1/2}$, $0$ and $\sqrt{1/2}$; their mean square is
# $(\tfrac12 + 0 + \tfrac12) / 3 = \tfrac13$. At 120° all cosines are
# $-\tfrac12$ and $R = \tfrac14$. It cannot be 0: in the plane only two
# directions are orthogonal to each other.
#
# ```python
# g = torch.tensor([[1.0, 0], [1, 1], [0, 5]])
# c = gradients.cosines(g)
# (c - torch.eye(3)).square().sum() / 6
# ```
# :::
#
# :::{exercise}
# :label: ex-03-alpha
#
# Train the network without BN with the paper's $\alpha = 10$. What happens in
# 300 steps? Explain it: how does the derivative of $R$ with respect to $g_t$
# change when $g_t$ is multiplied by a number? Then give it more time, without
# and with BN.
# :::
#
# :::{solution} ex-03-alpha
# :class: dropdown
#
# ```python
# [score(hps(False, 10.0, seed), test) for seed in SEEDS]
# ```
#
# It hardly learns to read. $R$ does not change when $g_t$ is multiplied by
# $c$, so its derivative is divided by $c$: **the smaller the gradients of the
# tasks, the larger that of the penalty**. At the start of training they are
# small, and $\alpha R$ rules. More time is a matter of minutes:
#
# ```python
# EPOCHS = 32
# hps.cache_clear()
# for norm in (False, True):
#     for alpha in (0.0, 10.0):
#         print([score(hps(norm, alpha, seed), test) for seed in range(8)])
# ```
#
# Without BN the network gets away from the start and comes close to the plain
# one. With BN the penalty is ahead on most seeds, as in the paper, but by less
# than the seeds scatter. Set `EPOCHS = 6` and clear the cache again before you
# go on.
# :::
#
# :::{exercise}
# :label: ex-03-centre
#
# BN subtracts a mean and divides by a standard deviation. Write a layer that
# only subtracts the mean, put it in place of BN, and look at the spread.
# :::
#
# :::{solution} ex-03-centre
# :class: dropdown
#
# ```python
# class Centre(nn.BatchNorm2d):
#     def forward(self, x):
#         x = x - x.mean((0, 2, 3), keepdim=True)
#         return x * self.weight[:, None, None] + self.bias[:, None, None]
#
# for seed in SEEDS:
#     net = make_net(TASKS, True, seed)
#     for module in net.modules():
#         if isinstance(module, nn.BatchNorm2d):
#             module.__class__ = Centre
#     print(fit(net, seed).std())
# ```
#
# The spread lands between plain and BN: centring does a part, scaling the
# rest. (This quick layer has no running mean, so it would take that of the
# test batch in evaluation; we only look at the cosine here.)
# :::
#
# :::{exercise}
# :label: ex-03-width
#
# Do the tasks fight over filters? Give the shared trunk 40 of them, as many as
# the two separate trunks have together.
# :::
#
# :::{solution} ex-03-width
# :class: dropdown
#
# ```python
# def wide(seed):
#     net = make_net(TASKS, True, seed)
#     net.trunk = nn.Sequential(
#         nn.Conv2d(1, 40, 3, 2, bias=False), nn.BatchNorm2d(40), nn.ReLU(),
#         nn.Conv2d(40, 40, 3, 2, bias=False), nn.BatchNorm2d(40), nn.ReLU(),
#     )
#     for head in net.heads.values():
#         head[0] = nn.Conv2d(40, 20, 3, bias=False)
#     return Run([net], fit(net, seed))
#
# [score(wide(seed), test) for seed in SEEDS]
# ```
#
# A good part of the gap to STL closes, though not all of it: room helps. And
# this network is the larger one: its last shared layer has twice the weights
# of the two separate layers.
# :::
#
# ## What we learned
#
# - Hard sharing can lose to separate networks. Here it does so on new
#   combinations, where a head has learnt to lean on features of the other
#   task.
# - The gradient cosine shows the struggle as a wide spread. BN narrows it
#   most, in part by removing a direction that all tasks have in common; CosReg
#   narrows it by penalty.
# - A narrow spread can be a sign of better conditions; it is not the cure. The
#   penalty changed the angle a lot, and the score, at best, a little.
#
# Of all that we tried, the normalisation made the largest difference. And yet
# it was one and the same for both tasks: each channel is offered to both heads
# at the same strength, whether they want it or not. What if the filters stay
# shared, but not the normalisation? That is {doc}`chapter 4
# <04_task_specific>`.

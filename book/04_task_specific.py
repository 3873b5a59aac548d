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
# # Task-specific σBN
#
# :::{admonition} The claim
# Share every filter, and give each task its own gates and its own
# statistics. The cost is a fraction of a per cent of parameters a task, and a
# pass; the gates can be read.
# :::
#
# *Runs in under a minute on one CPU core; no GPU needed.*

# %% tags=["hide-input"]
import copy
import inspect
from statistics import harmonic_mean

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

import tssbn
from tssbn import plots
from tssbn.claims import Bed
from tssbn.methods.ablations import affine
from tssbn.data.synthetic import digits

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Task-specific scales over shared statistics
#
# The tasks are those of chapter 3: two handwritten digits on one canvas, an
# even one on the left and an odd one on the right; read the left, read the
# right. We test on pairs of digits that never occur in training. No epoch and
# no network is selected by its score, so the validation pairs join the test
# pairs. (The base learning rate, one for all methods, was set in trials on
# these pairs.)
#
# The network has a {term}`trunk` of two convolutions that both tasks share,
# and a {term}`head` for each task: one convolution and two linear layers.

# %% mystnb={"image": {"alt": "Eight canvases, each with two handwritten digits, an even one on the left and an odd one on the right, at different heights."}}
TASKS = ("left", "right")
SEEDS = range(5)
STEPS, BATCH, LR = 150, 64, 4e-3

train = digits.pairs("train", root=None)
val, test = (
    digits.pairs(split, per_pair=100, root=None) for split in ("val", "test")
)
unseen = {key: torch.cat([val[key], test[key]]) for key in test}


def conv(inputs, stride):
    return (
        nn.Conv2d(inputs, 20, 3, stride, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(),
    )


def make_trunk():
    return nn.Sequential(*conv(1, 2), *conv(20, 2))


def make_head():
    return nn.Sequential(
        *conv(20, 1),
        nn.Flatten(),
        nn.Linear(80, 50),
        nn.ReLU(),
        nn.Linear(50, 5),
    )


plots.images(
    unseen["image"][:8],
    [
        f"{2 * left}, {2 * right + 1}"
        for left, right in zip(
            unseen["left"][:8], unseen["right"][:8], strict=True
        )
    ],
)
plt.show()

# %% [markdown]
# Suppose that we let each task scale and shift the shared channels in its own
# way. Each task then makes its own pass through the trunk, with its own
# $\gamma_t$ and $\beta_t$ in every {term}`BN` layer. That seems to be all
# there is to do. The {term}`running statistics`, which BN uses in evaluation,
# stay as they are: one mean and one variance for each channel.
#
# The package has this layer among its ablations, `norm=affine`. We train it
# with Adam, once at the same learning rate for all parameters, once with
# $\gamma_t$ and $\beta_t$ at 100 times that rate, as the paper does for its
# gates ({term}`discriminative learning rates`; more of that below). The tasks
# take turns in each step: `tasks_per_pass=1`.


# %%
def make(norm, seed, tasks=TASKS, tasks_per_pass=None):
    _ = torch.manual_seed(seed)
    trunk, heads = make_trunk(), {task: make_head() for task in tasks}
    if norm != "shared":
        trunk = tssbn.task_specific(trunk, tasks, norm=norm)
    return tssbn.MultiTask(trunk, heads, tasks_per_pass)


def fit(net, seed, multiplier=None):
    groups = (
        tssbn.param_groups(net, LR, multiplier)
        if multiplier
        else net.parameters()
    )
    optimiser = torch.optim.Adam(groups, LR, fused=True)
    order = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        i = torch.randint(len(train["image"]), (BATCH,), generator=order)
        outputs = net(train["image"][i])
        loss = sum(
            F.cross_entropy(y, train[task][i]) for task, y in outputs.items()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def score(outputs):
    """Harmonic mean of the tasks' accuracies on unseen pairs."""
    return harmonic_mean(
        (y.argmax(1) == unseen[task]).float().mean().item()
        for task, y in outputs.items()
    )


# %% [markdown]
# We evaluate each network four times. The weights are the same in all four;
# only the mean and the variance that the trunk's BN layers subtract and divide
# by differ:
#
# 1. those of the **test batch** itself, as in training;
# 2. the **running** statistics that training left behind, which is what
#    `net.eval()` uses;
# 3. **re-estimated** ones: forget the running statistics, show training images
#    to the finished trunk, and take a plain average over both tasks' passes;
# 4. the same, **re-estimated for each task** by itself.


# %%
@torch.no_grad()
def re_estimate(net, tasks):
    net = copy.deepcopy(net)
    for layer in net.trunk.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain average
    net.trunk.train()
    for images in train["image"][:1000].split(200):
        for task in tasks:
            with tssbn.select(net.trunk, task):
                net.trunk(images)
    return net.eval()


@torch.no_grad()
def four_scores(net):
    images = unseen["image"]
    batch = copy.deepcopy(net)
    batch.trunk.train()
    own = {task: re_estimate(net, (task,)) for task in TASKS}
    return [
        score(batch(images)),
        score(net(images)),
        score(re_estimate(net, TASKS)(images)),
        score({task: own[task](images, (task,))[task] for task in TASKS}),
    ]


hook = {
    multiplier: [
        fit(make(affine, seed, tasks_per_pass=1), seed, multiplier)
        for seed in seeds
    ]
    for multiplier, seeds in ((1, range(3)), (100, SEEDS))
}
scores = {
    multiplier: torch.tensor([four_scores(net) for net in nets])
    for multiplier, nets in hook.items()
}

# %% [markdown]
# Then we look inside one of the networks: what does each task bring to the
# second BN layer of the trunk, and what does that layer subtract?


# %%
@torch.no_grad()
def seen_by_second_norm(net, task):
    layers = copy.deepcopy(net.trunk[:4]).train()  # statistics of the batch
    with tssbn.select(layers, task):
        return layers(unseen["image"])


net = hook[100][0]
norm = net.trunk[4]
shift = {
    task: (seen_by_second_norm(net, task).mean((0, 2, 3)) - norm.running_mean)
    / norm.running_var.sqrt()
    for task in TASKS
}

# %% mystnb={"image": {"alt": "Left, score under four kinds of statistics, a line for each seed: with the learning rate times 100, the running statistics and their re-estimate over both tasks lose most of the score, and re-estimating them for each task restores it; with times 1 the lines are nearly flat. Right, for each of 20 channels the two tasks' means lie on opposite sides of the shared running mean."}}
_, (left, right) = plt.subplots(1, 2, width_ratios=(3, 2))
for multiplier, color in (1, "blue"), (100, "orange"):
    lines = left.plot(
        scores[multiplier].T, "o-", ms=4, lw=1.2, color=plots.COLORS[color]
    )
    lines[0].set_label(f"γ, β at ×{multiplier} ({len(lines)} seeds)")
left.set_xticks(
    range(4),
    ["batch", "running", "re-estim.,\nboth tasks", "re-estim.,\neach task"],
)
left.set(ylim=(0, 1), xlabel="statistics in the trunk")
left.set_ylabel("harmonic mean of accuracies")
left.set_title("Task-specific γ, β, shared statistics")
left.legend(loc="lower right")
channels = range(20)
right.axhline(0, color="black", lw=1)
right.vlines(channels, shift["left"], shift["right"], color="#BBBBBB", lw=1)
for task, color in zip(TASKS, ("green", "purple"), strict=True):
    color = plots.COLORS[color]
    right.plot(channels, shift[task], "o", ms=5, color=color, label=task)
right.set(xlabel="channel of layer 2", ylim=(-1.3, 1.8))
right.set_ylabel("task mean − running mean,\nin running std")
right.set_title("Right for neither task")
right.legend(ncols=2, loc="upper right", title="×100, seed 0")
plt.show()

# %% tags=["nbval-ignore-output"]
STATISTICS = "running", "re-estimated, both", "re-estimated, each"
for multiplier, runs in scores.items():
    print(f"×{multiplier}, {len(runs)} seeds: points minus batch statistics,")
    print("95 % interval of the difference within a network")
    change = 100 * (runs[:, 1:] - runs[:, :1])
    error = change.std(0) / len(runs) ** 0.5 * stats.t.ppf(0.975, len(runs) - 1)
    for kind, x, e in zip(STATISTICS, change.mean(0), error, strict=True):
        print(f"- {kind}: {x:+.1f} [{x - e:+.1f}, {x + e:+.1f}]")

# %% [markdown]
# In training all is well, and `net.eval()` spoils the network, badly on some
# seeds and hardly on others. (HPS has no such failure: its tasks share one pass,
# so the statistics are right for all.) Nothing is wrong with the filters, nor with the
# estimate: the running mean is a good average of two things that should not
# be averaged. Each task's activations lie on
# its own side of it, and it is right for neither. Statistics of its own, and
# not a single new weight, bring each task back.
#
# With the multiplier ×1 there is next to no damage: $\gamma_t$ and $\beta_t$
# hardly move, so the tasks' activations hardly differ. This is why the failure
# can go unnoticed. It grows with the very thing we want, tasks that use the
# shared filters differently. (The same happens when the tasks come with images
# of their own, from two cameras, say; then ordinary BN is enough to see it,
# and the cure is known as {term}`DSBN` {cite:p}`chang2019dsbn`.)
#
# ## Own gates, own statistics
#
# So a task should own the whole layer. Let $x$ be a channel of a shared
# convolution's output in the pass of task $t$, with mean $\mu_t$ and variance
# $v_t$:
#
# $$
# \hat{x}_t = \frac{x - \mu_t}{\sqrt{v_t + \varepsilon}} .
# $$ (eq-ts-statistics)
#
# What follows the normalisation may be BN's usual pair of numbers,
#
# $$
# \mathrm{TSBN}(x;\, \gamma_t, \beta_t) = \gamma_t\, \hat{x}_t + \beta_t ,
# $$ (eq-tsbn)
#
# which is {term}`TSBN`, or the bounded gate of chapter 1,
#
# $$
# \mathrm{TS}\sigma\mathrm{BN}(x;\, \gamma_t) = \sigma(\gamma_t)\, \hat{x}_t ,
# \qquad \sigma(\gamma) = \frac{1}{1 + e^{-\gamma}} ,
# $$ (eq-tssbn)
#
# which is {term}`TSσBN` (equation 3 of {cite:t}`suteu2025tssbn`). In training,
# $\mu_t$ and $v_t$ are those of the batch in task $t$'s pass; in evaluation
# they are task $t$'s running statistics. Every gate starts half open,
# $\gamma_t = 0$.
#
# The layer from scratch is a loop over tasks:


# %%
class TaskSigmoidBN(nn.Module):
    """y_t = σ(γ_t)·x̂_t for the activations x_t of each of T tasks."""

    def __init__(self, tasks, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(tasks, channels))
        self.register_buffer("mean", torch.zeros(tasks, channels))
        self.register_buffer("var", torch.ones(tasks, channels))

    def forward(self, xs):  # T tensors (B, C, H, W)
        rows = zip(xs, self.mean, self.var, self.gamma.sigmoid(), strict=True)
        return [
            F.batch_norm(x, mean, var, gate, training=self.training)
            for x, mean, var, gate in rows  # no bias
        ]


# %% [markdown]
# The package has it as `tssbn.TaskSigmoidBatchNorm2d`, which is also what
# `tssbn.task_specific` makes of the BN layers of a network. A `tssbn.Tasks`
# names the rows of its (T, C) tensors, and `tssbn.select` says which task
# runs. Both layers get the same gates and, for three tasks, three different
# inputs. In float64, outputs, gradients and running statistics agree, in
# training and in evaluation:

# %%
T, B, C, H, W = 3, 4, 5, 6, 6
three = ("a", "b", "c")
ours = TaskSigmoidBN(T, C).double()
layer = tssbn.TaskSigmoidBatchNorm2d(C, tssbn.Tasks(three)).double()
with torch.no_grad():
    layer.gamma.copy_(ours.gamma.normal_())
mine = [
    (t + 1) * torch.randn(B, C, H, W, dtype=torch.float64) + t
    for t in range(T)
]
theirs = [x.clone() for x in mine]
weights = torch.randn(B, C, H, W, dtype=torch.float64)


def close(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-12)


for training in True, False:
    ours.train(training)
    layer.train(training)
    for x in (*mine, *theirs):
        x.grad = None
        x.requires_grad_()
    ours.zero_grad()
    layer.zero_grad()

    ys = ours(mine)
    sum((weights * y).sum() for y in ys).backward()
    for task, x, x_mine, y in zip(three, theirs, mine, ys, strict=True):
        with tssbn.select(layer, task):
            y_theirs = layer(x)
        (weights * y_theirs).sum().backward()
        assert close(y_theirs, y) and close(x.grad, x_mine.grad)

    assert close(layer.gamma.grad, ours.gamma.grad)
    assert close(layer.running_mean, ours.mean)
    assert close(layer.running_var, ours.var)
    print("training" if training else "evaluation", "agrees")

# %% [markdown]
# ## One call for all tasks
#
# A loop over tasks is easy to read and slow to run. It is not needed. Stack
# the passes in one batch of $B \cdot T$ rows, **image by image**: row
# $b \cdot T + t$ is image $b$ as task $t$ sees it. The memory of a contiguous
# tensor of shape $(B \cdot T, C, H, W)$ is then, number for number, that of
# one of shape $(B, T \cdot C, H, W)$. Read it that way, and each task has
# channels of its own:

# %% tags=["hide-input"] mystnb={"image": {"alt": "The same strip of memory read in two ways. Left, six rows, two images times three tasks, with four channels each, coloured by task. Right, two rows, one an image, with twelve channels each: four of task 0, four of task 1, four of task 2."}}
_, (rows, columns) = plt.subplots(1, 2, figsize=(7, 2.4), width_ratios=(1, 2))
task_color = [plots.COLORS[c] for c in ("blue", "orange", "green")]
for b in range(2):
    for t in range(3):
        for c in range(4):
            fill = dict(facecolor=task_color[t], alpha=0.75, edgecolor="white")
            rows.add_patch(plt.Rectangle((c, b * 3 + t), 1, 1, **fill))
            columns.add_patch(plt.Rectangle((t * 4 + c, b), 1, 1, **fill))
            number = str((b * 3 + t) * 4 + c)
            at = dict(ha="center", va="center", fontsize=8)
            rows.text(c + 0.5, b * 3 + t + 0.5, number, **at)
            columns.text(t * 4 + c + 0.5, b + 0.5, number, **at)
rows.set(xlim=(0, 4), ylim=(6, 0), title="(B·T, C): rows b·T + t")
rows.set_yticks(
    [i + 0.5 for i in range(6)],
    [f"image {b}, task {t}" for b in range(2) for t in range(3)],
)
columns.set(xlim=(0, 12), ylim=(2, 0), title="the same memory as (B, T·C)")
columns.set_yticks([0.5, 1.5], ["image 0", "image 1"])
columns.set_xticks([2, 6, 10], [f"task {t}" for t in range(3)])
columns.set_xlabel("channels")
rows.set_xticks([])
rows.set_xlabel("channels")
for ax in rows, columns:
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# BN treats channels separately, so a single ordinary call, with $T \cdot C$
# channels and the $T \cdot C$ gates end to end, normalises, gates and tracks
# every task. The loop over tasks becomes six lines:


# %%
class StackedSigmoidBN(TaskSigmoidBN):
    """The same layer, for rows b·T + t."""

    def forward(self, x):  # (B·T, C, H, W)
        gates = self.gamma.sigmoid()  # (T, C)
        mean, var = self.mean.flatten(), self.var.flatten()  # (T·C,)
        x = x.unflatten(0, (-1, len(gates))).flatten(1, 2)  # (B, T·C, H, W)
        y = F.batch_norm(x, mean, var, gates.flatten(), None, self.training)
        y = y.unflatten(1, gates.shape)  # (B, T, C, H, W)
        return y.flatten(0, 1)  # (B·T, C, H, W)


x = torch.stack(mine, dim=1).flatten(0, 1).detach()  # (B·T, C, H, W)
assert x.data_ptr() == x.unflatten(0, (B, T)).flatten(1, 2).data_ptr()

ours.train()
layer.train()
stacked = StackedSigmoidBN(T, C).double()
stacked.load_state_dict(ours.state_dict())
y = stacked(x)
with layer.tasks.running(three):
    assert close(layer(x), y)
for t, separate in enumerate(ours(mine)):
    assert close(y[t::T], separate)
assert close(stacked.mean, ours.mean) and close(stacked.var, ours.var)
print("one call = a loop over tasks = the package")

# %% [markdown]
# Nothing is copied on the way in: the second reading has the address of the
# first. In the package the same lines are the `forward` of the layer. What
# comes before them there is for special cases. $t$ is the number of tasks that
# run, and `rows` takes their part of a (T, C) tensor:

# %%
source = inspect.getsource(tssbn.TaskSigmoidBatchNorm2d.forward)
print(source[source.index("        gates =") :])

# %% [markdown]
# Convolutions and activations do not mix rows, so whole networks can run
# stacked, each image repeated once for each task. Check it against separate
# passes, with random gates, on our small trunk and on a ResNet-18
# {cite:p}`he2016resnet`, whose classifier we take off:


# %%
def headless(resnet):
    net = resnet(weights=None)
    net.fc = nn.Identity()
    return net


def randomise_gates(trunk):
    with torch.no_grad():
        for layer in trunk.modules():
            if isinstance(layer, tssbn.TaskSigmoidBatchNorm2d):
                layer.gamma.normal_()


for trunk, channels in (make_trunk(), 1), (headless(resnet18), 3):
    trunk = tssbn.task_specific(trunk.double(), three)
    randomise_gates(trunk)
    one_by_one = copy.deepcopy(trunk)
    images = torch.rand(B, channels, 64, 64, dtype=torch.float64)
    tasks = tssbn.tasks.find_tasks(trunk)[0]
    with torch.no_grad():
        with tasks.running(three):
            y = trunk(images.repeat_interleave(T, 0))
        for t, task in enumerate(three):
            with tssbn.select(one_by_one, task):
                assert close(y[t::T], one_by_one(images))
    for a, b in zip(trunk.buffers(), one_by_one.buffers(), strict=True):
        assert close(a.double(), b.double())  # the running statistics
print("stacked = separate passes")

# %% [markdown]
# ## The network
#
# `tssbn.MultiTask` puts heads on a trunk and does the selecting and stacking.
# It returns a dict from task to output. Ask for fewer tasks and the others
# cost nothing:

# %%
trunk = tssbn.task_specific(make_trunk(), three)
net = tssbn.MultiTask(trunk, {task: make_head() for task in three}).double()
images = train["image"][:16].double()
print({task: tuple(y.shape) for task, y in net(images).items()})
print(list(net(images, tasks=("c",))))

# %% [markdown]
# The activations of all $T$ passes live together until the backward pass.
# Where memory is short, stack fewer tasks at a time, with a backward pass
# after each group. Gradients add up, and statistics belong to tasks, so the
# result is the same:


# %%
def gradients(net, passes):
    net.zero_grad()
    for tasks in passes:
        sum(y.square().mean() for y in net(images, tasks).values()).backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


randomise_gates(net.trunk)
at_once = gradients(net, [three])
net.tasks_per_pass = 2
print(list(net.passes()))
assert close(gradients(net, net.passes()), at_once)

# %% [markdown]
# Up to the first task-specific layer all tasks see the same activations. This
# {term}`stem` need not be repeated. While training, $\hat{x}$ of that layer is
# the same for all tasks, too, and a positive gate may as well act after ReLU
# or pooling. `stem` names the module in front of which the tasks part, here
# or right away in `MultiTask(trunk, heads, stem="3")`. `find_stem` reads a
# proposal off the graph of the trunk, and `check` compares with separate
# passes:

# %%
net.tasks_per_pass = None
print("the tasks can part in front of layer", tssbn.find_stem(net.trunk))
net.stem = "3"
net.check(images)
assert close(gradients(net, [three]), at_once)

# %% [markdown]
# A trained network takes a new task without touching the old ones: a row of
# gates in each layer, a head, and not a bit of the other outputs changes.

# %%
before = net.eval()(images)
net.add_task("d", make_head().double(), like="a")
after = net(images)
print(net.tasks)
assert all(torch.equal(after[task], before[task]) for task in three)

# %% [markdown]
# ## What it costs
#
# Few parameters. A ResNet-50 without its classifier has 53 BN layers with
# 26,560 channels in all. {term}`HPS` pays a $\gamma$ and a $\beta$ for each,
# TSBN pays both once for each task, TSσBN a single gate for each task. Single
# networks ({term}`STL`) pay for everything $T$ times. Counted on the real
# modules:


# %%
def count(module):
    return sum(p.numel() for p in module.parameters())


with torch.device("meta"):  # shapes without numbers
    backbone = headless(resnet50)
hps = count(backbone)
channels = sum(
    m.num_features for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)
)
assert (hps, channels) == (23_508_032, 26_560)

counts = {}
for n in (1, 2, 3, 5, 10, 20, 40):
    names = [f"task {t}" for t in range(n)]
    own, gates = (
        count(tssbn.task_specific(copy.deepcopy(backbone), names, norm=norm))
        for norm in ("plain", "sigmoid")
    )
    assert own - hps == (n - 1) * 2 * channels
    assert gates - hps == (n - 2) * channels
    counts[n] = {
        "HPS": hps,
        "TSBN": own,
        "TSσBN": gates,
        "STL": n * hps,
    }
pd.DataFrame(counts).T.rename_axis("T")

# %% [markdown]
# With two tasks, TSσBN has exactly as many parameters as HPS: two gates in the
# place of $\gamma$ and $\beta$. Each further task costs 26,560, about a
# thousandth of the trunk. The paper's Cityscapes network is this trunk with
# three DeepLab heads (19 classes, 10 classes, 1 channel). Its table gives the
# size of each method relative to STL, .60 for HPS and TSσBN and .61 for TSBN.
# The counts agree to the last digit that is printed:

# %%
with torch.device("meta"):
    heads = sum(count(DeepLabHead(2048, outputs)) for outputs in (19, 10, 1))
size = {
    "STL": 3 * hps + heads,
    "HPS": hps + heads,
    "TSBN": counts[3]["TSBN"] + heads,
    "TSσBN": counts[3]["TSσBN"] + heads,
}
assert size["STL"] == 118_908_126 and size["HPS"] == 71_892_062
assert size["TSσBN"] - size["HPS"] == 26_560
assert size["TSBN"] - size["HPS"] == 4 * 26_560
for method, parameters in size.items():
    print(f"{method:5} {parameters:11,} {parameters / size['STL']:.2f}")

# %% [markdown]
# The parameters are cheap, the passes are not: $T$ tasks pass the trunk $T$
# times. We come back to this in the limits.
#
# ## Starting from a pretrained trunk
#
# A gate that starts at 0.5 and a shift that is dropped would change what a
# pretrained network computes. `affine="preserve"` keeps it. With $w$ and $b$
# the scale and shift that the layer had,
#
# $$
# y = s\, \sigma(\gamma_t)\, \hat{x}_t + \beta_t ,
# \qquad s = 2w \text{ (frozen)},
# \quad \gamma_t = 0,
# \quad \beta_t = b ,
# $$ (eq-preserve)
#
# so that $s\,\sigma(0) = w$ at the start. Each task gets a copy of the
# running statistics. (The paper does not say how it treats pretrained scales
# and shifts; this is our choice.) It is the default for every layer that does
# not look freshly made. Here is a ResNet-18 with random scales of both signs,
# shifts and statistics in place of trained ones:


# %%
def as_if_trained(net):
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(-0.5, 1.5)
                layer.bias.uniform_(-1, 1)
                layer.running_mean.uniform_(-1, 1)
                layer.running_var.uniform_(0.5, 2)
    return net.double().eval()


pretrained = as_if_trained(headless(resnet18))
images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
trunk = tssbn.task_specific(copy.deepcopy(pretrained), three)
with torch.no_grad():
    for task in three:
        with tssbn.select(trunk, task):
            assert close(trunk(images), pretrained(images))
print("same output for every task")

channels = sum(
    m.num_features
    for m in pretrained.modules()
    if isinstance(m, nn.BatchNorm2d)
)
assert count(trunk) - count(pretrained) == (2 * T - 2) * channels

# %% [markdown]
# What is kept has its price. The shifts stay, one for each task, so there are
# as many trained parameters as in TSBN, and a frozen number $s$ for each
# channel besides. It can be folded into the convolution or the gate once
# training is over.
#
# ## Gates must learn fast
#
# A gate that stays near 0.5 for every task is of no use. How far can it get?
# Adam moves a parameter by about the learning rate in each step. In
# $n$ steps at rate $\eta$, $\gamma$ stays roughly within
# $\pm n\eta$, and the gate within $\sigma(\pm n\eta)$. Here:

# %%
reach = torch.tensor([-1.0, 1.0]) * STEPS * LR
print("×1:  ", [round(g, 2) for g in reach.sigmoid().tolist()])
print("×100:", [round(g, 2) for g in (100 * reach).sigmoid().tolist()])

# %% [markdown]
# So the gates get {term}`discriminative learning rates`: `tssbn.param_groups`
# makes two parameter groups, the gates at 100 times the base rate (the paper's
# number for all its experiments) and without weight decay, and the rest as
# usual. Any optimiser and scheduler takes them. Chapter 1 shows why the
# sigmoid makes such a rate bearable: the nearer a gate comes to 0 or 1, the
# less it moves.
#
# ## The experiment
#
# Six ways to learn both tasks, all with the same filters, heads, data, base
# learning rate and number of steps; five seeds of each:
#
# - **STL**: a network of its own for each task, twice the trunk;
# - **HPS**: one trunk, one pass, ordinary BN;
# - **TSBN** and **TSσBN**, each with the multipliers ×1 and ×100.

# %%
METHODS = {
    "HPS": ("shared", None),
    "TSBN ×1": ("plain", 1),
    "TSBN ×100": ("plain", 100),
    "TSσBN ×1": ("sigmoid", 1),
    "TSσBN ×100": ("sigmoid", 100),
}
trained = {
    name: [[fit(make(norm, seed), seed, multiplier)] for seed in SEEDS]
    for name, (norm, multiplier) in METHODS.items()
}
trained["STL"] = [
    [fit(make("shared", seed, (task,)), seed) for task in TASKS]
    for seed in SEEDS
]

# %% [markdown]
# Every network is scored twice: on the unseen pairs as they are, and with the
# **other digit erased**, that is with the half of the canvas that the task
# does not ask about painted black.


# %%
@torch.no_grad()
def evaluate(nets, erase=False):
    outputs = {}
    for net in nets:  # one network, or one for each task
        for task in net.tasks:
            images = unseen["image"].clone()
            if erase and task == "left":
                images[..., 10:] = 0
            elif erase:
                images[..., :10] = 0
            outputs |= net(images, (task,))
    return score(outputs)


names = ["STL", *METHODS]
seeds = pd.Index(SEEDS, name="seed")
as_is, erased = (
    pd.DataFrame(
        {n: [evaluate(nets, erase) for nets in trained[n]] for n in names},
        seeds,
    )
    for erase in (False, True)
)

# %% mystnb={"image": {"alt": "Scores of six methods, a dot for each of five seeds and a bar at the mean. On unseen pairs STL is best, HPS, TSBN ×1 and TSσBN ×1 are lowest, and TSBN ×100 and TSσBN ×100 lie between. With the other digit erased all methods score higher and lie close together."}}
_, ax = plt.subplots(figsize=(7, 3.6))
for frame, shift, color, label in (
    (as_is, -0.16, plots.COLORS["blue"], "unseen pairs"),
    (erased, 0.16, "#999999", "other digit erased"),
):
    for row, name in enumerate(names):
        y = row + shift
        dots = dict(marker="o", ms=5, lw=0, color=color, alpha=0.6)
        ax.plot(frame[name], [y] * len(frame), **dots)
        mean = frame[name].mean()
        ax.plot([mean, mean], [y - 0.15, y + 0.15], color=color, lw=3)
    ax.plot([], [], "o-", color=color, label=label)
ax.set_yticks(range(len(names)), names)
ax.invert_yaxis()
ax.set_xlabel("harmonic mean of accuracies; 5 seeds, bar: mean")
ax.set_title("Six ways to learn both tasks")
ax.legend(loc="upper left")
plt.show()

# %% tags=["nbval-ignore-output"]
def minus_hps(frame):
    """Points with 95 % interval."""
    bed = Bed({name: 100 * frame[name].to_numpy() for name in names})
    effects = bed.against("HPS", *[name for name in names if name != "HPS"])
    return {name: -effect for name, effect in effects.items()}


pd.DataFrame(
    {
        "unseen pairs, %": (100 * as_is.mean()).round(1),
        "minus HPS": minus_hps(as_is),
        "gain by erasing": (100 * (erased - as_is).mean()).round(1),
        "minus HPS's gain": minus_hps(erased - as_is),
    },
    index=names,
).fillna("")

# %% [markdown]
# What this says, and what it does not:
#
# - **Sharing costs something here.** Two networks that share no filter are
#   best; they have twice the filters, which chapter 3 shows to be a part of it.
#   The erased half hints why: a shared trunk must carry both digits, and
#   a head that can see the neighbour learns which pairs go together, which is
#   no help on pairs it has not met. HPS gains more than STL when the
#   neighbour is gone, and much of its distance to STL goes too.
# - **At ×1 nothing is gained.** With the common learning rate, TSBN and TSσBN
#   are HPS at twice the compute, within the spread.
# - **At ×100 something may be.** The intervals say how much of the distance is
#   won back, and whether it is more than what five seeds scatter. Erasing the
#   neighbour changes less than for HPS, as it should if some of what the other
#   task needs is shut off in the trunk.
# - **The sigmoid is not what wins this race.** TSBN at ×100 does at least as
#   well. (The text of the paper gives TSBN no faster rate; its ablation does.)
#   What the sigmoid adds is half the parameters per task, safety at such rates
#   (chapter 1), and a number that can be read. In the paper's longer runs it
#   also scores higher {cite:p}`suteu2025tssbn`.
#
# ## A first look at the gates
#
# What did the multiplier do to the gates? Here are all gates of all five
# networks. At ×1 they stay where they began; at ×100 most of them end nearly
# open or nearly shut.

# %% mystnb={"image": {"alt": "Two histograms of gate values. At times 1 all gates lie in a narrow hill around one half; at times 100 they spread from near 0 to near 1."}}
importances = {
    name: [tssbn.gates.importance(net) for (net,) in trained[name]]
    for name in ("TSσBN ×1", "TSσBN ×100")
}
_, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True)
moves = "stay", "spread"
for ax, (name, found), move in zip(
    axes, importances.items(), moves, strict=True
):
    plots.gate_histogram(ax, torch.cat([i.values for i in found]), "blue")
    ax.set(title=f"{name}: gates {move}", xlabel="gate σ(γ)")
axes[1].set_ylabel("")
plt.show()

# %%
slow, fast = (
    torch.cat([i.values for i in found]).std()
    for found in importances.values()
)
print("×100 spreads gates 5 times as far:", (fast > 5 * slow).item())

# %% [markdown]
# All gates of one network, a row for each task and a column for each filter,
# are its {term}`importance matrix` $I$, with
# $I_{t,i} = \sigma(\gamma_{t,i})$. Filters are sorted within each layer, from
# those that the left task holds open to those of the right:

# %% mystnb={"image": {"alt": "Heat map of the importance matrix of one network, two tasks by twenty filters, for each of the two layers. Filters are sorted by the difference of the two rows: some are open for the left task alone, some for the right, and some for both or neither."}}
importance = importances["TSσBN ×100"][0]
fig, axes = plt.subplots(2, 1, figsize=(7, 3.4))
layers = importance.by_layer().items()
for ax, (layer, gates) in zip(axes, layers, strict=True):
    order = (gates[0] - gates[1]).argsort(descending=True)
    picture = ax.imshow(
        gates[:, order], vmin=0, vmax=1, cmap="viridis", aspect="auto"
    )
    ax.set_yticks(range(2), importance.tasks)
    ax.set_xticks([])
    ax.grid(False)
    ax.set_title(f"layer {layer}", size=10)
fig.suptitle("Many filters are open for both tasks, some for one", size=11)
axes[1].set_xlabel("filters, sorted")
plt.colorbar(picture, ax=axes, label="gate σ(γ)")
plt.show()

# %% [markdown]
# A few numbers sum such a matrix up. The {term}`capacity` of a task is the
# mean of its row. The similarity of two tasks is the cosine of their rows;
# since gates are positive it is high even for unrelated rows, so the version
# with the mean subtracted is the one to look at. A filter is specialised if
# one task holds more than the share $\tau$ of its importance. The paper takes
# $\tau = 0.5$; with two tasks that makes every filter somebody's, so here
# $\tau = 0.75$: open three times as far for one as for the other.


# %% tags=["nbval-ignore-output"]
def summary(importance):
    first, second = importance.by_layer().values()
    left, right = tssbn.gates.capacity(importance).tolist()
    alike = tssbn.gates.similarity(importance)[0, 1].item()
    centred = tssbn.gates.similarity(importance, centred=True)[0, 1].item()
    own = [
        (tssbn.gates.specialised(gates, 0.75) >= 0).double().mean().item()
        for gates in (first, second)
    ]
    return left, right, alike, centred, *own


pd.DataFrame(
    [summary(i) for i in importances["TSσBN ×100"]],
    seeds,
    [
        "capacity left",
        "capacity right",
        "similarity",
        "centred",
        "specialised, layer 1",
        "specialised, layer 2",
    ],
).round(2)

# %% [markdown]
# The two rows are not copies of each other: on every seed a good part of the
# filters is open mainly for one task. Nor are they opposites, a division of
# the filters into two camps: the centred similarity stays near zero or has
# either sign, and many filters are open for both. In the paper the
# share of specialised filters grows with depth; the trunk of two layers is no
# place to look for that.
#
# ## Limits
#
# - **$T$ passes.** The trunk runs once for each task. With the three tasks of
#   NYUv2 and all heads that is 1.69 times the operations of HPS on the ResNet-50
#   of the paper's table 2 {cite:p}`suteu2025tssbn`, and 2.64 times on the SegNet
#   of its table 1 ({doc}`06_nyuv2`), whose heads are small. Sharing the stem saves only what lies in
#   front of it; fewer tasks a pass save memory, not work. If only one task is
#   needed at a time, a pass costs what it costs in a plain network.
# - **Running statistics lag.** Gates at ×100 change the activations of later
#   layers quickly, and moving averages follow late. Let the learning rate
#   decay, or re-estimate the statistics at the end, as above.
# - **Batch statistics.** Each task's are taken over its own pass, $B$ images
#   and not $B \cdot T$. What BN needs of the batch size it needs still. Norms
#   without batch statistics ({term}`LN`, group norm) have only the gates; the
#   failure at the start of this chapter cannot happen to them.
# - **Not the right tool** where there is room for a network per task (here STL
#   wins), where all tasks must come out of one pass in real time, or where the
#   trunk has no norm to convert.
# - **Small evidence.** One data set, a tiny trunk, short training, five seeds.
#   What we assert are means over seeds, with a margin; the base learning rate
#   was set on the pairs that we test on, once for all methods.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-04-stacked
#
# Train the networks of the first section without `tasks_per_pass=1`, so that
# both tasks go through the shared statistics in one stacked batch. Does
# evaluation still break? Would you use it?
# :::
#
# :::{solution} ex-04-stacked
# :class: dropdown
#
# ```python
# for seed in SEEDS:
#     print(four_scores(fit(make(affine, seed), seed, 100)))
# ```
#
# Compare the second score with the third: the running statistics are as good
# as re-estimated ones, and the network works with them. In training, too,
# both tasks were now normalised by the statistics of the mixture, so training
# and evaluation agree. The price: in training the result for one task depends
# on which others are in the batch. Statistics of one task alone, the fourth
# score, are now the ones that the network was not trained for.
# :::
#
# :::{exercise}
# :label: ex-04-first
#
# In the *first* norm layer of a TSσBN network, how do the running statistics
# of the two tasks differ? And in the second? Look at
# `net.trunk[1].running_mean`.
# :::
#
# :::{solution} ex-04-first
# :class: dropdown
#
# ```python
# (net,) = trained["TSσBN ×100"][0]
# for layer in net.trunk[1], net.trunk[4]:
#     left, right = layer.running_mean
#     print((left - right).abs().max())
# ```
#
# In the first layer they agree up to rounding: nothing task-specific lies in
# front of it, so both tasks bring the same activations. From the second layer
# on they differ, because the gates of the first do.
# :::
#
# :::{exercise}
# :label: ex-04-order
#
# Stack the passes task by task instead, row $t \cdot B + b$, and read the
# memory as $(B, T \cdot C, H, W)$ again. What goes wrong, and does anything
# tell you?
# :::
#
# :::{solution} ex-04-order
# :class: dropdown
#
# ```python
# wrong = torch.cat(mine).detach()  # rows t·B + b
# y = F.batch_norm(
#     wrong.view(B, T * C, H, W),
#     None,
#     None,
#     ours.gamma.sigmoid().flatten(),
#     training=True,
# ).view(T, B, C, H, W)
# for t, separate in enumerate(ours(mine)):
#     print(close(y[t], separate))
# ```
#
# All three are `False`. The shape fits, so there is no error: the statistics
# of a "channel" now mix images of different tasks, and the gates meet the
# wrong rows. This is why the order is asserted here and tested in the package.
# :::
#
# :::{exercise}
# :label: ex-04-swap
#
# Give each task the other's gates and statistics: run the left head on the
# pass of the right task, and the other way round. How much is lost at ×1, and
# how much at ×100?
# :::
#
# :::{solution} ex-04-swap
# :class: dropdown
#
# ```python
# for name in "TSσBN ×1", "TSσBN ×100":
#     for (net,) in trained[name]:
#         outputs = {}
#         with torch.no_grad():
#             for task, other in zip(TASKS, reversed(TASKS), strict=True):
#                 with tssbn.select(net.trunk, other):
#                     features = net.trunk(unseen["image"])
#                 outputs[task] = net.heads[task](features)
#         print(name, score(outputs))
# ```
#
# At ×1 the passes are nearly interchangeable. At ×100 the score breaks down:
# the two tasks really do use the shared filters differently.
# :::
#
# ## What we learned
#
# - One set of running statistics for passes that differ is right for none of
#   them. Training does not show it, evaluation does.
# - TSσBN gives each task a gate per channel and its own statistics. Stacked
#   image by image, all tasks take one batch-norm call, and a further task
#   costs a ResNet-50 a thousandth of its parameters, but a full pass.
# - Gates must learn fast to be of use: at the common rate nothing happens, at
#   100 times that rate tasks part ways.

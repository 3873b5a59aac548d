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
# # From BatchNorm to σBN
#
# :::{admonition} The claim
# Let a sigmoid bound the scale of BatchNorm, and drop its shift: the network
# loses no accuracy that we can measure. Its gates may then learn at 100 times
# the rate of everything else, a rate at which BatchNorm's scales and shifts
# do harm: much harm with SGD, a little with Adam.
# :::
#
# *Runs in about 40 seconds on one CPU core; no GPU needed.*
#
# This chapter is about one layer and one task. It looks like a small change,
# but everything that follows in the book is read from, or done with, the gate
# that is built here.

# %% tags=["hide-input"]
import functools
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots
from tssbn.data.synthetic import digits

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## What γ and β do
#
# Batch normalisation ({term}`BN`) {cite:p}`ioffe2015batchnorm` treats every
# channel of a layer by itself. Let $x$ be the values of one channel, over all
# images of the batch and all places in the image. BN removes their mean
# $\mu$, divides by their standard deviation, and then undoes some of that
# with two learned numbers, a scale $\gamma$ and a shift $\beta$:
#
# $$
# \hat{x} = \frac{x - \mu}{\sqrt{s^2 + \varepsilon}},
# \qquad
# \mathrm{BN}(x;\, \gamma, \beta) = \gamma\,\hat{x} + \beta .
# $$ (eq-bn)
#
# $s^2$ is the variance and $\varepsilon = 10^{-5}$ keeps the root away from
# zero. In evaluation, $\mu$ and $s^2$ are the {term}`running statistics`.
#
# Why learn a scale at all, if the layer has just removed one? Let us ask a
# small network, with three pairs of convolution and BN, and a linear
# {term}`head` that reads ten digits.


# %% mystnb={"image": {"alt": "Eight grey 8×8 images of handwritten digits, 0 to 7."}}
def make_net(seed):
    _ = torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),  # 16 channels of 2x2 pixels
    )


def norm_layers(net):
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


train = digits.single("train", root=None)
test = digits.single("test", root=None)
plots.images(train["image"][:8], train["digit"][:8].tolist())
plt.show()

# %% [markdown]
# The digits are 8×8 scans of real handwriting
# {cite:p}`pedregosa2011sklearn`. Now multiply all scales and shifts of one BN
# by 7 and look at the scores the network gives to each class.


# %%
def scores(scaled=None, factor=7):
    net = make_net(0).double()
    with torch.no_grad():
        if scaled is not None:
            norm = norm_layers(net)[scaled]
            norm.weight *= factor
            norm.bias *= factor
        return net(train["image"][:256].double()) - net[-1].bias


def equal(a, b):  # up to ε
    return bool((a - b).norm() < 0.01 * b.norm())


for layer in range(3):
    same = equal(scores(layer), scores())
    sevenfold = equal(scores(layer), 7 * scores())
    print(f"BN {layer + 1}: same scores {same}, sevenfold {sevenfold}")

# %% [markdown]
# - **Between two norms, only the ratios of the scales matter.** ReLU and
#   convolution pass a common factor on, and the next BN divides it out (up to
#   $\varepsilon$). A scale above 1 says nothing that smaller scales of the
#   other channels could not say.
# - **In front of the head, the size matters too.** No norm follows, so the
#   scores grow with $\gamma$. But the head has weights of its own and could
#   do the same.
#
# So a scale is a statement about *this channel against its neighbours*. At
# $\gamma = \beta = 0$ the statement is "not needed": the channel is dead, and
# with it the filter that feeds it.

# %%
net = make_net(0)
with torch.no_grad():
    net[4].weight[3] = net[4].bias[3] = 0
F.cross_entropy(net(train["image"][:256]), train["digit"][:256]).backward()

filter_gradients = net[3].weight.grad.flatten(1).norm(dim=1)
print("gradient of filter 3 is zero:", filter_gradients[3].item() == 0)
print("filters with a gradient:", (filter_gradients > 0).sum().item(), "of 16")

# %% [markdown]
# ## A failure: let the scales learn faster
#
# If scales tell which channels matter, we want them to make up their minds
# within one training. They are slow, though: a network is trained at the rate
# that suits its filters. The obvious cure is to give scales and shifts a
# larger learning rate than the rest, {term}`discriminative learning rates`.
# Here is the training loop that all experiments of this chapter share. The
# parameters in `fast` learn `multiplier` times faster.

# %%
LR = {"SGD": 0.1, "Adam": 0.01}
SEEDS = range(5)


class Run(NamedTuple):
    losses: list
    accuracy: float  # on the test split
    scales: torch.Tensor  # of all channels, after training


def fit(net, fast, multiplier, seed, optimiser="SGD", after_step=None):
    fast_ids = {id(p) for p in fast}
    slow = [p for p in net.parameters() if id(p) not in fast_ids]
    lr = LR[optimiser]
    groups = [
        {"params": slow, "lr": lr},
        {"params": fast, "lr": multiplier * lr},
    ]
    if optimiser == "SGD":
        opt = torch.optim.SGD(groups, momentum=0.9)
    else:
        opt = torch.optim.Adam(groups)

    shuffle = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(5):  # epochs
        order = torch.randperm(len(train["digit"]), generator=shuffle)
        for batch in order[:1152].view(18, 64):
            scores = net(train["image"][batch])
            loss = F.cross_entropy(scores, train["digit"][batch])
            opt.zero_grad()
            loss.backward()
            opt.step()
            if after_step is not None:
                after_step()
            losses.append(loss.item())

    net.eval()
    with torch.no_grad():
        right = net(test["image"]).argmax(1) == test["digit"]
        scales = torch.cat([norm.weight for norm in norm_layers(net)])
    return Run(losses, right.double().mean().item(), scales)


def affine(layers):
    """What the layers learn: for BN, γ and β."""
    return [p for norm in layers for p in norm.parameters()]


@functools.cache
def run(norm, multiplier, seed, optimiser="SGD"):
    net = make_net(seed)
    if norm == "σBN":
        net = tssbn.sigmoid(net)  # explained below
    return fit(net, affine(norm_layers(net)), multiplier, seed, optimiser)


def accuracies(*args, **kwargs):
    runs = [run(*args, seed=seed, **kwargs) for seed in SEEDS]
    return torch.tensor([r.accuracy for r in runs])


# %% [markdown]
# Five random starts at the same rate for all, and five with γ and β at 100
# times that rate:

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: training loss over steps, five seeds each. Without a multiplier the loss of BN falls smoothly towards zero; at 100 times the rate it is rough and stays far higher. Right: the test accuracy of all ten runs; the five fast ones are all lower."}}
fig, (left, right) = plt.subplots(1, 2, width_ratios=(3, 1))
for x, (multiplier, color) in enumerate([(1, "blue"), (100, "red")]):
    runs = [run("BN", multiplier, seed) for seed in SEEDS]
    style = {"color": plots.COLORS[color]}
    for r in runs:
        _ = left.plot(r.losses, lw=0.9, **style)
    _ = left.plot([], label=f"γ, β at ×{multiplier}", **style)
    acc = [100 * r.accuracy for r in runs]
    _ = right.plot([x] * len(acc), acc, "o", alpha=0.7, **style)
_ = left.set(
    ylim=(0, 3.5), xlabel="training step", ylabel="training loss"
)
_ = left.set_title("BN breaks when γ and β learn 100 times faster")
_ = left.legend()
_ = right.set(xlim=(-0.5, 1.5), ylim=(70, 100), ylabel="test accuracy (%)")
_ = right.set_xticks([0, 1], ["×1", "×100"])
plt.show()

# %%
slow, fast = accuracies("BN", 1), accuracies("BN", 100)
print("worse at ×100 on", (fast < slow).sum().item(), "of 5 seeds")
print("more than 3 points lost:", bool(slow.mean() - fast.mean() > 0.03))

# %% [markdown]
# Nothing else was changed. Why? The invariance above makes a guess. Between
# two norms a scale that runs away is divided out again. The last BN has no
# norm behind it. There the head sees $y = \mathrm{ReLU}(\gamma\hat{x} + \beta)$,
# all channels and places in one vector, and computes the scores $z = Wy$. One
# step of gradient descent on its weights $W$, at rate $\eta$ and for the loss
# $L$ of one image, changes the scores of that same image by
#
# $$
# \Delta z \;=\; -\,\eta\;\frac{\partial L}{\partial z}\;\lVert y \rVert^2 .
# $$ (eq-head)
#
# Multiply $\gamma$ and $\beta$ by 10, and the head's learning rate is in
# effect 100 times larger, without anyone having set it so. If this is the
# reason, then the first two BNs may learn fast and the last one may not. That
# can be tested.


# %%
def fit_some(chosen, seed):
    net = make_net(seed)
    return fit(net, affine(norm_layers(net)[chosen]), 100, seed)


inner = [fit_some(slice(0, 2), seed).accuracy for seed in SEEDS]
last = [fit_some(slice(2, 3), seed).accuracy for seed in SEEDS]
inner, last = torch.tensor(inner), torch.tensor(last)

print(
    "×100 on BN 1 and 2 costs over 3 points:",
    bool(slow.mean() - inner.mean() > 0.03),
)
print("×100 on BN 3 alone does:", bool(slow.mean() - last.mean() > 0.03))

# %% [markdown]
# The guess holds. In this network the trouble is the one scale that nothing
# bounds. So let us bound it.
#
# ## The bounded gate
#
# Sigmoid batch normalisation ({term}`σBN`) keeps one number per channel, uses
# it through the logistic function $\sigma$, and has no shift
# {cite:p}`suteu2022receding,suteu2025tssbn`:
#
# $$
# \sigma\mathrm{BN}(x;\, \gamma) = \sigma(\gamma)\,\hat{x},
# \qquad
# \sigma(\gamma) = \frac{1}{1 + e^{-\gamma}} \in (0, 1).
# $$ (eq-sbn)
#
# We call $\sigma(\gamma)$ the {term}`gate`: near 0 the channel is shut, near 1
# it is open. It starts at $\gamma = 0$, half open. Two things follow.
#
# **The output is bounded.** Whatever happens to $\gamma$, the next layer sees
# $|y| \le |\hat{x}|$, so the product in {eq}`eq-head` cannot run away.
#
# **The gradient is damped.** Write $g = \sigma(\gamma)$. The chain rule gives
#
# $$
# \frac{\partial y}{\partial \gamma} = \sigma'(\gamma)\,\hat{x}
# = g\,(1-g)\,\hat{x},
# \qquad
# \sigma'(\gamma) \le \tfrac14 .
# $$ (eq-damping)
#
# A gate gets at most a quarter of the gradient that BN's scale would get at
# the same place, and ever less as it opens or shuts. Autograd agrees:

# %%
x = torch.rand(8, 5, 4, 4, dtype=torch.float64)
target = torch.rand(8, 5, 4, 4, dtype=torch.float64)
gamma = torch.tensor([-4.0, -1, 0, 1, 4], dtype=torch.float64)
bn = nn.BatchNorm2d(5).double()
sbn = tssbn.SigmoidBatchNorm2d(5).double()
with torch.no_grad():
    _ = bn.weight.copy_(gamma.sigmoid())
    _ = sbn.gamma.copy_(gamma)
for layer in (bn, sbn):
    F.mse_loss(layer(x), target).backward()

gate = gamma.sigmoid()
damping = sbn.gamma.grad / bn.weight.grad
print("gate   ", [round(v, 3) for v in gate.tolist()])
print("damping", [round(v, 3) for v in damping.tolist()])
print("is g(1 - g):", torch.allclose(damping, gate * (1 - gate)))

# %% [markdown]
# ### What a multiplier of 100 means
#
# A step of $\gamma$ is not yet a step of the gate: $\Delta g \approx
# \sigma'(\gamma)\,\Delta\gamma$ for small steps, which is a second factor
# $\sigma'$. How the two combine depends on the optimiser. Let $\eta$ be the
# base rate and $m$ the multiplier.
#
# *Gradient descent* (SGD) steps in proportion to the gradient, so both
# factors count:
#
# $$
# \Delta g \;\approx\; -\,m\,\sigma'(\gamma)^2\;\eta\,
# \frac{\partial L}{\partial g},
# \qquad m\,\sigma'(\gamma)^2 \le \frac{m}{16} .
# $$ (eq-sgd)
#
# *Adam* divides by the size of recent gradients, so that every parameter
# moves by about its learning rate, whatever its gradient. The damping of the
# gradient cancels, and one factor remains:
#
# $$
# |\Delta \gamma| \approx m\,\eta,
# \qquad
# |\Delta g| \;\approx\; m\,\sigma'(\gamma)\;\eta \;\le\; \frac{m\,\eta}{4} .
# $$ (eq-adam)
#
# With SGD, ×100 on γ is thus never more than ×6.25 on the scale itself.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left: the sigmoid rises from 0 to 1 and its slope peaks at one quarter for gamma 0. Right: the multiplier that reaches the gate, when gamma's is 100, over the gate's value: with Adam a hill of height 25, with SGD a narrower hill of height 6.25, both zero at gates 0 and 1."}}
fig, (left, right) = plt.subplots(1, 2)
gamma = torch.linspace(-6, 6, 241)
gate = gamma.sigmoid()
slope = gate * (1 - gate)
_ = left.plot(gamma, gate, label="gate σ(γ)")
_ = left.plot(gamma, slope, label="slope σ′(γ)")
_ = left.axhline(0.25, color="grey", lw=0.8, ls=":")
_ = left.set(xlabel="γ", ylabel="value", title="The slope is at most 1/4")
_ = left.legend()
_ = right.plot(gate, 100 * slope, color=plots.COLORS["green"], label="Adam")
_ = right.plot(gate, 100 * slope**2, color=plots.COLORS["red"], label="SGD")
_ = right.set(xlabel="gate σ(γ)", ylabel="multiplier of the gate")
_ = right.set_title("What is left of ×100")
_ = right.legend()
plt.show()

# %% [markdown]
# And why 100? Count steps. From half open to almost open,
# $\sigma(\gamma) = 0.99$, γ has to travel to the {term}`logit` of 0.99. With
# Adam at its full step, $m\eta$ each time, that takes at least:

# %%
distance = torch.logit(torch.tensor(0.99, dtype=torch.float64)).item()
print(f"γ must travel {distance:.2g}; steps needed:")
print("base rate        ×1      ×10     ×100    ×1000")
for lr in (1e-4, 1e-3, 1e-2):
    steps = [float(f"{distance / (m * lr):.2g}") for m in (1, 10, 100, 1000)]
    print(f"{lr:<10g}" + "".join(f"{s:9g}" for s in steps))

# %% [markdown]
# At a base rate of $10^{-4}$, common for dense prediction with Adam, an
# undisturbed gate needs tens of thousands of steps at ×1 and some hundreds at
# ×100. The paper uses ×100 throughout {cite:p}`suteu2025tssbn`.
#
# ## From scratch
#
# Equation {eq}`eq-sbn`, with the running statistics that evaluation needs:


# %%
class SigmoidBatchNorm(nn.Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):  # (N, C, H, W)
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            n = x[:, 0].numel()  # the running variance is the unbiased one
            now = (mean.detach(), var.detach() * n / (n - 1))
            _ = self.running_mean.lerp_(now[0], self.momentum)
            _ = self.running_var.lerp_(now[1], self.momentum)
        mean, std, gate = (
            v[:, None, None]  # (C,) -> (C, 1, 1)
            for v in (mean, (var + self.eps).sqrt(), self.gamma.sigmoid())
        )
        return gate * (x - mean) / std


# %% [markdown]
# It is the package's layer: same outputs, gradients and statistics, in
# training and in evaluation.

# %%
ours = SigmoidBatchNorm(5).double()
theirs = tssbn.SigmoidBatchNorm2d(5).double()
with torch.no_grad():
    for layer in (ours, theirs):
        _ = layer.gamma.copy_(torch.linspace(-3, 3, 5))

for training in (True, True, False):
    batch = 3 * torch.rand(8, 5, 4, 4, dtype=torch.float64) + 1
    seen = []
    for layer in (ours.train(training), theirs.train(training)):
        x = batch.clone().requires_grad_()
        y = layer(x)
        grads = torch.autograd.grad(y.pow(3).sum(), (x, layer.gamma))
        seen.append((y, *grads, layer.running_mean, layer.running_var))
    for a, b in zip(*seen, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
print("the layer from scratch equals tssbn.SigmoidBatchNorm2d")

# %% [markdown]
# A whole network is converted by one call, and `tssbn.param_groups` sorts its
# parameters for any optimiser:

# %%
net = tssbn.sigmoid(make_net(0))
grouped = torch.optim.SGD(
    tssbn.param_groups(net, lr=0.1, multiplier=100), momentum=0.9
)
print([type(norm).__name__ for norm in norm_layers(net)])
for group in grouped.param_groups:
    count = sum(p.numel() for p in group["params"])
    print(f"{group['name']}: {count} numbers learn at {group['lr']:g}")

# %% [markdown]
# ## Does it train as well, and how fast may it learn?
#
# BN and σBN, four multipliers, two optimisers, five seeds each: the same
# starting filters, the same batches, the same base rate. The base rates, 0.1
# for SGD with momentum 0.9 and 0.01 for Adam, are brisk ones that suit both
# networks in so short a training.

# %%
MULTIPLIERS = (1, 10, 100, 1000)
results = {
    (norm, optimiser): torch.stack(
        [accuracies(norm, m, optimiser=optimiser) for m in MULTIPLIERS], 1
    )  # (seeds, multipliers)
    for norm in ("BN", "σBN")
    for optimiser in LR
}

# %% tags=["hide-input"] mystnb={"image": {"alt": "Test error on a logarithmic axis over the multiplier of the scale's learning rate, two panels. With SGD, BN and σBN are equal at ×1 and ×10; at ×100 the error of BN is twice as large and at ×1000 it guesses, while σBN stays level. With Adam, the error of BN rises slowly from ×10 on; σBN is level up to ×100 and rises a little at ×1000."}}
fig, axes = plt.subplots(1, 2, sharey=True)
for ax, optimiser in zip(axes, LR, strict=True):
    for norm, color in (("BN", "red"), ("σBN", "blue")):
        error = 100 * (1 - results[norm, optimiser])
        plots.spread(ax, MULTIPLIERS, error, color, norm, marker="o")
    _ = ax.axhline(90, color="grey", lw=0.8, ls=":", label="guessing")
    _ = ax.set(xscale="log", yscale="log", xlabel="multiplier of the rate")
    _ = ax.set_xticks(MULTIPLIERS, [f"×{m}" for m in MULTIPLIERS])
    _ = ax.set_yticks([5, 10, 20, 50, 100], [5, 10, 20, 50, 100])
    ax.minorticks_off()
    _ = ax.set_title(f"{optimiser}, base rate {LR[optimiser]:g}", size=10)
_ = axes[0].set(ylim=(4, 105), ylabel="test error (%)")
_ = axes[1].legend(loc=(0.62, 0.55))
_ = fig.suptitle(
    "σBN is as accurate as BN at ×1, and only σBN still is at ×100",
    x=0.01,
    ha="left",
    size=11,
)
plt.show()

# %% tags=["hide-input", "nbval-ignore-output"]
print("test accuracy in %, mean over 5 seeds (lowest to highest)")
print(" " * 10 + "".join(f"{f'×{m}':>14}" for m in MULTIPLIERS))
for (norm, optimiser), acc in results.items():
    cells = [
        f"{a.mean():.1f} ({a.min():.0f}-{a.max():.0f})" for a in 100 * acc.T
    ]
    print(f"{norm:4}{optimiser:6}" + "".join(f"{c:>14}" for c in cells))

# %%
mean = {key: acc.mean(0).tolist() for key, acc in results.items()}
for optimiser in LR:
    bn, sbn = mean["BN", optimiser], mean["σBN", optimiser]
    print(optimiser)
    print("  σBN within 2 points of BN at ×1:", abs(sbn[0] - bn[0]) < 0.02)
    print("  σBN at ×100 within 2 points of ×1:", sbn[0] - sbn[2] < 0.02)
    print("  σBN ahead of BN at ×100:", sbn[2] > bn[2])
    print("  BN at ×1000 lost over 2 points:", bn[0] - bn[3] > 0.02)

# %% [markdown]
# What is really seen:
#
# - At ×1 the two layers are equal within what five seeds and a few hundred
#   test images can tell.
# - **With SGD** the claim is plain. σBN is level over three orders of
#   magnitude. BN falls at ×100 and guesses at ×1000.
# - **With Adam** the picture is milder. Adam holds every step of BN's γ to
#   the learning rate, so nothing explodes; BN loses a few points at ×100 and
#   more at ×1000. σBN is level up to ×100, but at ×1000 it loses some, too: by
#   {eq}`eq-adam` a single step can then throw a gate from one end to the
#   other.
#
# ### Damping or bound: which one is it?
#
# The gate does two things at once. We can do each alone, at ×1000 with SGD.
# All four variants start with scales of one half and have no shift:
#
# - *neither*: a free scale;
# - *bounded*: a free scale, cut back to [0, 1] after every step;
# - *damped*: a free scale that learns at 1/16 of the rate, which is the
#   largest that {eq}`eq-sgd` leaves to a gate;
# - *both*: σBN.


# %%
def variant(name, seed, multiplier=1000):
    net = make_net(seed)
    scales = [norm.weight for norm in norm_layers(net)]
    for norm in norm_layers(net):
        _ = nn.init.constant_(norm.weight, 0.5)
        norm.bias.requires_grad_(False)  # stays 0

    def cut():
        for scale in scales if name == "bounded" else []:
            scale.data.clamp_(0, 1)

    if name == "damped":
        multiplier = multiplier / 16
    return fit(net, scales, multiplier, seed, after_step=cut)


parts = {
    name: [variant(name, seed) for seed in SEEDS]
    for name in ("neither", "bounded", "damped")
}
parts["both"] = [run("σBN", 1000, seed) for seed in SEEDS]

# %% tags=["hide-input"] mystnb={"image": {"alt": "Test accuracy of four variants at 1000 times the rate, five seeds each, as dots with a bar at the mean. Neither: chance level. Bounded only: clearly low. Damped only: close to the gate but lower. Both, that is σBN: highest."}}
fig, ax = plt.subplots(figsize=(7, 2.8))
for x, runs in enumerate(parts.values()):
    acc = [100 * r.accuracy for r in runs]
    _ = ax.plot([x] * 5, acc, "o", alpha=0.6, color=plots.COLORS["blue"])
    _ = ax.hlines(sum(acc) / 5, x - 0.2, x + 0.2, color="black", lw=1.5)
_ = ax.set_xticks(range(4), parts)
_ = ax.set(ylim=(0, 100), ylabel="test accuracy (%)")
_ = ax.set_title("SGD at ×1000: damping does most of it, the bound the rest")
plt.show()

# %%
part = {
    name: sum(r.accuracy for r in runs) / 5 for name, runs in parts.items()
}
print(
    "neither < bounded < damped:",
    part["neither"] < part["bounded"] < part["damped"],
)
print("both not behind damped by a point:", part["both"] > part["damped"] - 0.01)
dead = torch.stack([r.scales for r in parts["bounded"]]) == 0
print(
    "bounded alone: over half of the scales end at exactly 0:",
    bool(dead.double().mean() > 0.5),
)

# %% [markdown]
# A hard bound without damping throws scales against 0, and there, without a
# shift, ReLU gives no gradient: the channel never returns. The sigmoid bounds
# *and* slows down before the wall.
#
# ## Where the gates go
#
# A safe rate is worth something only if the gates use it. Here are the gates
# of the five networks at each multiplier. The last layer, in front of the
# head, is shown apart.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Histograms of the gates after training with SGD, in four columns for the multipliers and two rows, the first two layers above and the last one below. At ×1 the gates of the first layers stay at one half and those of the last move a little up. At ×10 and ×100 those of the first layers spread, at ×100 over most of the range; those of the last go to 1. At ×1000 nearly all are at 0 or 1."}}
fig, axes = plt.subplots(2, 4, figsize=(7, 4), sharex=True, sharey=True)
gates = {
    m: torch.stack([run("σBN", m, s).scales for s in SEEDS])
    for m in MULTIPLIERS
}  # (seeds, 8 + 16 + 16)
for column, m in enumerate(MULTIPLIERS):
    plots.gate_histogram(axes[0, column], gates[m][:, :24], "blue")
    plots.gate_histogram(axes[1, column], gates[m][:, 24:], "orange")
    _ = axes[0, column].set_title(f"×{m}", size=10)
    _ = axes[1, column].set_xlabel("gate σ(γ)")
_ = axes[0, 0].set_ylabel("share, layers 1 and 2")
_ = axes[1, 0].set_ylabel("share, layer 3")
for ax in axes[:, 1:].flat:
    _ = ax.set_ylabel("")
_ = fig.suptitle(
    "Gates: nearly still at ×1, spread at ×100, all or nothing at ×1000",
    x=0.01,
    ha="left",
    size=11,
)
plt.show()

# %%
moved = [(gates[m] - 0.5).abs().mean().item() for m in MULTIPLIERS]
decided = ((gates[1000] < 0.05) | (gates[1000] > 0.95)).double().mean()
print("further from one half at every multiplier:", moved == sorted(moved))
print("over 80 % nearly 0 or 1 at ×1000:", bool(decided > 0.8))
widths = [gates[m][:, :24].std().item() for m in MULTIPLIERS[:3]]
print(
    "layers 1 and 2 spread wider from ×1 to ×10 to ×100:",
    widths == sorted(widths),
)
opened = (gates[100][:, 24:] > 0.95).double().mean()
print("layer 3 at ×100 is over 80 % wide open:", bool(opened > 0.8))

# %% [markdown]
# Between norms, where only ratios count, ×100 is where the gates take many
# different values. In front of the head size counts, and larger features make
# more confident scores: there the gates move first, and at ×100 they end wide
# open. They have become one common factor, and rank nothing. This network is
# best read in its inner layers.
#
# The paper sees a like trend on a far larger network: at ×100 its gates cover
# the whole range, at ×1000 they are nearly binary
# {cite:p}`suteu2025tssbn`. Whether an open gate really means an important
# channel is the question of {doc}`chapter 2 <02_receding>`.
#
# ## What it costs
#
# A gate can do less than a scale and a shift. One channel, before and after:

# %% tags=["hide-input"] mystnb={"image": {"alt": "What one channel passes on after ReLU, over its normalised input. Left, BN: lines of any slope, flat or steep, with the kink anywhere. Right, σBN: slopes between 0 and 1, the kink always at the mean of the channel."}}
fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7, 2.8))
x = torch.linspace(-3, 3, 121)
for gamma, beta in ((1, 0), (3, 0), (1, 1.5), (-1, -1)):
    label = f"γ = {gamma}, β = {beta}"
    _ = axes[0].plot(x, (gamma * x + beta).relu(), label=label)
for gate in (0.9, 0.5, 0.1):
    _ = axes[1].plot(x, (gate * x).relu(), label=f"σ(γ) = {gate}")
for ax in axes:
    _ = ax.set(ylim=(-0.2, 5), xlabel="normalised input x̂")
    _ = ax.legend()
_ = axes[0].set_ylabel("output after ReLU")
_ = axes[0].set_title("BN: any slope, kink anywhere")
_ = axes[1].set_title("σBN: slope 0 to 1, kink at the mean")
plt.show()

# %% [markdown]
# - **It cannot amplify.** In front of another norm that is no loss. In front
#   of a head, the head has to grow instead, which takes a few more steps, and
#   weight decay on the head works against it.
# - **It cannot shift.** With ReLU, every channel is active exactly where it is
#   above its mean. A filter that should fire rarely, or nearly always, has to
#   say so through its shape. On our digits no harm shows; a network with few
#   channels, or without a bias anywhere else, may notice.
# - **It cannot change sign**, and it never is exactly 0 or 1. Channels are
#   switched off by pruning ({doc}`chapter 2 <02_receding>`), not by training.
# - **A shut gate opens slowly.** The damping that protects it also holds it:
#   at $\sigma(\gamma) = 0.001$ the gradient is a thousand times smaller than
#   that of a plain scale. At ×1000 gates shut early and for good.
# - **It does not fit weights that were trained with BN.** Their scales may be
#   above 1, their shifts matter. `tssbn.sigmoid` therefore keeps the scale (as
#   a frozen factor) and the shift of a layer that looks trained; see
#   `affine="preserve"` in {doc}`chapter 4 <04_task_specific>`.
#
# And the limits of the experiment: one small network, one small set of
# digits, five epochs, one base rate for each optimiser. Where BN breaks
# depends on all of them, as exercise 2 shows, and on what stands behind the
# norm: in a residual network, or a longer training with weight decay, the
# cliff is elsewhere. In the paper's own sweep, on indoor scenes with Adam,
# plain task-specific BN held up at ×100 and broke at ×1000
# {cite:p}`suteu2025tssbn`. What carries over is the reason: {eq}`eq-head` for BN, {eq}`eq-sgd` and {eq}`eq-adam` for σBN.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-01-damping
#
# γ learns at ×100 with SGD. How far open must a gate be before it moves
# *slower* than a plain scale at ×1 would?
# :::
#
# :::{solution} ex-01-damping
# :class: dropdown
#
# By {eq}`eq-sgd` the multiplier of the gate is $100\,g^2(1-g)^2$. It is 1
# where $g(1-g) = 1/10$, at $g = \tfrac12 \pm \sqrt{\tfrac14 - \tfrac1{10}}$,
# which is about 0.11 and 0.89. Outside, the gate is slower than a plain scale:
# it has all but decided.
# :::
#
# :::{exercise}
# :label: ex-01-rate
#
# Divide the base rate of SGD by 10. Is BN at ×1000 now what it was at ×100?
# Say first what you expect from {eq}`eq-head`.
# :::
#
# :::{solution} ex-01-rate
# :class: dropdown
#
# ```python
# LR["SGD"] = 0.01
# run.cache_clear()
# for m in MULTIPLIERS:
#     print(m, accuracies("BN", m).mean(), accuracies("σBN", m).mean())
# ```
#
# No: BN does not fall even at ×1000. The scales do run at the rate that broke
# the network before, and `run("BN", 1000, 0).scales` shows that they grow
# about as large. But in {eq}`eq-head` they multiply the *head's* rate, which
# is ten times smaller now. A cliff belongs to a base rate. Set
# `LR["SGD"] = 0.1` and clear the cache again before
# you go on.
# :::
#
# :::{exercise}
# :label: ex-01-last
#
# If only the last norm is in danger, only the last norm needs a gate. Convert
# it alone (`tssbn.sigmoid` has an argument `where`) and let *all* three norm
# layers learn at ×100 with SGD.
# :::
#
# :::{solution} ex-01-last
# :class: dropdown
#
# ```python
# for seed in SEEDS:
#     net = tssbn.sigmoid(make_net(seed), where=lambda name, _: name == "7")
#     print(fit(net, affine(norm_layers(net)), 100, seed).accuracy)
# ```
#
# The accuracy is back: two free BNs and one gate are as safe as three gates.
# We gate them all the same, since the gates are there to be read.
# :::
#
# :::{exercise}
# :label: ex-01-decay
#
# Weight decay pulls every parameter towards 0. What does that mean for BN's
# scale, and what for a gate? Look at `grouped.param_groups` above: what
# does the package do?
# :::
#
# :::{solution} ex-01-decay
# :class: dropdown
#
# A scale of 0 is a channel switched off. But γ = 0 is a gate half open: decay
# would undo every decision, and it would do so a hundred times faster, since
# optimisers multiply it by the group's learning rate. `tssbn.param_groups`
# therefore gives the gates no weight decay. A penalty that really closes gates
# has to act on $\sigma(\gamma)$; {doc}`chapter 2 <02_receding>` has one.
# :::
#
# ## What we learned
#
# - Between norms only the ratios of scales matter, so a bound on them costs
#   nothing that we could measure. In front of a head nothing holds a free
#   scale, and there a large learning rate breaks BN.
# - σBN bounds the scale and damps its gradient. At ×100 it trains as well as
#   at ×1, with SGD and with Adam; at ×1000 it still does with SGD.
# - At ×100 the inner gates spread within one training. Reading them is what the
#   next chapter does.

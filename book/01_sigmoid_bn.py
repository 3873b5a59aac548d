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
# When BatchNorm's scales learn 100 times faster than the filters, the test
# error doubles under SGD; with scales bounded by a sigmoid it does not rise.
# :::
#
# *Nine minutes to read; runs in a minute on one CPU core, no download.*

# %% tags=["hide-input"]
import math
from functools import cache
from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots
from tssbn.claims import Bed
from tssbn.data.synthetic import digits
from tssbn.plots import rates

torch.set_num_threads(1)
plots.style()
train_set, test_set = (digits.single(s, root=None) for s in ("train", "test"))

# %% [markdown]
# ## A rate that breaks BatchNorm
#
# Which channels does a network need? A layer of batch normalisation
# ({term}`BN`) multiplies each channel by a learned scale. A scale near 0 could
# mark a channel that is not needed. But at the learning rate that suits the
# filters most scales hardly leave their start in a usual training. So we give
# them a larger rate ({term}`discriminative learning rates`).
#
# Our network reads a handwritten digit of 8×8 pixels
# {cite:p}`pedregosa2011sklearn`. It has three convolutions, each with its BN,
# and a linear {term}`head`.

# %%
def make(norm, seed):
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs, stride in ((1, 8, 1), (8, 16, 2), (16, 16, 2)):
        conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        layers += [conv, norm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))

# %% [markdown]
# Training is ordinary, with one exception. The parameters of the normalisation
# layers in `fast` have `multiplier` times the learning rate of all others.

# %%
LR = {"SGD": 0.1, "Adam": 0.01}
ALL = (1, 4, 7)  # where the normalisation layers are

def train(net, multiplier, seed, optimiser="SGD", lr=None, fast=ALL):
    fast = {p for i in fast for p in net[i].parameters()}
    slow, lr = set(net.parameters()) - fast, lr or LR[optimiser]
    groups = [{"params": [*slow]}, {"params": [*fast], "lr": multiplier * lr}]
    momentum = {"momentum": 0.9} if optimiser == "SGD" else {}
    opt = getattr(torch.optim, optimiser)(groups, lr, **momentum)
    order, losses = torch.Generator().manual_seed(seed), []
    for _ in range(4):  # epochs
        shuffled = torch.randperm(len(train_set["digit"]), generator=order)
        for i in shuffled.split(64)[:-1]:
            y = net(train_set["image"][i])
            loss = F.cross_entropy(y, train_set["digit"][i])
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    return losses

# %%
@torch.no_grad()
def error(net):
    """Test error in per cent."""
    wrong = net.eval()(test_set["image"]).argmax(1) != test_set["digit"]
    return 100 * wrong.double().mean().item()

@cache  # the same five are not trained twice
def train_five(norm, multiplier, **options):
    """Five networks, their training losses, and their test errors."""
    nets = [make(norm, seed) for seed in range(5)]
    losses = [train(n, multiplier, s, **options) for s, n in enumerate(nets)]
    return nets, losses, [error(net) for net in nets]

# %% [markdown]
# We train five networks at one rate for all parameters (×1). Five others learn
# scales and biases at 100 times that rate. *Before you look: what will the loss do?*

# %% mystnb={"image": {"alt": "Left: training loss over 72 steps, five networks each. With one rate for all, the loss of BN falls smoothly towards zero. With scales and biases at 100 times the rate it jumps above the dotted line of the constant baseline, is rough and stays far higher. Right: the test errors of the ten networks; all five fast ones have more."}}
_, smooth, slow = train_five(nn.BatchNorm2d, 1, optimiser="SGD")
_, rough, fast = train_five(nn.BatchNorm2d, 100, optimiser="SGD")
rates.losses({1: smooth, 100: rough}, {1: slow, 100: fast}, math.log(10))
plt.show()

# %% [markdown]
# ## Why it breaks
#
# Let $x$ be the values of one channel, over all images of the batch and all
# places in the image. BN {cite:p}`ioffe2015batchnorm` subtracts their mean
# $\mu$ and divides by their standard deviation. Then it applies a learned
# scale $\gamma$ and a learned bias $\beta$:
#
# $$
# \hat{x} = \frac{x - \mu}{\sqrt{s^2 + \varepsilon}}, \qquad
# \mathrm{BN}(x;\, \gamma, \beta) = \gamma\,\hat{x} + \beta .
# $$ (eq-bn)
#
# Here $s^2$ is the variance, and $\varepsilon = 10^{-5}$ avoids a division by
# zero. In evaluation $\mu$ and $s^2$ are {term}`running statistics`.
#
# - **Before another BN, only ratios of scales matter.** Make all scales and
#   biases of a BN 7 times larger. ReLU and convolution pass this factor on,
#   and the next BN divides it out, up to $\varepsilon$.
# - **Before the head, the size matters.** There, nothing divides it out. Let
#   $y$ be the input of the head, $W$ its weights and $z = Wy$ its outputs. One
#   step of SGD on $W$, at rate $\eta$ and for the loss $L$ of one image, changes $z$ by
#
# $$
# \Delta z = -\,\eta\,\lVert y \rVert^2\,\frac{\partial L}{\partial z} .
# $$ (eq-head)
#
# If $\gamma$ and $\beta$ of the last BN grow to 10 times their size, so does
# $y$, and the outputs move 100 times as far. If this explains the failure, ×100
# is harmless in the first two BNs and harmful in the last BN.

# %%
*_, inner = train_five(nn.BatchNorm2d, 100, fast=(1, 4))
*_, last = train_five(nn.BatchNorm2d, 100, fast=(7,))

# %% tags=["hide-input", "nbval-ignore-output"]
bed = Bed({"none": slow, "BN 1 and 2": inner, "BN 3": last})
print("Points of test error more than at ×1 [95 % interval], n = 5")
for part in ("BN 1 and 2", "BN 3"):
    print(f"{part} at ×100: {bed.compare(part, 'none')}")
assert sum(inner) < sum(slow) + 5 * 3 < sum(last)

# %% [markdown]
# That is what happens. The scales of the last BN do the harm.
#
# ## A gate in place of scale and bias
#
# So we bound the scales. Sigmoid batch normalisation ({term}`σBN`)
# {cite:p}`suteu2022receding,suteu2025tssbn` has no bias, and its scale is a
# sigmoid of one learned number:
#
# $$
# \sigma\mathrm{BN}(x;\, \gamma)
# = {\color{#0072B2}{\sigma(\gamma)}}\,\hat{x}, \qquad \sigma(\gamma) = \frac{1}{1 + e^{-\gamma}} \in (0, 1).
# $$ (eq-sbn)
#
# :::{image} images/sigmoid_bn.svg
# :alt: A channel whose values lie anywhere is normalised to mean 0 and deviation 1. BN then multiplies by any scale and adds any bias, so its outputs are wide or narrow and lie anywhere. σBN multiplies by a gate between 0, shut, and 1, open, so its outputs are at most as wide as the normalised values and keep mean 0.
# :class: only-light
# :::
# :::{image} images/sigmoid_bn-dark.svg
# :alt: The same drawing, on a dark ground.
# :class: only-dark
# :::
#
# The scale $\sigma(\gamma)$ is called a {term}`gate`. Near 0 the channel is
# shut, near 1 it is open. All gates start half open, at $\gamma = 0$. Whatever
# $\gamma$ becomes, the output is no larger than $\hat{x}$.

# %%
class SigmoidBatchNorm(nn.Module):
    """y = σ(γ) x̂"""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))  # running
        self.register_buffer("var", torch.ones(channels))

    def scale(self):
        return self.gamma.sigmoid()

    def forward(self, x):
        mean, var, training = self.mean, self.var, self.training
        return F.batch_norm(x, mean, var, self.scale(), training=training)

# %% tags=["hide-cell"]
x = torch.rand(4, 8, 5, 5)
ours, theirs = SigmoidBatchNorm(8), tssbn.SigmoidBatchNorm2d(8)
ours.gamma.data = theirs.gamma.data = torch.linspace(-3, 3, 8)
for training in (True, False):
    assert torch.allclose(ours.train(training)(x), theirs.train(training)(x))

# %% [markdown]
# ### How far a gate moves in one step
#
# The sigmoid also makes steps smaller. Its slope is
#
# $$
# \sigma'(\gamma) = \sigma(\gamma)\,(1 - \sigma(\gamma)) \le \tfrac14 .
# $$ (eq-damping)
#
# Let $\gamma$ learn at $m$ times the base rate $\eta$. On the site you can see
# what one step does to the gate at $\eta = 10^{-4}$ and a gradient of 1:
#
# <div class="gate-slider">(The slider is on the page of this chapter.)</div>
#
# Under SGD the slope counts twice, in the gradient of $\gamma$ and from there
# to the gate. Adam divides a gradient by its usual size, so one slope remains:
#
# $$
# \text{SGD: } |\Delta \sigma| \approx m\,\sigma'(\gamma)^2\,\eta
# \left|\frac{\partial L}{\partial \sigma}\right| \qquad\quad
# \text{Adam: } |\Delta \sigma| \approx m\,\sigma'(\gamma)\,\eta
# $$ (eq-sigmoid-step)
#
# At ×100, a gate under SGD moves at most 6.25 times as fast as a plain scale
# would at ×1, and under Adam at most 25 times. Near 0 and 1 it hardly moves.
#
# Why 100? Adam at $\eta = 10^{-4}$ is usual when a network predicts a value for
# each pixel. Then a gate needs at least 46,000 steps from 0.5 to 0.99 at ×1,
# and 460 at ×100. The paper uses ×100 throughout {cite:p}`suteu2025tssbn`.
#
# ## σBN at a hundred times the rate
#
# We compare both layers with two optimisers. *Before you look: up to which
# multiplier will σBN hold, and does Adam save BN?*

# %%
NORMS = {"BN": nn.BatchNorm2d, "σBN": SigmoidBatchNorm}
MULTIPLIERS = (1, 10, 100, 1000)
runs = {
    (norm, optimiser, m): train_five(NORMS[norm], m, optimiser=optimiser)
    for norm, optimiser, m in product(NORMS, LR, MULTIPLIERS)
}
errors = {arm: of_five for arm, (*_, of_five) in runs.items()}

# %% mystnb={"image": {"alt": "Test error on a logarithmic axis over the multiplier of the rate, one panel for SGD and one for Adam. With SGD, BN and σBN are equal at ×1; at ×100 the error of BN is twice as large and at ×1000 it reaches the constant baseline, while σBN stays level. With Adam the error of BN rises slowly from ×10 on; σBN is level up to ×100 and rises at ×1000."}}
rates.sweep(errors, constant=90)
plt.show()

# %% tags=["hide-input", "nbval-ignore-output"]
rows = {optimiser: {} for optimiser in LR}
for optimiser, m in product(LR, MULTIPLIERS):
    arms = {norm: errors[norm, optimiser, m] for norm in NORMS}
    rows[optimiser][f"×{m}"] = Bed(arms).compare("BN", "σBN")
print("Test error of BN minus that of σBN, points [95 % interval], n = 5")
mean = {arm: sum(values) / 5 for arm, values in errors.items()}
assert mean["BN", "SGD", 100] > 1.5 * mean["BN", "SGD", 1]
assert mean["BN", "SGD", 1000] > 50 > 20 > mean["σBN", "SGD", 1000]
for o in LR:
    assert abs(mean["σBN", o, 1] - mean["BN", o, 1]) < 4
    assert mean["σBN", o, 100] < min(mean["σBN", o, 1] + 3, mean["BN", o, 100])
pd.DataFrame(rows).T

# %% [markdown]
# - **At ×1** five networks show no difference between BN and σBN.
# - **With SGD**, σBN is level over three orders of magnitude. BN has twice the
#   error at ×100, and at ×1000 it is no better than the constant baseline.
# - **With Adam** the harm is milder, because Adam limits each step. BN loses a
#   few points at ×100. σBN is level up to ×100 and loses some at ×1000.
#
# ## Where the gates go
#
# *Before you look: at which multiplier will the gates differ most?*

# %% mystnb={"image": {"alt": "Histograms of the gates after training with SGD: four columns for the multipliers, the first two layers above and the last one below. At ×1 the gates of the first layers stay at one half. At ×100 they spread, most between 0.6 and 1. Those of the last layer go to 1. At ×1000 nearly all gates are at 0 or 1."}}
gates = {}
for m in MULTIPLIERS:
    nets = runs["σBN", "SGD", m][0]
    first, second, third = ([net[i].scale() for net in nets] for i in ALL)
    gates[m] = torch.cat(first + second), torch.cat(third)
rates.gates(gates)
plt.show()

# %% [markdown]
# At ×1 the gates stay close to their start of 0.5. At ×100 those of the two
# inner layers spread, most of them over the upper half. At ×1000 nearly all are
# shut or open. The paper sees this trend in a far larger network
# {cite:p}`suteu2025tssbn`. The gates of the last layer open together, because
# larger features give more confident outputs. So compare gates of inner layers.
#
# ## What to do with it
#
# One call converts a network, and one sorts its parameters for any optimiser:

# %%
net = tssbn.sigmoid(make(nn.BatchNorm2d, seed=0))
adam = torch.optim.Adam(tssbn.param_groups(net, 1e-4, multiplier=100))

# %% [markdown]
# - Begin with ×100 if the base rate is near $10^{-4}$, and with ×10 or less if
#   it is $10^{-3}$ or more ({doc}`13_knobs`).
# - Give gates no weight decay. It pulls $\gamma$ to 0, which is a gate half
#   open. `param_groups` sets it to 0 for gates.
# - Convert before training. A pretrained BN needs its scales and biases, and
#   `tssbn.sigmoid` keeps them as constants ({doc}`04_task_specific`).
#
# ## Limits
#
# - One small network, 72 steps, five runs of each setting. At ×1 five runs can
#   miss four points. In more steps noise moves gates further ({doc}`13_knobs`).
# - Where BN breaks depends on the base rate (exercise 1), the optimiser and
#   the layers behind it. In the paper's sweep with Adam, task-specific BN held
#   at ×100 and broke at ×1000 {cite:p}`suteu2025tssbn`.
# - A gate cannot amplify a channel, shift it or change its sign, and it is
#   never exactly 0. Here that does no harm that five runs show.
# - An open gate need not mark an important channel; see {doc}`02_receding`.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-01-rate
# Take a tenth of the rate, `lr=0.01`: at ×1000 BN's scales learn as fast as at
# ×100 before. Does BN break? First look at {eq}`eq-head`.
# :::

# %%
broken = mean["BN", "SGD", 100]  # test error at ×100 and lr=0.1
# your turn: train_five(nn.BatchNorm2d, ...)

# %% [markdown]
# :::{solution-start} ex-01-rate
# :class: dropdown
# :::

# %%
*_, slower = train_five(nn.BatchNorm2d, 1000, lr=0.01)
assert sum(slower) / 5 < broken - 3

# %% [markdown]
# It does not. The scales grow as before, but the rate $\eta$ of the head,
# which they multiply, is ten times smaller.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-01-parts
# The sigmoid bounds the scale, and it damps its steps. Which of the two
# protects a network at ×1000 with SGD?
# :::

# %%
class Plain(SigmoidBatchNorm):
    def scale(self):
        return 0.5 + self.gamma  # neither bounded nor damped

# your turn: train_five(Plain, 1000); then with a bound; then damped by 1/16

# %% [markdown]
# :::{solution-start} ex-01-parts
# :class: dropdown
# :::

# %%
class Bounded(Plain):
    def scale(self):
        return (0.5 + self.gamma).clamp(0, 1)

*_, neither = train_five(Plain, 1000)
*_, bounded = train_five(Bounded, 1000)
*_, damped = train_five(Plain, 1000 / 16)
assert sum(neither) / 5 > 50 > 25 > max(sum(bounded), sum(damped)) / 5

# %% [markdown]
# The bound alone keeps the error below 25 %, and so does the damping alone. But
# `clamp` has no gradient beyond 0 and 1, so scales that leave this range stay.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - No later layer divides out the scales of the last BN. At a large rate they
#   break the training.
# - σBN bounds the scale and makes its steps smaller, so it trains at ×100.
# - At ×100 the inner gates spread within one training, so they can be read.

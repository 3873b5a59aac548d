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
# # Which ingredient matters?
#
# :::{admonition} The claim
# Not every ingredient of TSσBN can be seen at work. With three tasks and
# three seeds, on small rooms, a ladder of fourteen recipes cannot be told
# from one with its names shuffled; a faster rate for the tasks' own scales
# comes nearest to an effect. On twelve tasks σ (without β) matters where the
# rate is too high: at ×100 TSBN is harmed and TSσBN less so; at ×10 the two
# cannot be told apart. And on LayerNorm the bare gate is not enough: scale and
# bias are missed.
# :::
#
# *Runs in under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import unicodedata
from statistics import harmonic_mean

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.methods import Network, ablations, find_method
from tssbn.data.synthetic import digits
from tssbn.cost import delta_m

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# (ingredients-clamp)=
# ## The gate that shut for good
#
# Why a sigmoid? A gate between 0 and 1 can be had for less: keep a number
# $\gamma$ and clamp it,
#
# $$
# \mathrm{clamp}(\gamma) = \min(\max(\gamma, 0), 1) .
# $$ (eq-clamp)
#
# It is cheap, it reaches 0 and 1 exactly, and one reads $\gamma$ without a
# formula. Let us take one gate of each kind, all half open, and let Adam move
# them. For sixty steps the loss wants the gate shut; then it changes its mind
# and wants it open.

# %%
FORMS = {
    "σ": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "clamp": lambda gamma: gamma.clamp(0, 1),
}
NAMES = dict(zip(FORMS, ("sigmoid", "tanh", "softplus", "clamp"), strict=True))
COLOR = dict(zip(FORMS, ("blue", "orange", "green", "red"), strict=True))
TURN = 60


def moved(form, start, steps=220, lr=0.05):
    """Gate and γ over time, pulled down until TURN and up after it."""
    gamma = torch.tensor(start, requires_grad=True)
    adam = torch.optim.Adam([gamma], lr)
    seen = []
    for step in range(steps):
        gate = form(gamma)
        seen.append((gate.item(), gamma.item()))
        adam.zero_grad()
        (gate if step < TURN else -gate).backward()
        adam.step()
    return torch.tensor(seen).T


def start(form):
    """The γ at which a layer of the package begins."""
    layer = ablations.GATES[NAMES[form]]
    return layer.start(torch.ones(1).double(), None)["gamma"].item()


START = {form: start(form) for form in FORMS}
paths = {form: moved(FORMS[form], START[form]) for form in FORMS}

# %% mystnb={"image": {"alt": "Left, four gates over 220 steps: all fall from one half; after step 60 the sigmoid, tanh and softplus gates rise again, the clamped one stays at exactly zero. Right, the slope of the four functions over gamma: the clamp has slope one between zero and one and exactly zero outside, the others are positive everywhere."}}
_, (left, right) = plt.subplots(1, 2)
gamma = torch.linspace(-4, 4, 801, requires_grad=True)
for form, function in FORMS.items():
    color = plots.COLORS[COLOR[form]]
    left.plot(paths[form][0], color=color, label=form)
    (slope,) = torch.autograd.grad(function(gamma).sum(), gamma)
    right.plot(gamma.detach(), slope, color=color, label=form)
left.axvline(TURN, color="black", lw=1, ls=":")
left.set(ylim=(-1.05, 1.55), xlabel="step", ylabel="gate")
left.set_title("The clamped gate does not come back")
left.legend(ncols=2, loc="lower right")
right.set(xlabel="γ", ylabel="slope of the gate")
right.set_title("Outside [0, 1] it has no slope")
plt.show()

gate, gamma = paths["clamp"]
assert (gate[TURN:] == 0).all() and (gamma[TURN:] < 0).all()
for form in "σ", "tanh", "softplus":
    assert paths[form][0][-1] > 0.5

# %% [markdown]
# The loss asks for 160 steps, and the clamped gate stays at 0. Once $\gamma$ is
# below 0 the gate does not depend on it, so its gradient is zero. Adam goes on
# for a few steps in the direction in which it left, outwards, and stops there.
# Nothing pulls it back, and at 1 it is the same. (Weight decay would, but gates
# have none, {doc}`13_knobs`.) And tanh is another story: asked to shut, it goes
# through 0 to -1, where the channel is as open as at 1, with its sign turned.
#
# A {term}`gate` that is to be shut and opened needs a slope everywhere. The
# candidates, with their slopes, are
#
# $$
# \begin{aligned}
# \sigma'(\gamma) &= \sigma(\gamma)\,(1 - \sigma(\gamma)) > 0, \\
# \tanh'(\gamma) &= 1 - \tanh^2(\gamma) > 0, \\
# \mathrm{softplus}'(\gamma) &= \sigma(\gamma) > 0, \qquad
# \mathrm{softplus}(\gamma) = \log(1 + e^{\gamma}) .
# \end{aligned}
# $$ (eq-gate-slopes)
#
# All three come back. They differ in their range: $(0, 1)$, $(-1, 1)$, and
# $(0, \infty)$. And $\sigma'$ is at most 1/4, while $\tanh'$ reaches 1: what
# Adam divides out, and SGD does not.
#
# ## Ten lines
#
# A layer with any of these gates is the layer of chapter 4 with one function
# exchanged:


# %%
class TaskGatedBN(nn.Module):
    """y_t = form(γ_t)·x̂_t for the activations x_t of each of T tasks."""

    def __init__(self, tasks, channels, form, start):
        super().__init__()
        self.form = form
        self.gamma = nn.Parameter(torch.full((tasks, channels), start))

    def forward(self, xs):  # T tensors (B, C, H, W)
        gates = self.form(self.gamma)
        return [
            F.batch_norm(x, None, None, gate, training=True)
            for x, gate in zip(xs, gates, strict=True)
        ]


# %% [markdown]
# The package has them as methods, `tssbn.methods.ablations`: networks whose
# norm layers are of the given form and start at the same gate, 0.5. Here is
# a trunk that is a single layer, so that the two can be compared. In float64
# they agree, outputs and gradients:

# %%
TASKS = ("left", "right")
x = torch.randn(6, 3, 5, 5, dtype=torch.float64)
for form, function in FORMS.items():
    network = Network(
        lambda: nn.Sequential(nn.Identity(), nn.BatchNorm2d(3).double()),
        lambda channels: nn.Identity(),
        x,
    )
    net = ablations.build(network, dict.fromkeys(TASKS, 3), NAMES[form])
    ours = TaskGatedBN(2, 3, function, START[form]).double()
    theirs = net.trunk[1]
    assert torch.allclose(function(ours.gamma), torch.tensor(0.5).double())
    with torch.no_grad():
        theirs.gamma.copy_(ours.gamma.normal_())
    outputs = net(x)
    for task, y in zip(TASKS, ours([x, x]), strict=True):
        assert torch.allclose(outputs[task], y, rtol=0, atol=1e-12)
        y.pow(3).sum().backward(retain_graph=True)
        outputs[task].pow(3).sum().backward(retain_graph=True)
    assert torch.allclose(theirs.gamma.grad, ours.gamma.grad, atol=1e-12)
    print(f"{form}: {type(theirs).__name__} agrees")

# %% [markdown]
# ## Dead gates in a real network
#
# Does it happen to networks, too? We train the two-digit network of chapter 4,
# three seeds each, with sigmoid gates at 100 times the base rate and with
# clamped ones at 10 and at 100 times that rate. Three controls stand beside
# them. One is {term}`HPS`. The other two have gates that were dead from the
# start: each $\gamma$ is set to -1 or to 2 by the toss of a coin, so each gate
# is 0 or 1 for good; once with a mask of its own for each task, once with one
# mask for both.

# %%
SEEDS, STEPS, LR = range(3), 150, 4e-3
train = digits.pairs("train", root=None)
unseen = [
    digits.pairs(split, per_pair=100, root=None) for split in ("val", "test")
]
unseen = {key: torch.cat([part[key] for part in unseen]) for key in unseen[0]}


def conv(inputs, stride):
    return (
        nn.Conv2d(inputs, 20, 3, stride, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(),
    )


def make_head(classes):
    return nn.Sequential(
        *conv(20, 1),
        nn.Flatten(),
        nn.Linear(80, 50),
        nn.ReLU(),
        nn.Linear(50, classes),
    )


TWO_DIGITS = Network(
    lambda: nn.Sequential(*conv(1, 2), *conv(20, 2)),
    make_head,
    train["image"][:2],
)


def build(kind, seed):
    """The network, and its gates."""
    _ = torch.manual_seed(seed)
    outputs = dict.fromkeys(TASKS, 5)
    if kind == "HPS":
        return find_method("hps").build(TWO_DIGITS, outputs), []
    gate = "sigmoid" if kind == "σ ×100" else "clamp"
    net = ablations.build(TWO_DIGITS, outputs, gate)
    gates = [p for name, p in net.named_parameters() if "gamma" in name]
    for gamma in gates if "random" in kind else ():
        coins = torch.rand_like(gamma) < 0.5
        if kind == "random, common":
            coins = coins[:1].expand_as(gamma)
        gamma.data = torch.where(coins, 2.0, -1.0)
    return net, gates


def fit(kind, seed):
    """Accuracy on unseen pairs, and all gates' γ after each step."""
    net, gates = build(kind, seed)
    groups = net.parameters()
    if gates:
        groups = tssbn.param_groups(
            net, LR, 10 if kind.endswith("×10") else 100
        )
    optimiser = torch.optim.Adam(groups, LR, fused=True)
    order, path = torch.Generator().manual_seed(seed), []
    for _ in range(STEPS):
        i = torch.randint(len(train["image"]), (64,), generator=order)
        outputs = net(train["image"][i])
        loss = sum(
            F.cross_entropy(y, train[task][i]) for task, y in outputs.items()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        path.append([gamma.detach().flatten().clone() for gamma in gates])
    with torch.no_grad():
        outputs = net.eval()(unseen["image"])
    right = [
        (y.argmax(1) == unseen[task]).float().mean().item()
        for task, y in outputs.items()
    ]
    path = torch.stack([torch.cat(now) for now in path]) if gates else None
    return harmonic_mean(right), path


KINDS = {
    "HPS": "black",
    "σ ×100": "blue",
    "clamp ×10": "orange",
    "clamp ×100": "red",
    "random, own": "purple",
    "random, common": "sky",
}
live = {(kind, seed): fit(kind, seed) for kind in KINDS for seed in SEEDS}


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Left, the share of clamped gates that have left the interval from zero to one, over 150 steps: at multiplier 100 nearly all within a few steps, at multiplier 10 a part of them, and it only grows. Right, accuracy on unseen pairs of digits, a dot for each seed: HPS, sigmoid gates, clamped gates at 10 and 100, random masks of 0 and 1 of each task's own, and one random mask common to both."}}
def dead(path):
    """Which gates are outside [0, 1] after each step."""
    return (path < 0) | (path > 1)


_, (left, right) = plt.subplots(1, 2, width_ratios=(2, 3))
for kind in "clamp ×10", "clamp ×100":
    shares = [dead(live[kind, s][1]).double().mean(1) for s in SEEDS]
    label = kind.removeprefix("clamp ")
    shares = torch.stack(shares)
    plots.spread(left, range(1, STEPS + 1), shares, KINDS[kind], label)
left.set(xlabel="step", ylabel="share of the clamped gates", ylim=(0, 1.03))
left.set_title("Dead gates only grow in number")
left.legend(title="3 seeds", loc="center right")
for i, (kind, color) in enumerate(KINDS.items()):
    y = [live[kind, seed][0] for seed in SEEDS]
    right.plot([i] * len(y), y, "o", ms=5, color=plots.COLORS[color])
    right.hlines(np.mean(y), i - 0.3, i + 0.3, color=plots.COLORS[color])
right.set_xticks(range(len(KINDS)), [k.replace(" ", "\n") for k in KINDS])
right.tick_params("x", labelsize=8)
right.grid(axis="x", visible=False)
right.set_ylabel("harmonic mean of accuracies")
right.set_title("Unseen pairs: random masks keep up")
plt.show()

for seed in SEEDS:
    for kind in "clamp ×10", "clamp ×100":
        out = dead(live[kind, seed][1])
        assert (out[1:] >= out[:-1]).all()  # who has left stays away
    assert out[-1].double().mean() > 0.5  # at ×100
mean = {k: np.mean([live[k, seed][0] for seed in SEEDS]) for k in KINDS}
print({kind: round(float(value), 3) for kind, value in mean.items()})
assert mean["clamp ×100"] > mean["HPS"] - 0.05
assert mean["random, own"] > mean["HPS"] - 0.05

# %% [markdown]
# At 100 times the base rate $\gamma$ moves by up to 0.4 a step, and from the
# middle two steps lead out of $[0, 1]$. After a few dozen steps practically
# every clamped gate is dead. What is left is a mask of zeros and ones that the
# first few batches drew, and no later one can change.
#
# One would expect ruin. But the score is no worse than that of the σ gates, as
# far as three seeds tell. And neither is that of masks that were tossed and
# have learned nothing, as long as each task has its own. With one random mask
# for both, which takes half of the channels from everybody, there is no gain
# over HPS. So on this small problem it is worth something that the tasks use
# *different* channels, and less so which. A better score is no proof that
# the gates have learned who needs what; that takes other evidence
# ({doc}`12_filters`).
#
# (ingredients-ladder)=
# ## The ladder
#
# Now the question that reviewers of the paper asked: which of its ingredients
# does the work? {term}`TSσBN` differs from {term}`HPS` in five things: each
# task has its own **statistics**, and its own **scale**; the **bias** is
# dropped; the scale is **bounded** by σ; and it **learns faster** than the
# filters. Each can be had without the others, or nearly:
#
# - *statistics only*: scale and bias are shared,
# - *scale and bias only*: one set of statistics for all tasks, taken over all
#   their passes (here stacked, see chapter 4),
# - {term}`TSBN`, which has all three of BatchNorm's parts, as {term}`DSBN`
#   {cite:p}`chang2019dsbn` has for domains; with and without a rate of its own;
#   with and without β,
# - TSσBN without the rate (multiplier 1), with β, and with another function in
#   the place of σ.
#
# Of each there are three runs, with the seeds 0, 1 and 2, on the made rooms of
# chapter 6, made smaller: the images, and half as many of them. A seed
# sets the start values and the order of the images, the same for all methods.
# The base rate is 3e-3, so the matched multiplier is 10, not the paper's 100
# ({doc}`13_knobs`).

# %%
SMALL = {"n": 400, "height": 32, "width": 48}
PARTS = ("statistics", "scale", "bias", "bound")
X1, X10 = {"multiplier": 1}, {"multiplier": 10}
LADDER = {  # method, settings, what each task has of its own, multiplier
    "HPS": ("hps", {}, "", ""),
    "statistics only": ("statistics", {}, "statistics", ""),
    "scale and bias only": ("affine", {}, "scale bias", "1"),
    "TSBN": ("tsbn", {}, "statistics scale bias", "1"),
    "TSBN ×10": ("tsbn", X10, "statistics scale bias", "10"),
    "TSBN ×100": ("tsbn-x100", {}, "statistics scale bias", "100"),
    "TSBN ×10, no β": ("tsbn-no-bias", X10, "statistics scale", "10"),
    "TSσBN ×1": ("tssbn", X1, "statistics scale bound", "1"),
    "TSσBN ×10": ("tssbn", X10, "statistics scale bound", "10"),
    "TSσBN ×100": ("tssbn", {}, "statistics scale bound", "100"),
    "TSσBN ×10, β": ("tssbn-bias", X10, "statistics scale bias bound", "10"),
    "tanh ×10": ("tanh", X10, "statistics scale bound", "10"),
    "softplus ×10": ("softplus", X10, "statistics scale", "10"),
    "clamp ×10": ("clamp", X10, "statistics scale bound", "10"),
}


saved = {"STL": records.of("rooms", "stl", SEEDS, SMALL)}
for name, (method, settings, _, _) in LADDER.items():
    saved[name] = records.of("rooms", method, SEEDS, SMALL | settings)
gain = pd.DataFrame(
    {name: runs.delta(saved["STL"]) for name, runs in saved.items()}
).T  # a row for each method, a column for each seed

large_single = records.of("rooms", "stl", SEEDS)
larger = {
    name: records.of("rooms", LADDER[name][0], SEEDS, LADDER[name][1])
    .delta(large_single)
    .to_numpy()
    for name in ("HPS", "TSBN", "TSBN ×100", "TSσBN ×10", "TSσBN ×100")
}
PAPER = {  # Δm on NYUv2: the multipliers of its "Figure 6"; HPS of its table 1
    "HPS": 1.07,
    "TSBN": 4.09,
    "TSBN ×10": 4.80,
    "TSBN ×100": 4.42,
    "TSσBN ×1": 4.02,
    "TSσBN ×10": 5.67,
    "TSσBN ×100": 6.93,
}
pd.DataFrame(
    {
        name: {
            "own": LADDER[name][2] if name in LADDER else "everything",
            "mIoU ↑": f"{100 * runs.scores()['segmentation'].mean():.1f}",
            "depth ↓": f"{runs.scores()['depth'].mean():.3f}",
            "normal ↓": f"{runs.scores()['normal'].mean():.1f}",
            "Δm": f"{gain.loc[name].mean():+.1f} ± {gain.loc[name].std():.1f}",
            "larger rooms": f"{larger[name].mean():+.1f}"
            if name in larger
            else "",
            "paper, NYUv2": f"{PAPER[name]:+.2f}" if name in PAPER else "",
            "parameters": f"{runs[0]['parameters']:,}",
        }
        for name, runs in saved.items()
    }
).T

# %% [markdown]
# Δm is the mean gain over the three tasks against the mean of our own
# single-task networks, in per cent ({term}`Δm`); ± is the standard deviation
# over three seeds. *Larger rooms* is the Δm of the saved runs of chapter 6's
# setting, where there are such. (The β of *TSσBN with β* learns at the common
# rate, that of TSBN at the rate of its scale.)
#
# ## What can three seeds tell?
#
# Not much for a single pair: if a method wins on all three seeds, that happens
# by luck in one of four cases, whichever of the two wins. But there are many
# methods, and if their spreads are alike they can be pooled. (They need not be;
# with three seeds a spread is itself a rough number.) Let $d_{ms}$ be
# the Δm of method $m$ on seed $s$, and take away what the method and what the
# seed contribute to all. What is left is noise,
#
# $$
# r_{ms} = d_{ms} - \bar d_{m\cdot} - \bar d_{\cdot s} + \bar d_{\cdot\cdot},
# \qquad
# \hat\sigma^2 = \frac{\sum_{ms} r_{ms}^2}{(M - 1)(S - 1)} .
# $$ (eq-residual)
#
# This is a randomised block design, as old as statistics in agriculture: the
# methods are the treatments, the seeds the fields. Two means over $S$ seeds
# differ visibly, at the usual 5 %, if they are further apart than
#
# $$
# \mathrm{LSD} = t_{0.975}\,\hat\sigma \sqrt{2/S}
# \qquad\text{or}\qquad
# \mathrm{HSD} = q_{0.95, M}\,\hat\sigma \sqrt{1/S} ,
# $$ (eq-lsd)
#
# the first for a pair that was chosen beforehand, the second for any pair out
# of $M$ that catches the eye. And the guard: within each seed we deal the
# names of the methods out at random, many times. A ladder of shuffled names
# has no ingredient in it; how far do its rungs spread?

# %%
ladder = gain.drop(index="STL")
M, S = ladder.shape
noise = (
    ladder.sub(ladder.mean(axis=1), axis=0)
    - ladder.mean()
    + ladder.stack().mean()
)
freedom = (M - 1) * (S - 1)
sigma = np.sqrt((noise**2).to_numpy().sum() / freedom)
lsd = stats.t.ppf(0.975, freedom) * sigma * np.sqrt(2 / S)
hsd = stats.studentized_range.ppf(0.95, M, freedom) * sigma / np.sqrt(S)

random = np.random.default_rng(0)
shuffled = np.array(
    [random.permuted(ladder.to_numpy(), axis=0).mean(1) for _ in range(2000)]
)
chance = (shuffled.var(1) >= ladder.mean(axis=1).var(ddof=0)).mean()
band = np.quantile(shuffled, (0.025, 0.975))
print(f"noise of a run: {sigma:.2f} points of Δm")
print(
    f"a pair chosen beforehand must differ by {lsd:.1f}, any pair by {hsd:.1f}"
)
print(f"shuffled names spread as far in {100 * chance:.1f} % of the deals")

# %% [markdown]
# And here is the ladder. On the left what each task owns, on the right what
# comes of it:

# %% mystnb={"image": {"alt": "Fourteen recipes from HPS to TSσBN with other functions, with dots for what each task owns: statistics, scale, bias, bound, and the multiplier of the rate. On the right the Δm of three seeds and their mean. All means lie between minus two and plus one, within the grey band of the means of shuffled names, which is narrower than the spread of some single methods."}}
fig, (own, right) = plt.subplots(
    1, 2, figsize=(7.4, 4.6), sharey=True, width_ratios=(2, 5)
)
y = np.arange(M)[::-1]
for height, (name, (_, _, parts, multiplier)) in zip(
    y, LADDER.items(), strict=True
):
    held = [part in parts.split() for part in PARTS]
    dots = [plots.COLORS["black"] if h else "#DDDDDD" for h in held]
    own.scatter(range(len(PARTS)), [height] * len(PARTS), 40, dots)
    own.text(len(PARTS), height, multiplier, ha="center", va="center")
    color = "blue" if "σ" in name else "green" if "TSBN" in name else "orange"
    color = "black" if name == "HPS" else color
    seeds = right.plot(
        ladder.loc[name],
        [height] * S,
        "o",
        ms=5,
        alpha=0.6,
        color=plots.COLORS[color],
    )
    right.plot(
        ladder.loc[name].mean(),
        height,
        "|",
        ms=18,
        mew=2.5,
        color=plots.COLORS[color],
    )
right.axvspan(
    *band, color="#EEEEEE", zorder=0, label="means of shuffled names, 95 %"
)
right.axvline(0, color="black", lw=1)
low = ladder.min(axis=None)
right.plot([low, low + lsd], [M - 0.2] * 2, color="black", lw=2.5)
right.text(
    low + lsd, M - 0.2, "  visible difference of a pair", va="center", size=8
)
own.set_yticks(y, LADDER)
own.set_xticks(range(len(PARTS) + 1), [*PARTS, "rate ×"], rotation=60)
own.set(xlim=(-0.5, len(PARTS) + 0.5), ylim=(-0.6, M + 0.3))
own.grid(False)
own.spines[:].set_visible(False)
own.tick_params(length=0)
right.tick_params("y", length=0)
right.set_xlabel("Δm against single-task networks, %; a dot for each seed")
fig.legend(loc="outside lower right", fontsize=8)
fig.suptitle(
    "No rung stands out: shuffled names spread as far",
    x=0.01,
    ha="left",
    size=11,
)
plt.show()

# %% [markdown]
# Pairs of methods waste what the others know. The ladder holds three small
# factorial designs, in which an ingredient is added to several recipes at once:
# statistics and scale with bias, each with and without the other; σ and bias at
# ×10, each with and without the other; TSBN and TSσBN at three rates. The
# effect of an ingredient is a mean over its design, a contrast
# $\sum_m c_m \bar d_{m\cdot}$, and its interval is
# $\pm\, t_{0.975}\, \hat\sigma \sqrt{\sum_m c_m^2 / S}$.

# %% mystnb={"image": {"alt": "Effects of nine ingredients with 95 % intervals and the three seeds. All intervals contain zero. Rate times 10 and times 100 are highest, at about two points, and their intervals just reach zero; own statistics, own scale, bias and sigma lie within one point; tanh, softplus and clamp in the place of sigma are at or below zero."}}
OWN = ("HPS", "statistics only", "scale and bias only", "TSBN")
AT10 = ("TSBN ×10, no β", "TSσBN ×10", "TSBN ×10", "TSσBN ×10, β")
EFFECTS = {  # with the ingredient, and without
    "own statistics": (OWN[1::2], OWN[::2]),
    "own scale and bias": (OWN[2:], OWN[:2]),
    "σ around the scale": (AT10[1::2], AT10[::2]),
    "own bias": (AT10[2:], AT10[:2]),
    "rate ×10": (("TSBN ×10", "TSσBN ×10"), ("TSBN", "TSσBN ×1")),
    "rate ×100": (("TSBN ×100", "TSσBN ×100"), ("TSBN", "TSσBN ×1")),
    "tanh for σ": (("tanh ×10",), ("TSσBN ×10",)),
    "softplus for σ": (("softplus ×10",), ("TSσBN ×10",)),
    "clamp for σ": (("clamp ×10",), ("TSσBN ×10",)),
}
rows = {}
for name, (present, absent) in EFFECTS.items():
    seeds = ladder.loc[list(present)].mean() - ladder.loc[list(absent)].mean()
    half = lsd * np.sqrt((1 / len(present) + 1 / len(absent)) / 2)
    rows[name] = [*seeds, seeds.mean(), half]
columns = [f"seed {seed}" for seed in SEEDS]
effects = pd.DataFrame(rows, [*columns, "effect", "±"]).T

_, ax = plt.subplots(figsize=(7, 3.4))
y = np.arange(len(effects))[::-1]
ax.errorbar(
    effects["effect"],
    y,
    xerr=effects["±"],
    fmt="|",
    ms=12,
    mew=2.5,
    capsize=3,
    color=plots.COLORS["blue"],
    label="effect, 95 %",
)
for column in columns:
    label = "a seed" if column == columns[0] else None
    ax.plot(effects[column], y, "o", ms=4, color="#888888", label=label)
ax.axvline(0, color="black", lw=1)
ax.set_yticks(y, effects.index)
ax.set_xlabel("points of Δm with the ingredient rather than without")
ax.set_title("Three seeds see no effect; the rate comes nearest")
ax.legend(loc="best", fontsize=8)
plt.show()
effects.round(1)

# %% [markdown]
# What this says, and what it does not:
#
# - **The ladder as a whole is noise.** Names dealt at random spread the rungs
#   as far in more than half of the deals. None of the effects is sure, so none
#   of the orders in the table should be quoted, not even those that we like.
# - **The rate comes nearest.** The interval of ×10 and of ×100 all but excludes
#   zero: own scales that hardly move are hardly own. The multiplier is also the
#   ingredient that chapter 4 saw work, on other data. With nine intervals one
#   that comes this close is nothing special.
# - **The function hardly matters here.** tanh, softplus and even the clamp
#   with its dead zones lie within noise of σ. What is not seen may still be
#   there: anything below about three points would be missed.
# - **"Steady" is a temptation.** TSσBN ×10 has the smallest spread of all, TSBN
#   ×100 the largest. On the larger rooms it is the other way round, see below.
# - **All together can be seen where there is more to win.** On the larger rooms
#   TSσBN ×10 is above HPS by more than three points on every seed. On the
#   smaller ones, where HPS is hardly worse than three networks, it is not.

# %%
small = {name: ladder.loc[name].to_numpy() for name in larger}
for name in "TSσBN ×10", "TSBN ×100":
    spreads = [where[name].std(ddof=1) for where in (small, larger)]
    print(f"{name}: ± {spreads[0]:.1f} on small rooms, ± {spreads[1]:.1f}")
for where in small, larger:
    print("TSσBN ×10 − HPS:", (where["TSσBN ×10"] - where["HPS"]).round(1))
assert small["TSσBN ×10"].std() < small["TSBN ×100"].std()
assert larger["TSσBN ×10"].std() > larger["TSBN ×100"].std()
assert (larger["TSσBN ×10"] - larger["HPS"] > 3).all()
assert lsd < 3.2 and effects["effect"].max() < 2.5
assert chance > 0.5 and (effects["effect"].abs() < effects["±"]).all()
assert effects["effect"].idxmax() == "rate ×10"

# %% [markdown]
# The paper's ladder of multipliers has steps of one to two points, from one
# number for each setting; with three seeds of this miniature they would be
# invisible, whether they exist or not. That the base line and the sign of Δm
# differ from the paper's is the matter of chapter 6.
#
# (ingredients-faces)=
# ### Twelve tasks
#
# Where sharing costs more, there is more to be won back. On the drawn faces of
# chapter 8, with twelve attributes for one trunk, there are saved runs of six of
# the recipes. Here are paired differences of the gain in mean F1, seed by seed;
# ± is the interval of a paired t test, with two degrees of freedom.


# %%
FACES = (
    "HPS",
    "TSBN",
    "TSBN ×10",
    "TSBN ×100",
    "TSσBN ×10",
    "TSσBN ×100",
)
face_single = records.of("faces", "stl", SEEDS)
faces = {
    name: records.of("faces", LADDER[name][0], SEEDS, LADDER[name][1])
    .delta(face_single)
    .to_numpy()
    for name in FACES
}
rows = {name: [*gain, gain.mean(), None] for name, gain in faces.items()}
for after, before in (
    ("TSBN", "HPS"),
    ("TSBN ×10", "TSBN"),
    ("TSBN ×100", "TSBN"),
    ("TSBN ×100", "TSBN ×10"),
    ("TSσBN ×100", "TSσBN ×10"),
    ("TSσBN ×100", "TSBN ×100"),
    ("TSσBN ×10", "TSBN ×10"),
    ("TSσBN ×10", "HPS"),
):
    step = faces[after] - faces[before]
    half = stats.t.ppf(0.975, S - 1) * step.std(ddof=1) / np.sqrt(S)
    rows[f"{after} − {before}"] = [*step, step.mean(), half]
on_faces = pd.DataFrame(rows, [*columns, "mean", "±"]).T
at10 = faces["TSσBN ×10"] - faces["TSBN ×10"]
assert (faces["TSσBN ×100"] > faces["TSBN ×100"] + 10).all()
assert (faces["TSBN ×100"] < faces["TSBN"] - 5).all()
assert (faces["TSBN ×100"] < faces["TSBN ×10"] - 10).all()
assert faces["TSσBN ×100"].mean() > faces["TSσBN ×10"].mean() - 10
assert (faces["TSσBN ×10"] > faces["HPS"] + 10).all()
assert (faces["TSBN ×10"] > faces["HPS"] + 5).all()
assert at10.min() < 0 < at10.max()  # who is ahead depends on the seed
half = on_faces.loc["TSσBN ×10 − TSBN ×10", "±"]
assert abs(at10.mean()) < half / 3 and half > 10 + abs(at10.mean())
assert (faces["TSBN ×100"] == np.min(list(faces.values()), axis=0)).all()
on_faces.round(1)

# %% [markdown]
# Now something is visible. The rate ×100 without σ does harm: TSBN ×100 is
# worst of all on every seed, more than ten points below TSBN ×10. With σ around
# the scale, and no β, it does less: TSσBN ×100 loses fewer than ten points
# against its own ×10 on average, and is more than ten above TSBN ×100 on every
# seed. (σ and the missing β come together here; the saved runs do not separate
# them.) At the matched rate, ×10, both are above HPS on every seed, and their
# means are close to that of twelve networks. Which of the two is ahead depends
# on the seed. So σ (without β) makes too fast a rate less harmful; at ×10
# nothing of it is seen. Three seeds would see little there: the interval reaches
# more than ten points either way.
#
# (ingredients-beyond-vision)=
# ## Beyond vision
#
# Does any of this depend on images, or on BatchNorm? The second thing reviewers
# asked for is evidence outside vision. So here is a text task that
# needs no download, for it ships with Python: every character of Unicode has a
# name, and the standard library knows it.

# %%
unicode = unicodedata.ucd_3_2_0  # an old version, the same in every Python
for sign in "ﺎ½Ω＄":
    print(
        f"{unicode.name(sign)}: {unicode.category(sign)}, "
        f"{unicode.bidirectional(sign)}, {unicode.decomposition(sign)}, "
        f"{unicode.east_asian_width(sign)}"
    )

# %% [markdown]
# From the name alone, a few words, a network is to answer four questions: the
# *category* (is it a letter, a digit, a sign of mathematics?), the *direction*
# in which text with it runs, its *decomposition* (is it made of other
# characters, and how?), and its *width* in East Asian text. They need different
# words of the same name: LETTER, ARABIC, FINAL FORM, HALFWIDTH. The answers are
# those of the Unicode standard, nobody had to annotate anything, and the data
# are the same on every machine.
#
# The trunk is a Transformer {cite:p}`vaswani2017attention` of two layers and
# width 32 over the words of a name, its norms are {term}`LN`; a head is a
# linear layer on the mean over the words. Answers are uneven, so a task's
# score is F1 averaged over its answers (those that at least ten training names
# have). `book/studies/beyond_vision.py` trained all of it, three seeds; its
# results are read here.

# %%
study = records.load("beyond_vision/names")
print({key: study["data"][key] for key in ("train", "test", "classes")})
QUESTIONS = list(study["data"]["classes"])
UNTRAINED = "untrained"
TITLE = {"stl": "STL", "hps": "HPS", "tsln": "TSLN", "tssln": "TSσLN"}
TITLE |= {"tssln-preserve": "TSσLN, scale and β kept", UNTRAINED: UNTRAINED}


def f1(scored):
    return {task: 100 * scored[task]["f1"] for task in QUESTIONS}


rows = []
for run in study["runs"]:
    name = TITLE[run["method"]]
    if run["method"].startswith("ts"):
        name += f" ×{run['multiplier']}"
    for part in "test", "shuffled", "swapped":
        if part in run:
            suffix = "" if part == "test" else f", {part}"
            right = [run[part][task]["accuracy"] for task in QUESTIONS]
            row = {
                "method": name + suffix,
                "accuracy": 100 * np.mean(right),
                "parameters": run.get("parameters"),
            }
            rows.append(row | f1(run[part]))
names = pd.DataFrame(rows)
alone = names[names.method == "STL"][QUESTIONS].mean().to_dict()
names["Δm"] = [
    delta_m(row, alone, dict.fromkeys(QUESTIONS, True))
    for row in names[QUESTIONS].to_dict("records")
]
by_name = names.groupby("method", sort=False)
table = by_name[[*QUESTIONS, "accuracy", "Δm"]].mean().round(1)
table["±"] = by_name["Δm"].std().round(1)
table["parameters"] = by_name["parameters"].first().astype("Int64")
table

# %% mystnb={"image": {"alt": "Δm in F1 of eight methods on the names of characters, a dot for each of three seeds. HPS is at minus eight; plain norms for each task are a few points above it. TSσLN is at minus thirty-four, minus fifteen and minus seven with multiplier 1, 10 and 100; with scale and bias kept it is at minus seven and minus four. Gates that were shuffled or swapped between tasks, in grey, are far below their own at multiplier 10 and 100, and close to them where gates hardly moved."}}
KEYS = {
    "HPS": "black",
    "TSLN ×1": "green",
    "TSLN ×10": "green",
    "TSσLN ×1": "blue",
    "TSσLN ×10": "blue",
    "TSσLN ×100": "blue",
    "TSσLN, scale and β kept ×1": "sky",
    "TSσLN, scale and β kept ×10": "sky",
}
_, ax = plt.subplots(figsize=(7, 3.4))
for height, (name, color) in zip(
    range(len(KEYS))[::-1], KEYS.items(), strict=True
):
    for suffix, mark in ("", "o"), (", shuffled", "x"), (", swapped", "+"):
        values = names[names.method == name + suffix]["Δm"]
        label = f"gates{suffix}" if name == "TSσLN ×10" and suffix else None
        tone = "#888888" if suffix else plots.COLORS[color]
        ax.plot(
            values, [height] * len(values), mark, ms=6, color=tone, label=label
        )
ax.axvline(0, color="black", lw=1)
ax.set_yticks(range(len(KEYS)), list(KEYS)[::-1])
ax.set_xlabel("Δm in F1 against single-task networks, %; a dot for each seed")
ax.legend(loc="upper left")
ax.set_title("Without β and the old scale, gates need ×100 to equal HPS")
plt.show()

# %% [markdown]
# (Grey crosses: the same networks, their gates shuffled among the channels of a
# layer, or swapped, so that each task has another's.)
#
# - **A norm for each task helps a little.** Four single networks are the best,
#   with four times the parameters. TSLN wins back a part of what sharing costs,
#   and a larger one with a faster rate.
# - **The bare gate does not.** TSσLN at ×1 is far below HPS; each factor of ten
#   lifts it, and at ×100 it is level with HPS. So the multiplier matters, as in
#   the paper. (The base rate is high here, 0.01, which is the rate of the
#   paper's gates *with* the multiplier.) Accuracy, which the frequent answers
#   decide, hardly shows it; the rare answers are what is lost.
# - **Scale and bias are what is missing.** With `affine="preserve"` the layer
#   is $2\,\sigma(\gamma_t)\,\hat x + \beta_t$: the same gate, but the
#   start is that of the plain norm, and there is a bias. That is as good as TSLN
#   at either rate. BatchNorm forgives a trunk at half its scale, for in the next
#   layer it is normalised away; in this Transformer what a gate lets through is
#   added to the residual stream, and the last norm speaks to the heads.
#   Whether it is the scale or the bias this study does not separate.
# - **Gates that matter need not help.** Shuffled or swapped, the gates of
#   ×10 and ×100 ruin the network: the tasks do depend on their own. At ×1 with
#   scale and bias kept, where gates hardly moved, next to nothing happens. Yet
#   TSσLN at ×100 is no better than HPS, whose norm all tasks share.
#
# LN has no running statistics, so what is left of TSσBN here is the gate alone.
# That costs the layer what domain-specific statistics give, and spares it the
# trouble with them (chapter 4).

# %%
delta = by_name["Δm"].mean()
kept = "TSσLN, scale and β kept"
assert delta["HPS"] < delta["TSLN ×1"] < delta["TSLN ×10"] < 0
assert delta["TSσLN ×1"] < delta["TSσLN ×10"] < delta["TSσLN ×100"]
assert delta["TSσLN ×10"] < delta["HPS"] - 5
assert abs(delta["TSσLN ×100"] - delta["HPS"]) < 2
for multiplier in 1, 10:
    plain = delta[f"TSLN ×{multiplier}"]
    assert abs(delta[f"{kept} ×{multiplier}"] - plain) < 2
assert delta["TSσLN ×100, shuffled"] < delta["TSσLN ×100"] - 20
assert delta[f"{kept} ×1, shuffled"] > delta[f"{kept} ×1"] - 3
assert delta["untrained"] < delta.drop("untrained").min()

# %% [markdown]
#
# ## Limits
#
# - Three seeds, one small network, short training. What is under the visible
#   difference is not shown to be equal, it is not seen.
# - The single-task networks are a yardstick that moves, too: their own three
#   seeds spread. It moves all rungs of the ladder together, and no difference
#   between two of them.
# - One base rate for all methods, tuned for none. Each ingredient was added at
#   the setting of the others that we found good; with others it may do more or
#   less.
# - *Scale and bias only* was trained with the tasks stacked in one pass. Trained
#   in turns it breaks in evaluation, see chapter 4.
# - One text set, with answers that a rule could give, one Transformer of two
#   layers. A pretrained language model is another matter.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-14-leak
# A *leaky* clamp has the slope 0.01 outside [0, 1]. Add it to `FORMS` and
# `START`, and repeat the experiment with one gate, for 400 steps. Does it come
# back, and when?
# :::
#
# :::{solution} ex-14-leak
# :class: dropdown
#
# ```python
# def leaky(gamma):
#     return gamma.clamp(0, 1) + 0.01 * (gamma - gamma.clamp(0, 1))
#
#
# for form in leaky, torch.sigmoid:
#     start = 0.5 if form is leaky else 0.0
#     gate, gamma = moved(form, start, steps=400)
#     print((gate[TURN:] > 0.5).nonzero()[0].item(), "steps after the turn")
# ```
#
# It comes back, some three times later than the sigmoid. Adam divides by the
# size of past gradients, but its memory is long: for hundreds of steps a slope
# of a hundredth is measured against the slope of one that was before. With SGD
# it would take longer still.
# :::
#
# :::{exercise}
# :label: ex-14-seeds
# How many seeds would make the visible difference of a pair half as large?
# Compute it from `sigma` and `M`, without training anything.
# :::
#
# :::{solution} ex-14-seeds
# :class: dropdown
#
# ```python
# for seeds in 3, 5, 7, 9, 11, 13:
#     t = stats.t.ppf(0.975, (M - 1) * (seeds - 1))
#     print(seeds, t * sigma * np.sqrt(2 / seeds) / lsd)
# ```
#
# Eleven or twelve: the difference shrinks with the square root of the number of
# seeds. The degrees of freedom, which are plenty already, hardly help.
# :::
#
# :::{exercise}
# :label: ex-14-mask
# The random masks above keep half of the channels. Make it a tenth, or nine
# tenths, in `build`. What do you expect of masks of each task's own?
# :::
#
# :::{solution} ex-14-mask
# :class: dropdown
#
# Change `0.5` to `0.1` or `0.9` in `torch.rand_like(gamma) < 0.5` and call
# `fit("random, own", seed)` again. With nine tenths the masks of the two tasks
# hardly differ, and the network is nearly HPS. With a tenth each task has two
# of twenty channels in a layer: it is separate from the other, and too narrow.
# :::
#
# ## What we learned
#
# - A clamped gate that leaves its bounds never returns. That need not cost
#   score: on a small problem random masks of a task's own do as well as learned
#   gates, so a good score is no proof that gates mean something.
# - Three seeds of the small rooms resolve three points of Δm for a pair. No
#   single ingredient is worth that there. Ask what an experiment could have
#   seen before asking what it shows, and shuffle the names.
# - On twelve tasks σ (without β) makes too fast a rate less harmful. At the
#   matched rate TSBN and TSσBN cannot be told apart.
# - With LN there are no statistics to own. A bare gate that starts at one half
#   is then worse than a plain norm for each task; with scale and bias kept
#   (`affine="preserve"`) it is as good.

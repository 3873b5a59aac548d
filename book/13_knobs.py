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
# # Turning the knobs: multiplier and loss scales
#
# :::{admonition} The claim
# A multiplier is no number to carry from one experiment to the next. With Adam
# a gate moves by its own rate, multiplier times base rate, whatever the loss.
# Too low a rate, and the gates are still alike when training ends; too high,
# and they are noise. Between the two lies a window, and validation images tell
# where.
# :::
#
# *Runs in about half a minute on one CPU core; no GPU needed.*

# %% tags=["hide-input"]
import copy
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import nn

import tssbn
from tssbn import claims, plots, records
from tssbn.methods import METHODS, find_method
from tssbn.clusters import depth_and_channel_parts
from tssbn.benchmarks import find_benchmark
from tssbn.training.run import Run

torch.set_num_threads(1)
plots.style()

TITLES = {name: find_method(name).title for name in METHODS}
COLOR = {name: plots.method_color(name) for name in METHODS}

# %% [markdown]
# (knobs-multiplier)=
# ## A hundred times what?
#
# The paper lets the gates learn 100 times as fast as the filters, in all its
# experiments, and its ablation on NYUv2 shows why: of the multipliers 1, 10,
# 100 and 1000 the third is best {cite:p}`suteu2025tssbn`. But what a
# multiplier does depends on the base rate that it multiplies. So all that
# follows is in *gate rates*: multiplier times base rate. It is how far a gate
# moves in a step of Adam, as we shall see.
#
# On the synthetic rooms of chapter 6 the rates of each method were chosen on
# validation images, from a seed that is not used for anything else
# (`book/studies/tuning.py`): four gate rates at the base rate of the recipe,
# then half and twice that base rate. Other methods had as many trials of their
# base rate. Here is Δm on the validation images, not over single-task networks
# but over HPS at its best; beside it the paper's sweep.

# %% mystnb={"image": {"alt": "Two panels over the gate rate. Left, the paper's Δm on NYUv2 for TSBN and TSσBN at gate rates 0.0001 to 0.1: TSσBN rises to a peak at 0.01 and falls, TSBN is flat and falls below zero at 0.1. Right, synthetic rooms: the gain over HPS on validation images of one seed for each method with a gate rate; filled markers at the base rate of the recipe, hollow ones at half and twice that."}}
PAPER_LR = find_benchmark("nyuv2")().recipe.lr
PAPER = pd.DataFrame(  # the table that is called Figure 6
    {"tsbn": (4.09, 4.80, 4.42, -2.96), "tssbn": (4.02, 5.67, 6.93, 4.33)},
    (1, 10, 100, 1000),
)
PAPER.index *= PAPER_LR


def trials_of(method):
    """A row for each trial: the rates, and the scores on validation images."""
    try:
        trials = records.load(f"tuning/rooms-{method}")["trials"]
    except FileNotFoundError:
        return pd.DataFrame()
    rows = [trial["rates"] | {"trial": trial} for trial in trials]
    frame = pd.DataFrame(rows).assign(method=method)
    return frame.assign(rate=frame["lr"] * frame.get("multiplier", np.nan))


def gain(trial, over):
    """Δm on the validation images."""
    return records.delta(trial["val"], over["val"], trial["directions"])


trials = pd.concat(map(trials_of, METHODS))
print("trials with", records.load("tuning/rooms-hps")["settings"])
of_hps = trials["trial"][trials["method"] == "hps"]
best = max(of_hps, key=lambda trial: gain(trial, of_hps.iloc[0]))
trials["gain"] = [gain(trial, best) for trial in trials["trial"]]
gated = trials.dropna(subset="rate").sort_values("rate")

_, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.1))
for method in PAPER:
    line = {"color": COLOR[method], "label": TITLES[method]}
    left.plot(PAPER.index, PAPER[method], "D-", ms=5, **line)
spare = iter(("orange", "purple", "sky", "red", "black"))
for method, part in gated.groupby("method", sort=False):
    color = COLOR[method] if method in PAPER else plots.COLORS[next(spare)]
    usual = part["lr"].mode()[0]
    at_usual = part[part["lr"] == usual]
    rates, values = at_usual["rate"], at_usual["gain"]
    right.plot(rates, values, "o-", color=color, label=TITLES[method])
    others = part[part["lr"] != usual]
    hollow = {"mfc": "none", "color": color}
    right.plot(others["rate"], others["gain"], "o", **hollow)
for ax in left, right:
    ax.axhline(0, color="black", lw=1)
    ax.set(xscale="log", xlabel="gate rate")
left.set(ylabel="Δm over STL, %", title="NYUv2, the paper's Figure 6")
right.set(ylabel="Δm over HPS, %", title="Rooms, validation, one seed")
left.legend()
right.legend(fontsize=7)
plt.show()

# %% [markdown]
# With one seed this is for choosing, not for concluding. On the test images,
# with the base rate that was chosen, other gate rates and several seeds,
#
# ```
# python -m tssbn train rooms --method tssbn --seed 0 --set multiplier=10
# ```
#
# and the same for TSBN, whose scales and biases learn at that rate. Intervals
# are those of {mod}`tssbn.claims`: one standard deviation for all arms, and
# the chosen rate is compared with all others at once (Dunnett). *Visible* is
# the smallest difference that this many runs would show in four cases of five.


# %%
RUNS = range(10)  # seeds, those that there are


def sweep_of(method):
    """Saved runs by gate rate, and the rate that was chosen."""
    run, found, chosen = Run("rooms", method), {}, None
    lr = run.benchmark.recipe.lr
    tried = {round(rate / lr, 6) for rate in gated["rate"]}
    for multiplier in sorted(tried | {1, 3, 10, 30, 100}):
        runs = records.of("rooms", method, RUNS, multiplier=multiplier)
        rate = round(multiplier * lr, 6)
        if runs:
            found[method, rate] = runs
        if Run("rooms", method, 0, {"multiplier": multiplier}) == run:
            chosen = rate
    return found, chosen


rooms, chosen = {}, {}
for method in PAPER:
    found, chosen[method] = sweep_of(method)
    rooms |= found


def shown(x):
    if isinstance(x, str):
        return x
    return "" if pd.isna(x) else f"{round(x, 4) + 0:.3g}"


def name_of(method, rate):
    return f"{TITLES[method]} at {rate:g}"


plain = {"STL": "stl", "HPS": "hps"}
plain = {name: records.of("rooms", of, RUNS) for name, of in plain.items()}
arms = {name: found for name, found in plain.items() if found}
baseline = next(iter(arms))  # STL, once it has runs
arms |= {name_of(*key): found for key, found in rooms.items()}
bed, base = claims.Bed.of(arms, baseline=baseline), arms[baseline]
ignoring = base[0].constant()
mean, up = base.scores().mean().to_dict(), base[0]["directions"]
constant = records.delta(ignoring, mean, up)
rows = {"constant baseline": ignoring | {"Δm": constant}}
for name, found in arms.items():
    delta = found.delta(base).mean()
    rows[name] = {**found.scores().mean(), "Δm": delta, "n": len(found)}
for method, at in chosen.items():
    if (method, at) not in rooms:
        continue
    others = [name_of(m, r) for m, r in rooms if m == method and r != at]
    for name, effect in bed.against(name_of(method, at), *others).items():
        if effect:
            rows[name]["chosen − this"] = str(effect)
            rows[name]["visible"] = effect.visible
print("chosen:", ", ".join(name_of(*pair) for pair in chosen.items()))
pd.DataFrame(rows).T.map(shown)

# %% mystnb={"image": {"alt": "Two panels over the gate rate, synthetic rooms. Left, Δm of TSBN and TSσBN on the test images, a dot for each seed, lines through the means; a grey band at zero is the error of the baseline. Right, Δm of TSσBN minus that of TSBN at the same gate rate, with 95 per cent intervals, and as diamonds the paper's differences on NYUv2."}}
_, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.1))
for method, shift in ("tsbn", 0.95), ("tssbn", 1.05):
    found = {rate: of for (m, rate), of in rooms.items() if m == method}
    delta = {rate: of.delta(base) for rate, of in found.items()}
    line = {"color": COLOR[method], "label": TITLES[method]}
    left.plot([*delta], [values.mean() for values in delta.values()], **line)
    for rate, values in delta.items():
        dots = {"alpha": 0.6, "color": COLOR[method]}
        left.plot([rate * shift] * len(values), values, "o", ms=5, **dots)
if baseline in bed.arms:
    left.axhspan(-bed.band(), bed.band(), color="#E4E4E4", zorder=0)
text = f"constant baseline: {constant:.0f}"
left.text(0.02, 0.02, text, transform=left.transAxes, fontsize=8)
left.set(ylabel=f"Δm over {baseline}, %", title="Rooms, test images")
left.legend()
for rate in sorted({rate for _, rate in rooms}):
    pair = [name_of(method, rate) for method in ("tssbn", "tsbn")]
    if set(pair) <= set(bed.arms):
        effect = bed.compare(*pair)
        ends = [[effect.value - effect.low], [effect.high - effect.value]]
        right.errorbar(rate, effect.value, ends, fmt="o", color="black")
apart = PAPER["tssbn"] - PAPER["tsbn"]
right.plot(apart, "D", mfc="white", mec="black", label="the paper, NYUv2")
right.set(ylabel="points of Δm", title="TSσBN minus TSBN")
right.legend()
for ax in left, right:
    ax.axhline(0, color="black", lw=1)
    ax.set(xscale="log", xlabel="gate rate")
plt.show()

# %% [markdown]
# One line of the paper needs a remark. Its text gives TSBN no learning rate of
# its own. But the TSBN row of its Table 1 is the one that Figure 6 has at 100:

# %%
table_1 = find_benchmark("nyuv2")().paper["tsbn-x100"]["delta"]
print("Table 1:", table_1, "- Figure 6:", PAPER["tsbn"].to_list())
assert table_1 == PAPER["tsbn"].iloc[2] != PAPER["tsbn"].iloc[0]

# %% [markdown]
# So in Table 1 both methods had a multiplier of 100, which makes the
# comparison fair. It also means that "TSBN" there is not TSBN as the text
# describes it. Our tables list both.
#
# (knobs-gates)=
# ## What the gates look like
#
# The left part of the paper's Figure 5 has a histogram of all gates for each
# multiplier: at 100 it just covers the range from 0 to 1, at 1000 it is nearly
# binary. Here are the histograms for the rooms:


# %% mystnb={"image": {"alt": "Histograms of the gates of TSσBN on synthetic rooms, one for each gate rate, with the standard deviation of the gates and the share of those that are shut or open."}}
pooled = {
    rate: torch.cat([gates.values.flatten() for gates in found.gates()])
    for (method, rate), found in rooms.items()
    if method == "tssbn"
}
fig, axes = plt.subplots(
    1, len(pooled), figsize=(7.5, 2.4), sharey=True, squeeze=False
)
for ax, (rate, gates) in zip(axes.flat, pooled.items(), strict=True):
    ends = ((gates < 0.05) | (gates > 0.95)).double().mean()
    plots.gate_histogram(ax, gates, "blue")
    ax.set(title=f"{rate:g}: std {gates.std():.2f}\nat ends {ends:.0%}")
    ax.title.set_size(9)
    ax.set(xticks=[0, 0.5, 1], ylabel="")
axes[0, 0].set_ylabel("share of gates")
fig.supxlabel("gate σ(γ), all layers, tasks and seeds", fontsize=10)
plt.show()

# %% [markdown]
# ("At ends" are the gates within 0.05 of shut or open.)
#
# ## One step by hand
#
# Why gate rates, and not multipliers? Look at a single step. A gate
# multiplies a normalised channel, $y = \sigma(\gamma)\,\hat x$, so
#
# $$
# g = \frac{\partial L}{\partial \gamma}
#   = \sigma'(\gamma) \sum \hat x\, \frac{\partial L}{\partial y},
# \qquad \sigma'(\gamma) = \sigma(\gamma)\,(1 - \sigma(\gamma)) \le \tfrac14 .
# $$ (eq-gate-gradient)
#
# With base rate $\eta$ and multiplier $m$, the gate's own rate is
# $\alpha = m\eta$. SGD with momentum $\mu$ and Adam {cite:p}`kingma2015adam`
# then do
#
# $$
# \text{SGD:}\quad u \leftarrow \mu u + g, \quad
# \gamma \leftarrow \gamma - \alpha\,u ;
# \qquad
# \text{Adam:}\quad \gamma \leftarrow \gamma - \alpha\,
# \frac{\bar g}{\sqrt{\overline{g^2}} + \epsilon} ,
# $$ (eq-gate-step)
#
# where $\bar g$ and $\overline{g^2}$ are running means. Multiply the loss by a
# number: SGD's step is multiplied with it, slope and all. In Adam's it
# cancels. By hand, and by `torch.optim` with the groups that
# `tssbn.param_groups` makes:


# %%
def tiny(norm="sigmoid"):
    """A trunk with one norm layer, in two tasks, or shared if None."""
    _ = torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8)
    )
    if norm is not None:
        trunk = tssbn.task_specific(trunk, ("a", "b"), norm)
    heads = {task: nn.Linear(8, 1) for task in ("a", "b")}
    return tssbn.MultiTask(trunk, heads).double()


inputs = torch.randn(
    32, 6, generator=torch.Generator().manual_seed(1)
).double()


def losses(net):
    return {t: (y - 1).square().mean() for t, y in net(inputs).items()}


ETA, M, MU, EPS = 1e-4, 100, 0.9, 1e-8
OPTIMISERS = {
    "SGD": lambda groups: torch.optim.SGD(groups, momentum=MU),
    "Adam": lambda groups: torch.optim.Adam(groups, eps=EPS),
}
steps = {}
for (name, make), scale in itertools.product(OPTIMISERS.items(), (1, 1000)):
    net = tiny()
    gamma = net.trunk[1].gamma
    optimiser = make(tssbn.param_groups(net, ETA, M))
    by_hand, u, m, v = gamma.detach().clone(), 0, 0, 0
    for k in (1, 2, 3):
        optimiser.zero_grad()
        (scale * sum(losses(net).values())).backward()
        g = gamma.grad.clone()
        optimiser.step()

        u = MU * u + g
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        rms = (v / (1 - 0.999**k)).sqrt()
        step = u if name == "SGD" else m / (1 - 0.9**k) / (rms + EPS)
        by_hand -= M * ETA * step
        assert torch.allclose(by_hand, gamma, rtol=0, atol=1e-12)
    steps[name, f"loss ×{scale}"] = gamma.detach().abs().mean().item() / 3
print("by hand = torch.optim with tssbn.param_groups, three steps")
mean_step = pd.Series(steps).unstack()
mean_step.rename_axis("mean step of γ")

# %%
at_one, times_1000 = mean_step["loss ×1"], mean_step["loss ×1000"]
assert times_1000["SGD"] > 100 * at_one["SGD"]
assert abs(times_1000["Adam"] / at_one["Adam"] - 1) < 1e-3
assert 0.9 * M * ETA < at_one["Adam"] < 1.1 * M * ETA

# %% [markdown]
# Adam's step is $\alpha = m\eta$, 0.01 with the paper's numbers, as long as
# the gradients of the last steps agree in sign. Loss, slope of the sigmoid,
# size of the network: all divided away. SGD's step is small here, and can be
# anything.
# (It does not grow by 1000 quite, since heads and filters move with it.)
#
# So with Adam the number to compare is not the multiplier but $m\eta$. The
# same 100 is

# %%
for name in "nyuv2", "celeba", "cityscapes":
    recipe = find_benchmark(name)().recipe
    print(f"{name}: {recipe.optimiser}, gate rate {100 * recipe.lr:g}")

# %% [markdown]
# ## How far a gate gets
#
# In $n$ steps at rate $\alpha$ a gate whose gradient always has the same sign
# gets to $\gamma = \alpha n$. A gate that does not matter has a gradient that
# is noise. Its steps are not independent, for $\bar g$ remembers about ten of
# them, but they add up to a random walk:
#
# $$
# \text{signal:}\quad |\gamma| \approx \rho\, \alpha\, n, \qquad\qquad
# \text{noise:}\quad \operatorname{rms}\, \gamma \approx \alpha \sqrt{n},
# $$ (eq-reach)
#
# where $\rho$ is the mean of the gradient over its root mean square.
#
# The rate does not enter the race between the two: signal is ahead of noise
# after $n > 1/\rho^2$ steps, fast or slow. What the rate decides is *where on
# the sigmoid* the race takes place. Far below $\gamma = 1$ both are invisible.
# Far above, both sit at 0 or 1, and the gate is a coin that was tossed early.
#
# ## Gates whose truth is known
#
# In the rooms nobody knows which gates should open. So here is a problem in
# which everybody does. Inputs are 48 independent channels. Two tasks predict a
# number each: the first from channels 0 to 15, the second from 8 to 23, by a
# small random network and with noise on the targets. The other 24 channels are
# nobody's. The pupil is the smallest TSσBN network there is: gates, 32 shared
# hidden units, a head for each task,
#
# $$
# y_t = v_t^\top \operatorname{ReLU}\bigl(W (\sigma(\gamma_t) \odot x) + b\bigr)
#       + c_t ,
# $$ (eq-pupil)
#
# with $x$ normalised from the start. A task should open 16 gates and shut 32.
# Each step sees 16 fresh samples. To train quickly, all rates and all seeds
# share one tensor: optimisers treat every number by itself, so the runs do not
# see each other.

# %%
CHANNELS, HIDDEN, BATCH, SEEDS = 48, 32, 16, 5
useful = torch.zeros(2, CHANNELS, dtype=torch.bool)
useful[0, :16] = useful[1, 8:24] = True

truth = torch.Generator().manual_seed(0)
first = torch.randn(SEEDS, 2, 8, CHANNELS, generator=truth) / 4
first = first * useful[:, None]
second = torch.randn(SEEDS, 2, 8, generator=truth) / 2**0.5


def draw(n, generator, noise):
    """x: (seeds, n, channels), y: (seeds, tasks, n)."""
    x = torch.randn(SEEDS, n, CHANNELS, generator=generator)
    hidden = torch.einsum("snc,sthc->stnh", x, first).relu()
    y = torch.einsum("stnh,sth->stn", hidden, second)
    return x, y + noise * torch.randn(y.shape, generator=generator)


def predict(x, gates, W, b, v, c):
    """(rates, seeds, tasks, n), of gates (rates, seeds, tasks, channels)."""
    gated = (gates[..., None, :] * W[:, :, None]).mT
    hidden = (x[None, :, None] @ gated + b[:, :, None, None]).relu()
    return (hidden @ v[..., None])[..., 0] + c[..., None]


def sweep(make, rates, lr, steps=400):
    """Train at each rate of the gates; what became of gates and error."""
    draws = torch.Generator().manual_seed(1)
    R, S = len(rates), SEEDS
    weights = [
        torch.randn(S, HIDDEN, CHANNELS, generator=draws) / CHANNELS**0.5,
        torch.zeros(S, HIDDEN),
        torch.randn(S, 2, HIDDEN, generator=draws) / HIDDEN**0.5,
        torch.zeros(S, 2),
    ]
    weights = [nn.Parameter(w.expand(R, *w.shape).clone()) for w in weights]
    gammas = [nn.Parameter(torch.zeros(S, 2, CHANNELS)) for _ in rates]
    groups = [{"params": weights, "lr": lr}]
    for gamma, rate in zip(gammas, rates, strict=True):
        groups.append({"params": gamma, "lr": rate})
    optimiser = make(groups)
    for step in range(steps):
        x, y = draw(BATCH, draws, noise=0.5)
        outputs = predict(x, torch.stack(gammas).sigmoid(), *weights)
        optimiser.zero_grad()
        (outputs - y).square().mean(-1).sum().backward()
        if step == 0:
            size = gammas[0].grad.square().mean().sqrt().item()
        optimiser.step()
    with torch.no_grad():
        gates = torch.stack(gammas).sigmoid()
        return summed_up(gates, weights, rates) | {"gradient": size}


def summed_up(gates, weights, rates):
    x, y = draw(2000, torch.Generator().manual_seed(2), noise=0.0)
    shuffle = torch.rand(
        gates.shape, generator=torch.Generator().manual_seed(3)
    )
    shuffled = gates.gather(-1, shuffle.argsort(-1))

    def error(gates):
        residual = (predict(x, gates, *weights) - y).square().mean(-1)
        return (residual / y.var(-1)).mean(-1)

    def contrast(gates):
        return of_tasks(gates, lambda own, rest: own.mean(-1) - rest.mean(-1))

    def ranked(gates):
        return of_tasks(
            gates,
            lambda own, rest: (
                (own[..., :, None] > rest[..., None, :]).double()
                + 0.5 * (own[..., :, None] == rest[..., None, :])
            ).mean((-1, -2)),
        )

    def of_tasks(gates, measure):
        parts = [
            measure(gates[:, :, t, own], gates[:, :, t, ~own])
            for t, own in enumerate(useful)
        ]
        return torch.stack(parts).mean(0)

    return {
        "rates": torch.tensor(rates),
        "contrast": contrast(gates),  # these are (rates, seeds)
        "ranked": ranked(gates),
        "error": error(gates),
        "shuffled ranked": ranked(shuffled),
        "shuffled error": error(shuffled),
    }


# %% [markdown]
# Three questions to the gates at the end, for each rate: how much wider open
# are useful channels than useless ones (contrast); how often is a useful one
# wider open than a useless one (ranking, 0.5 is chance); and what is the test
# error, as a share of the variance of the targets, which is that of the
# constant baseline? The sweep goes over five decades of the gate rate, for
# Adam and for SGD with momentum. All other parameters learn at one rate.

# %%
DECADES = torch.logspace(-4, 1, 16).tolist()
BASE_LR = 3e-3


def adam(groups):
    return torch.optim.Adam(groups, fused=True)


def sgd(groups):
    return torch.optim.SGD(groups, momentum=MU)


found = {
    "Adam": sweep(adam, DECADES, BASE_LR),
    "SGD": sweep(sgd, [10 * rate for rate in DECADES], 1e-2),
}

# %% mystnb={"image": {"alt": "Three panels against the gate's rate, from 0.0001 to 10: contrast between useful and useless gates, ranking, and test error, for Adam and SGD, bands over five seeds, and a grey control with shuffled gates. The error has a valley at rates near 0.1 for Adam; above, ranking falls to chance; below, contrast is near zero. With shuffled gates ranking is at chance at every rate."}}
LINES = {"Adam": "blue", "SGD": "orange"}
_, axes = plt.subplots(1, 3, figsize=(8, 3.1))
for name, color in LINES.items():
    result = found[name]
    for ax, key in zip(axes, ("contrast", "ranked", "error"), strict=True):
        plots.spread(ax, result["rates"], result[key].T, color, name)
control = found["Adam"]
plots.spread(
    axes[1], DECADES, control["shuffled ranked"].T, "#888888", "shuffled gates"
)
plots.spread(
    axes[2], DECADES, control["shuffled error"].T, "#888888", "shuffled gates"
)
for ax in axes:
    ax.axvline(BASE_LR, color="black", lw=1, ls=":")
    ax.set(xscale="log", xlabel="gate's rate α")
axes[0].set_ylim(0, 1)
axes[0].set_title("Too slow: gates alike")
axes[0].set_ylabel("useful minus useless")
axes[1].set(ylim=(0.4, 1.02), ylabel="useful above useless")
axes[1].set_title("Too fast: gates are noise")
axes[2].set(ylim=(0, 1), ylabel="test error / variance")
axes[2].set_title("In between they help")
axes[2].legend(fontsize=7)
plt.show()

shuffled = found["Adam"]["shuffled ranked"].mean(1)
assert (shuffled - 0.5).abs().max() < 0.15

# %% [markdown]
# The three panels tell the whole story:
#
# - **Far left.** The ranking is nearly right even where gates hardly move: the
#   first digits of $\gamma$ know the truth. But the contrast is nil, so it is
#   of no use to the network.
# - **Far right.** Gates are all open or all shut, and which of the two has
#   little to do with the truth. With Adam the ranking falls to chance, and the
#   error is above that of a network without gates.
# - **Between.** About a decade in which gates are both right and far apart.
#
# The grey curves are the guard: with the gates of each task shuffled among the
# channels the ranking is at chance, and the error is worse than without gates.
# So what helps is which gates are open, not that some are.
#
# ## The rate for SGD
#
# For SGD the valley lies elsewhere. By {eq}`eq-gate-step` its step is
# $\alpha g / (1 - \mu)$ where the gradient keeps its sign, and Adam's is
# $\alpha$. So measure $g_0$, the root mean square of the gates' gradient at
# the first batch, and read SGD's rate as
#
# $$
# \alpha' = \frac{g_0}{1 - \mu}\, \alpha .
# $$ (eq-sgd-rate)

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Test error against the rate for Adam and SGD; with SGD's rate multiplied by the size of the gradient over one minus the momentum, its valley lies where Adam's is, though it is wider."}}
g_0 = found["SGD"]["gradient"]
per_step = g_0 / (1 - MU)
_, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8), sharey=True)
for ax, factor in (left, 1), (right, per_step):
    for name in "Adam", "SGD":
        x = found[name]["rates"] * (factor if name == "SGD" else 1)
        plots.spread(ax, x, found[name]["error"].T, LINES[name], name)
    ax.set(xscale="log", ylim=(0, 0.8))
left.set(xlabel="gate's rate α", ylabel="test error / variance")
left.set_title("Two valleys")
right.set(xlabel="α, and α' for SGD", title="One, in steps of Adam's size")
left.legend()
plt.show()
print(f"g_0 = {g_0:.3f}, a step of SGD = {per_step:.2f} α")

# %% [markdown]
# But $g_0$ is a property of loss, network and batch. Multiply the loss with
# 10, or take its sum over pixels instead of the mean, and the right multiplier
# for SGD is another. And gradients shrink with the slope $\sigma'$ of gates
# that are nearly open or shut, which for Adam they do only until
# $\overline{g^2}$ has followed: with this brake SGD's valley reaches further
# to the right.
#
# One of the paper's protocols is of this kind, that of Cityscapes: its gate
# rate of 10 is $\alpha' = 100\, g_0$. Whether that is too fast depends on a
# $g_0$ that nobody has printed. The same "100" as on NYUv2 it is not.
#
# ## Weight decay pulls to one half
#
# A weight that decays goes to zero, and is gone. A *gate* whose $\gamma$
# decays goes to $\sigma(0) = \tfrac12$. So decay does not shut what is not
# needed. It makes gates indifferent, and `param_groups` leaves it off for
# gates, as the authors do in their earlier work on pruning
# {cite:p}`suteu2022receding`. What if an optimiser decays everything, as AdamW
# {cite:p}`loshchilov2019adamw` does by default? Where pull and gradient
# balance depends on the form:
#
# $$
# \text{decoupled (AdamW):}\quad
# \gamma \leftarrow \gamma - \alpha \frac{\bar g}{\sqrt{\overline{g^2}}}
#   - \alpha\lambda\gamma
# \quad\Rightarrow\quad \gamma^* = -\frac{\rho}{\lambda} ,
# $$ (eq-decoupled)
#
# $$
# \text{in the gradient (SGD):}\quad
# \lambda \gamma^* = -\sigma'(\gamma^*)\, G,
# \qquad G = \frac{\partial L}{\partial \sigma} .
# $$ (eq-coupled)
#
# Decoupled, the balance depends neither on the rate nor on the loss. The rate
# only says how soon it is reached: after about $1/(\alpha\lambda)$ steps. In
# the gradient, everything depends on how large $G$ is.
#
# With AdamW's default of 0.01 and the paper's rate of 0.01, decay needs 10,000
# steps to be felt, and then lets a gate go to $\gamma = 100\rho$, which is no
# bound at all for any gate with a clear signal. With 0.05 or 0.1, as Vision
# Transformers are trained, the bound is $10\rho$ to $20\rho$: a gate that has
# a signal in a twentieth of its gradient is held at $\sigma(0.5)$ or
# $\sigma(1)$.
#
# For SGD, with the usual $\lambda = 10^{-4}$, a gate whose $G$ is below about
# $10^{-4}$ cannot leave one half, whatever it would want. So a decayed
# importance matrix reads differently: one half may mean "undecided", or "worth
# less than the decay".
#
# (knobs-window)=
# ## A rate of your own
#
# Rules that name a rate beforehand, such as $1/\sqrt n$, at which the random
# walk of {eq}`eq-reach` ends at $\gamma = 1$, are not shown to be better than
# a constant one. So what can be said is little:
#
# :::{admonition} Which multiplier?
# :class: tip
# - **Adam, AdamW**: try gate rates, not multipliers, over two decades or more,
#   on validation images; the multiplier is gate rate over base rate.
# - **SGD**: measure $g_0$, the root mean square of the gradients of all
#   $\gamma$ at the first batch, and convert by {eq}`eq-sgd-rate`. A change of
#   loss, batch or reduction changes $g_0$.
# - **No weight decay** on gates, as `param_groups` has it.
# - Then look at the histogram. A spike at one half: too slow. Two spikes at 0
#   and 1: too fast.
# :::
#
# (knobs-noise)=
# ## What is in the gates?
#
# A gate can be wide open by chance. Do two networks from different seeds come
# to the same view of which tasks are alike? The paper compares the similarity
# matrices of seven CelebA networks and finds a Spearman correlation of about
# 0.8 ({doc}`11_relations` does that in full). Here it is a gauge for each
# multiplier, on the synthetic faces with twelve attributes, with the
# similarity as it is, centred, and centred within each layer, which compares
# tasks channel by channel; and beside it the last one with gates shuffled
# within their layers:


# %%
FACES = {
    m: found
    for m in (1, 3, 10, 100)
    if len(found := records.of("faces", "tssbn", range(7), multiplier=m)) > 1
}


def agreement(found_, kind):
    """Spearman's correlation of similarities, for each pair of seeds."""
    upper = torch.triu_indices(12, 12, 1)
    draws = torch.Generator().manual_seed(0)
    rows = []
    for record in found_:
        gates = record.gates()
        if "shuffled" in kind:
            gates = tssbn.gates.permuted(gates, draws)
        values = (
            depth_and_channel_parts(gates).channels
            if "channels" in kind
            else gates
        )
        alike = tssbn.gates.similarity(values, centred=kind == "centred")
        rows.append(alike[upper[0], upper[1]])
    pairs = itertools.combinations(rows, 2)
    return [spearmanr(a, b).statistic for a, b in pairs]


agree = pd.DataFrame(
    [
        {"multiplier": m, "kind": kind, "agreement": value}
        for m, found_ in FACES.items()
        for kind in ("plain", "centred", "channels", "channels, shuffled")
        for value in agreement(found_, kind)
    ]
)
means = agree.pivot_table("agreement", "multiplier", "kind")
means.assign(networks={m: len(found_) for m, found_ in FACES.items()}).round(2)

# %% mystnb={"image": {"alt": "Spearman correlation of similarity matrices between seeds over the gate rate on faces, a dot for each pair of networks, plain, centred, within layers, and within layers shuffled; the paper's 0.8 as a line."}}
_, ax = plt.subplots(figsize=(6, 3.1))
lr = find_benchmark("faces")().recipe.lr
KINDS = {
    "plain": ("blue", "o"),
    "centred": ("orange", "o"),
    "channels": ("green", "o"),
    "channels, shuffled": ("black", "x"),
}
for kind, (color, mark) in KINDS.items():
    of_kind = agree[agree["kind"] == kind]
    color = plots.COLORS[color]
    x, y = lr * of_kind["multiplier"], of_kind["agreement"]
    ax.plot(x, y, mark, ms=5, alpha=0.6, color=color)
    ax.plot(lr * means.index, means[kind], color=color, lw=1.2, label=kind)
ax.axhline(0.8, color="black", lw=1, ls=":")
ax.set(xscale="log", xlabel="gate rate", ylabel="Spearman between seeds")
ax.set(ylim=(-0.4, 1.05), title="Faces: do seeds agree? (dotted: the paper)")
ax.legend(fontsize=7)
plt.show()

# %% [markdown]
# Where the agreement of the channels is at the level of the shuffled gates,
# the channels of two seeds have nothing in common. And mind what is compared:
# what survives a shuffle within layers is about how far tasks open a whole
# layer.
#
# (knobs-scales)=
# ## Loss scales
#
# The other knob is the weights of the losses in their sum. The paper
# multiplies one task's loss with 0.5, 1.5 or 2, the others with 1, and trains
# each method nine times. The results of TSσBN spread least (right part of its
# Figure 5). An earlier measurement of that in this chapter is withdrawn: its
# networks were no better than the constant baseline. What is left is
# arithmetic: a task's gates see the loss of this task alone, and so does its
# head. With Adam the weight cancels there. Only the shared filters feel it:


# %%
def step_taken(norm, weight):
    """What a step of Adam changes where the loss of task a has this weight."""
    net = tiny(norm=norm)
    before = copy.deepcopy(net.state_dict())
    optimiser = torch.optim.Adam(net.parameters(), ETA)
    of_tasks = losses(net)
    (weight * of_tasks["a"] + of_tasks["b"]).backward()
    optimiser.step()
    parts = {"norms": [], "heads": [], "filters": []}
    norms = {id(p) for p in net.trunk[1].parameters()}
    for name, p in net.named_parameters():
        kind = "norms" if id(p) in norms else "filters"
        kind = "heads" if name.startswith("heads") else kind
        parts[kind].append((p - before[name]).flatten())
    return {kind: torch.cat(steps) for kind, steps in parts.items()}


def change(norm):
    """Of the step, relative to its length, when the loss of a is doubled."""
    one, two = step_taken(norm, 1), step_taken(norm, 2)
    return {
        kind: ((two[kind] - one[kind]).norm() / one[kind].norm()).item()
        for kind in one
    }


changes = pd.DataFrame(
    {
        "HPS": change(None),
        "TSBN": change("plain"),
        "TSσBN": change("sigmoid"),
    }
)
changes.round(3)

# %%
assert (changes.loc["heads"] < 1e-4).all()
assert (changes.loc["norms", ["TSBN", "TSσBN"]] < 1e-4).all()
assert changes.loc["norms", "HPS"] > 0.01
assert (changes.loc["filters"] > 0.01).all()

# %% [markdown]
# Doubling one loss does not change what the task's own norms and its head do
# next. In HPS the norms are shared, so they feel it. This holds for TSBN as
# much as for TSσBN, and for Adam, not for SGD. It is an argument for a smaller
# effect, not for none: the filters are most of the network, and they listen to
# whoever shouts.
#
# ## Limits
#
# - **A valley from a toy.** It is one problem with clear answers and
#   independent channels. In a deep network a gate's worth depends on other
#   gates; how noisy its gradient is, on batch and loss.
# - **Rates chosen with one seed** and a few trials. The base rate of the
#   filters was tried at three values only, at the best gate rate.
# - **The paper's rows** are single numbers without a spread.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-13-reach
# A ViT is fine-tuned with AdamW, base rate 2e-5, batches of 4, for 40,000
# steps, multiplier 100. What is the gate's rate, how far can a gate get, and
# how far does noise get? The weight decay is 0.05 for everything. When does
# that become noticeable, and which gates can it hold?
# :::
#
# :::{solution} ex-13-reach
# :class: dropdown
#
# ```python
# rate, n, decay = 100 * 2e-5, 40_000, 0.05
# print("signal", rate * n, "noise", rate * n**0.5)
# print("decay after", 1 / (rate * decay), "steps, γ at most", 1 / decay)
# ```
#
# The rate is 0.002. A constant gradient would take a gate to $\gamma = 80$,
# noise stays at $\gamma = 0.4$. Decay sets in after a quarter of the training,
# and holds gates whose $\rho$ is below a tenth within $\pm 2$. So leave gates
# out of it.
# :::
#
# :::{exercise}
# :label: ex-13-batch
# Make the batches of the toy four times as small (`BATCH = 4`), then four
# times as large. What happens to Adam's best rate? What to SGD's, and would
# {eq}`eq-sgd-rate` have told you?
# :::
#
# :::{solution} ex-13-batch
# :class: dropdown
#
# ```python
# for BATCH in 4, 64:
#     for make, scale, lr in (adam, 1, BASE_LR), (sgd, 10, 1e-2):
#         result = sweep(make, [scale * rate for rate in DECADES], lr)
#         best = result["rates"][result["error"].mean(1).argmin()]
#         print(BATCH, make.__name__, best, result["gradient"])
# BATCH = 16
# ```
#
# $g_0$ falls to a third from batches of 4 to batches of 64, for much of it is
# noise, and SGD's valley moves to the right by as much: the equation would
# have told.
# :::
#
# ## What we learned
#
# - With Adam a gate's step is multiplier times base rate, whatever the loss.
#   So it is this product that is chosen, on validation images.
# - Too slow, and gates know the truth but do not act on it. Too fast, and they
#   act without knowing.
# - Agreement of the channels between seeds shows whether gates are chance.
# - With SGD the multiplier means something else for every loss, and weight
#   decay pulls gates to indifference. `param_groups` leaves decay off.
# - With Adam a task's own norms and head do not feel the weight of its loss.

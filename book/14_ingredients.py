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

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from torch import nn

from tssbn import plots
from tssbn.benchmarks import find_benchmark
from tssbn.claims import Bed, ladder
from tssbn.claims.paper import beds
from tssbn.claims.studies import gains_on_names
from tssbn.cost import macs
from tssbn.methods import Network, ablations, find_method
from tssbn.plots import experts as effect_plots
from tssbn.plots import ingredients as draw

torch.set_num_threads(1)
plots.style()

ROOMS = ladder.ladder("rooms", "rooms")
CENSUS = ladder.ladder("Census-Income", "census")
claim = ladder.summary([ROOMS, CENSUS])
Markdown(f":::{{admonition}} The claim\n{claim}\n:::")

# %% [markdown]
# *8 minutes to read; runs in half a minute on one CPU core, no download.*
#
# {term}`TSσBN` differs from hard sharing, {term}`HPS`, in several ingredients. To learn
# what one is worth, we remove or replace it and train again. This is an *ablation*. We
# take a network to be better or worse only if the 95 % interval of the difference does
# not hold zero. The gate rate has a chapter of its own, {doc}`13_knobs`.
#
# | ingredient | in TSσBN | ablations |
# |---|---|---|
# | statistics | each task normalises with its own | scale and bias only |
# | scales | each task has its own | statistics only, shared gates |
# | what they learn | which channels help the task | random gates, shuffled gates |
# | bound | σ, between 0 and 1 | {term}`TSBN`, tanh, softplus, clamp |
# | no bias β | nothing is added | TSσBN with β |
#
# (ingredients-clamp)=
# ## A gate that shut for good
#
# We begin with the bound. Why a sigmoid, when a clamp is simpler?
#
# $$
# \mathrm{clamp}(\gamma) = \min(\max(\gamma, 0), 1) .
# $$ (eq-clamp)
#
# A clamp reaches 0 and 1 exactly, and between them the gate is $\gamma$ itself. We take
# four kinds of gates, all half open. For 60 steps the loss is the gate itself, so Adam
# shuts it. Then the loss is minus the gate, and Adam should open it again.

# %%
FORMS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "clamp": lambda gamma: gamma.clamp(0, 1),
}
TURN = 60


def half_open(name):
    """The γ at which a gate of the package begins."""
    return ablations.GATES[name].start(torch.ones(1), None)["gamma"].item()


def moved(form, start, steps=220, lr=0.05):
    """The gate after each step, pulled down until TURN and up after it."""
    gamma = torch.tensor(start, requires_grad=True)
    adam, path = torch.optim.Adam([gamma], lr), []
    for step in range(steps):
        gate = form(gamma)
        path.append(gate.item())
        adam.zero_grad()
        (gate if step < TURN else -gate).backward()
        adam.step()
    return torch.tensor(path)


paths = {name: moved(form, half_open(name)) for name, form in FORMS.items()}

# %% [markdown]
# **Before you look:** which of the four gates will be open at the end?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, four gates over 220 steps: all fall from one half; after step 60 the sigmoid, tanh and softplus gates rise again, the clamped one stays at exactly zero. Right, the slope of the four functions over gamma: the clamp has slope one between zero and one and exactly zero outside, the others are positive everywhere."}}
_, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
gamma = torch.linspace(-4, 4, 801, requires_grad=True)
for name, form in FORMS.items():
    left.plot(paths[name], label=name)
    (slope,) = torch.autograd.grad(form(gamma).sum(), gamma)
    right.plot(gamma.detach(), slope)
left.axvline(TURN, color="black", lw=1, ls=":")
left.set(ylim=(-1.05, 1.05), xlabel="step", ylabel="gate")
left.set_title("The clamped gate does not come back")
left.figure.legend(ncols=4, loc="outside lower center")
right.set(xlabel="γ", ylabel="slope of the gate")
right.set_title("The clamp has slope 0 outside [0, 1]")
plt.show()

# %% tags=["hide-cell"]
assert (paths["clamp"][TURN:] == 0).all()
assert all(paths[name][-1] > 0.5 for name in ("sigmoid", "tanh", "softplus"))

# %% [markdown]
# Once $\gamma$ is below 0 the clamped gate no longer depends on it. The gradient is
# zero, and nothing brings the gate back. The other three have a slope everywhere:
#
# $$
# \sigma' = \sigma\,(1 - \sigma) > 0, \qquad \tanh' = 1 - \tanh^2 > 0, \qquad
# \mathrm{softplus}' = \sigma > 0 .
# $$ (eq-gate-slopes)
#
# They differ in their range. A tanh gate does not stop at 0 but falls to -1.
# The channel is then fully open again, with its sign turned. Softplus has no
# upper bound. The sigmoid stays in $(0, 1)$, so it can be read as a share.
#
# ## The layer with any gate
#
# All these networks have the layer of chapter {doc}`04_task_specific` with
# another function $f$ in the place of σ:
#
# $$
# y_t = {\color{#D55E00}{f(\gamma_t)}}\,\hat x_t .
# $$ (eq-any-gate)


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


# %% tags=["hide-cell"]
TASKS = ("left", "right")
x = torch.randn(6, 3, 5, 5)
layer = Network(
    lambda: nn.Sequential(nn.Identity(), nn.BatchNorm2d(3)),
    lambda channels: nn.Identity(),
    x,
)
for name, form in FORMS.items():
    net = ablations.build(layer, dict.fromkeys(TASKS, 3), name)
    ours = TaskGatedBN(2, 3, form, half_open(name))
    with torch.no_grad():
        net.trunk[1].gamma.copy_(ours.gamma.normal_())
    for task, y in zip(TASKS, ours([x, x]), strict=True):
        assert torch.allclose(net(x)[task], y, atol=1e-5)

# %% [markdown]
# (ingredients-ladder)=
# ## The ladder
#
# There are saved runs of ablations on two data sets. One is the synthetic rooms, with a
# U-Net and three dense tasks. The other is Census-Income, with an MLP and three
# questions about a person. *Shared gates* are one row for all tasks; *statistics only*
# has no scale and no bias. *Random gates* are drawn from the trained ones, *shuffled
# gates* are the trained ones in another order, and both stay fixed. *Wider HPS* has
# none of the ingredients, but more parameters than TSσBN. The rates of HPS, TSBN, TSσBN
# and shared gates were tuned.
#
# Let $\bar d'$ be the mean Δm of an ablation over $n'$ runs, and $\bar d$ that
# of TSσBN over $n$ runs. Their difference and its interval are
#
# $$
# \bar d' - \bar d \pm c\, s \sqrt{\tfrac1n + \tfrac1{n'}} ,
# $$ (eq-interval)
#
# where $s$ is the standard deviation of a run, pooled over all methods.
# Dunnett's $c$ is larger than that of one pair, so that *all* intervals of a
# panel hold at once in 95 % of cases. If two methods spread more than $s$, the
# interval of these two alone is wider, and we draw that one.
#
# **Before you look:** which ablation will be furthest below TSσBN?

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for rooms and one for Census-Income. For each arm its Δm minus that of TSσBN with a 95 per cent interval; grey around zero is what so many runs would hardly show. On rooms HPS, shared gates and random gates are below zero; on Census-Income TSBN without β and softplus are a little above it, and the other intervals hold zero."}}
ladders = {bed.title: ladder.worth(bed) for bed in (ROOMS, CENSUS)}
effect_plots.bed_effects(ladders, "TSσBN")
plt.show()

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown("\n".join(f"- {ladder.seen(bed)}" for bed in (ROOMS, CENSUS)))

# %% [markdown]
# Points left of zero are worse than TSσBN. An interval that holds zero does not
# show that two networks are equal, because so few runs would hardly show an
# effect within the grey band. On rooms shared and random gates are both below
# TSσBN, so it matters there *which* channels a task opens. On Census-Income even
# the widest band ends near zero, so no ingredient is worth much there. TSBN without
# β and softplus for σ, two scales without an upper bound, are above TSσBN by 0.05 or less.
#
# (ingredients-stages)=
# ## Which stages need gates?
#
# Early layers of a trunk often find edges and colours, for all tasks. If
# gates begin at stage $k$, everything before is shared and runs once for all
# tasks. We count the work, in {term}`MACs`, for the U-Net of the rooms.

# %%
network = find_benchmark("rooms")().network
outputs = {"segmentation": 4, "depth": 1, "normal": 3}


def work(method, **options):
    """MACs of all tasks for one image; nothing is computed."""
    with torch.device("meta"):
        net = find_method(method).build(network, outputs, **options)
        return macs(net, torch.empty_like(network.example, device="meta"))


hps = work("hps")
row = {k: work("deep-gates", first=k) / hps for k in range(8)}
pd.DataFrame({"work over HPS": row}).T.round(2)

# %% [markdown]
# The columns are $k$. With $k = 0$ the network is TSσBN, with $k = 7$ HPS.
# Stages 0 to 3 are the encoder, 4 to 6 the decoder.
#
# **Before you look:** how late may gates begin before Δm falls?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Δm minus that of TSσBN over the first stage with gates, with 95 per cent intervals, for each data set that has such runs; at the right end HPS, without gates. Grey around zero is what so many runs would hardly show."}}
deep = beds.ROOMS, beds.CENSUS, beds.LITE, beds.CELEBA_10K
if draw.stages({bed.title: ladder.by_stage(bed) for bed in deep}):
    plt.show()

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
Markdown("\n".join(f"- {said}" for said in map(ladder.later, deep) if said))

# %% [markdown]
# On rooms gates may begin at stage 3, at four fifths of the work; from stage 5 on they lose
# 1.3 points. On NYUv2 so few runs do not show how late they may begin. On Census-Income
# gates in the last stage, on CelebA in the last two of five, are below gates in all.
#
# (ingredients-beyond-vision)=
# ## On LayerNorm the gate alone is not enough
#
# {term}`LN` has no running statistics. So in TSσLN, the same method on LN, the
# gate is all that a task owns. `book/studies/beyond_vision.py` trained a small Transformer
# {cite:p}`vaswani2017attention` to answer four questions about a Unicode
# character from its name, such as ARABIC LETTER ALEF FINAL FORM: category,
# direction, decomposition and width. TSLN has a scale and a bias for each
# task. The score is F1, averaged over the answers. As controls, trained gates
# are shuffled, or *swapped*: each task then has the gates of another task.
#
# **Before you look:** will TSσLN with the paper's ×100 be above HPS?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Δm in F1 of eight methods on the names of characters, a dot for each of three seeds. HPS is at minus eight. TSσLN is at minus thirty-four, minus fifteen and minus seven with multiplier 1, 10 and 100; with scale and bias kept it is at minus seven and minus four. Shuffled or swapped gates, in grey, are far below at multiplier 10 and 100."}}
names = gains_on_names()
_, ax = plt.subplots(figsize=(8, 3.2))
draw.gains(ax, names)
ax.set_xlabel("Δm in F1 over single-task networks, %; a dot for each run")
ax.set_title("The bare gate needs a fast rate to reach HPS")
plt.show()

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
bed = Bed({name: values[""] for name, values in names.items()})
kept = "TSσLN, scale and β kept ×1"
pairs = [("TSσLN ×1", "HPS"), ("TSσLN ×100", "HPS"), (kept, "HPS")]
said = [f"{a} minus {b}: {bed.compare(a, b).interval} (n = 3, 3)" for a, b in pairs]
change = [
    np.mean(of[gates]) - np.mean(of[""])  # shuffled or swapped ones
    for name, of in names.items()
    for gates in of.keys() - {""}
    if not name.endswith("×1")
]
said += [f"shuffled or swapped minus own, ×10 and ×100: {min(change):.0f} to {max(change):.0f}"]
Markdown("\n".join(f"- {line}" for line in said))

# %% [markdown]
# At ×1 the bare gate is below HPS. At ×100 the interval holds zero. "Scale and β kept"
# is `affine="preserve"`, the layer $2\,\sigma(\gamma_t)\,\hat x + \beta_t$. It starts as
# the plain LayerNorm; at ×1 its interval holds zero, too. Shuffled or swapped gates cost
# much, so tasks depend on their own gates even where these gain nothing.
#
# ## What to do with it
#
# - **Give each task its own gates and let them learn**, at a rate that you
#   tried. Run shared or random gates as a control before you read anything
#   into trained ones.
# - **Try TSBN as well**, with a slower rate. It is one option away.
# - **Keep the sigmoid** rather than a clamp if gates may have to reopen.
# - **On LayerNorm** use `affine="preserve"`.
# - **Save work** with gates in later stages only (`deep-gates`), and check Δm.
#
# ## Limits
#
# - Two small data sets and short training. Rates were chosen with one seed.
# - *Scale and bias only* fails in evaluation if tasks train in turns
#   ({doc}`04_task_specific`). Here all tasks are stacked in one pass.
# - On the rooms each task had a pass of its own. So gates in late stages saved
#   no time, and shared stages updated their statistics three times a step.
# - LayerNorm has one text data set and one Transformer of two layers. This
#   study does not show whether the bare gate lacks the scale or the bias.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-14-leak
# A *leaky* clamp has the slope 0.01 outside [0, 1]. Does it come back after
# the turn, and when, compared with the sigmoid?
# :::


# %%
def leaky(gamma):
    return gamma.clamp(0, 1)  # your turn


# %% [markdown]
# :::{solution-start} ex-14-leak
# :class: dropdown
# :::


# %%
def leaky_clamp(gamma):
    return gamma.clamp(0, 1) + 0.01 * (gamma - gamma.clamp(0, 1))


back = [
    (moved(form, start, steps=400)[TURN:] > 0.5).nonzero()[0].item()
    for form, start in ((leaky_clamp, 0.5), (torch.sigmoid, 0.0))
]
assert back[0] > 2 * back[1]

# %% [markdown]
# It comes back, after about three times as many steps. Adam divides by the size of past
# gradients, and the slope of 1 stays in that mean for hundreds of steps.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-14-seeds
# How many runs of each network would halve the interval of a pair that five
# runs give on Census-Income? Use {eq}`eq-interval` with $c = 2$.
# :::

# %%
sd = CENSUS.bed.sd
half_width = {5: 2 * sd * (2 / 5) ** 0.5}  # your turn: more runs

# %% [markdown]
# :::{solution-start} ex-14-seeds
# :class: dropdown
# :::

# %%
half_width = {n: 2 * sd * (2 / n) ** 0.5 for n in (5, 10, 20)}
assert abs(half_width[20] / half_width[5] - 0.5) < 1e-9

# %% [markdown]
# Four times as many, 20: it shrinks with the square root of their number.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - An ablation shows what an ingredient is worth. Print the least effect that
#   the runs could show beside each difference.
# - A clamped gate that leaves its bounds never returns; a sigmoid does.
# - On LayerNorm the bare gate is not enough: keep scale and bias.

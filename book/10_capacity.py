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
# # Reading the gates: capacity

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
import copy

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn

import tssbn
from tssbn import gates, plots, records
from tssbn.claims.measures import capacity_gap
from tssbn.plots import shares

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
plots.style()

TRAINED = {
    "Rooms": records.of("rooms", "tssbn", range(20)),
    "Census-Income": records.of("census", "tssbn", range(20)),
    "CelebA, small": records.of("celeba_small", "tssbn", range(20), multiplier=10),
}
NETS = {name: runs.gates() for name, runs in TRAINED.items()}
drawn = records.of("rooms", "random-gates", range(20)).gates()
ALL = {**NETS, "Rooms, random gates": drawn}
rooms = NETS["Rooms"]
Markdown(f":::{{admonition}} The claim\n{shares.claim(rooms)}\n:::")

# %% [markdown]
# *8 minutes to read; runs in a minute on one CPU core, no download.*
#
# ## The importance matrix
#
# A network with {term}`TSσBN` has a gate $\sigma(\gamma_{t,i})$ from 0 to 1 for
# each task $t$ and each filter $i$. All gates together are the
# {term}`importance matrix` $I$, with $T$ rows and $F$ columns.
# :::{image} images/importance.svg
# :alt: A matrix of gates with a row for each of three tasks and a column for each of twelve filters; a dark cell is an open gate. The mean of a row is the capacity of a task, chapter 10. Two rows side by side give the similarity of two tasks, chapter 11. The share that one task has of a column finds specialised filters, chapter 12.
# :class: only-light
# :::
# :::{image} images/importance-dark.svg
# :alt: The same matrix, on a dark ground.
# :class: only-dark
# :::
#
# The mean of a row is the {term}`capacity` of a task, this chapter. Two rows show
# how alike two tasks are ({doc}`11_relations`). A column shows which task a filter
# works for ({doc}`12_filters`).
#
# `tssbn.gates.importance(net)` reads the matrix from a network. Below is that of a
# network trained on synthetic rooms ({doc}`05_miniatures`), and the same matrix
# *shuffled*: each task's gates are in random order within each layer. Capacities
# stay, but the gates of one filter no longer belong together. Yellow is open.
#
# **Before you look:** will you see which one was shuffled?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two heat maps of the gates of three tasks, 528 filters in eleven layers each. Both are a mixture of open and shut gates; by eye they can hardly be told apart."}}
shares.beside_shuffled(rooms[0])
plt.show()

# %% [markdown]
# It is the lower one. The eye hardly sees the difference. So each number below
# stands beside its {term}`null`, the same number computed from shuffled gates.
#
# ## How much is shared
#
# The capacity of a task is its mean gate,
#
# $$
# C_t = \frac1F \sum_{i=1}^{F} I_{t,i} .
# $$ (eq-capacity)
#
# Which part of it is shared? The paper {cite:p}`suteu2025tssbn` approximates a
# task's row by a weighted sum of the other tasks' rows. The sum is called shared,
# and the remainder independent. Let $A$ be the $F \times (T-1)$ matrix with the
# other rows as columns. Least squares gives
#
# $$
# \hat I_t = A\,(A^\top A)^{-1} A^\top I_t , \quad
# C_t^{\mathrm{shared}} = \frac{\lVert \hat I_t \rVert}{\lVert I_t \rVert}\, C_t ,
# \quad
# C_t^{\mathrm{indep}} = \frac{\lVert I_t - \hat I_t \rVert}
#                             {\lVert I_t \rVert}\, C_t .
# $$ (eq-capacity-split)
#
# (Equations 4 and 5 of the paper.) $\hat I_t$ and $I_t - \hat I_t$ are at right
# angles, so the squares of both parts add up to $C_t^2$.


# %%
def shared(matrix):
    """‖Î_t‖ / ‖I_t‖ of each task, (T,)."""
    found = []
    for t, I_t in enumerate(matrix):
        A = torch.cat([matrix[:t], matrix[t + 1 :]]).T
        projected = A @ torch.linalg.lstsq(A, I_t[:, None]).solution
        found.append(projected.norm() / I_t.norm())
    return torch.stack(found)


# %% tags=["hide-cell"]
for net in rooms:
    C, split = gates.capacity(net), gates.capacity_split(net)
    part = shared(net.values)
    assert torch.allclose(C * part, split.shared)
    assert torch.allclose(C * (1 - part**2).sqrt(), split.independent)

# %% [markdown]
# Figure 3 of the paper shows these parts for NYUv2, Cityscapes and CelebA. There
# the shared part is much the larger one, and tasks have similar capacities. We
# draw the mean of all saved runs on three benchmarks: rooms, the people of
# Census-Income, and 40 attributes of real faces (small CelebA, {doc}`08_celeba`).
#
# **Before you look:** a black mark is the shared part of shuffled gates. Will it
# stand inside the dark bars, or beyond their ends?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three panels with a bar for each task, from 0 to its capacity, a dark part for what is shared and a black mark for shuffled gates. Three tasks of rooms, three of Census-Income, forty of CelebA. The dark parts fill most of each bar and end close to the black marks, short of them on rooms and Census-Income, beyond them on CelebA."}}
shares.figure_3(NETS, shared)
plt.show()

# %% [markdown]
# Here, too, the shared part is large and capacities are similar. But shuffled gates
# have a large shared part as well. The table has means over tasks, and the
# difference from shuffled gates with its 95 % interval over runs. "Random gates"
# were drawn once and never trained. (The paper prints no numbers with its figure.)

# %% tags=["hide-input"]
shares.table(ALL, shared)

# %% [markdown]
# On rooms and Census-Income the shared part is *smaller* than that of shuffled
# gates, and on CelebA it is larger, by two to four points. So a large shared part
# alone does not show that training made the tasks share.
#
# ## Why everything looks shared
#
# All gates are positive and start at one half. So a row is a large constant plus
# small differences, and each row can stand for the constant of another. Let all rows
# have the mean $m$ and the standard deviation $s$, and let their differences be
# independent. Then the best weighted sum of the other rows is near their average. The
# mean square of the row is $m^2 + s^2$, that of the average $m^2 + s^2/(T-1)$, and the
# mean of their product $m^2$. So the squared cosine of both is, with $r = s/m$,
#
# $$
# \Bigl(\frac{C^{\mathrm{shared}}}{C}\Bigr)^2 \approx
# \frac{1}{1 + r^2} \cdot \frac{1}{1 + r^2/(T-1)} .
# $$ (eq-chance)
#
# An untrained network has $r = 0$, and everything is shared.
#
# **Before you look:** gates spread while a network trains. Will its shared part
# fall like the formula, or stay above it because tasks learn to share?


# %%
def by_chance(r, T):
    return ((1 + r**2) * (1 + r**2 / (T - 1))) ** -0.5


# %% tags=["hide-input"] mystnb={"image": {"alt": "The shared part in per cent of the capacity over the spread of the gates. Each run starts at 100 per cent and falls while its gates spread; its path, that of shuffled gates and the curve of the formula run close together, one curve for three tasks and one for forty."}}
shares.training(TRAINED, shared, by_chance)
plt.show()

# %% [markdown]
# The runs follow the formula within 5 points. So the shared part mostly shows how
# far the gates have spread, that is, how long and how fast they have learned.
#
# ## Without the mean, with the sign
#
# Two things make all rows alike. They have similar means, and some layers are wider
# open than others for every task. So we subtract from each row its mean in each layer
# and correlate what remains. A correlation has a sign. The shared part has none, so it
# counts gates as shared that are open exactly where those of the other task are shut.


# %%
def correlation(net):
    """Of every two tasks, within layers."""
    parts = net.by_layer().values()
    rows = torch.cat([p - p.mean(1, keepdim=True) for p in parts], 1)
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    return torch.corrcoef(rows)[first, second]


# %% tags=["hide-input"]
shares.pairs(ALL, correlation)

# %% [markdown]
# On rooms and Census-Income the gates are *opposed*, with mean correlations of -0.2
# and -0.4. Where one task opens a filter, the others tend to shut it. This does not
# show that the tasks have little in common, for a reason that comes next.
#
# ## What gates cannot show
#
# Behind a gate $g_{t,i}$ come a ReLU and a layer that all tasks share,
# $z_{t,j} = \sum_i w_{ji}\, \mathrm{ReLU}(g_{t,i}\, \hat x_{t,i})
# = \sum_i w_{ji}\, g_{t,i}\, \mathrm{ReLU}(\hat x_{t,i})$. The next normalisation
# layer divides by the deviation of $z_{t,j}$. So the outputs stay as they are under
#
# $$
# g_{t,i} \to c_t\, a_i\, g_{t,i} , \qquad w_{ji} \to w_{ji} / a_i ,
# $$ (eq-gauge)
#
# with any positive $c_t$, one for each task, and $a_i$, one for each filter. A
# filter that all tasks need can have large shared weights instead of open gates.
# We try both factors on the first gates of a small network, where the tasks are
# opposed: $\gamma_2 = -\gamma_1$.

# %%
PAIR = ("first", "second")
_ = torch.manual_seed(0)
one = nn.Linear(16, 32), nn.BatchNorm1d(32, eps=1e-12), nn.ReLU()
two = nn.Linear(32, 32), nn.BatchNorm1d(32, eps=1e-12), nn.ReLU()
net = tssbn.task_specific(nn.Sequential(*one, *two), PAIR)
gamma = torch.randn(32) / 2
net[1].gamma.data = torch.stack([gamma, -gamma])


def rescaled(net, a=1.0, c=(1.0, 1.0)):
    net = copy.deepcopy(net)
    gate = net[1].gamma.data.sigmoid() * a * torch.tensor(c)[:, None]
    net[1].gamma.data = gate.logit()
    net[3].weight.data /= a
    return net


def separation(net):
    """Of two tasks: the deviation of log(g_1 / g_2) within layers."""
    logs = [p.clamp(min=1 / 510).log() for p in net.by_layer().values()]
    return torch.cat([a - b - (a - b).mean() for a, b in logs]).std(correction=0)


half, factors = rescaled(net, c=(1.0, 0.5)), rescaled(net, a=torch.rand(32))

# %% tags=["hide-input"]
x = torch.randn(200, 16)


def outputs(net):
    with tssbn.select(net, PAIR[0]):
        first = net(x)
    with tssbn.select(net, PAIR[1]):
        return torch.cat([first, net(x)])


rows, names = {}, ("as drawn", "second at half", "factors of filters")
for name, other in zip(names, (net, half, factors), strict=True):
    assert torch.allclose(outputs(net), outputs(other), atol=1e-6)
    of = gates.importance(other[1])
    numbers = *gates.capacity(of), correlation(of), separation(of)
    rows[name] = [round(float(number), 2) for number in numbers]
pd.DataFrame(rows, ["capacity, first", "second", "correlation", "separation"]).T

# %% [markdown]
# The three networks have the same outputs for every input. Yet their gates differ.
# The second task has about the capacity of the first, or half of it, and the tasks
# are opposed or alike. So the function of a network does not fix its capacities and
# correlations. It does fix the ratio of two tasks' gates, up to a factor for each
# layer. The last column is {term}`separation`, the spread of this ratio:
#
# $$
# D_{ts}^2 = \frac1F \sum_{\ell} \sum_{i \in \ell}
#   \bigl(d_i - \bar d_\ell\bigr)^2 , \qquad d_i = \log \frac{g_{t,i}}{g_{s,i}} ,
# $$ (eq-separation)
#
# $\bar d_\ell$ is the mean over layer $\ell$.
#
# ## Do gates follow difficulty and similarity?
#
# *Changes* can still be tested. Does a task's capacity grow when the task gets
# harder? Appendix E of the paper has synthetic experiments that we have not seen.
# In our own study (`book/studies/capacity.py`) small networks learn two tasks.
# *Units*, *frequency* and *noise* make the second task harder: the function to be
# learned has more ReLU units or faster sines, or its labels have more noise.
# *Cosine*, *overlap* and *digits* make the two tasks more alike: by the angle of
# their weights, the units that both use, or the questions about two digits.
#
# **Before you look:** in which upper panels will the second task gain capacity?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Six panels. Above, the capacity gap against units, frequency and noise: it rises with units, falls with frequency, and stays level with noise. Below, correlation and separation against cosine, overlap and the question about digits: correlation rises and separation falls in all three."}}
shares.knobs(capacity_gap, correlation, separation)
plt.show()

# %% [markdown]
# Thin lines are seeds, grey holds 95 % of shuffled gates. The upper panels have the
# capacity gap, the second task's capacity minus the first's. From 1 to 16 units it
# rises by a tenth of a capacity. With noise the interval holds zero. Faster sines are
# much harder, and the gap *falls* as much, most where the task is not learned at all.
# So capacity does not follow difficulty as such. Gates do follow similarity.
# Correlation rises and separation falls in all lower panels.
#
# ## What to do with it
#
# 1. Put every number of gates beside that of `tssbn.gates.permuted`.
# 2. Compare tasks by correlation or separation, not by the shared part.
# 3. Read capacity as a change, within one network or at one gate rate.
#
# ## Limits
#
# - Rooms are synthetic, and the study has two tasks and two layers. With noise the
#   capacity gap rises in the first layer and falls in the second. The independent
#   part follows none of units, frequency and noise.
# - Correlation follows cosine at 1, 10 and 100 times the base rate. The capacity gap
#   changes as much with the rate as with the knob, and at 100 times separation is
#   noisy, because it takes logarithms of nearly shut gates.
# - A head can undo the gates of the last layer, so not even ratios are fixed there.
# - Where filters are given and fixed (overlap), gates do show which ones a task
#   needs. In each network their mean is higher there, on average twice as high.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-10-two
# Let the second of two tasks open its gates exactly where the first shuts them.
# What are the correlation and the shared part, with and without row means?
# :::

# %%
g = torch.rand(200)
opposed = torch.stack([g, 1 - g])
# your turn: shared(opposed), and the same without the mean of each row

# %% [markdown]
# :::{solution-start} ex-10-two
# :class: dropdown
# :::

# %%
without = opposed - opposed.mean(1, keepdim=True)
assert torch.allclose(torch.corrcoef(opposed)[0, 1], torch.tensor(-1.0))
assert torch.allclose(shared(without), torch.ones(2))
assert torch.allclose(shared(opposed), torch.cosine_similarity(*opposed, 0))

# %% [markdown]
# The correlation is −1, and without means everything is shared. Of two rows the
# shared part is the *absolute* cosine, and without means the absolute correlation.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-10-friends
# Choose the factors $a_i$ of {eq}`eq-gauge` so that the first gates of `net` have
# a correlation above 0.9, with the same outputs.
# :::

# %%
g1, g2 = gates.importance(net[1]).values
a = torch.ones(32)  # your turn

# %% [markdown]
# :::{solution-start} ex-10-friends
# :class: dropdown
# :::

# %%
unlike = (g1 / g2).log().abs()
a = torch.where(unlike <= unlike.sort().values[7], 1.0, 0.01)
friends = rescaled(net, a)
assert correlation(gates.importance(friends[1])) > 0.9
assert torch.allclose(outputs(net), outputs(friends), atol=1e-6)

# %% [markdown]
# The eight filters that both tasks use alike keep their gates. All others are
# nearly shut for both tasks, and larger weights behind them make up for it.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - The shared part mostly measures how far gates have spread; shuffled gates and
#   untrained networks have it, too.
# - What a network computes fixes the ratios of two tasks' gates, up to a factor for
#   each layer. It does not fix capacity or correlation.
# - Correlation follows the similarity of tasks; capacity does not follow difficulty.

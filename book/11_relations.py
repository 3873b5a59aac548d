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
# # Which tasks are alike?

# %% tags=["hide-input"] mystnb={"markdown_format": "myst"}
from dataclasses import replace
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from tssbn import gates, plots, records
from tssbn.claims import above, attributes, nulls
from tssbn.clusters import partial_rank_correlations, rank_correlations
from tssbn.plots import relations as draw

torch.set_num_threads(1)
plots.style()

real = records.of("celeba_small", "tssbn", range(20), multiplier=10).gates()
drawn = records.of("faces", "tssbn", range(20), multiplier=10).gates()
BEDS = {"real faces": real, "synthetic faces": drawn}
found = nulls.agreement("real faces", real).values
agree, null = (np.mean(found[arm]) for arm in ("gates", "shuffled"))
Markdown(
    ":::{admonition} The claim\nNetworks agree on which attributes of real "
    f"faces are alike (Spearman {agree:.2f}; paper: about 0.8), and still "
    f"at {null:.2f} after all gates are shuffled within their layers.\n:::"
)

# %% [markdown]
# *8 minutes to read; runs in a minute on one CPU core, no download.*
#
# The gates of a task in a {term}`TSσBN` network are its row of the {term}`importance
# matrix`. The paper (Section 5.2) compares the rows of CelebA's 40 attributes in seven
# networks {cite:p}`suteu2025tssbn`. It finds that networks agree on which attributes
# are similar. What does such an agreement show?
#
# ## Everything looks alike
#
# Small networks learned the same 40 attributes from 8,000 real faces of 32x32 pixels
# ({doc}`08_celeba`). The left matrix has the cosine of every two rows of one network.
# For the right matrix we first shuffled each task's gates within each layer, so that a
# gate no longer belongs to its filter.
#
# **Before you look:** how far will the cosines fall when gates are shuffled?

# %% mystnb={"image": {"alt": "Two matrices of cosines between forty tasks, of a trained network and of the same gates shuffled within each layer. Both are dark throughout; the lowest pair of both is above 0.6."}}
net, dice = real[0], torch.Generator().manual_seed(0)
mixed = gates.permuted(net, dice)  # each row within each layer, by itself
draw.cosines(
    {"trained": gates.similarity(net), "shuffled": gates.similarity(mixed)}
)
plt.show()

# %% [markdown]
# The cosines hardly fall; the lowest is 0.68 in both. Gates are positive, so two rows
# of gates point in similar directions, whatever filters they open. The size of a cosine
# does not show that tasks are alike. The *order* of the pairs, from the least to the
# most similar, may show it, if networks from other seeds have the same.
#
# With $I_t \in (0,1)^F$ for the gates of task $t$ at the $F$ filters, the
# similarity of two tasks is a cosine. The agreement of two networks $a$ and $b$
# is Spearman's correlation, with ranks $r$ over all pairs of tasks:
#
# $$
# S_{st} = \frac{\langle I_s, I_t\rangle}{\lVert I_s\rVert\,\lVert I_t\rVert} ,
# \qquad \rho_{ab} = \operatorname{corr}\bigl( r(S^a_{st})_{s<t},\;
#   r(S^b_{st})_{s<t} \bigr) .
# $$ (eq-similarity)


# %%
def similarity(rows):
    rows = rows / rows.norm(dim=1, keepdim=True)
    return rows @ rows.T


def agreement(a, b):
    s, t = np.triu_indices(len(a), 1)  # each pair of tasks once
    ranks = [matrix[s, t].argsort().argsort().double() for matrix in (a, b)]
    return torch.corrcoef(torch.stack(ranks))[0, 1]


# %% tags=["remove-cell"]
two = [gates.similarity(each) for each in real[:2]]
assert torch.allclose(similarity(net.values), two[0])
assert torch.allclose(agreement(*two), rank_correlations(two), atol=1e-3)

# %% [markdown]
# ## Two ways to agree
#
# Shuffling moves a gate to another *filter*, but each task still opens each *layer* as
# far as before. To separate filters from layers we subtract the mean $\bar I_t$ of a
# row. Then we split the rest by the row's mean $\bar I_{t\ell}$ over layer $\ell$:
#
# $$
# I_{ti} - \bar I_t = \underbrace{(\bar I_{t\ell} - \bar I_t)}_{\text{depth}} +
# \underbrace{(I_{ti} - \bar I_{t\ell})}_{\text{channels}} .
# $$ (eq-depth-channels)
#
# *Depth* is which layers a task opens, *channels* is which filters it opens in
# a layer. Each has a cosine of its own. We call their sum *centred*.


# %%
def split(net):
    means = [part.mean(1, keepdim=True) for part in net.by_layer().values()]
    widths = torch.tensor(list(net.layers.values()))
    layer = torch.cat(means, 1).repeat_interleave(widths, 1)
    return layer - net.values.mean(1, keepdim=True), net.values - layer


VIEWS = {
    "plain": lambda net: similarity(net.values),
    "centred": lambda net: similarity(sum(split(net))),
    "depth": lambda net: similarity(split(net)[0]),
    "channels": lambda net: similarity(split(net)[1]),
}

# %% [markdown]
# As a check we add synthetic faces with twelve attributes, for which there are
# more saved networks ({doc}`05_miniatures`).
#
# **Before you look:** which of the four agreements will survive shuffling?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Agreement of pairs of networks for plain, centred, depth and channels, on real and on synthetic faces, trained in blue and shuffled within layers in grey. Grey is about as high as blue for plain and equal for depth; for channels grey is at zero and blue at about 0.6."}}
beds = {}
for bed, nets in BEDS.items():
    both = nets, [gates.permuted(each, dice) for each in nets]
    beds[f"{bed}, {len(nets)} networks"] = {
        name: [rank_correlations(map(view, some)) for some in both]
        for name, view in VIEWS.items()
    }
draw.agreements(beds, printed=0.8)
plt.show()

# %% tags=["hide-input"]
rows = {name: {} for name in VIEWS}
for name, bed in product(VIEWS, BEDS):
    found = nulls.agreement(bed, BEDS[bed], VIEWS[name])
    whole, less = found.against("gates", 0, "shuffled").values()
    rows[name][bed] = whole.interval
    rows[name][f"minus shuffled, {bed}"] = less.interval
pd.DataFrame(rows).T

# %% [markdown]
# Dots are pairs of networks, brackets 95 % intervals over networks (jackknife). The
# *plain* agreement on real faces is about the paper's 0.8, and shuffled gates nearly
# reach it. So 0.8 alone does not show that networks agree on filters. Shuffling cannot
# change *depth*. Only the similarity of *channels* depends on filters. All pairs of
# networks agree on it, and after shuffling their agreement is near zero.
#
# ## What depth follows
#
# Tasks differ most in how far they open the last layer, before the heads. On real faces
# its mean gate has a deviation of 0.14 over tasks, at most 0.07 in each other layer. Each
# dot is a task's mean gate there. The left panels show it against the entropy of the task's
# label, which is 1 bit if every second face has the attribute, and near 0 if few or
# nearly all have it. The right panels show it against the F1 of single-task networks
# ({term}`STL`). Titles have Spearman's correlation with its 95 % interval over tasks.

# %%
SOURCES = {
    "real faces": ("celeba_small", attributes.frequency_photographed),
    "synthetic faces": ("faces", attributes.frequency_drawn),
}
entropy, f1, last = {}, {}, {}
for bed, (benchmark, frequency) in SOURCES.items():
    tasks, single = BEDS[bed][0].tasks, records.of(benchmark, "stl", range(20))
    p = frequency(tasks)
    entropy[bed] = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    f1[bed] = single.scores().mean()[list(tasks)].to_numpy()
    layers = [list(each.by_layer().values())[-1] for each in BEDS[bed]]
    last[bed] = torch.stack(layers).mean((0, 2)).numpy()

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four scatter plots of the mean gate of the last layer, a dot for each task. On real faces it falls with the entropy of the label and has no relation to F1. On synthetic faces it rises with F1."}}
fig, axes = plt.subplots(2, 2, figsize=(7, 4.2), sharey=True, sharex="col")
for row, bed in zip(axes, BEDS, strict=True):
    for ax, x in zip(row, (entropy[bed], f1[bed]), strict=True):
        draw.ranks(ax, x, last[bed], bed)
    row[0].set_ylabel("mean gate")
axes[1, 0].set_xlabel("entropy of the label, bits")
axes[1, 1].set_xlabel("F1 of STL")
plt.show()

# %% [markdown]
# On real faces, tasks with a label of low entropy open the last layer widely, and the
# interval of F1 holds zero. On synthetic faces, tasks that are learned well open it. So
# networks agree on depth because of a property of single tasks. Two rare attributes look
# alike by depth, but they need not share any filter.
#
# ## What channels follow
#
# Two tasks may use the same filters because they look at the same region of the face,
# or because their labels are correlated, as those of lipstick and make-up are. They may
# also be equally rare, or have equal F1. The table has the partial rank correlation of
# the similarity with each of these four causes, with the other three held fixed.


# %%
LABELS = {
    "real faces": attributes.labels_photographed,
    "synthetic faces": attributes.labels_drawn,
}


def explained(bed, view):
    tasks = BEDS[bed][0].tasks
    causes = {
        "same region": attributes.same_region(tasks),
        "labels correlate": LABELS[bed](tasks),
        "equally rare": -np.abs(entropy[bed][:, None] - entropy[bed]),
        "equal F1": -np.abs(f1[bed][:, None] - f1[bed]),
    }
    return partial_rank_correlations(mean(bed, view), causes)


def mean(bed, view):
    return torch.stack([VIEWS[view](net) for net in BEDS[bed]]).mean(0)


rows = {of: explained(*of) for of in product(BEDS, ("depth", "channels"))}
pd.DataFrame(rows).T.map(lambda r: f"{r.value:+.2f} (p = {r.p:.3f})")

# %% [markdown]
# The p values come from 1000 random permutations of the tasks. With sixteen tests, only
# those below 0.003 count. Channels of real faces follow rarity and labels, and perhaps
# the region. Channels of synthetic faces follow the region. So the channels do show
# relations between tasks. Labels show some of them, too.
#
# ## Families of attributes
#
# The paper clusters the tasks of each network. Then it counts how often two tasks are
# in one cluster, and clusters by that (`tssbn.clusters.consensus`). In its example,
# head hair and facial hair form two clusters. We draw a tree of the mean similarity by
# average linkage, which joins the two most similar groups in turn.
#
# **Before you look:** will head hair be one branch of the tree? Will facial
# hair?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Left, a tree of forty attributes by similarity of channels. The five attributes of facial hair form one branch; those of head hair are spread over several. Right, the similarity of each pair over the correlation of its labels, a cloud that rises to the right, with make-up and lipstick at the top."}}
fig, axes = plt.subplots(1, 2, figsize=(9, 6.6), width_ratios=(1.1, 1))
near, tasks = mean("real faces", "channels"), real[0].tasks
groups = {"blue": attributes.HAIR, "red": attributes.BEARD}
draw.families(axes[0], near, tasks, groups)
axes[0].set(title="Facial hair is one branch", xlabel="1 - similarity")
axes[1].set(title="Labels explain a part", xlabel="correlation of labels")
axes[1].set_ylabel("similarity of channels")
named = [("Heavy_Makeup", "Wearing_Lipstick"), ("Attractive", "Male")]
draw.pairs(axes[1], LABELS["real faces"](tasks), near, tasks, named)
plt.show()

# %% [markdown]
# Facial hair (red) is one branch, and would be by labels alone, too. Head hair
# (blue) is spread over the tree. So half of the paper's example holds. Clusters
# can also be scored against the region of the face that each attribute shows
# in. The adjusted Rand index (ARI) is 1 if the clusters are the regions, and 0
# on average for random clusters. We cut a tree where its silhouette is highest.

# %% tags=["hide-input"]
rows = {}
for bed, view in product(BEDS, ("plain", "channels")):

    def ari(net, view=VIEWS[view]):
        return attributes.match_regions(net.tasks, view(net))

    found = nulls.beside_shuffled(bed, BEDS[bed], ari).values
    row = rows[bed, view] = {n: above(v).interval for n, v in found.items()}
    tasks = BEDS[bed][0].tasks
    labels = attributes.match_regions(tasks, LABELS[bed](tasks))
    row["labels alone"] = f"{labels:+.2f}"
pd.DataFrame(rows).T

# %% [markdown]
# Channels find regions beyond chance on both sets. On synthetic faces labels
# alone find more. The interval of plain cosines of real faces holds zero: the
# silhouette cuts them into two clusters, three attributes of smiles and the rest.
#
# ## What to do with it
#
# 1. Look at the correlation of the labels first. It needs no training.
# 2. Do not read the size of a plain cosine. Compare tasks by their channels.
# 3. Train three networks or more. Print their agreement beside that of the
#    same gates shuffled within layers (`tssbn.gates.permuted`).
# 4. Before tasks share a branch for their similarity, read {doc}`17_branches`.
#
# ## Limits
#
# - Few networks learned the small real faces, all from the same images.
#   Agreement is over seeds, not over data sets.
# - Regions were assigned by name. Rarity became a cause after we had seen the
#   last layer. F1 also depends on how rare an attribute is.
# - On synthetic faces, tasks of equal F1 seem to share *fewer* channels, which we
#   cannot explain. There, the ARI of plain cosines differs much from network to
#   network. And plain cosines agree best after one epoch, on an order of pairs unlike
#   that at the end.
# - Gates learned ten times as fast as filters. At a hundred times, too fast
#   here ({doc}`13_knobs`), channels do not agree any more.
# - The gates behind the paper's 0.8 are not published. We cannot shuffle them.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-11-names
# Leave the gates in place and shuffle the *names* of tasks, in each network by
# itself. What happens to the four agreements? Why is this null not enough?
# :::

# %%
order = torch.randperm(len(drawn[0].tasks), generator=dice)
# your turn: values[order] of each network, with an order of its own

# %% [markdown]
# :::{solution-start} ex-11-names
# :class: dropdown
# :::


# %%
def renamed(net):
    order = torch.randperm(len(net.tasks), generator=dice)
    return replace(net, values=net.values[order])


for view in VIEWS.values():
    found = rank_correlations([view(renamed(each)) for each in drawn])
    assert abs(found.mean()) < 0.25

# %% [markdown]
# All four are near zero, depth too. This null model destroys depth and channels
# at once. A useful one destroys a single thing and keeps the rest.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-11-last
# Leave out the last layer. What do networks of synthetic faces agree on now,
# and does it survive shuffling?
# :::

# %%
width = list(drawn[0].layers.values())[-1]  # of the last layer
# your turn: `replace` values and layers of each network

# %% [markdown]
# :::{solution-start} ex-11-last
# :class: dropdown
# :::


# %%
def without_last(net):
    layers = dict(list(net.layers.items())[:-1])
    return replace(net, values=net.values[:, :-width], layers=layers)


below = [without_last(each) for each in drawn]
mixed = [gates.permuted(each, dice) for each in below]
assert rank_correlations(map(VIEWS["depth"], below)).mean() < 0.4
assert rank_correlations(map(VIEWS["centred"], below)).mean() > 0.4
assert rank_correlations(map(VIEWS["centred"], mixed)).mean() < 0.25

# %% [markdown]
# Networks hardly agree on depth any more. They still agree on centred rows, but
# not after shuffling. So below the last layer they agree on channels.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - Plain cosines are high, and networks agree on them, even after shuffling
#   within layers. The paper's 0.8 alone does not show shared filters.
# - Depth is mostly the last layer, and follows rarity or F1 of single tasks.
# - Networks agree on channels, but not once gates are shuffled. Similarity of
#   channels follows labels and rarity on real faces, regions on synthetic ones.

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
# # The benchmarks, and what a score means
#
# :::{admonition} The claim
# On synthetic streets the answer "background everywhere" is right for 88 % of
# the pixels and has an mIoU of 9 %, so a score needs the constant baseline.
# :::
#
# *8 minutes to read; runs in two minutes on one CPU core, no download.*

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F

from tssbn import plots, records
from tssbn.benchmarks.constant import constant_scores
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data import load
from tssbn.data.synthetic.faces import REGIONS, faces
from tssbn.data.synthetic.scenes import Streets, rooms, streets
from tssbn.metrics.attributes import Attributes
from tssbn.metrics.segmentation import Segmentation
from tssbn.plots import scores as score_plots

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## An answer that ignores the image
#
# One task of the benchmark Cityscapes is to find the parts of people and
# vehicles. Here are three synthetic streets, their true parts, and an answer
# that was made without the image. It says "background" (grey) everywhere.
#
# **Before you look:** for how many of the pixels is that answer right?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three synthetic streets from a driver's view, below each its true parts of cars and people, small coloured areas on grey, and a third row of plain grey maps, the constant answer."}}
small = Streets(height=48, width=96)
train = streets("train", 150, recipe=small)
test = streets("test", 100, recipe=small)
parts = test[:]["parts"]
background = torch.zeros_like(parts)
shown = [0, 1, 2]
rows = {"image": test[shown]["image"], "true parts": parts[shown]}
rows["the answer"] = background[shown]
plots.samples(rows, dict.fromkeys(list(rows)[1:], test.targets["parts"]))
plt.show()

# %%
metric = Segmentation(classes=10)
metric.update(background, parts)
right, miou = metric.compute()["accuracy"], metric.compute()["miou"]
print(f"right: {100 * right:.0f} % of the pixels; mIoU: {100 * miou:.0f} %")

# %% [markdown]
# Most pixels are background, and the share of right pixels counts little else.
# {term}`mIoU` gives each class the same weight. The IoU of a class is the
# number of pixels that are rightly given to it, over those that are given to it
# or belong to it. mIoU is the mean over the classes. Nine of the ten get 0
# here.
#
# The mean is 9 %, because the tenth, background, has an IoU of 88 %. So a
# network with an mIoU of 9 % on the parts has learned nothing. On the 19
# classes of a street one class everywhere has 2 %, and a network with 9 % has
# learned something. The number alone does not show the difference.
#
# ## Four benchmarks and their stand-ins
#
# The paper trains on NYUv2 {cite:p}`silberman2012nyu`, Cityscapes
# {cite:p}`cordts2016cityscapes`, CelebA {cite:p}`liu2015celeba` and
# PASCAL-Context {cite:p}`mottaghi2014context,maninis2019attentive`. They are
# large, and their licences forbid us to pass them on. So the package draws a
# synthetic *stand-in* of each, with nearly the same tasks and exact labels.
#
# | name | real set, images to train and test | tasks | stand-in |
# |---|---|---|---|
# | `nyuv2` | NYUv2, 795 and 654 | 13 classes, depth, surface normals | rooms |
# | `cityscapes` | Cityscapes, 2,975 and 500 | 19 classes, 10 parts, disparity | streets |
# | `cityscapes-small` | Cityscapes at 128×256 | 7 classes, inverse depth | streets |
# | `celeba` | CelebA, 162,770 and 19,962 | 40 attributes | faces, 36 attributes |
# | `pascal` | PASCAL-Context, 4,998 and 5,105 | 21 classes, parts, normals, saliency, boundaries | rooms with people |
# | `census` | Census-Income, 199,523 and 49,881 | three questions about a person | a third of the real set |
#
# A sample is a dict with the image and one entry for each task, real or
# synthetic. `load` takes the real set where it finds its folder.

# %%
sample = load("cityscapes", "val", root=None, n=2)[0]  # drawn
{name: tuple(entry.shape) for name, entry in sample.items()}

# %% [markdown]
# **Rooms.** Depth is in metres, the brighter the nearer. A
# {term}`surface normal` is the direction that a surface faces: red to the
# right, green upwards, blue towards us. *Saliency* marks what one looks at
# first, here people, or else the largest object. White is *void*, and no score
# counts such pixels. Here void are people, who have no class in NYUv2, and the
# depth of glass, which a depth camera does not measure.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five synthetic rooms with furniture, windows, pictures and people, and under each its maps: classes, depth, normals, human parts, saliency and boundaries."}}
tasks = ("segmentation", "depth", "normal", "parts", "saliency", "boundary")
shown = rooms("test", 6, tasks=tasks)
plots.samples(shown[[0, 1, 2, 4, 5]], shown.targets, "segmentation", "parts")
plt.show()

# %% [markdown]
# **Streets.** The classes have Cityscapes' own colours. {term}`Disparity
# <disparity>` is the number of pixels by which a point moves between the two
# cameras of a stereo pair. It is large for what is near. The white arc is the
# bonnet of our own car, which is void.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four synthetic streets from a driver's view with houses, trees, cars, people, lamps and signs, and under each its classes in Cityscapes' colours, its parts and its disparity."}}
shown = streets("test", 5)
plots.samples(shown[[0, 1, 2, 4]], shown.targets, "segmentation", "parts")
plt.show()

# %% [markdown]
# **Faces.** Each has 36 of CelebA's 40 attributes, present or absent. The other
# four judge a person or belong to no region of the face. Each of the 36 has a
# region. Chapter {doc}`11_relations` asks whether gates find it.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Sixteen drawn portraits with different hair, beards, glasses, hats, make-up and backgrounds."}}
people = faces("test", 16)
fig, axes = plt.subplots(2, 8, figsize=(7, 1.85))
for ax, picture in zip(axes.flat, people[:]["image"], strict=True):
    ax.imshow(picture.permute(1, 2, 0).numpy())
    ax.set_axis_off()
plt.show()
assert sum(map(len, REGIONS.values())) == 36

# %% [markdown]
# ## The networks
#
# A {term}`trunk` is shared, and each task has a {term}`head`. Red stripes are
# normalisation layers. {term}`TSσBN` puts the gates of the tasks there, and
# nothing else of the trunk belongs to a task.
#
# :::{image} images/networks.svg
# :alt: Six networks. SegNet has five stages down and five up with 26 normalisation layers. The U-Net has four stages down and three up with 11, and skip connections. DeepLabV3 has a ResNet-50 with 53. The CelebA net has seven convolutions and two linear layers with 9. ViT-S has twelve blocks with 25, and a fusion of four maps with 4 more. Swin-T has four stages with 28. Heads follow at the end; those of Swin-T read four maps.
# :class: only-light
# :::
# :::{image} images/networks-dark.svg
# :alt: The same drawing, on a dark ground.
# :class: only-dark
# :::
#
# ## The constant baseline
#
# The **constant baseline** is the best answer that ignores the image. It is
# made from the training labels alone. What is best depends on the score:
#
# - for mIoU, the most frequent class (not quite the best, but close);
# - for the error of depth and disparity, the median;
# - for the angle of normals, the mean direction;
# - for F1, "yes" to every attribute.
#
# A stronger baseline gives each pixel *position* its own answer: in every
# street the road is below and the sky is above.


# %%
def by_position(labels, kind, classes):
    """At each pixel the answer that fits all training labels best."""
    if kind == "classes":
        counts = [(labels == c).sum(0) for c in range(classes)]
        return torch.stack(counts).argmax(0)
    if kind == "normal":
        return F.normalize(labels.sum(0), dim=0)
    known = labels.where(labels >= 0, torch.nan)  # for disparity
    return known.nanmedian(0).values.nan_to_num(known.nanmedian())


def score(answer, task):
    """Of one answer to all test images, by the task's metric."""
    truth = test[:][task]
    metric = tasks_for(test.targets)[task].metric()
    metric.update(answer.expand_as(truth), truth)
    return next(iter(metric.compute().values()))


ours = {}
for task, target in train.targets.items():
    answer = by_position(train[:][task], target.kind, len(target.classes))
    ours[task] = score(answer, task)

# %% tags=["hide-cell"]
package = constant_scores(tasks_for(train.targets), train, test, batch=100)
for task, value in ours.items():
    assert abs(value - next(iter(package[task].values()))) < 1e-3
assert abs(right - 0.88) < 0.005 and abs(miou - 0.09) < 0.005

# %% [markdown]
# The package has it as
# {func}`tssbn.benchmarks.constant.constant_scores`, for every kind of task.
#
# ## How far is a network from it?
#
# Scores have different units and directions. One scale for all puts the
# constant baseline at 0 and a perfect answer at 1. The *skill* of an answer
# with score $M$ is
#
# $$
# \text{skill} = \frac{M - M_\text{constant}}
#                     {M_\text{perfect} - M_\text{constant}} .
# $$ (eq-skill)


# %%
def skill(score, constant, higher_is_better):
    perfect = 100 if higher_is_better else 0
    return (score - constant) / (perfect - constant)


# %% [markdown]
# `book/studies/learnable.py` trained two networks on each stand-in, with three
# seeds, and saved their scores beside the baselines. One has a single bank of
# 7×7 filters, so it sees only local colour and texture. The other is the U-Net
# of the drawing above (four convolutions for faces). *People* are rooms with
# somebody in each.
#
# **Before you look:** on which of these tasks does the answer by position beat
# local colour and texture?

# %%
KINDS = {"position": "by position", "tiny": "7×7 filters", "bigger": "U-Net"}
rows = {}
for name in ("rooms", "streets", "people"):
    saved = records.load(f"learnable/{name}")
    (constant,) = saved["scores"]["constant"]
    for task, up in saved["higher_is_better"].items():
        rows[f"{name}: {task}"] = {
            label: [
                skill(run[task], constant[task], up)
                for run in saved["scores"][kind]
            ]
            for kind, label in KINDS.items()
        }

# %% tags=["hide-input"] mystnb={"image": {"alt": "For each of eleven tasks of rooms, streets and rooms with people, the skill of the answer by position, of a bank of 7x7 filters and of a U-Net, which is furthest right everywhere. For depth, normals and disparity the answer by position is right of the filters; for classes, saliency and boundaries it is left of them."}}
_, ax = plt.subplots(figsize=(7, 3.8))
score_plots.skills(ax, rows)
ax.set_title("On all eleven tasks a U-Net gets furthest, and far from 1")
plt.show()

# %% tags=["hide-cell"]
seen = [task for task in rows if task.split()[1] in ("depth", "disparity")]
seen += ["rooms: normal", "people: normal"]
for task, runs in rows.items():
    best = max(*runs["by position"], *runs["7×7 filters"])
    assert min(runs["U-Net"]) > best
    far = runs["by position"][0] - max(runs["7×7 filters"])
    assert (far > 0) == (task in seen) or far == 0

# %% [markdown]
# The answer by position beats local texture on depth, disparity and normals.
# The table has the scores behind the figure, of 200 test images. *Faces* is the
# mean over the attributes.

# %% tags=["hide-input"]
some = ("rooms", "streets", "faces")
score_plots.learned({n: records.load(f"learnable/{n}") for n in some})

# %% [markdown]
# An answer by position has an error of 0.32 pixels of disparity without an
# image. The filters have a lower F1 on faces than "yes" to everything. They
# never predict most attributes, because no probability is above one half.
#
# ## What to do with it
#
# - **Print the constant baseline** in every table and learning curve. Tables of
#   saved runs have it in the row *constant baseline*: by position for maps,
#   "yes" or the frequency for attributes.
# - **Name the rule of the score.** Public codes average depth errors in three
#   ways and treat absent classes in two. {doc}`metrics` has every score with
#   its formula, direction and constant baseline.
# - **Get a real set** with these commands. The first says where it is, under
#   which licence, and how to prepare it; {doc}`running` has more.
#
# ```
# python -m tssbn data where nyuv2
# python -m tssbn data prepare nyuv2 SRC data/nyuv2
# python -m tssbn data check nyuv2
# ```
#
# ## Limits
#
# - Drawn rooms are not photographs. Their textures are simpler and their labels
#   are exact. A method that wins on them need not win on NYUv2.
# - How hard the stand-ins are was not matched to anything real.
# - On one of 36 attributes, the pointed nose, the saved network is worse than
#   "yes". Human parts in rooms have a skill of 0.06: they are hardly learned.
# - The zero of the skill is one constant for all pixels. With the answer by
#   position as zero, the skill on disparity would be 0.53 instead of 0.85.

# %% tags=["hide-cell"]
saved = records.load("learnable/faces")["scores"]
mean = pd.DataFrame(saved["bigger"]).mean()
below = mean[mean < pd.Series(saved["constant"][0])]
assert list(below.index) == ["Pointy_Nose"] and len(mean) == 36
assert (pd.DataFrame(saved["tiny"]).mean() == 0).sum() > 18
assert abs(sum(rows["people: parts"]["U-Net"]) / 3 - 0.06) < 0.01
saved = records.load("learnable/streets")["scores"]
mean = pd.DataFrame(saved["bigger"])["disparity"].mean()
assert abs(1 - mean / saved["position"][0]["disparity"] - 0.53) < 0.01
assert abs(sum(rows["streets: disparity"]["U-Net"]) / 3 - 0.85) < 0.01

# %% [markdown]
# ## Exercises
#
# :::{exercise}
# :label: ex-05-row
# Which part of the position does the disparity follow, the row or the column?
# Give each row of the image one answer, and then each column.
# :::

# %%
labels = train[:]["disparity"]
labels = labels.where(labels >= 0, torch.nan)  # (150, 1, 48, 96)
# your turn: score an answer of shape (1, 48, 1), and one of (1, 1, 96)

# %% [markdown]
# :::{solution-start} ex-05-row
# :class: dropdown
# :::

# %%
by_row = labels.movedim(3, 1).flatten(0, 1).nanmedian(0).values[..., None]
by_column = labels.movedim(2, 1).flatten(0, 1).nanmedian(0).values[:, None]
middle = labels.nanmedian()
row = score(by_row.nan_to_num(middle), "disparity")
column = score(by_column.nan_to_num(middle), "disparity")
print(f"row: {row:.2f}, column: {column:.2f}, both: {ours['disparity']:.2f}")
assert row < 1.2 * ours["disparity"] and column > 0.9

# %% [markdown]
# The row is nearly all of it. The column alone is as bad as one constant.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-05-yes
# An attribute is present in a share $p$ of the faces. What is the F1 of "yes"
# to all, and for which $p$ is it more than 0.5?
# :::

# %%
shares = torch.tensor([0.02, 0.2, 1 / 3, 0.5])
f1_of_yes = shares * 0  # your turn

# %% [markdown]
# :::{solution-start} ex-05-yes
# :class: dropdown
# :::

# %%
f1_of_yes = 2 * shares / (1 + shares)  # precision p, recall 1
for p, f1 in zip(shares, f1_of_yes, strict=True):
    truth = (torch.arange(300) < 300 * p).long()
    metric = Attributes(inputs="probabilities")
    metric.update(torch.ones(300), truth)
    assert abs(metric.compute()["f1"] - f1) < 1e-4
assert abs(f1_of_yes[2] - 0.5) < 1e-6

# %% [markdown]
# The F1 is more than 0.5 for $p > 1/3$. So an F1 of 0.5 is good for a rare
# attribute, and worse than the constant baseline for a frequent one.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - "Background" is right for 88 % of the pixels and has an mIoU of 9 %.
# - Position alone gives a disparity error of 0.32 pixels, a constant 1.00.
# - Print each score with its constant baseline and its exact rule.

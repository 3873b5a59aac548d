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
    # %pip install -q "tssbn @ git+https://github.com/tssbn/tssbn" torchmetrics
    pass

# %% [markdown]
# # Four benchmarks, four miniatures
#
# :::{admonition} The claim
# A score says something only beside two others: what a constant answer gets
# by the same rule, and what a network gets. The miniatures of this chapter
# ask what the four benchmarks ask; on them no constant answer solves a task,
# and a small network gets further on nearly every one.
# :::
#
# *Runs in about two minutes on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from tssbn import MultiTask, plots, records
from tssbn.data import SETS, load, real_set
from tssbn.data.synthetic.faces import REGIONS, faces
from tssbn.data.synthetic.scenes import Rooms, Streets, rooms, streets
from tssbn.metrics.attributes import Attributes
from tssbn.metrics.boundary import Boundary
from tssbn.cost import delta_m
from tssbn.metrics.depth import Depth
from tssbn.metrics.normals import Normals
from tssbn.metrics.saliency import SaliencyF
from tssbn.metrics.segmentation import Segmentation

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# The paper trains on four data sets: NYUv2 {cite:p}`silberman2012nyu`,
# Cityscapes {cite:p}`cordts2016cityscapes`, CelebA {cite:p}`liu2015celeba` and
# PASCAL-Context {cite:p}`mottaghi2014context,maninis2019attentive`. None of
# them may come with a book, two ask for a registration or an agreement, and all
# are large. So each has a stand-in here that the package draws by itself, in
# seconds: *rooms*, *streets*, *faces*, and the rooms once more, for the people
# in them. A small ray caster makes the scenes, so every label is exact.
#
# A sample is the same thing everywhere, made or real: a dict with the image
# and one entry for each task.

# %%
ROOM_TASKS = (
    "segmentation",
    "depth",
    "normal",
    "parts",
    "saliency",
    "boundary",
)


def make(split, scenes, people):
    return {
        "rooms": rooms(
            split, scenes, recipe=Rooms(height=48, width=64), tasks=ROOM_TASKS
        ),
        "streets": streets(split, scenes, recipe=Streets(height=48, width=96)),
        "faces": faces(split, people),
    }


train, test = make("train", 300, 500), make("test", 60, 500)
{name: tuple(entry.shape) for name, entry in train["rooms"][0].items()}

# %% [markdown]
# ## Right nearly everywhere, and blind
#
# Let us answer every question without looking. For each pixel we give the
# class that is commonest in the training images; of every face we say "no" to
# whatever is asked. How often are we right? And what does the benchmark's own
# score say, of which more below?

# %% mystnb={"image": {"alt": "Bars for seven tasks. Answering without looking is right for a third to almost all of the pixels or faces; by the score of the benchmark the same answers get little or nothing."}}
DENSE = [
    (name, task)
    for name, data in train.items()
    for task, target in data.targets.items()
    if target.kind == "classes"
]


def commonest(name, task):
    labels = train[name][:][task]
    return labels[labels >= 0].bincount().argmax()


def benchmark_score(task, target, guess, truth):
    """Of a constant answer, from 0 to 1."""
    if task == "saliency":
        metric = SaliencyF(inputs="probabilities")
    elif task == "boundary":
        metric = Boundary(inputs="probabilities", thresholds=1)
    else:
        metric = Segmentation(len(target.classes))
    if task in ("saliency", "boundary"):
        guess = guess.float()
    metric.update(guess, truth)
    return next(iter(metric.compute().values()))


accuracy, score, names = [], [], []
for name, task in DENSE:
    truth = test[name][:][task]
    guess = commonest(name, task).expand_as(truth)
    known = truth >= 0
    accuracy.append((guess == truth)[known].float().mean().item())
    score.append(benchmark_score(task, test[name].targets[task], guess, truth))
    names.append(f"{name}:\n{task}")
attributes = torch.stack(
    [v for k, v in test["faces"][:].items() if k != "image"]
)
accuracy.append((attributes == 0).float().mean().item())
score.append(0.0)  # no true positive
names.append("faces:\nall attributes")

fig, ax = plt.subplots(figsize=(7, 3.2))
x = torch.arange(len(names))
ax.bar(
    x - 0.2,
    accuracy,
    0.4,
    color=plots.COLORS["sky"],
    label="share that is right",
)
ax.bar(
    x + 0.2,
    score,
    0.4,
    color=plots.COLORS["red"],
    label="the benchmark's score",
)
ax.set_xticks(x, names, fontsize=8)
ax.set(ylim=(0, 1.2), yticks=[0, 0.5, 1], ylabel="of a blind answer")
ax.set_title("Being right often is no sign of having looked")
ax.legend(loc="upper right", ncols=2)
plt.show()

assert max(accuracy) > 0.85 and max(score) < 0.4

# %% [markdown]
# A network that has learned nothing looks good if the question is put this
# way. The scores of the benchmarks are made so that it does not. But a score
# has a blind answer of its own. Where it counts nothing but what is found, it
# prefers "yes" to "no":

# %%
yes = {}
for task in ("saliency", "boundary"):
    truth, target = test["rooms"][:][task], test["rooms"].targets[task]
    yes[task] = benchmark_score(task, target, torch.ones_like(truth), truth)
metric = Attributes(len(attributes), inputs="probabilities")
metric.update(torch.ones(attributes.T.shape), attributes.T)
yes["all attributes"] = metric.compute()["f1"]
{f'"yes" to {task}': round(value, 2) for task, value in yes.items()}

# %% [markdown]
# So it is the best constant answer *by the score* that a network has to beat;
# for classes that is the commonest one. And the scores differ in their small
# print. What do the tasks look like, and how exactly is each scored?
#
# ## The miniatures
#
# ### Rooms, for NYUv2 and PASCAL-Context
#
# NYUv2 asks for three maps: the class of each pixel out of 13, its depth in
# metres, and the {term}`surface normal`, the direction that the surface faces.
# PASCAL-Context asks for human parts, saliency (what one looks at first; here
# people, or else the largest object) and boundaries too. White is *void*,
# which no score counts: people, mirrors and radiators have no class here,
# annotators leave gaps along outlines, and a depth camera sees nothing on
# glass and beside near edges.
#
# Each key of colours is that of the row above it. Depth is the brighter the
# nearer; normals are red to the right, green upwards, blue towards us; what is
# salient, or a boundary, is blue. The pictures have twice the resolution that
# we train with.

# %% mystnb={"image": {"alt": "Five made rooms with furniture, windows, pictures and people, and under each its six maps: classes, depth, normals, human parts, saliency and boundaries."}}
shown = rooms("test", 8, tasks=ROOM_TASKS)
plots.samples(shown[[0, 1, 2, 4, 5]], shown.targets, "segmentation", "parts")
plt.show()

# %% [markdown]
# ### Streets, for Cityscapes
#
# Nineteen classes; the parts of people, cars, lorries and buses (Cityscapes
# has none of trams, which are its class *train*, nor of two-wheelers); and the
# {term}`disparity`, by how many pixels a point moves between the two cameras of
# a stereo pair. It is the focal length times the distance of the cameras over
# the depth: large for what is near, 0 at infinity. It is void in the sky and
# where only one camera sees: on the left border, and left of near things. The
# white arc below is the bonnet of our own car, void for classes and disparity.

# %% mystnb={"image": {"alt": "Four made streets from a driver's view with houses, trees, cars, people, lamps and signs, and under each its classes, parts and disparity."}}
shown = streets("test", 8)
plots.samples(shown[[0, 1, 2, 4]], shown.targets, "segmentation", "parts")
plt.show()

# %% [markdown]
# ### Faces, for CelebA
#
# Every face has 36 attributes, each present or absent: 36 tasks. They have
# CelebA's names; four of its 40 are left out, which judge a person or show
# nowhere in particular. Each shows in one region of the face, and we know
# which: the truth for a later chapter, which asks which tasks are related.

# %% mystnb={"image": {"alt": "Sixteen drawn portraits with different hair, beards, glasses, hats, make-up and backgrounds."}}
fig, axes = plt.subplots(2, 8, figsize=(7, 1.85))
for ax, picture in zip(axes.flat, test["faces"][:16]["image"], strict=True):
    ax.imshow(picture.permute(1, 2, 0).numpy())
    ax.set_axis_off()
plt.show()

first = test["faces"][0]
print("the first face:", *(k for k, v in first.items() if k != "image" and v))
for region, names in REGIONS.items():
    print(f"{region}: {', '.join(names)}")

# %% [markdown]
# ### No class is as common as another
#
# A wall is everywhere, a book hardly anywhere. So it is in NYUv2 and in
# Cityscapes; a score that counts pixels would see little but walls and roads.

# %% mystnb={"image": {"alt": "Two charts on a logarithmic scale, a dot for each class, the commonest above. In rooms the wall leads by far; in streets road and building. From the first class to the last is a fall by more than a factor of thirty."}}
fig, axes = plt.subplots(1, 2, figsize=(7, 3.4))
for ax, name in zip(axes, ("rooms", "streets"), strict=True):
    classes = train[name].targets["segmentation"].classes
    labels = train[name][:]["segmentation"]
    share = (
        labels[labels >= 0].bincount(minlength=len(classes))
        / (labels >= 0).sum()
    )
    order = share.argsort()
    ax.plot(share[order], [classes[i] for i in order], "o")
    ax.set(xscale="log", xlabel=f"share of the labelled pixels of {name}")
    ax.tick_params(axis="y", labelsize=8)
    assert share.max() > 30 * share[share > 0].min()
fig.suptitle("A few classes cover most of the pixels", fontsize=11)
plt.show()

# %% [markdown]
# ## Every metric on an example that fits on a page
#
# Every metric is fed batch by batch: `update` takes a batch, `compute` gives
# the score of all. What the target marks as void (label $-1$, depth 0, a
# normal of length 0) changes no score.
#
# ### Segmentation: mIoU
#
# Four rows of six pixels: wall (0), bed (1), floor (2), and two void pixels.
# The guess puts the edge of the bed one pixel too far to the right.

# %%
truth = torch.tensor(
    [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [2, 2, 2, 2, 2, -1],
        [2, 2, 2, 2, 2, -1],
    ]
)
guess = torch.tensor(
    [
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [2, 2, 2, 2, 2, 2],
        [2, 2, 2, 2, 2, 2],
    ]
)

# %% [markdown]
# With $n_{ij}$ the number of pixels of class $i$ that are taken for class $j$,
#
# $$
# \mathrm{IoU}_c = \frac{n_{cc}}{\sum_j n_{cj} + \sum_i n_{ic} - n_{cc}},
# \qquad
# \mathrm{mIoU} = \frac{1}{C} \sum_{c=1}^{C} \mathrm{IoU}_c .
# $$ (eq-miou)
#
# The matrix $n$ is summed over *all* images first. To average the mIoU of
# single images is another rule, and gives other numbers. A class that is
# neither in the truth nor in the guess is 0/0, as lower legs may be where few
# images show people. We leave it out of the mean; some public codes count 0.

# %%
known = truth >= 0
confusion = torch.zeros(3, 3)
for i, j in zip(truth[known], guess[known], strict=True):
    confusion[i, j] += 1
hits = confusion.diag()
iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)

metric = Segmentation(classes=3)
metric.update(guess[None], truth[None])
package = metric.compute()
assert torch.allclose(iou, torch.tensor(package["iou"]))
{
    "IoU": [round(x, 3) for x in package["iou"]],
    "mIoU": round(package["miou"], 3),
    "accuracy": round(package["accuracy"], 3),
}

# %% [markdown]
# The wall loses a quarter, the bed a third, the floor nothing.
#
# ### Depth and disparity: three ways to take a mean
#
# $$
# \text{absolute} = \operatorname{mean}_i |p_i - t_i|,
# \qquad
# \text{relative} = \operatorname{mean}_i \frac{|p_i - t_i|}{t_i}
# $$ (eq-depth)
#
# over the pixels $i$ with a measurement. But over which pixels at a time? The
# public codes differ. Here are two batches of one image each; the second image
# has depth at a single pixel.

# %%
batches = [
    (torch.tensor([2.0, 2.0, 3.0, 3.0]), torch.tensor([2.0, 2.0, 3.0, 4.0])),
    (torch.tensor([2.0, 2.0, 3.0, 3.0]), torch.tensor([4.0, 0.0, 0.0, 0.0])),
]
errors = [(p - t).abs()[t > 0] for p, t in batches]
by_hand = {
    "pixel": torch.cat(errors).mean(),
    "batch": torch.stack([e.mean() for e in errors]).mean(),
}
for pooling, value in by_hand.items():
    metric = Depth(pooling=pooling)
    for prediction, target in batches:
        metric.update(prediction.view(1, 1, 2, 2), target.view(1, 1, 2, 2))
    assert abs(metric.compute()["absolute"] - value.item()) < 1e-6
{pooling: round(value.item(), 3) for pooling, value in by_hand.items()}

# %% [markdown]
# The same predictions, 0.6 or 1.125 metres. MTAN's code averages the batches
# ("batch"), LibMTL's the pixels; auto-lambda's weights batches by their
# images ("sample", which here is the same as "batch"). On full sets the
# difference is small, but a table should mix no two of them.
#
# ### Normals: an angle
#
# $$
# \theta_i = \arccos(\hat p_i \cdot t_i)
# $$ (eq-angle)
#
# between the predicted unit vector $\hat p_i$ and the true one. Its mean is
# the number in most tables; the median and the shares under 11.25°, 22.5° and
# 30° stand beside it. One wall, tilted by 0°, 10° and 40° in the prediction:

# %%
tilt = torch.tensor([0.0, 10.0, 40.0]).deg2rad()
wall = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 3)
tilted = torch.stack([tilt.sin(), torch.zeros(3), -tilt.cos()]).view(
    1, 3, 1, 3
)
angle = (tilted * wall).sum(1).arccos().rad2deg()

metric = Normals()
metric.update(tilted, wall)
package = metric.compute()
assert abs(package["mean"] - angle.mean().item()) < 1e-3
{name: round(value, 2) for name, value in package.items()}

# %% [markdown]
# ### Attributes: F1
#
# $$
# P = \frac{TP}{TP + FP}, \qquad R = \frac{TP}{TP + FN}, \qquad
# F_1 = \frac{2PR}{P + R}
# $$ (eq-f1)
#
# with true positives $TP$, false positives $FP$ and false negatives $FN$,
# counted over the whole split, for each attribute by itself; the mean over
# the attributes is CelebA's score. One bald man among ten: to say "no" ten
# times is right nine times and has $F_1 = 0$. To find him and one other is
# right nine times too.

# %%
bald = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
never = torch.zeros(10)
twice = torch.tensor([0.0, 0.9, 0, 0.8, 0, 0, 0, 0, 0, 0])
result = {}
for name, probability in (("never", never), ("twice", twice)):
    yes = probability > 0.5
    tp = (yes & (bald == 1)).sum()
    f1 = 2 * tp / (yes.sum() + bald.sum())  # the same as 2PR / (P + R)
    metric = Attributes(1, inputs="probabilities")
    metric.update(probability, bald)
    assert abs(metric.compute()["f1"] - f1.item()) < 1e-6
    accuracy = (yes == (bald == 1)).float().mean()
    result[name] = {
        "accuracy": round(accuracy.item(), 3),
        "F1": round(f1.item(), 3),
    }
result

# %% [markdown]
# ### Saliency: the best threshold
#
# The prediction is a probability for each pixel, and the score is that of the
# best of 19 thresholds $\tau$, one for the whole set:
#
# $$
# \max_\tau \frac{(1 + \beta^2)\, P_\tau R_\tau}{\beta^2 P_\tau + R_\tau},
# \qquad \beta^2 = 0.3 .
# $$ (eq-maxf)
#
# The published tables of PASCAL-Context come from a code that takes the
# sigmoid of what is a probability already. `double_sigmoid=True` does the same,
# to compare with those tables. Four pixels, scored after one sigmoid and after
# two:

# %%
salient = torch.tensor([1, 1, 0, 0])
probability = torch.tensor([0.8, 0.75, 0.7, 0.1])


def f_at(threshold):
    yes = probability >= threshold
    tp = (yes & (salient == 1)).sum()
    return (1.3 * tp / (0.3 * salient.sum() + yes.sum())).item()


max_f = {}
for double in (False, True):
    thresholds = torch.arange(1, 20) / 20
    if double:
        thresholds = (thresholds / (1 - thresholds)).log()  # undoes a sigmoid
        inside = thresholds[(thresholds > 0) & (thresholds < 1)]
    metric = SaliencyF(inputs="probabilities", double_sigmoid=double)
    metric.update(probability.view(1, 1, 4), salient.view(1, 1, 4))
    max_f["two" if double else "one"] = round(metric.compute()["max_f"], 3)
    assert abs(metric.compute()["max_f"] - max(map(f_at, thresholds))) < 1e-6
print("thresholds that two sigmoids leave, beside 0:", inside.numpy().round(3))
max_f

# %% [markdown]
# With one sigmoid a threshold parts 0.75 from 0.7, and all is right. The second
# squeezes all probabilities into a short interval that few thresholds meet, and
# none of them parts these two. The best answer takes the third pixel, too:
# $P = 2/3$ and $R = 1$.
#
# ### Boundaries: near enough
#
# A boundary that is drawn one pixel off is no total failure. So what is
# predicted is thinned to lines (a plane all "yes" is no boundary), and their
# pixels are paired with the true ones, one to one, at most 0.0075 of the
# image's diagonal apart. With $M$ pairs, $P$ predicted and $T$ true
# pixels,
#
# $$
# \mathrm{odsF} = \max_\tau \frac{2 M_\tau}{P_\tau + T},
# $$ (eq-ods)
#
# with the counts summed over the whole set at each threshold $\tau$. The
# published numbers come from SEISM, a MATLAB program that does more
# than this. Ours is not SEISM: compare it with itself only.

# %%
line = torch.zeros(1, 120, 160, dtype=torch.int64)
line[:, 60] = 1  # the diagonal has 200 pixels: 1.5 pixels are near enough
odsf = {}
for shift in (0, 1, 2):
    metric = Boundary(inputs="probabilities", thresholds=9)
    metric.update(line.roll(shift, 1).float(), line)
    odsf[f"off by {shift}"] = metric.compute()["ods_f"]
odsf

# %% [markdown]
# ### All tasks in one number: Δm
#
# $$
# \Delta_m = \frac{100}{T} \sum_{t=1}^{T} (-1)^{\delta_t}
# \frac{M_t - B_t}{B_t}
# $$ (eq-delta-m)
#
# is the mean relative gain over a baseline $B$, with $\delta_t = 1$ where less
# is better. The rows of the paper's Table 1 for NYUv2:

# %%
single = {"segmentation": 0.4145, "depth": 0.580, "normal": 23.80}
gated = {"segmentation": 0.4375, "depth": 0.484, "normal": 24.09}
up = {"segmentation": True, "depth": False, "normal": False}
gains = [
    (1 if up[task] else -1) * (gated[task] - single[task]) / single[task]
    for task in single
]
by_hand = 100 * sum(gains) / 3
assert abs(by_hand - delta_m(gated, single, up)) < 1e-9
round(by_hand, 2)

# %% [markdown]
# The table prints 6.93: the printed digits are rounded.
#
# Note what Δm hides. The three gains are

# %%
{
    task: f"{100 * gain:+.1f} %"
    for task, gain in zip(single, gains, strict=True)
}

# %% [markdown]
# A tenth of the gain in depth would outweigh all that is lost in normals. Read
# the tasks first, then their mean.
#
# ## Can the miniatures be learned?
#
# A miniature is of use only if a network that looks gets further than an
# answer that does not, and if something is left to do after a small one. We
# train a small network on the streets: down over four scales and up again,
# which all tasks share ({term}`HPS`); and for each task a linear read-out per
# pixel.


# %%
def conv(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, widths=(16, 32, 64, 64)):
        super().__init__()
        self.down = nn.ModuleList(
            conv(a, b, stride=1 if a == 3 else 2)
            for a, b in zip((3, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            conv(a + b, a)
            for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )

    def forward(self, x):
        scales = []
        for stage in self.down:
            x = stage(x)
            scales.append(x)
        for stage, finer in zip(self.up, scales[-2::-1], strict=True):
            x = F.interpolate(x, finer.shape[-2:])
            x = stage(torch.cat([finer, x], 1))
        return x


data, unseen = train["streets"], test["streets"]
counts = {
    task: max(1, len(target.classes)) for task, target in data.targets.items()
}
net = MultiTask(UNet(), {t: nn.Conv2d(16, n, 1) for t, n in counts.items()})

# %% [markdown]
# The losses are those of the protocol: cross-entropy for the two maps of
# classes, the absolute error for the disparity. What is void has no loss.


# %%
def loss(output, truth, target):
    if target.kind == "classes":
        return F.cross_entropy(output, truth, ignore_index=-1)
    known = truth != target.ignore
    return (output - truth)[known].abs().mean()


STEPS = 200
optimiser = torch.optim.Adam(net.parameters(), 1e-2)
fade = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0, STEPS)
order = torch.Generator().manual_seed(0)
for _ in range(STEPS):
    batch = data[torch.randint(len(data), (16,), generator=order)]
    outputs = net(batch["image"])
    total = sum(
        loss(outputs[task], batch[task], target)
        for task, target in data.targets.items()
    )
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
    fade.step()
_ = net.eval()

# %% [markdown]
# Below are four streets that the network has not seen, what it sees there (in
# the colours of above), and how it scores beside the best constant answer: the
# commonest class everywhere, the median disparity everywhere.

# %% mystnb={"image": {"alt": "Four made streets, and under each its true and predicted classes and disparity: the network finds road, houses, sky, trees and cars with blurred outlines."}}
batch = unseen[:]
with torch.no_grad():
    outputs = net(batch["image"])
seen = {
    "image": batch["image"][:4],
    "true classes": batch["segmentation"][:4],
    "classes": outputs["segmentation"][:4].argmax(1),
    "true disparity": batch["disparity"][:4],
    "disparity": outputs["disparity"][:4].clamp(min=0),
}
kinds = {
    "true classes": data.targets["segmentation"],
    "classes": data.targets["segmentation"],
    "true disparity": data.targets["disparity"],
    "disparity": data.targets["disparity"],
}
plots.samples(seen, kinds)
plt.show()


def streets_scores(answers):
    scores = {}
    for task, target in data.targets.items():
        classes = len(target.classes)
        metric = Segmentation(classes) if classes else Depth(ignore=-1)
        metric.update(answers[task], batch[task])
        scores[task] = next(iter(metric.compute().values()))
    return scores


blind = {
    task: commonest("streets", task).expand_as(batch[task])
    for task in ("segmentation", "parts")
}
known = train["streets"][:]["disparity"]
blind["disparity"] = known[known >= 0].median().expand_as(batch["disparity"])
blind, looked = streets_scores(blind), streets_scores(outputs)
assert looked["segmentation"] > 2 * blind["segmentation"]
assert looked["disparity"] < 0.8 * blind["disparity"]

# %% tags=["nbval-ignore-output"]
pd.DataFrame({"blind": blind, "network": looked}).round(3)

# %% [markdown]
# (mIoU, and pixels of disparity.) Seconds of training make no good driver, but
# the network has clearly looked. The parts are small and rare; they take
# longer.
#
# The same for every set and task, with more images and steps, is recorded by
# `book/studies/learnable.py`: three seeds of a *tiny* network (one bank of 7x7
# filters, which sees only local colour and texture) and of a *bigger* one (like
# the one above, with more layers; four convolutions for faces). To see all
# tasks on one axis, we put the best constant answer at 0 and the perfect one at
# 1. Where a network stands between them is its *skill*:
#
# $$
# \text{skill} = \frac{M - M_\text{constant}}
#                     {M_\text{perfect} - M_\text{constant}} .
# $$ (eq-skill)


# %% mystnb={"image": {"alt": "For each task of rooms, streets and people, and for every fourth attribute of the faces, the skill of two networks between the best constant answer, at 0, and a perfect one, at 1. The bigger network is right of 0 for all of them but one attribute, the pointed nose, and right of the tiny one; it is far from 1 for most. Triangles at the left border, with their values, are tiny networks on faces that lie beyond it."}}
def skills(name):
    """For each task the skill of every run, by kind of network."""
    record = records.load(f"learnable/{name}")
    rows = {}
    for task, up in record["higher_is_better"].items():
        perfect = 100 if up else 0
        base = record["scores"]["constant"][0][task]
        rows[f"{name}: {task}"] = {
            label: [(run[task] - base) / (perfect - base) for run in runs]
            for label, runs in record["scores"].items()
        }
    return rows


dense = skills("rooms") | skills("streets") | skills("people")
f1 = skills("faces")
by_skill = sorted(f1, key=lambda task: sum(f1[task]["bigger"]))
shown = dense | {task: f1[task] for task in reversed(by_skill[::4])}

LEFT, SMALL = -0.4, {"fontsize": 8, "verticalalignment": "center"}
fig, ax = plt.subplots(figsize=(7, 5.6))
for y, runs in enumerate(reversed(shown.values())):
    for label, color in (("tiny", "orange"), ("bigger", "blue")):
        # A network that says "no" where "yes" is the better guess is far left.
        inside = [value for value in runs[label] if value >= LEFT]
        ax.plot(
            inside,
            [y] * len(inside),
            "o",
            markersize=5,
            alpha=0.7,
            color=plots.COLORS[color],
            label=f"{label} network" if y == len(shown) - 1 else None,
        )
        if len(inside) < len(runs[label]):
            ax.plot(LEFT, y, "<", markersize=5, color=plots.COLORS[color])
            ax.text(LEFT + 0.015, y, f"${min(runs[label]):.1f}$", **SMALL)
ax.axvline(0, color="black", linewidth=1)
ax.axvline(1, color="black", linewidth=1)
ax.set_yticks(range(len(shown)), list(reversed(shown)), fontsize=8)
ax.set(
    xlim=(-0.43, 1.03),
    ylim=(-0.7, len(shown) - 0.3),
    xlabel="skill: 0 is the best constant answer, 1 is perfect",
)
ax.set_title("A network that looks gets further, and much is left to do")
ax.legend(loc="lower right", bbox_to_anchor=(0.96, 0))
plt.show()

learned = [all(v > 0 for v in runs["bigger"]) for runs in dense.values()]
print(
    "dense tasks on which every run of the bigger network has skill:",
    sum(learned),
    "of",
    len(learned),
)
above = [sum(runs["bigger"]) > 0 for runs in f1.values()]
print("attributes on which it has, on average:", sum(above), "of", len(above))
assert all(learned) and sum(above) > 30
hardest = {"Pointy_Nose", "Big_Nose", "Big_Lips"}
assert set(by_skill[:3]) == {f"faces: {task}" for task in hardest}

# %% [markdown]
# Three dots are three seeds; a triangle stands for dots further left, with the
# lowest value. (*people* are rooms with somebody in each, and the five tasks of
# PASCAL-Context.) Colour and texture of a small window, which is all that the
# tiny network sees, tell little; on the attributes it says "no" wherever in
# doubt, and its F1 is below that of a constant "yes". The hardest of the 36
# attributes are shapes of nose and lips: not all tasks are easy.
#
# The record also has a stronger blind answer: the best one *for each pixel's
# position*. Ceilings are above and roads below.

# %% tags=["nbval-ignore-output"]
rows = []
for name in ("rooms", "streets", "people"):
    record = records.load(f"learnable/{name}")
    for task in record["higher_is_better"]:
        row = {"set": name, "task": task}
        for label, runs in record["scores"].items():
            row[label] = sum(run[task] for run in runs) / len(runs)
        rows.append(row)
pd.DataFrame(rows).set_index(["set", "task"]).round(2)

# %% [markdown]
# Per cent for classes, saliency and boundaries; metres of depth; pixels of
# disparity; degrees for normals. For depth, disparity and normals the position
# alone tells more than local colour does. Whoever reports a disparity error
# should know what it is without looking.
#
# ## From the miniatures to the real sets
#
# `load` gives a benchmark by its name: the real one where its folder is found,
# else the miniature. Chapters take `root=None`, the miniature, wherever their
# text speaks of results.

# %%
sample = load("cityscapes", "val", root=None, n=2)[0]
{name: tuple(entry.shape) for name, entry in sample.items()}

# %% [markdown]
# | name | real set | miniature |
# |---|---|---|
# | `nyuv2` | NYUv2 | rooms |
# | `cityscapes` | Cityscapes, 19 classes, 10 parts, disparity | streets |
# | `cityscapes-small` | Cityscapes, 7 classes, inverse depth | streets of 7 classes |
# | `celeba` | CelebA | faces |
# | `pascal` | PASCAL-Context | rooms with the five tasks |
#
# A folder of that name is looked for in `$TSSBN_DATA`, then in `data`. How many
# images the real sets have (where there is no `test`, it is the images of
# `val`):

# %%
pd.DataFrame(
    {
        name: {split: f"{n:,}" for split, n in real_set(name).official.items()}
        for name in SETS
    }
).T.fillna("")

# %% [markdown]
# A command says for each where to get it, under which licence, and in what
# steps; another prepares the official files, and one says whether a folder is
# right, and names the first broken file:
#
# ```
# python -m tssbn data where nyuv2
# python -m tssbn data prepare nyuv2 SRC data/nyuv2
# python -m tssbn data check nyuv2
# ```
#
# {doc}`running` has more on this.
#
# ## Limits
#
# - Drawn rooms are not photographs. Their textures are simpler, their light is
#   cleaner and their labels are exact, which no annotator's are. A method
#   that wins on miniatures need not win on NYUv2; the later chapters show
#   records of real runs where there are any.
# - The number of classes and the zoom of a recipe make a task harder or
#   easier; how much was not matched to anything real.
# - Our boundary score is not SEISM, and the double sigmoid of saliency
#   repeats a slip of the public code so that tables can be compared.
# - The skill above has the best constant answer as its zero. Beside the best
#   answer by position, which knows that floors are below, it would be less.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-05-mean-of-means
# Two images, two classes. In the first all 100 pixels are floor, and one is
# taken for wall; in the second 50 are floor and 50 wall, all right. Compute
# the mIoU from one confusion matrix, and the mean of the mIoU of each image.
# Where does the difference come from?
# :::
#
# :::{solution} ex-05-mean-of-means
# :class: dropdown
# One matrix: floor 149/150, wall 50/51, mean 0.987. By image: the first has
# floor 99/100 and wall 0/1, mean 0.495; the second 1; together 0.748. A single
# wrong pixel counts half an image as soon as its class is absent there.
# :::
#
# :::{exercise}
# :label: ex-05-zoom
# `Rooms(zoom=0.5)` draws a focal length for each room which the network is
# not told. Which of classes, depth and normals does it make harder, and why?
# Make rooms with it and look.
# :::
#
# :::{solution} ex-05-zoom
# :class: dropdown
# Depth. An object twice as large in the picture may be near or seen through
# a longer lens. What class it is of does not depend on that, and its normals
# hardly do.
# :::
#
# :::{exercise}
# :label: ex-05-yes
# An attribute is present in a share $p$ of the faces. What is the F1 of
# answering "yes" to all, and for which $p$ is it more than 0.5?
# :::
#
# :::{solution} ex-05-yes
# :class: dropdown
# Precision $p$, recall 1: $F_1 = 2p/(1+p)$. It is more than 0.5 for
# $p > 1/3$. So an F1 of 0.5 is good for a rare attribute and less than
# nothing for a common one.
# :::
#
# ## What we learned
#
# - A score needs two neighbours: what a blind answer gets, and the exact rule,
#   down to how batches are averaged.
# - The four benchmarks ask for dense maps of classes, for lengths, directions,
#   lines, and for yes or no. Each has a miniature with exact labels.
# - On the miniatures a small network beats the best constant answer on nearly
#   every task, and is far from done: there is room for methods to differ.

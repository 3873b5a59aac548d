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
    # %pip install -q onnx onnxscript onnxruntime
    pass

# %% [markdown]
# # One task, one plain network
#
# :::{admonition} The claim
# A trained {term}`TSσBN` network of T tasks is T ordinary networks in one.
# Each comes out as plain PyTorch that computes the same, with no gate left to
# pay for. Channels whose gates are shut can be cut out, and a penalty gives
# gates a reason to close. Without training afterwards a cut is paid for in
# score.
# :::
#
# *Runs in under a minute on one CPU core; no GPU and no download needed.*

# %% tags=["hide-input"]
import copy
import logging
import subprocess
import tempfile
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import tssbn
from tssbn import claims, export, plots, pruning, records
from tssbn.methods import Network
from tssbn.timing.rounds import time_rounds
from tssbn.networks.segnet import SegNet
from tssbn.cost import macs, parameters
from tssbn.training.loop import train
from tssbn.training.run import Run
import timm  # after tssbn, which keeps it quiet

torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## A network that cannot leave home
#
# We train a small network on synthetic faces (chapter 5): six convolutions in an
# `nn.Sequential`, four questions about each face, gates of its own for each.

# %%
SMALL = {"n": 700, "side": 24, "attributes": 4, "epochs": 5}


def block(before, width):
    conv = nn.Conv2d(before, width, 3, padding=1, bias=False)
    return conv, nn.BatchNorm2d(width), nn.ReLU()


def make_trunk():
    return nn.Sequential(
        *(*block(3, 12), *block(12, 12), nn.MaxPool2d(2)),
        *(*block(12, 24), *block(24, 24), nn.MaxPool2d(2)),
        *(*block(24, 48), *block(48, 48), nn.AdaptiveAvgPool2d(1)),
        nn.Flatten(),
    )


run = Run("faces", "tssbn", 0, {"multiplier": 10, **SMALL})
made = Network(
    make_trunk,
    lambda n: nn.Linear(48, n),
    run.benchmark.network.example,
    stem="3",  # what comes before the second convolution runs once
)
run = Run(replace(run.benchmark, network=made), "tssbn", 0, {"multiplier": 10})
net = train(run).net
x = run.benchmark.data("test")[:]["image"]
print(", ".join(net.tasks))

# %% [markdown]
# Suppose somebody wants the answer to one of the four questions, in a program
# of theirs. We save the network and send it. They have PyTorch and nothing of
# ours:

# %%
folder = Path(tempfile.mkdtemp())
task = net.tasks[0]
torch.save(net, folder / "whole.pt")


def elsewhere(name):
    """What another Python says, one without this package."""
    program = f"""
        import sys, torch
        sys.modules["tssbn"] = None  # not installed
        try:
            net = torch.load({name!r}, weights_only=False)
            y = net(torch.zeros(2, 3, 24, 24))
            print(tuple(y.shape), "from", sum(1 for _ in net.modules()), "modules")
        except ImportError as error:
            print(type(error).__name__, error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.stdout.strip()


said = elsewhere("whole.pt")
print(said)
assert said.startswith("ModuleNotFoundError")

# %% [markdown]
# It does not even load. And where it does, it is a strange thing to deploy: it
# holds the gates and statistics of all tasks, and answers all questions unless
# told otherwise, each with a pass through the trunk. Exported as it is, every
# pass goes along:

# %%
image = x[:1]
single = export.task(net, task)
torch.save(single, folder / "single.pt")
print(f"whole: {macs(net, image):,} MACs; {task}: {macs(single, image):,}")
said = elsewhere("single.pt")
print(said)
assert said.startswith("(2, 1)")
assert macs(net, image) > 3.5 * macs(single, image)

# %% [markdown]
# The second network is what this chapter is about. It comes from
# `tssbn.export.task`, does a quarter of the work, loads where nobody has heard
# of us, and has no norm layers:

# %%
single

# %% [markdown]
# ## Where the gates went
#
# In training {term}`BN` depends on the batch. In evaluation it does not: mean
# $\mu_t$ and variance $v_t$ are {term}`running statistics`, numbers like any
# other. For one task $t$ so is the gate. What follows a convolution with
# weight $W$ and bias $b$ is then
#
# $$
# \sigma(\gamma_t)\,\frac{W * x + b - \mu_t}{\sqrt{v_t + \varepsilon}}
# = (a_t W) * x + a_t (b - \mu_t) + \beta_t, \qquad
# a_t = \frac{\sigma(\gamma_t)}{\sqrt{v_t + \varepsilon}} ,
# $$ (eq-fold)
#
# with $\beta_t = 0$ but in some affine modes: a convolution again, with a
# weight $a_t W$ (each filter times one number) and a new bias. That BN folds
# away is old knowledge, and PyTorch has a function for it. What is new is that
# shared filters fold into $T$ different sets of filters, one for each task. By
# hand, for the first layer of our network:

# %%
conv, norm = net.trunk[0], net.trunk[1]
row = net.tasks.index(task)
with torch.no_grad(), tssbn.select(net, task):
    gate = torch.sigmoid(norm.gamma[row])
    a = gate / (norm.running_var[row] + norm.eps).sqrt()
    W = a[:, None, None, None] * conv.weight
    b = -a * norm.running_mean[row]
    by_hand = F.conv2d(x, W, b, padding=1)
    as_it_is = norm(conv(x))
assert torch.allclose(by_hand, as_it_is, atol=1e-5)
assert torch.allclose(W, single.trunk[0].weight, rtol=1e-5)
assert torch.allclose(b, single.trunk[0].bias, atol=1e-6)
print("by hand = the layers = the package")

# %% [markdown]
# Transformers normalise each token by its own mean and variance, so {term}`LN`
# cannot fold into what is in front of it. Its gate can go into what comes
# behind, if that is a linear layer and nobody else looks:
#
# $$
# W\,(\sigma(\gamma_t) \odot \hat x) + b
# = \bigl(W \operatorname{diag} \sigma(\gamma_t)\bigr)\,\hat x + b .
# $$ (eq-fold-ln)
#
# The normalising stays, the gate costs nothing.
#
# Who is in front and who looks? The package asks `torch.fx`, which runs
# the network's code without numbers and writes down who called whom. Only what
# is certain is folded: a convolution that is called once, whose output goes
# into that norm layer and nowhere else. The modules, their names and the code
# of the network stay what they are; norm layers become `Identity`.
#
# ## Every task, every network
#
# Is it exact? Here are our four tasks, in single precision, and in double:

# %%
rows = {}
with torch.no_grad():
    outputs, double = net(x), copy.deepcopy(net).double()
    exact = double(x.double())
    for t in net.tasks:
        y = export.task(net, t)(x)
        y64 = export.task(double, t)(x.double())
        rows[t] = {
            "float32": (y - outputs[t]).abs().max().item(),
            "float64": (y64 - exact[t]).abs().max().item(),
        }
differences = pd.DataFrame(rows).T
assert (differences["float32"] < 1e-4).all()
assert (differences["float64"] < 1e-10).all()

# %% tags=["nbval-ignore-output"]
differences.map("{:.0e}".format)

# %% [markdown]
# And other people's networks, with gates and statistics drawn at random, in
# double precision:


# %%
def stirred(trunk, head):
    tasks = ("seg", "depth")
    trunk = tssbn.task_specific(trunk.double(), tasks)
    heads = {task: copy.deepcopy(head).double() for task in tasks}
    for m in trunk.modules():
        if hasattr(m, "gamma"):
            nn.init.normal_(m.gamma)
    net = tssbn.MultiTask(trunk, heads)
    net.train()(torch.rand(4, 3, 64, 64).double())
    return net.eval()


def count(net):
    return sum(tssbn.is_norm(m) for m in net.modules())


_ = torch.manual_seed(0)
OTHERS = {
    "ResNet-18": torchvision.models.resnet18(),
    "MobileNetV3": torchvision.models.mobilenet_v3_small(),
    "EfficientNet-B0 (timm)": timm.create_model("efficientnet_b0"),
    "DenseNet-121 (timm)": timm.create_model("densenet121"),
    "SegNet": SegNet(8),
    "ViT-S (timm)": timm.create_model(
        "vit_small_patch16_224", img_size=64, depth=4
    ),
}
rows = {}
for name, trunk in OTHERS.items():
    head = nn.Conv2d(8, 3, 1) if name == "SegNet" else nn.Linear(1000, 3)
    other = stirred(trunk, head)
    with torch.no_grad():
        image64 = torch.rand(2, 3, 64, 64).double()
        plain = export.task(other, "depth")
        y, expected = plain(image64), other(image64)["depth"]
    gated = [
        m for m in plain.modules() if tssbn.is_norm(m) and m.weight is not None
    ]
    rows[name] = {
        "difference": ((y - expected).abs().max() / expected.std()).item(),
        "norm layers": count(other.trunk),
        "left": count(plain),
        "with a scale": len(gated),
    }
    assert rows[name]["difference"] < 1e-10
others = pd.DataFrame(rows).T
counts = others.drop(columns="difference").astype(int)
assert (counts.loc[["ResNet-18", "SegNet", "MobileNetV3"], "left"] == 0).all()
assert counts.loc["ViT-S (timm)", "with a scale"] == 1
counts

# %% [markdown]
# All of them agree to ten digits. Of the norm layers of the ResNet, MobileNet,
# EfficientNet and SegNet nothing is left. DenseNet normalises *before* it
# convolves, and what it normalises is a heap of earlier outputs that others
# read as well, so half of its layers stay, as ordinary BatchNorm with the gate
# for a weight. A ViT keeps its LayerNorms without a scale, all but the last,
# of whose tokens only one is read.
#
# ## No overhead?
#
# If what comes out is the backbone, it should take the backbone's time. Our
# small network against its own untrained twin, folded in the same way, and not
# folded; and against asking the multi-task network for that one task:

# %% tags=["nbval-ignore-output"]
backbone = nn.Sequential(make_trunk(), nn.Linear(48, 1)).eval()
steps = {
    "exported": single,
    "backbone, folded": export.fold(backbone),
    "backbone": backbone,
    "net(x, (task,))": lambda x: net(x, (task,)),
    "net(x)": net,
}


def timed(x, count=25):
    with torch.no_grad():
        calls = {name: (lambda f=f: f(x)) for name, f in steps.items()}
        seen = pd.DataFrame(time_rounds(calls, count))
    return seen.div(seen["backbone, folded"], axis=0)


live = timed(x[:8]).quantile([0.25, 0.5, 0.75]).T
live.round(2)

# %% [markdown]
# Quartiles of the time relative to the folded backbone, every variant once in
# each round. The same on networks of the usual size, from
# `book/studies/bench_export.py`:

# %% tags=["nbval-ignore-output"]
bench = records.load("bench/export")
full = pd.DataFrame(
    {
        name: {v: ratio["median"] for v, ratio in found["ratios"].items()}
        for name, found in bench["networks"].items()
    }
).T
print(f"{bench['device']}, {bench['threads']} thread(s)")
assert (3 * full["exported"] > 0.9 * full["three tasks"]).all()
full.round(2)

# %% [markdown]
# Exported and folded are the same convolutions on other numbers, so that they
# can only differ by noise, and the ratios say how much of that there is.
# Folding itself gains little: on this CPU a norm layer in evaluation is a
# small part of the work. What is saved is the rest of the multi-task network:
# the other tasks' passes, and in a pass of one task the computation of its
# gates.
#
# ## Two lines to anywhere
#
# A plain network goes wherever plain networks go, without any help from this
# package. `torch.export` takes two lines, and so does ONNX:

# %%
logging.getLogger("onnxscript").setLevel(logging.ERROR)
shapes = ({0: torch.export.Dim("batch")},)  # any number of images

program = torch.export.export(single, (x[:2],), dynamic_shapes=shapes)
torch.export.save(program, folder / "single.pt2")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the exporter says about itself
    onnx_program = torch.onnx.export(
        single, (x[:2],), dynamo=True, dynamic_shapes=shapes, verbose=False
    )
onnx_program.save(folder / "single.onnx")

# %% tags=["nbval-ignore-output"]
import onnxruntime

session = onnxruntime.InferenceSession(
    folder / "single.onnx", providers=["CPUExecutionProvider"]
)
(entry,) = session.get_inputs()
again = torch.export.load(folder / "single.pt2").module()
with torch.no_grad():
    for n in 1, 7, 100:
        expected = net(x[:n])[task]
        (y,) = session.run(None, {entry.name: x[:n].numpy()})
        assert abs(y - expected.numpy()).max() < 1e-4
        assert (again(x[:n]) - expected).abs().max() < 1e-5
print([node.op_type for node in onnx_program.model.graph])

# %% [markdown]
# Convolutions with a bias and ReLU, and that is all. The tests of the package
# do the same with a ResNet, a ViT, and SegNet, whose unpooling takes a detour
# through scattered indices in ONNX but arrives.
#
# (export-cut)=
# ## What can go?
#
# A gate near 0 says: I hardly need this channel. So take it out, with the
# filter that makes it and the weights that read it,
#
# $$
# K_t = \{\, c : \sigma(\gamma_{t,c}) \ge \tau \,\} ,
# $$ (eq-cut)
#
# layer by layer, for one task. `export.task(net, task, threshold=τ,
# example=x)` does that before it folds. Where channels meet in a sum, as in
# residual networks, a channel can go only if it is closed in everything that
# is added up; the package finds those layers and lets the rest be.
#
# If the gates of what goes are exactly 0, nothing changes. Let us shut
# every other channel of our network, for one task:

# %%
shut = copy.deepcopy(net)
with torch.no_grad():
    for layer in shut.trunk:
        if hasattr(layer, "gamma"):
            layer.gamma[row, ::2] = -torch.inf
    less = export.task(shut, task, threshold=1e-6, example=x[:2])
    assert torch.allclose(less(x), shut(x)[task], atol=1e-5)
pd.DataFrame(
    {
        name: {"parameters": parameters(n), "MACs": macs(n, image)}
        for name, n in {"all": single, "every other": less}.items()
    }
).T

# %% [markdown]
# Half of the channels, a quarter of the work. But gates are not 0. What are
# they?

# %% tags=["nbval-ignore-output"]
importance = tssbn.gates.importance(net)
pd.DataFrame(importance.values.numpy(), index=net.tasks).T.describe().T.drop(
    columns="count"
).round(2)

# %% [markdown]
# Around one half, where they started. Nothing in the loss asks a gate to
# close; a channel that is of no use to a task is as cheap as one that is. That
# was the point of the penalty of chapter 2, {term}`RNI`
# {cite:p}`suteu2022receding`, which asks all gates and is overruled where the
# task insists. It can be asked of task-specific gates as of others. Three more
# epochs with it and, to be fair, without; in both gates learn 25 times as fast
# as the rest, so that they get somewhere in that time (until here it was ten
# times):

# %%
EPOCHS = 3


def gone_on(net, penalty):
    """The network after some more epochs with a penalty on its gates."""
    net = copy.deepcopy(net).train()
    data = run.benchmark.data("train")[:]
    _ = torch.manual_seed(0)
    optimiser = torch.optim.Adam(tssbn.param_groups(net, 2e-3, 25))
    for _ in range(EPOCHS):
        for i in torch.randperm(len(data["image"])).split(64):
            loss = sum(
                F.binary_cross_entropy_with_logits(y[:, 0], data[t][i].float())
                for t, y in net(data["image"][i]).items()
            )
            optimiser.zero_grad()
            (loss + penalty * pruning.rni_penalty(net)).backward()
            optimiser.step()
    return net.eval()


networks = {"without": gone_on(net, 0.0), "with RNI": gone_on(net, 3e-4)}

# %%
test = run.benchmark.data("test")[:]


def f1(single, t):
    with torch.no_grad():
        yes = single(test["image"])[:, 0] > 0
    truth = test[t] > 0
    return (2 * (yes & truth).sum() / (yes.sum() + truth.sum())).item()


found = {}
for title, network in networks.items():
    for threshold in 0.0, 0.1, 0.2, 0.3, 0.4, 0.5:
        singles = {
            t: export.task(network, t, threshold, x[:2]) for t in net.tasks
        }
        work = np.mean([macs(n, image) for n in singles.values()])
        found[title, threshold] = {
            "MACs, %": 100 * work / macs(single, image),
            "F1": np.mean([f1(n, t) for t, n in singles.items()]),
        }
cut = pd.DataFrame(found).T.unstack(0).swaplevel(axis=1).sort_index(axis=1)

# %% tags=["nbval-ignore-output"]
cut.rename_axis(index="τ").round(2)

# %% [markdown]
# Means over the four tasks. The penalty makes gates that a threshold can tell
# apart: at the same $\tau$ more goes.
#
# One small run is an anecdote. So the same on synthetic rooms with a small
# SegNet, three seeds, from `book/studies/cut.py`. This SegNet is hardly better
# than the constant baseline, the best answer that ignores the image (dotted
# below): what follows shows how a cut is made and what it costs, not how well
# tasks can be solved. Each task's network is cut by more and more of its own
# gates, and scored, without any training afterwards, on the first images of
# the test set. Beside the gates, two controls that take as much:
#
# - **shuffled gates**: the gates of each layer are dealt to its channels at
#   random, once for each seed and network. This is chance.
# - **filters' norms**: in each layer the filters of the smallest norm go, as
#   many as by gates. This is what one might do without gates, and it is a weak
#   opponent. In front of a BatchNorm the scale of a filter does not change the
#   function: a filter twice as large has statistics that are larger to match,
#   and $a_t W$ in {eq}`eq-fold` stays what it was. So its norm tells of the
#   way the optimiser came, at best, and nothing of this or that task. To beat
#   it proves little; what counts is chance.
#
# Two further networks go on from the trained one, with the penalty and
# without. In these epochs gates learn faster than before, so that there are
# three things to keep apart: more epochs, faster gates, and the penalty. The
# two networks differ in the last alone.

# %%
SEEDS = range(3)
cuts = [records.load(f"cut/rooms_segnet-{seed}") for seed in SEEDS]
first = cuts[0]
for record in cuts:
    assert record["went_on"] == first["went_on"]
    assert record["images"] == first["images"]
    assert record["went_on"]["multiplier"] > record["settings"]["multiplier"]
pd.Series(
    {
        "seeds": len(cuts),
        "test images": first["images"],
        "multiplier of gates in training": first["settings"]["multiplier"],
        **{f"{key}, going on": v for key, v in first["went_on"].items()},
    }
).map("{:g}".format)

# %% mystnb={"image": {"alt": "For segmentation, depth and normals the score over the share of MACs that is left, as channels are cut away, with bands over the seeds: cut by the task's own gates, by shuffled gates and by the norms of filters, as trained, after more epochs and after epochs with the penalty; and the constant baseline as a dotted line."}}
# Of the same images, by tssbn.benchmarks.constant
CONSTANT = {"segmentation": 0.354, "depth": 0.604, "normal": 36.8}

LINES = {  # network and kind: colour, line, label
    ("trained", "gates"): ("blue", "-", "gates"),
    ("trained", "shuffled"): ("black", "-", "shuffled gates"),
    ("trained", "weights"): ("orange", "-", "filters' norms"),
    ("went on", "gates"): ("sky", "-", "gates, more epochs"),
    ("receding", "gates"): ("green", "-", "gates, after RNI"),
    ("receding", "shuffled"): ("green", ":", "shuffled, after RNI"),
}
NAMES = {
    "segmentation": "mIoU",
    "depth": "absolute error, m",
    "normal": "mean angle, °",
}


def scores(task, network, kind, left):
    """Scores where so many % of the MACs are left; (seeds, len(left))."""
    rows = []
    for record in cuts:
        of_task = record["networks"][network][task]
        whole, *cut = of_task["whole"], *of_task[kind]
        points = [
            (p["macs"] / whole["macs"], p["score"]) for p in (whole, *cut)
        ]
        work, score = np.array(sorted(points)).T
        rows.append(np.interp(left, 100 * work, score))
    return np.array(rows)


LEFT = np.arange(60, 101, 2.5)
figure, axes = plt.subplots(1, 3, figsize=(7.5, 3.4))
for ax, (t, label) in zip(axes, NAMES.items(), strict=True):
    for (network, kind), (color, style, name) in LINES.items():
        y = scores(t, network, kind, LEFT)
        plots.spread(ax, LEFT, y, color, name, ls=style, lw=1.4)
    ax.axhline(CONSTANT[t], color="#555555", ls=":", label="ignores the image")
    ax.set(xlim=(101, 59), xlabel="MACs, % of the whole", ylabel=label)
    ax.set_title(t, fontsize=10)
title = "rooms (SegNet): the score of a task as its channels are cut away"
figure.suptitle(title, x=0.01, ha="left", fontsize=11)
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# Lines are means over the seeds, read off between the cuts of each; bands
# reach from the lowest to the highest seed. What a task loses, in % of the
# score of the *network as trained* with all its channels: before any cut, and
# when a tenth and a quarter of its MACs are gone (means over the seeds):


# %%
NORMS = ("receding", "weights")  # not drawn
KINDS = {pair: name for pair, (*_, name) in LINES.items()}
KINDS[NORMS] = "filters' norms, after RNI"
CUTS = {100: "before", 90: "1/10", 75: "1/4"}


def lost(task, network, kind):
    """Loss in % of the score as trained, at each of the cuts; (seeds, cuts)."""
    sign = 1 if first["directions"][task] else -1
    trained = scores(task, "trained", "gates", [100])
    loss = trained - scores(task, network, kind, list(CUTS))
    return 100 * sign * loss / trained


table = {}
for pair, name in KINDS.items():
    of_tasks = {t: lost(t, *pair).mean(0) for t in NAMES}
    of_tasks["mean"] = np.mean(list(of_tasks.values()), axis=0)
    for t, values in of_tasks.items():
        for cut_by, value in zip(CUTS.values(), values, strict=True):
            table.setdefault((t, cut_by), {})[name] = value
losses = pd.DataFrame(table)
losses.round(1)

# %% [markdown]
# How much less does a task lose by its gates than by the same gates shuffled,
# in percentage points? Intervals are those of {mod}`tssbn.claims`, with one
# spread for all rows of the table above:


# %%
def spared(task, i, network):
    """By the gates rather than by shuffled ones, at the i-th of the cuts."""
    losses = {KINDS[pair]: lost(task, *pair)[:, i] for pair in KINDS}
    bed = claims.Bed(losses, up=(False,))
    pair = (network, "gates"), (network, "shuffled")
    return str(bed.compare(*(KINDS[key] for key in pair)))


pd.DataFrame(
    {
        (t, cut_by): {
            name: spared(t, i, network)
            for network, name in {
                "trained": "as trained",
                "receding": "after RNI",
            }.items()
        }
        for t in NAMES
        for i, cut_by in enumerate(["1/10", "1/4"], 1)
    }
).T

# %% [markdown]
# Where an interval is above zero, the gates know which channels the task can
# do without. Three things are to be kept apart in the tables: more epochs with
# faster gates, which change the losses without any penalty; the penalty; and
# its price, which is paid before anything is cut. Pruning is usually followed
# by fine-tuning, and the last exercise tries it.
#
# ## Limits
#
# - Taking *all* tasks out is no bargain. T plain networks have T sets of
#   filters, while the multi-task network has one; and in the tables above all
#   of them together are no faster than it, but for noise. Export is for those
#   who need one task, or each in another place. Chapter 17 looks for something
#   in between.
# - What was cut is one small network on synthetic rooms, hardly better than
#   the constant baseline, scored on some of the test images, with a single
#   weight of the penalty, and each control dealt once. Another rule without
#   gates may do better than filters' norms.
# - `torch.fx` cannot follow code that looks at the values of a tensor.
#   The norm layers in such a module become ordinary ones, and a warning says
#   that they were not folded. The outputs are right all the same.
# - A BatchNorm without running statistics, or in a layer that is called twice,
#   cannot be folded either.
# - Only channels of BatchNorm can be cut: a LayerNorm normalises all channels
#   together, so that one that goes changes the others.
# - In the affine modes that keep a bias a closed channel puts out that bias.
#   A cut takes it along, and the output changes a little more than the gate
#   says.
# - In flat regions of an image a pooling chooses between equal numbers, and
#   rounding decides. Where places are kept, as in SegNet, single pixels of
#   two equal networks may differ visibly.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-16-memory
# How much larger than the multi-task network are the files of all its tasks'
# exports together? From how many tasks on would you rather send the whole?
# :::
#
# :::{solution} ex-16-memory
# :class: dropdown
#
# ```python
# sizes = []
# for t in net.tasks:
#     torch.save(export.task(net, t).state_dict(), folder / "t.pt")
#     sizes.append((folder / "t.pt").stat().st_size)
# torch.save(net.state_dict(), folder / "all.pt")
# print(sum(sizes), (folder / "all.pt").stat().st_size)
# ```
#
# Nearly T times as large: the filters, of which there is one set in the
# network, are in every file. For two tasks that may be a price for plain
# networks; for forty it is not.
# :::
#
# :::{exercise}
# :label: ex-16-stride
# In a transposed convolution the weight has the shape (in, out, k, k). Fold a
# gate into one by hand.
# :::
#
# :::{solution} ex-16-stride
# :class: dropdown
#
# ```python
# up = nn.ConvTranspose2d(3, 5, 2, stride=2, bias=False)
# norm = tssbn.SigmoidBatchNorm2d(5)
# nn.init.normal_(norm.gamma)
# norm.running_mean.normal_()
# _ = norm.eval()
# a = norm.weight / (norm.running_var + norm.eps).sqrt()
# small = torch.rand(2, 3, 4, 4)
# y = F.conv_transpose2d(
#     small,
#     up.weight * a[:, None, None],  # the output channel is dimension 1
#     -a * norm.running_mean,
#     stride=2,
# )
# assert torch.allclose(y, norm(up(small)), atol=1e-6)
# folded = export.fold(nn.Sequential(up, norm))
# assert torch.allclose(y, folded(small), atol=1e-6)
# ```
# :::
#
# :::{exercise}
# :label: ex-16-again
# A cut network may learn again. Take the network with the penalty, cut the
# second task at a threshold that ruins it, and train what is left for some
# epochs on that task. How much comes back? (BatchNorm is folded: what does
# that mean for training?)
# :::
#
# :::{solution} ex-16-again
# :class: dropdown
#
# ```python
# t = net.tasks[1]
# whole = export.task(networks["with RNI"], t)
# small = export.task(networks["with RNI"], t, 0.4, x[:2]).train()
# data = run.benchmark.data("train")[:]
# seen = [f1(whole, t), f1(small, t)]
# optimiser = torch.optim.Adam(small.parameters(), 1e-3)
# for _ in range(3):
#     for i in torch.randperm(len(data["image"])).split(64):
#         y = small(data["image"][i])[:, 0]
#         loss = F.binary_cross_entropy_with_logits(y, data[t][i].float())
#         optimiser.zero_grad()
#         loss.backward()
#         optimiser.step()
#     seen.append(f1(small, t))
# print([round(value, 2) for value in seen])
# ```
#
# On this task the score comes back, at about half of the work. (Two of the
# other tasks are barely learned by our short training, and say little.)
# Without BatchNorm nothing keeps the activations in bounds, so steps that are
# too large do more harm. If you want to train for long, cut before folding:
# `tssbn.pruning.prune_channels` works on networks with their norm layers.
# :::
#
# ## What we learned
#
# - In evaluation gates and statistics are constants, and constants fold: T
#   tasks in one trunk are T plain networks, each exact.
# - Who feeds whom is a question to the code, not to the list of layers. Where
#   it has no certain answer, nothing is folded.
# - A plain network needs no help to be exported, and none is offered: two
#   lines for torch.export, two for ONNX.
# - A gate tells more of what a task needs if it had a reason to close.
# - The penalty has its price before anything is cut. A comparison that begins
#   at each network's own start hides it.
# - Beating a bad control is no finding: the norm of a filter means nothing in
#   front of a BatchNorm.

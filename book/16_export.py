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
# `tssbn.export.task` makes one plain PyTorch network of each task; on six
# architectures its outputs agree to $10^{-10}$ in float64.
# :::
#
# *Eight minutes to read; runs in a minute on one CPU core, no download.*

# %% tags=["hide-input"]
import copy
import logging
import subprocess
import tempfile
import textwrap
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import tssbn
from tssbn import export, plots, records
from tssbn.claims import Bed
from tssbn.cost import macs, parameters
from tssbn.data.synthetic import digits
from tssbn.networks.segnet import SegNet
from tssbn.plots import cost as cost_plots
import timm  # after tssbn, which keeps it quiet

torch.set_num_threads(1)
plots.style()

# %% [markdown]
# A trained {term}`TSσBN` network of $T$ tasks holds $T$ ordinary networks. In
# evaluation gates and {term}`running statistics` are constants, and constants
# can be multiplied into filters.
# :::{image} images/export.svg
# :alt: Left, a trunk of three grey convolutions with coloured gates of three tasks behind each, and three heads. Right, three plain networks below each other. Their convolutions are in the colours of the tasks, and there are no gates.
# :class: only-light
# :::
# :::{image} images/export-dark.svg
# :alt: The same drawing, on a dark ground.
# :class: only-dark
# :::
#
# ## A network that needs its package
#
# We train six networks to read two digits, briefly, at a fast gate rate of 0.4.

# %%
TASKS = ("left", "right")
train = digits.pairs("train", root=None)
test = digits.pairs("test", per_pair=200, root=None)


def block(inputs, stride):
    conv = nn.Conv2d(inputs, 16, 3, stride, bias=False)
    return conv, nn.BatchNorm2d(16), nn.ReLU()


def fit(seed, lr=4e-3, steps=300):
    _ = torch.manual_seed(seed)
    trunk = nn.Sequential(*block(1, 2), *block(16, 2), *block(16, 1))
    heads = {t: nn.Sequential(nn.Flatten(), nn.Linear(64, 5)) for t in TASKS}
    net = tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads)
    adam = torch.optim.Adam(tssbn.param_groups(net, lr, multiplier=100))
    for _ in range(steps):
        i = torch.randint(len(train["image"]), (64,))
        y = net(train["image"][i])
        adam.zero_grad()
        sum(F.cross_entropy(y[t], train[t][i]) for t in TASKS).backward()
        adam.step()
    return net.eval()


nets = [fit(seed) for seed in range(6)]
net, x = nets[0], test["image"]

# %% [markdown]
# Another program, which has PyTorch but not this package, must read the left
# digit. We send it first the whole network, then the result of `export.task`.

# %% tags=["hide-input"]
folder = Path(tempfile.mkdtemp())


def elsewhere(net):
    torch.save(net, folder / "net.pt")
    program = """
        import sys, torch
        sys.modules["tssbn"] = None  # not installed
        try:
            net = torch.load("net.pt", weights_only=False)
            print("output", tuple(net(torch.zeros(2, 1, 20, 20)).shape))
        except ImportError as error:
            print(type(error).__name__)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.stdout.strip()


# %%
left = export.task(net, "left")
print("whole network:", elsewhere(net))
print("left alone:   ", elsewhere(left))
print(f"{macs(net, x[:1]):,} and {macs(left, x[:1]):,} multiplications")
left

# %% [markdown]
# The whole network does not load there. The export does, and makes one pass
# instead of two. Its normalisation layers have become `Identity`.
#
# ## Where the gates went
#
# Behind a convolution with weight $W$ and bias $b$ the normalisation layer of
# task $t$, with running mean $\mu_t$ and variance $v_t$, gives
#
# $$
# \color{#D55E00}{\sigma(\gamma_t)}\,
# \frac{W * x + b - \mu_t}{\sqrt{v_t + \varepsilon}}
# = (a_t W) * x + a_t (b - \mu_t), \qquad
# a_t = \frac{\color{#D55E00}{\sigma(\gamma_t)}}{\sqrt{v_t + \varepsilon}} .
# $$ (eq-fold)
#
# That is a convolution again, with filters $a_t W$ and a new bias. Folding of
# {term}`BN` is well known; here shared filters fold into $T$ different sets.

# %%
conv, norm = net.trunk[0], net.trunk[1]  # row 0 is the task "left"
a = norm.gamma[0].sigmoid() / (norm.running_var[0] + norm.eps).sqrt()
W, b = a[:, None, None, None] * conv.weight, -a * norm.running_mean[0]
with torch.no_grad(), tssbn.select(net, "left"):
    expected = norm(conv(x))
assert torch.allclose(F.conv2d(x, W, b, stride=2), expected, atol=1e-5)
assert torch.allclose(W, left.trunk[0].weight, rtol=1e-5)

# %% [markdown]
# {term}`LN` takes mean and variance from each token, so it cannot fold into
# the layer before it. Its gate can fold into a linear layer behind it, if
# nothing else reads the output:
#
# $$
# W\,\bigl(\color{#D55E00}{\sigma(\gamma_t)} \odot \hat x\bigr) + b
# = \bigl(W \operatorname{diag}
# \color{#D55E00}{\sigma(\gamma_t)}\bigr)\,\hat x + b .
# $$ (eq-fold-ln)
#
# `torch.fx` traces which layer reads which. Only what is certain is folded.
#
# ## Is it exact?
#
# We export a task from six architectures with random gates and statistics, in
# float64. Before you look: in which will normalisation layers be left?


# %%
def with_random_gates(trunk, head):
    heads = {task: copy.deepcopy(head) for task in TASKS}
    net = tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads).double()
    for layer in net.modules():
        if hasattr(layer, "gamma"):
            nn.init.normal_(layer.gamma)
    _ = net.train()(torch.rand(4, 3, 64, 64).double())  # statistics
    return net.eval()


_ = torch.manual_seed(0)
TRUNKS = {
    "ResNet-18": torchvision.models.resnet18(),
    "MobileNetV3": torchvision.models.mobilenet_v3_small(),
    "EfficientNet-B0": timm.create_model("efficientnet_b0"),
    "SegNet": SegNet(8),
    "DenseNet-121": timm.create_model("densenet121"),
    "ViT-S": timm.create_model("vit_small_patch16_224", img_size=64),
}
rows, images = {}, torch.rand(2, 3, 64, 64).double()
for name, trunk in TRUNKS.items():
    head = nn.Conv2d(8, 3, 1) if name == "SegNet" else nn.Linear(1000, 3)
    whole = with_random_gates(trunk, head)
    plain = export.task(whole, "right")
    with torch.no_grad():
        expected, y = whole(images)["right"], plain(images)
    assert (y - expected).abs().max() < 1e-10 * expected.std()
    assert not any(hasattr(layer, "gamma") for layer in plain.modules())
    both = whole.trunk, plain.get_submodule("trunk")
    rows[name] = [sum(map(tssbn.is_norm, n.modules())) for n in both]
pd.DataFrame(rows, ["normalisation layers", "left in the export"]).T

# %% [markdown]
# All outputs agree to $10^{-10}$ of their spread. DenseNet has BN in front of
# convolutions. Half of its BN cannot fold and stays as ordinary BN, with the
# gate as weight. ViT keeps its LayerNorms; all but the last have no scale left.
#
# ## How fast is it?
#
# Saved times of one CPU thread, relative to the plain backbone with its own BN
# folded. The last two columns are the network of three tasks, asked for one
# and for all.

# %%
bench = records.load("bench/export")["networks"]
columns = ["exported", "backbone", "one task", "three tasks"]
rows = {
    cost_plots.TITLES[name]: [found["ratios"][c]["median"] for c in columns]
    for name, found in bench.items()
}
pd.DataFrame(rows, columns).T.round(2)

# %% [markdown]
# An export is as fast as its folded backbone, within 2 %. Folding saves 5 % at
# most. The three passes of the network take two to three times as long.
#
# ## To ONNX and torch.export
#
# Both take a plain network as it is (checked: ResNet, EfficientNet, ConvNeXt).

# %% tags=["nbval-ignore-output"]
logging.getLogger("onnxscript").setLevel(logging.ERROR)
warnings.simplefilter("ignore")  # of the exporter
shapes = ({0: torch.export.Dim("batch")},)  # any number of images
how = {"args": (x[:2],), "dynamic_shapes": shapes}
program = torch.export.export(left, **how)
onnx = torch.onnx.export(left, dynamo=True, verbose=False, **how)
with torch.no_grad():
    assert torch.allclose(program.module()(x), net(x)["left"], atol=1e-5)
print([node.op_type for node in onnx.model.graph])

# %% [markdown]
# (export-cut)=
# ## What can be cut?
#
# A channel whose gate is exactly 0 can go, with the filter that makes it and
# the weights that read it. `export.task(net, task, threshold=τ, example=x)`
# keeps the channels
#
# $$
# K_t = \{\, c : \color{#D55E00}{\sigma(\gamma_{t,c})} \ge \tau \,\} .
# $$ (eq-cut)

# %%
shut = copy.deepcopy(net)
with torch.no_grad():
    for layer in (shut.trunk[1], shut.trunk[4], shut.trunk[7]):
        layer.gamma[0, ::2] = -torch.inf
small = export.task(shut, "left", threshold=1e-6, example=x[:2])
assert torch.allclose(small(x), shut(x)["left"], atol=1e-5)
print(f"MACs: {macs(left, x[:1]):,} -> {macs(small, x[:1]):,}")

# %% [markdown]
# The outputs stay the same. Trained gates are seldom 0. So we shut the narrowest,
# and as a control as many by shuffled gates. Before you look: how many can go?


# %%
@torch.no_grad()
def accuracy(net, share, shuffle=False):
    gates = tssbn.gates.importance(net)
    if shuffle:
        random = torch.Generator().manual_seed(0)
        gates = tssbn.gates.permuted(gates, random)
    right = 0.0
    for task, row in zip(TASKS, gates.values, strict=True):
        narrow = row.argsort().argsort() < share * len(row)
        with tssbn.gates.ablated(net, narrow):
            y = net(x, (task,))[task].argmax(1)
        right += (y == test[task]).float().mean().item()
    return 100 * right / len(TASKS)


SHARES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
by_gates = [[accuracy(net, s) for s in SHARES] for net in nets]
shuffled = [[accuracy(net, s, shuffle=True) for s in SHARES] for net in nets]

# %% tags=["hide-input", "nbval-ignore-output"] mystnb={"image": {"alt": "Accuracy over the share of channels shut, means and bands of six networks. By the task's own gates the score stays until a tenth to a fifth of the channels are shut; by shuffled gates it falls from the first channels on. A dotted line at 20 per cent is the constant baseline."}}
_, ax = plt.subplots(figsize=(7, 3.2))
plots.spread(ax, SHARES, by_gates, "blue", "narrowest gates")
plots.spread(ax, SHARES, shuffled, "black", "shuffled gates")
ax.axhline(20, color="#555555", ls=":", label="constant baseline")
ax.set(xlabel="share of channels shut", ylabel="right answers, %")
ax.set_title("Shutting the narrowest gates costs less than shuffled ones")
ax.legend()
plt.show()

# %% tags=["nbval-ignore-output"]
arms = {"gates": by_gates, "shuffled": shuffled}
bed = Bed({arm: [run[2] for run in runs] for arm, runs in arms.items()})
print("20 % shut, n = 6: gates minus shuffled", bed.compare("gates", "shuffled"))

# %% [markdown]
# Bands go from the lowest to the highest of six networks; nothing was trained
# after the cut. At a tenth the mean is as before, from a fifth on it falls.
#
# ## What to do with it
#
# - **One task to ship, or each in another place:** export it.
# - **All tasks in one place:** keep the network. $T$ exports make $T$ passes,
#   too, and have $T$ sets of filters. {doc}`17_branches` merges passes.
# - **A smaller network:** train on with `pruning.rni_penalty`, export a task
#   with `threshold=` and `fold=False`, fine-tune, and call `export.fold`.
#
# ## Limits
#
# - In `data/results/cut` a small SegNet of the rooms, hardly better than the
#   constant baseline, was cut for three tasks and seeds. With a quarter of the
#   MACs gone, segmentation and normals lose less by their gates than by
#   shuffled gates with each seed. Depth loses more.
# - There a cut by gates loses half of the score, a third after more epochs, and
#   a fifth if these have the penalty {term}`RNI` {cite:p}`suteu2022receding`.
# - What `torch.fx` cannot trace, a BN without running statistics, and a layer
#   called twice are not folded; outputs are right all the same. Rounding may
#   change pixels where a pooling chooses between equal numbers.
# - Only channels of BN can be cut, in a sum only those closed in all terms.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-16-stride
# A transposed convolution has weights (in, out, k, k). Fold a gate into one.
# :::

# %%
up = nn.ConvTranspose2d(1, 5, 2, 2, bias=False)
norm = tssbn.SigmoidBatchNorm2d(5).eval()
_ = nn.init.normal_(norm.gamma), norm.running_mean.normal_()
# your turn: weight and bias of one F.conv_transpose2d

# %% [markdown]
# :::{solution-start} ex-16-stride
# :class: dropdown
# :::

# %%
a = norm.gamma.sigmoid() / (norm.running_var + norm.eps).sqrt()
W, b = up.weight * a[:, None, None], -a * norm.running_mean
y = F.conv_transpose2d(x[:2], W, b, stride=2)
for other in nn.Sequential(up, norm), export.fold(nn.Sequential(up, norm)):
    assert torch.allclose(y, other(x[:2]), atol=1e-5)

# %% [markdown]
# The output channel is the second dimension of the weight.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-16-memory
# How many parameters have the exports of both tasks, relative to the network?
# :::

# %%
print(f"{parameters(net):,}")  # your turn: the exports together

# %% [markdown]
# :::{solution-start} ex-16-memory
# :class: dropdown
# :::

# %%
together = sum(parameters(export.task(net, task)) for task in TASKS)
assert 1.7 < together / parameters(net) < 2

# %% [markdown]
# Nearly $T$ times as many: every export has the filters.
# :::{solution-end}
# :::
#
# ## What we learned
#
# - In evaluation gates and statistics are constants, so $T$ tasks in one trunk
#   are $T$ plain networks, each exact.
# - A gate folds into the layer that alone makes or reads its channel.
# - On the digits a cut by gates beats a cut by shuffled gates, on depth not.

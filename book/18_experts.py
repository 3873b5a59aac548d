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
# # Many experts or one trunk?
#
# :::{admonition} The claim
# On NYUv2 the architectures of table 2 add 28 to 141 % of parameters to hard
# sharing; TSσBN adds 0.04 %.
# :::
#
# *Runs in a minute on one CPU core; no GPU and no download needed. Fifteen
# minutes to read.*

# %% tags=["hide-input"]
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn import plots, records
from tssbn.benchmarks import find_benchmark
from tssbn.claims import Bed, delta_noise
from tssbn.cost import macs, parameters
from tssbn.data.synthetic import digits
from tssbn.methods import Network, find_method
from tssbn.methods.dselect_k import Selector

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Ten drawings
#
# Three tasks look at one image. How much of the network do they share?
#
# :::{image} images/experts.svg
# :alt: Ten panels. STL has a trunk for each task, HPS one for all. Cross-Stitch and LTB have a trunk for each task; a stage reads all of them, or one. MMoE and DSelect-k mix two shared trunks before the heads. CGC and PLE have a shared trunk and one for each task, mixed at the end or after each stage. MTAN has masks on one trunk, TSσBN gates in three passes of one trunk.
# :class: only-light
# :width: 100%
# :::
# :::{image} images/experts-dark.svg
# :alt: The same ten panels, on a dark ground.
# :class: only-dark
# :width: 100%
# :::
#
# Read it by rows.
#
# - **Nothing or everything.** {term}`STL` has a {term}`trunk` for each of $T$
#   tasks, {term}`HPS` one for all {cite:p}`caruana1997multitask`.
# - **A trunk for each task, with crossings.** In Cross-Stitch
#   {cite:p}`misra2016crossstitch` a stage reads a weighted sum of what all
#   trunks gave. In LTB {cite:p}`guo2020ltb` it learns to read one of them.
# - **A few shared trunks.** They are called {term}`experts <expert>`. In MMoE
#   {cite:p}`ma2018mmoe` each task reads a weighted sum of $K$ experts.
#   DSelect-k {cite:p}`hazimeh2021dselect` can set weights to exactly 0.
# - **Shared and own experts.** CGC mixes them once, PLE after every stage
#   {cite:p}`tang2020ple`.
# - **One trunk, adapted.** MTAN {cite:p}`liu2019mtan` masks its features for
#   each task. {term}`TSσBN` passes it once for each task, with own gates.
#
# A *pass* is one run of an image through a whole trunk. Time and memory follow
# the passes, the size of the file follows the trunks. TSσBN has one trunk and
# makes $T$ passes.
#
# ## A mixture in ten lines
#
# A task should read more of the expert that helps it, and the data should
# decide which. So task $t$ has a linear layer with weights $W_t$ and biases
# $b_t$ that reads the image $x$; a softmax makes $K$ positive weights of it
# that sum to 1. Then comes the head $D_t$:
#
# $$
# w_t = \operatorname{softmax}(W_t x + b_t), \qquad
# y_t = D_t\Bigl(\sum_{k=1}^{K} w_{t,k}\, E_k(x)\Bigr) .
# $$ (eq-mixture)


# %%
class Mixture(nn.Module):
    """Experts E_k, and for each task a linear layer and a head."""

    def __init__(self, experts, layers, heads):
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.layers, self.heads = nn.ModuleDict(layers), nn.ModuleDict(heads)

    def forward(self, x):
        given = torch.stack([expert(x) for expert in self.experts], 1)
        outputs = {}
        for task, layer in self.layers.items():
            w = layer(x.flatten(1)).softmax(1)  # (B, K)
            outputs[task] = self.heads[task]((w[:, :, None] * given).sum(1))
        return outputs


# %% [markdown]
# Two tasks, to read the left digit and the right one, and small experts. We
# give our mixture the parts of the package's MMoE.


# %%
def trunk():
    one = nn.Conv2d(1, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    two = nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
    return nn.Sequential(*one, *two, nn.Flatten())


TASKS = ("left", "right")
train = digits.pairs("train", root=None)
small = Network(trunk, partial(nn.Linear, 800), train["image"][:2])


def build(method, **options):
    made = find_method(method).build(small, dict.fromkeys(TASKS, 5), **options)
    return made.double()


net = build("mmoe", experts=2, gate="image")
layers = {task: gate[0] for task, gate in net.gates.items()}
ours = Mixture(net.experts, layers, net.heads)
x = train["image"][:8].double()
for task, y in ours(x).items():
    assert torch.allclose(y, net(x)[task], atol=1e-12)

# %% [markdown]
# The same answers. What else can this network be? Let a task put all weight on
# one expert, or let the experts be equal.


# %%
def choose(net, **expert):
    """Let each task put all weight on one expert."""
    for task, k in expert.items():
        layer = net.gates[task][0]
        nn.init.zeros_(layer.weight)
        layer.bias.data = 100 * torch.eye(2).double()[k]
    return net


def gap(net, **trunk):
    """The largest difference from heads that sit on these trunks."""
    y = net(x)
    return max((y[t] - net.heads[t](e(x))).abs().max() for t, e in trunk.items())


one = build("mmoe", experts=1, gate="image")
two, equal = (build("mmoe", gate="image") for _ in range(2))
(only,), (a, b), (c, d) = one.experts, two.experts, equal.experts
d.load_state_dict(c.state_dict())
gaps = {
    "one expert is HPS": gap(one, left=only, right=only),
    "both choose a: HPS": gap(choose(two, left=0, right=0), left=a, right=a),
    "one a, one b: STL": gap(choose(two, left=0, right=1), left=a, right=b),
    "equal experts are HPS": gap(equal, left=c, right=c),
}
assert max(gaps.values()) < 1e-12
print("equal to 12 digits:", *gaps, sep="\n- ")

# %% [markdown]
# HPS and STL are the two ends of a mixture, and the weights lie between them.
# The last line matters for table 2: there all experts start from the same
# ImageNet weights, so each mixture starts as HPS.
#
# :::{admonition} Predict
# :class: tip
# Two tasks, two experts, training on two-digit images. Will the tasks share
# both experts, or will each take one?
# :::
#
# The distance between the tasks' mixtures is 0 where both read the same and 1
# where they read different experts:
#
# $$
# d = \tfrac12 \sum_k \lvert w_{\text{left},k} - w_{\text{right},k} \rvert ,
# $$ (eq-mixtures-apart)
#
# averaged over images. We train from equal experts, and from different ones.


# %%
def apart(net, images):
    left, right = (gate(images) for gate in net.gates.values())
    return (left - right).abs().sum(1).mean().item() / 2


def fit(seed, equal, steps=150):
    _ = torch.manual_seed(seed)
    net = build("mmoe", gate="image").float()
    if equal:
        net.experts[1].load_state_dict(net.experts[0].state_dict())
    adam, path = torch.optim.Adam(net.parameters(), 3e-3, fused=True), []
    for _ in range(steps):
        i = torch.randint(len(train["image"]), (64,))
        y = net(train["image"][i])
        path.append(apart(net, train["image"][i]))
        loss = sum(F.cross_entropy(y[t], train[t][i]) for t in TASKS)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return path


STARTS = {"equal experts": True, "different experts": False}
paths = {
    start: [fit(seed, equal) for seed in range(4)]
    for start, equal in STARTS.items()
}

# %% tags=["hide-input"] mystnb={"image": {"alt": "The distance between the mixtures of two tasks over 150 steps, for four seeds each of equal and of different experts. It begins near zero."}}
fig, ax = plt.subplots(figsize=(7, 2.8))
ends = [path[-1] for group in paths.values() for path in group]
for (start, group), color in zip(paths.items(), ("blue", "orange")):
    for number, path in enumerate(group):
        label = None if number else start
        ax.plot(path, color=plots.COLORS[color], label=label, lw=1.3)
ax.axhline(1, color="black", lw=1, ls=":")
ax.set(xlabel="step", ylabel="distance of the mixtures", ylim=(-0.02, 1.08))
ax.set_title(
    f"After training the mixtures are {sum(ends) / len(ends):.2f} apart "
    f"(mean of {len(ends)} runs; {min(ends):.2f} to {max(ends):.2f})"
)
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# At 0 the network is one trunk, at the dotted line it is two networks that
# share nothing. Left and right digits have little in common, and the weights
# move towards STL. The rule is {eq}`eq-mixture` differentiated: the weight of
# an expert grows where its features lower the task's loss, the expert then
# learns more from that task, and so on.
#
# ## Table 2, counted
#
# The paper's table 2 compares ten rows on a DeepLabV3 whose ResNet-50 starts
# from ImageNet. #P is the number of parameters and #F the work for one image,
# both relative to HPS. Both can be counted before anything is trained: networks
# on the meta device have shapes and no values.

# %%
nyuv2 = find_benchmark("nyuv2_libmtl")()
OUTPUTS = {"segmentation": 13, "depth": 1, "normal": 3}


def count(method):
    """Parameters, MACs, and values that norm layers give, for one image."""
    tuned = nyuv2.tuned.get(method, {})
    gate = {"gate": tuned["gate"]} if "gate" in tuned else {}
    given = []
    with torch.device("meta"):
        net = find_method(method).build(nyuv2.network, OUTPUTS, **gate)
        for layer in filter(tssbn.is_norm, net.modules()):
            layer.register_forward_hook(lambda *call: given.append(call[2]))
        work = macs(net, torch.empty(2, 3, 288, 384))
    return parameters(net), work, sum(y.numel() for y in given) // 2


counts = {method: count(method) for method in nyuv2.paper}

# %% [markdown]
# Two conventions of #F are about. Ours counts multiplications with their
# addition ({term}`MACs`) of convolutions and linear layers, and nothing else.
# The paper's printed ratios come out if each value that a norm layer gives
# counts as two more.

# %% tags=["hide-input"]
PRINTED = {
    "hps": (1.00, 1.00),
    "cross-stitch": (1.65, 1.69),
    "mmoe": (1.35, 1.34),
    "mtan": (1.28, 1.56),
    "cgc": (2.01, 2.03),
    "ple": (2.41, 2.71),
    "ltb": (1.65, 1.69),
    "dselect-k": (1.38, 1.34),
    "tsbn": (1.00, 1.69),
    "tssbn": (1.00, 1.69),
}
p, f, norms = counts["hps"]
trunk_work = (counts["cross-stitch"][1] - f) / 2
rows = {}
for method, (size, work, given) in counts.items():
    rows[find_method(method).title] = {
        "passes": 1 + (work - f) / trunk_work,
        "#P": size / p,
        "#P, paper": PRINTED[method][0],
        "#F": work / f,
        "#F with norms": (work + 2 * given) / (f + 2 * norms),
        "#F, paper": PRINTED[method][1],
    }
table2 = pd.DataFrame(rows).T
table2.style.format("{:.2f}").format("{:.4f}", subset="#P")

# %% tags=["remove-cell"]
assert (table2["#P"] - table2["#P, paper"]).abs().max() < 0.006
assert (table2["#F with norms"] - table2["#F, paper"]).abs().max() < 0.012
least, most = table2["#P"].drop(["HPS", "TSBN", "TSσBN"]).agg(["min", "max"])
assert (round(least, 2), round(most, 2)) == (1.28, 2.41)
assert f"{100 * (table2['#P']['TSσBN'] - 1):.2f}" == "0.04"

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
# On NYUv2 the architectures with experts, several trunks or masks add 28 to
# 141 % of parameters to hard sharing; TSσBN adds 0.04 %.
# :::
#
# *Nine minutes to read; runs in a minute on one CPU core, no download.*

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tssbn import is_norm, plots, records
from tssbn.benchmarks import find_benchmark, libmtl, nyuv2_libmtl
from tssbn.claims import beside, delta_noise, effects
from tssbn.cost import macs, parameters
from tssbn.data.synthetic import digits
from tssbn.methods import Network, find_method
from tssbn.plots import experts as expert_plots
from tssbn.timing.methods import time_methods

_ = torch.manual_seed(0)
torch.set_num_threads(1)
plots.style()

# %% [markdown]
# ## Ten drawings
#
# Three tasks look at one image. How much of the network do they share?
# :::{image} images/experts.svg
# :alt: Ten panels. STL has a trunk for each task, HPS one for all. Cross-Stitch and LTB have a trunk for each task; a stage reads all of them, or one. MMoE and DSelect-k mix two shared trunks before the heads. CGC and PLE have a shared trunk and one for each task, mixed at the end or after each stage. MTAN has masks on one trunk, TSσBN gates in three passes of one trunk.
# :class: only-light
# :::
# :::{image} images/experts-dark.svg
# :alt: The same ten panels, on a dark ground.
# :class: only-dark
# :::
# - **Nothing or everything.** {term}`STL` has a {term}`trunk` for each of $T$
#   tasks, {term}`HPS` one for all {cite:p}`caruana1997multitask`.
# - **A trunk for each task, with crossings.** In Cross-Stitch
#   {cite:p}`misra2016crossstitch` a stage reads a weighted sum of what all
#   trunks gave. In LTB {cite:p}`guo2020ltb` it learns to read one of them.
# - **A few shared trunks**, called {term}`experts <expert>`. In MMoE
#   {cite:p}`ma2018mmoe` each task reads a weighted sum of $K$ experts.
#   DSelect-k {cite:p}`hazimeh2021dselect` can set weights to exactly 0.
# - **Shared and own experts.** CGC mixes them once, PLE after every stage
#   {cite:p}`tang2020ple`.
# - **One trunk, adapted.** MTAN {cite:p}`liu2019mtan` masks its features for
#   each task. {term}`TSσBN` passes it once for each task, with own gates.
#
# A {term}`pass` is one run of an image through a whole trunk, or as much work.
# Time and memory follow the passes, the size of the file follows the trunks.
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
small = Network(trunk, lambda n: nn.Linear(800, n), train["image"][:2])


def build(method="mmoe", **options):
    outputs = dict.fromkeys(TASKS, 5)
    net = find_method(method).build(small, outputs, gate="image", **options)
    return net.double()


net, x = build(), train["image"][:8].double()
layers = {task: gate[0] for task, gate in net.gates.items()}
ours = Mixture(net.experts, layers, net.heads)
for task, y in ours(x).items():
    assert torch.allclose(y, net(x)[task], atol=1e-12)

# %% [markdown]
# What else can it be? Let a task put all weight on one expert.


# %%
def gap(net, force=False, **experts):
    """How far it is from heads that sit on one expert each."""
    for task, k in experts.items():
        net.gates[task][0].bias.data[k] += 1000 * force
    y, given = net(x), [expert(x) for expert in net.experts]
    gaps = [y[t] - net.heads[t](given[k]) for t, k in experts.items()]
    return torch.cat(gaps).abs().max()


equal = build()
equal.experts[1].load_state_dict(equal.experts[0].state_dict())
assert gap(build(experts=1), left=0, right=0) < 1e-12  # HPS
assert gap(build(), force=True, left=0, right=0) < 1e-12  # HPS
assert gap(build(), force=True, left=0, right=1) < 1e-12  # STL
assert gap(equal, left=0, right=0) < 1e-12  # HPS

# %% [markdown]
# With one expert it is HPS. With all weight on one expert it is HPS, too, or
# STL if each task has its own. And equal experts are HPS whatever the weights.
# So the mixtures of the paper's table 2 start as HPS, because their experts all
# start from the same ImageNet weights.
#
# **Predict.** Two tasks, two experts, training on two-digit images: will the
# tasks share both experts, or will each take one?
#
# The distance of the two mixtures, half the sum of
# $\lvert w_{\text{left},k} - w_{\text{right},k} \rvert$ over the experts, is 0
# where both read the same and 1 where they read different experts. We train
# from equal experts, and from different ones.


# %%
def fit(seed, equal, steps=150):
    _ = torch.manual_seed(seed)
    net = build().float()
    if equal:
        net.experts[1].load_state_dict(net.experts[0].state_dict())
    adam, path = torch.optim.Adam(net.parameters(), 3e-3, fused=True), []
    for _ in range(steps):
        i = torch.randint(len(train["image"]), (64,))
        y = net(train["image"][i])
        left, right = (gate(train["image"][i]) for gate in net.gates.values())
        path.append((left - right).abs().sum(1).mean().item() / 2)
        loss = sum(cross_entropy(y[t], train[t][i]) for t in TASKS)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return path


paths = {
    "equal experts": [fit(seed, equal=True) for seed in range(4)],
    "different experts": [fit(seed, equal=False) for seed in range(4)],
}

# %% tags=["hide-input"] mystnb={"image": {"alt": "The distance between the mixtures of two tasks over 150 steps, for four seeds each of equal and of different experts. It begins near zero and rises."}}
_, ax = plt.subplots(figsize=(7, 2.8))
expert_plots.distances(ax, paths)
plt.show()

# %% [markdown]
# At 0 both tasks read the same mixture, at the dotted line they share nothing.
# Most runs end nearer to the line, that is to STL, than to 0.
# With $h_t$ for the mixture that the head reads and $a_{t,k}$ for the $k$-th
# number that goes into the softmax, the gradient is
#
# $$
# \frac{\partial L_t}{\partial a_{t,k}} = w_{t,k}\,
# \Bigl\langle \frac{\partial L_t}{\partial h_t},\; E_k(x) - h_t \Bigr\rangle .
# $$ (eq-mixture-gradient)
#
# A task puts weight on the expert that lowers its loss. That expert then
# learns more from this task, and suits it better still.
#
# ## Table 2, counted
#
# The paper's table 2 compares ten rows on a DeepLabV3 whose ResNet-50 starts
# from ImageNet. #P is the number of parameters and #F the work for one image,
# both relative to HPS. They can be counted without training: networks on the
# meta device have shapes and no values.

# %%
nyuv2 = find_benchmark("nyuv2_libmtl")()
outputs = {"segmentation": 13, "depth": 1, "normal": 3}


def count(method):
    """Parameters, MACs, and values that norm layers give, for one image."""
    options, given = libmtl.TUNED.get(method, {}), []
    with torch.device("meta"):
        net = find_method(method).build(nyuv2.network, outputs, **options)
        for layer in filter(is_norm, net.modules()):
            layer.register_forward_hook(lambda *call: given.append(call[2]))
        work = macs(net, torch.empty(2, 3, 288, 384))
    return parameters(net), work, sum(y.numel() for y in given) // 2


counts = {method: count(method) for method in nyuv2.paper}

# %% [markdown]
# There are two conventions of #F. Ours counts the {term}`MACs` of convolutions
# and linear layers. The paper's printed ratios come out if each value that a
# norm layer gives counts as two more.

# %%
p, f, norms = counts["hps"]
one_pass = (counts["cross-stitch"][1] - f) / 2  # it makes two more than HPS
passes = {m: 1 + (work - f) / one_pass for m, (_, work, _) in counts.items()}
rows = {}
for m, (size, work, given) in counts.items():
    with_norms = (work + 2 * given) / (f + 2 * norms)
    row = [passes[m], size / p, work / f, with_norms, *nyuv2_libmtl.COSTS[m]]
    rows[find_method(m).title] = row
assert f"{rows['TSσBN'][1]:.4f}" == "1.0004"
columns = ["passes", "#P", "#F", "#F, norms too", "#P, paper", "#F, paper"]
pd.DataFrame(rows, columns).T.round(4)

# %% [markdown]
# All printed numbers come out, but for the last digit of TSBN and TSσBN: here
# the first convolution runs once for all tasks, so they make 2.99 passes.
#
# **Predict.** Will the paper's Δm on NYUv2 grow with the passes, from 1 to 6?

# %% mystnb={"image": {"alt": "Δm on NYUv2 as the paper prints it, over the passes of the trunk, a dot for each row of table 2. TSσBN, with three passes, is highest at 2.48; PLE, with six, is at 0.32."}}
sd = delta_noise([0.3, 0.005, 0.3], [53.93, 0.3825, 23.57])
_, ax = plt.subplots(figsize=(7, 3.2))
expert_plots.prices(ax, nyuv2.paper, passes, band=1.96 * sd * (2 / 3) ** 0.5)
ax.set_title("Six passes of PLE gain 0.3 %, three of TSσBN 2.5 % (paper)")
plt.show()

# %% [markdown]
# The paper prints means of three runs and no spread. LibMTL's published runs
# {cite:p}`lin2022libmtl` of the same rows differ by about 0.3 points of mIoU,
# 0.005 m and 0.3°, which is 0.64 points of Δm. Chance alone keeps two rows
# within the grey band in 95 % of cases. MTAN and TSσBN are above it, TSBN is at
# its edge. TSσBN is 4.7 standard errors above HPS, and 1.8 above MTAN.
#
# ## Small runs of our own
#
# Each method has n runs on one to three data sets, with one recipe, some with a
# tuned rate. Census-Income asks an MLP three questions about a person, as in
# MMoE's paper. Rooms and NYUv2 at 96x128 are those of chapter 6. MTAN takes no
# such trunk. **Predict.** How many intervals will lie right of HPS?

# %%
ARMS = ["stl", "hps", "cross-stitch", "mmoe", "dselect-k", "cgc", "ple", "ltb"]
ARMS += ["tsbn", "tssbn"]
BEDS = {"census": "Census-Income", "rooms": "Synthetic rooms", "nyuv2_lite": "NYUv2"}
SHORT = {"nyuv2_lite": {"epochs": 5, "height": 96, "width": 128}}
runs = {
    b: {find_method(m).title: records.of(b, m, range(20), SHORT.get(b)) for m in ARMS}
    for b in BEDS
}
pd.concat(
    {BEDS[b]: beside(runs[b], "HPS", "TSσBN", baseline="STL") for b in BEDS}
)

# %% [markdown]
# Δm is against STL; #P and #F are relative to HPS. The constant baseline ignores
# the input. Intervals are Dunnett's over the rows of a column, so they are wider
# than that of one pair in {doc}`06_nyuv2`. Next: times of a step, relative to HPS.

# %% tags=["nbval-ignore-output"]
outputs = {"income": 1, "never_married": 1, "college": 1}
census = find_benchmark("census")().network
times = time_methods(census, outputs, ["hps", *ARMS], 512, rounds=5)
pd.Series(times, name="time").round(1).to_frame().T

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each data set. For each architecture the difference of its Δm from that of HPS with a 95 per cent interval; grey around zero is what so many runs would hardly show."}}
found = {BEDS[bed]: effects(runs[bed], "HPS", "STL") for bed in BEDS}
expert_plots.bed_effects(found, "HPS")
plt.show()

# %% [markdown]
# TSσBN is above HPS on rooms. On the other two its interval holds zero, which decides
# nothing. Grey ends at what four of five such runs would show.
#
# ## What to do with it
#
# | you have | take | because |
# |---|---|---|
# | time for one pass | HPS | all others make more, or compute masks |
# | few tasks, little memory for weights | TSσBN | $T$ passes, one trunk |
# | forty tasks | HPS, MMoE, DSelect-k | most others make forty passes |
# | tasks with little in common, and memory | STL | the digits went there |
# | one task to ship | STL, HPS or TSσBN | one trunk runs |
#
# Measure HPS and STL first, the ends of any mixture. (The option `gate=` is the
# mixing layer, which others call a gate. Here a {term}`gate` is σ(γ).)
#
# ## Limits
#
# Table 2's scores are the paper's; ours are of small networks and few runs.
#
# ## Exercises
#
# :::{exercise}
# :label: ex-18-cityscapes
# The paper prints 1.42 for #P of MMoE on Cityscapes. Count it. And why has
# TSσBN exactly as many parameters as HPS there?
# :::

# %%
city = find_benchmark("cityscapes_libmtl")().network
two_tasks = {"segmentation": 7, "depth": 1}
# your turn: build "hps", "tssbn", and "mmoe" with gate="image"

# %% [markdown]
# :::{solution-start} ex-18-cityscapes
# :class: dropdown
# :::

# %%
sizes = {}
with torch.device("meta"):
    for m in ("hps", "tssbn", "mmoe"):
        net = find_method(m).build(city, two_tasks, **libmtl.TUNED.get(m, {}))
        sizes[m] = parameters(net)
assert f"{sizes['mmoe'] / sizes['hps']:.4f}" == "1.4286"
assert sizes["tssbn"] == sizes["hps"]

# %% [markdown]
# We count 1.4286, so 1.43. A channel of HPS has a scale and a bias, one of TSσBN
# a gate for each of two tasks.
# :::{solution-end}
# :::
#
# :::{exercise}
# :label: ex-18-cgc
# In CGC a task reads the shared expert and its own. Make it of `Mixture`.
# :::

# %%
net = build("cgc")
print(net.reads)  # of each task, which experts

# %% [markdown]
# :::{solution-start} ex-18-cgc
# :class: dropdown
# :::

# %%
for task, places in net.reads.items():
    experts, layer = [net.experts[k] for k in places], net.gates[task][0]
    ours = Mixture(experts, {task: layer}, {task: net.heads[task]})
    assert torch.allclose(ours(x)[task], net(x)[task], atol=1e-12)

# %% [markdown]
# :::{solution-end}
# :::
#
# ## What we learned
#
# - A mixture lies between HPS and STL, and starts as HPS if its experts do.
# - Table 2's mixtures have 1.35 to 2.41 times HPS's parameters, TSσBN 1.0004.
# - Compare with HPS and STL, with intervals, before paying for experts.

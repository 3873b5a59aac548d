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
# # Which should I use?
#
# *3 minutes to read. The evidence for each line is in a chapter, or in the
# figure below, which is drawn from our saved runs.*
#
# ## Start with the two ends
#
# 1. Train one network per task ({term}`STL`) and one network for all tasks
#    ({term}`HPS`), with the same effort of tuning. Most other methods lie
#    between these two in size, time and scores.
# 2. If HPS is as good as STL, stop. It needs one {term}`pass` and the fewest
#    parameters.
# 3. If HPS loses on a task you care about, and $T$ networks are too many, give
#    the tasks their own normalisation layers. That is one line:
#    `tssbn.task_specific(trunk, tasks)`; {doc}`your_own_data` has the whole loop.
#
# | you have | take | because |
# |---|---|---|
# | memory and time for $T$ networks | STL | no task disturbs another |
# | time for one pass only | HPS | all others make more passes or add modules |
# | $T$ passes, memory for one trunk | TSBN or TSσBN | they add less than 1 % of parameters ({doc}`18_experts`) |
# | the same, and you want to read or prune the network | TSσBN | a gate is one number between 0 and 1 ({doc}`10_capacity`, {doc}`12_filters`) |
# | the same, and only scores count | try both | tuned alike, TSBN is ahead on rooms by a point and on digits (on LayerNorm), as it is untuned on CelebA; on Census-Income our runs do not tell them apart; the paper has TSσBN ahead ({doc}`claims`) |
# | a frozen transformer, many tasks | {term}`TSσLN` or {term}`LoRA` | 23 or 71 thousand numbers a task ({doc}`20_transformers`) |
# | one task to ship | TSσBN, exported | it folds into one plain network ({doc}`16_export`) |
# | losses of very different sizes | the plain sum, then `uw` | on Census-Income none of 22 {term}`balancing <balancing>` methods has a 95 % interval above 0; on NYUv2 UW has with TSσBN ({doc}`19_balancing`) |
#
# ## What our runs found

# %% tags=["hide-input"] mystnb={"image": {"alt": "A panel for each data set: the difference of Δm from that of hard parameter sharing, for single networks, a wider shared network, one row of gates for all tasks, TSBN and TSσBN, each with a 95 per cent interval; grey is what so many runs would hardly show."}}
import matplotlib.pyplot as plt

from tssbn import plots
from tssbn.claims import effects
from tssbn.claims.paper.beds import CELEBA_10K, CENSUS, DIGITS, LITE, ROOMS
from tssbn.plots import experts as expert_plots

plots.style()
BEDS = {
    "Synthetic rooms, U-Net": ROOMS,
    "Census-Income, perceptron": CENSUS,
    "Two digits, ViT": DIGITS,
    "NYUv2, small and short": LITE,
    "CelebA, 10,000 small faces": CELEBA_10K,
}
ARMS = "STL", "HPS", "wider HPS", "shared gates", "TSBN", "TSσBN"
found = {}
for title, bed in BEDS.items():
    runs = {arm: bed.runs[arm] for arm in ARMS if arm in bed.arms}
    found[title] = effects(runs, "HPS", "STL")
expert_plots.bed_effects(found, "HPS")
plt.show()

# %% [markdown]
# Δm is the mean gain over STL in per cent. Each dot is Δm minus
# that of HPS, and the bars are 95 % intervals by Dunnett's method, which are wider than those of single
# pairs. Where a bar holds 0, our runs do not tell which is better. With so many runs,
# an effect as large as the grey band is found in four of five cases. So expect a gain
# of a few points at most where tasks disturb each other, and none where HPS already
# equals single networks. With forty tasks on small faces, where rates were not tuned,
# TSBN gains far more, and so do forty networks. {doc}`claims` has each claim of the paper.
#
# ## How to set it up
#
# | choice | take | evidence |
# |---|---|---|
# | gate rate: {term}`multiplier` × base rate | with Adam try 0.01, 0.03 and 0.1; with one try, 0.03 | {doc}`13_knobs` |
# | weight decay | none on gates; `param_groups` sees to it | {doc}`13_knobs` |
# | start of the gates | the default: half open in a fresh trunk, the old outputs in a pretrained one | {doc}`20_transformers` |
# | statistics | each task's own; evaluate in `eval()` mode | {doc}`04_task_specific`, {doc}`08_celeba` |
# | layers before the first normalisation | run them once: `stem=` | {doc}`15_cost` |
# | memory is short | `tasks_per_pass=1`, or recomputation | {doc}`15_cost` |
# | tuning | the same trials for every method, on validation data | {doc}`13_knobs` |
#
# ## What it costs
#
# - **Parameters.** For each channel, $T$ gates replace scale and bias.
# - **Time.** All layers after the first gate run $T$ times, in training and in
#   use, unless you export one task.
# - **Memory in training.** $T$ times the activations, or those of one task with
#   `tasks_per_pass=1`.
#
# {doc}`15_cost` measures all three.
#
# ## When not to use it
#
# - **Many tasks and little time.** Forty tasks need forty passes for each image.
#   HPS, or a tree of tasks ({doc}`17_branches`), is faster.
# - **The trunk has no normalisation layers.** There is nothing to convert.
# - **Tiny batches with BatchNorm.** Statistics of two images are poor for any
#   method; GroupNorm and LayerNorm convert, too.
# - **You can train one seed only.** The differences between methods are as large
#   as those between seeds. Train at least three seeds and print the interval.

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
# # Several devices, several machines
#
# *8 minutes to read; runs in seconds on one CPU core, no download.*
#
# The trainer of {doc}`training` runs one process for each device. Every process
# holds the whole network and takes its part of every batch. All processes make
# the same step. Devices are usually GPUs. The outputs of this page come from two
# processes on a CPU, which exchange gradients through `gloo`, PyTorch's library
# for CPUs.
#
# They are read from the file `data/results/ddp/run.json`, which
# `python book/studies/ddp_run.py` writes.

# %% tags=["hide-input"]
from statistics import median

import pandas as pd

from tssbn import records
from tssbn.timing.rounds import Spread

run = records.load("ddp/run")


def show(name):
    entry = run["commands"][name]
    print(f"$ {entry['command']}\n{entry['printed']}")


# %% [markdown]
# ## Two processes
#
# `torchrun` comes with PyTorch. It starts the processes, numbers them, and stops
# all of them if one fails.

# %%
show("torchrun")

# %% [markdown]
# `--device cpu`, `--quiet` and the small settings are for this page. On four
# GPUs the command is `torchrun --standalone --nproc-per-node 4 -m tssbn train
# nyuv2 --method tssbn --data data/nyuv2`.
#
# On a single machine the option `--devices` does the same. The first process
# starts the others.

# %%
show("devices")

# %%
losses = [
    run["commands"][name]["printed"].splitlines()[1:-1]
    for name in ("torchrun", "devices")
]
scores = [[line.rpartition("|")[0] or line for line in of] for of in losses]
assert scores[0] == scores[1]
print("the same losses and scores, whoever starts the processes")

# %% [markdown]
# `--restart` was needed because a finished run is not trained again.
#
# ## What happens in a step
#
# 1. Each process takes its rows of the batch. The order of the images follows
#    from the seed and the epoch, and is the same everywhere.
# 2. It runs the tasks through its network, in groups if `tasks_per_pass` is
#    set, with a backward pass for each group. Nothing is exchanged meanwhile.
# 3. The gradients of all parameters are averaged over the processes, in **one
#    exchange a step**, whatever the number of tasks and groups.
# 4. Every process makes the same step of the optimiser. Weights and gates stay
#    equal to the bit.
#
# After each epoch the running statistics become the mean over all processes.
# Each process scores its share of the test images. The first one writes the
# checkpoint and, at the end, the saved run.
#
# The exchange is as large as the network: its filters once, and the few gates
# of each task ({ref}`its cost <scaling-cost>`).
#
# (scaling-batch)=
# ## What the batch means
#
# `batch` counts the images of all processes together, so it must be a multiple
# of their number. The learning rate need not change with it. Two processes with
# `batch=8` take steps of eight images, four each. The result still differs a
# little from that of a single process:

# %%
show("one")

# %% [markdown]
# There are three reasons.
#
# - **Batch statistics.** BatchNorm normalises by the images of its own process,
#   here four instead of eight. Keep this number large enough for BatchNorm.
#   Networks without batch statistics give the same result; the tests of the
#   trainer compare one process with two in this way.
# - **Means of means.** A loss is first a mean over the pixels or faces of a
#   process, then over the processes. If the processes have unequal numbers of
#   them, this is not the mean over the whole batch.
# - **Random numbers.** Each process draws its own for augmentation and dropout.
#
# `torch.nn.SyncBatchNorm` takes statistics over all processes. The trainer does
# not use it, because each of its layers stops all processes twice in every
# pass, and because it runs on GPUs alone. In a loop of your own, convert first
# and add the gates afterwards (the other order ends with an error, because a
# converted layer has no `weight`):
#
# ```python
# trunk = torch.nn.SyncBatchNorm.convert_sync_batchnorm(trunk)
# trunk = tssbn.task_specific(trunk, tasks)
# ```
#
# (scaling-cost)=
# ## What the exchange costs
#
# `python book/studies/ddp_cost.py` times training steps of two processes with
# one thread each. The same step is timed *alone* in one process, in both at
# once but *apart*, without an exchange, and *together*, with gradients
# averaged. Each round times all three. The cost of the exchange is the
# difference between the last two. For comparison there is the plain backbone,
# shared by all tasks, in PyTorch's `DistributedDataParallel` (DDP).

# %% tags=["hide-input"]
cost = records.load("ddp/cost")


def exchange(way):
    """Milliseconds in each round."""
    seconds = cost["seconds"][way]
    pairs = zip(seconds["together"], seconds["apart"], strict=True)
    return [1000 * (both - one) for both, one in pairs]


rows = {}
for way, seconds in cost["seconds"].items():
    low, middle, high = Spread.of(exchange(way))
    medians = {
        f"{setting}, ms": round(1000 * median(times))
        for setting, times in seconds.items()
    }
    rows[way] = {
        **medians,
        "exchange, ms": f"{middle:.0f} ({low:.0f} to {high:.0f})",
        "of the step": f"{0.1 * middle / median(seconds['together']):.0f} %",
        "parameters": f"{cost['parameters'][way]:,}",
    }
print(f"{cost['network']}, {cost['tasks']} tasks, {cost['rounds']} rounds")
pd.DataFrame(rows).T

# %% [markdown]
# These are medians; the exchange has its quartiles in brackets. Does our
# exchange cost more than that of the plain backbone? The difference, round by
# round:

# %%
plain, *ours = cost["seconds"]
for way in ours:
    more = zip(exchange(way), exchange(plain), strict=True)
    low, middle, high = Spread.of([one - other for one, other in more])
    verdict = "more" if low > 0 else "no visible difference"
    print(f"{way}: {middle:+.0f} ms ({low:+.0f} to {high:+.0f}), {verdict}")
more = max(cost["parameters"].values()) / cost["parameters"][plain]
print(f"parameters to exchange: times {more:.4f}")
assert more < 1.01

# %% [markdown]
# The gates make the exchange hardly larger. There is one exchange in a step, so
# its cost does not grow with the number of tasks. TSσBN may still take some
# milliseconds more, for two reasons. DDP sends gradients during the last
# backward pass, but the trainer sends them after it. And if a step takes longer,
# the processes drift further apart, and one waits for the other.
#
# ## A loop of your own
#
# This program trains with DDP. On GPUs use `"nccl"` in place of `"gloo"`, and
# move the network of each process to its own device, `cuda:$LOCAL_RANK`:
#
# ```python
# # own_loop.py
# import torch
# from torch import distributed, nn
# from torch.nn.parallel import DistributedDataParallel
#
# import tssbn
#
# distributed.init_process_group("gloo")
# rank, world = distributed.get_rank(), distributed.get_world_size()
# torch.manual_seed(0)  # the same start values and, here, images everywhere
#
# tasks = ("depth", "edges", "normal")
# trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
# heads = {task: nn.Conv2d(8, 1, 1) for task in tasks}
# net = tssbn.MultiTask(tssbn.task_specific(trunk, tasks), heads, tasks_per_pass=1)
# # A pass of some tasks uses no other's head.
# ddp = DistributedDataParallel(net, find_unused_parameters=True)
# optimiser = torch.optim.Adam(tssbn.param_groups(net, lr=1e-3))
#
#
# def loss(outputs):
#     return sum(y.square().mean() for y in outputs.values())
#
#
# for _ in range(3):
#     images = torch.rand(8, 3, 16, 16)[rank::world]
#     *early, last = net.passes()
#     with ddp.no_sync():  # gradients add up in each process ...
#         for group in early:
#             loss(ddp(images, group)).backward()
#     loss(ddp(images, last)).backward()  # ... and are averaged here
#     optimiser.step()
#     optimiser.zero_grad()
#
# for statistic in net.buffers():  # before scoring and saving
#     distributed.broadcast(statistic, 0)
#
# total = sum(v.double().abs().sum() for v in net.state_dict().values())
# print(f"process {rank} of {world} has {total:.6f}")
# distributed.destroy_process_group()
# ```

# %%
show("loop")

# %% [markdown]
# Three things need care:
#
# - **`find_unused_parameters=True`**. DDP waits for the gradient of every
#   parameter. A pass of one task never uses the heads of the others, and
#   without this option the next step ends with an error. With all tasks in one
#   pass it is not needed.
# - **`no_sync()`** around all groups but the last, forward pass included.
#   Without it the gradients are right, but they are exchanged once a group.
# - **The running statistics** are those of the first process. DDP copies them
#   to the others before each pass whose gradients it exchanges, and the loop
#   does so once more at the end. The trainer takes the mean of all instead.
#
# Without DDP, run all groups and then average `p.grad` of all parameters
# yourself, as the trainer does.
#
# ## Several machines
#
# Run the same command on each machine, with the address of the first:
#
# ```sh
# torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d \
#     --rdzv-endpoint first-machine:29400 --rdzv-id 1 \
#     -m tssbn train cityscapes --method tssbn --data data/cityscapes
# ```
#
# ### SLURM
#
# On one node `srun` starts the processes. [Lightning
# Fabric](https://lightning.ai/docs/fabric/), on which the trainer is built,
# reads the number of each from SLURM's variables. `--devices`, if given, must
# be the number of tasks of a node:
#
#  ```sh
#  #!/bin/bash
#  #SBATCH --nodes=1
#  #SBATCH --ntasks-per-node=4
#  #SBATCH --gpus-per-node=4
#  srun python -m tssbn train cityscapes --method tssbn --devices 4 --resume \
#      --minutes 230 --data data/cityscapes
#  ```
#
# This works on several nodes, too. Or `srun` starts one `torchrun` on each:
#
#  ```sh
#  #!/bin/bash
#  #SBATCH --nodes=2
#  #SBATCH --ntasks-per-node=1
#  #SBATCH --gpus-per-node=4
#  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
#  srun torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d \
#      --rdzv-endpoint "$first:29400" --rdzv-id "$SLURM_JOB_ID" \
#      -m tssbn train cityscapes --method tssbn --resume --minutes 230 \
#      --data data/cityscapes
#  ```
#
# `--minutes` stops the run between two epochs, before SLURM stops it within an
# epoch. `--resume` continues it in the next job, and does nothing in the first.
# All nodes must see the folders of checkpoints, saved runs and data: the first
# process writes, and all read.
#
# ## Stop and resume

# %%
show("stop")
print()
show("resume")

# %% [markdown]
# The parts of a batch depend on the number of processes, so `--resume` is
# refused with another number of processes. The way of starting them may change.
#
# The first process locks the folder of the checkpoint (`runs/<run>/lock`). A
# second start of the same run ends with the message that another process trains
# there. The system removes the lock when the process ends, in any way. On
# network file systems, this depends on the file system.
#
# ## Limits
#
# - **Several GPUs and several machines were not tried.** What this page states
#   about them follows from the code and the documentation of the tools. The
#   tests run the commands with two processes on one machine, and for SLURM with
#   its variables set by hand.
# - **Fast interconnects.** The times of `gloo` within one machine do not predict
#   those of NCCL over NVLink or a network.
# - **Many processes.** DDP hides its exchange behind the backward pass, and the
#   trainer does not. With two processes on a CPU the table shows no loss; with
#   many on a slow network there may be one.
# - **Large networks.** Each process holds the whole network and its optimiser;
#   nothing is sharded.

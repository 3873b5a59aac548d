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
# The trainer of {doc}`training` runs one process for each device. Every process
# has the whole network and takes its part of every batch; together they make
# the same step. Devices are GPUs as a rule; processes on a CPU work the same
# way, and that is how this page was tried: with two of them, which talk through
# `gloo`, PyTorch's messenger for CPUs.
#
# What is printed below was printed by the commands above it, and is read from a
# record, `data/results/ddp/run.json`. `python book/studies/ddp_run.py` makes it.

# %% tags=["hide-input"]
from statistics import quantiles

import pandas as pd

from tssbn import records

run = records.load("ddp/run")


def show(name):
    entry = run["commands"][name]
    print(f"$ {entry['command']}\n{entry['printed']}")


# %% [markdown]
# ## Two processes
#
# `torchrun` comes with PyTorch. It starts the processes, tells each of them who
# it is, and ends all when one of them fails.

# %%
show("torchrun")

# %% [markdown]
# (`--device cpu` is for a machine without GPUs, and `--quiet` and the small
# settings are for this page. On four GPUs it is `torchrun --standalone
# --nproc-per-node 4 -m tssbn train nyuv2 --method tssbn --data data/nyuv2`.)
#
# On a single machine the option `--devices` does the same: the first process
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
# (`--restart` was needed because the run had its record already; a run that is
# finished is left alone.)
#
# ## What happens in a step
#
# 1. Each process takes its rows of the batch. The order of the images follows
#    from the seed and the number of the epoch, and is the same everywhere.
# 2. It runs the tasks through its network, in groups if `tasks_per_pass` says
#    so, with a backward pass for each. Nothing is exchanged meanwhile.
# 3. The gradients of all parameters are averaged over the processes, in **one
#    exchange a step**, however many tasks and groups there are.
# 4. Every process makes the same step of the optimiser. Weights and gates stay
#    equal to the bit.
#
# After each epoch the running statistics become the mean of all processes', the
# test images are scored in shares, and the first process writes the checkpoint
# and, at the end, the record.
#
# What is averaged is as large as the network: its filters once, and the gates
# of all tasks, which are few. So a TSσBN network exchanges what the plain
# backbone does ({ref}`below <scaling-cost>`).
#
# (scaling-batch)=
# ## What the batch means
#
# `batch` is that of all processes together, so it must be a multiple of their
# number, and the learning rate need not change with it: two processes with
# `batch=8` take steps of eight images, four each. The result is still not quite
# that of a single process:

# %%
show("one")

# %% [markdown]
# There are three reasons.
#
# - **Batch statistics.** BatchNorm normalises by what it sees, and each process
#   sees its part: four images here instead of eight. Keep the part at a size
#   that BatchNorm can live with. Networks whose norms take no batch statistics
#   train alike, and this is how the tests of the trainer compare one process
#   with two.
# - **Means of means.** A loss is a mean over the pixels or faces that count in
#   a process's part, then over the processes. Where the parts differ in how
#   many count, that is not the mean over the joint batch.
# - **Random numbers.** Augmentation and dropout draw in each process by itself.
#
# `torch.nn.SyncBatchNorm` would take statistics over all parts. The trainer
# does not use it: each of its layers stops all processes for an exchange, once
# forward and once backward in every pass, where the loop above has one exchange
# a step; and it runs on GPUs alone. Who needs it in a loop of their own puts it
# in first, and then the gates:
#
# ```python
# trunk = torch.nn.SyncBatchNorm.convert_sync_batchnorm(trunk)
# trunk = tssbn.task_specific(trunk, tasks)
# ```
#
# The other way round it ends with an error: a converted layer has no `weight`.
#
# (scaling-cost)=
# ## What the exchange costs
#
# `python book/studies/ddp_cost.py` takes training steps with two processes of
# one thread each. The same step is timed *alone* in one process, in both at
# once but *apart*, without a word between them, and *together*, with gradients
# averaged. All are timed in every round, and the cost of the exchange is the
# difference between the last two. The yardstick is the plain backbone, which
# all tasks share, in PyTorch's `DistributedDataParallel` (DDP).

# %% tags=["hide-input"]
cost = records.load("ddp/cost")


def exchange(way):
    """Milliseconds in each round."""
    seconds = cost["seconds"][way]
    pairs = zip(seconds["together"], seconds["apart"], strict=True)
    return [1000 * (both - one) for both, one in pairs]


rows = {}
for way, seconds in cost["seconds"].items():
    low, middle, high = quantiles(exchange(way))
    medians = {
        f"{setting}, ms": round(1000 * quantiles(times)[1])
        for setting, times in seconds.items()
    }
    rows[way] = {
        **medians,
        "exchange, ms": f"{middle:.0f} ({low:.0f} to {high:.0f})",
        "of the step": f"{0.1 * middle / quantiles(seconds['together'])[1]:.0f} %",
        "parameters": f"{cost['parameters'][way]:,}",
    }
print(f"{cost['network']}, {cost['tasks']} tasks, {cost['rounds']} rounds")
pd.DataFrame(rows).T

# %% [markdown]
# (Medians; of the exchange with its quartiles.) Does the exchange of our ways cost
# more than that of the plain backbone? The difference, round by round, with its
# quartiles:

# %%
plain, *ours = cost["seconds"]
for way in ours:
    more = zip(exchange(way), exchange(plain), strict=True)
    low, middle, high = quantiles([one - other for one, other in more])
    verdict = "more" if low > 0 else "no visible difference"
    print(f"{way}: {middle:+.0f} ms ({low:+.0f} to {high:+.0f}), {verdict}")
more = max(cost["parameters"].values()) / cost["parameters"][plain]
print(f"parameters to exchange: times {more:.4f}")
assert more < 1.01

# %% [markdown]
# The messages are as large, but for the gates, and there is one exchange a step,
# whether a step has one pass or several: it is paid for a step and not for a
# task. With more tasks a step computes longer and exchanges no more. Two things
# may still cost our ways some milliseconds. DDP sends while the last backward
# pass computes, and the trainer after it, when nothing can hide the sending.
# And two processes that compute longer by themselves have drifted further apart
# when they meet; that is waiting, not sending.
#
# ## A loop of your own
#
# With DDP three things need care. A program that works (on GPUs with `"nccl"`
# instead of `"gloo"`, and each process on its own, `cuda:$LOCAL_RANK`):
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
# - **`find_unused_parameters=True`**. DDP waits for the gradient of every
#   parameter. A pass of one task never asks for the heads of the others, and
#   without this option the next step ends with an error. (With all tasks in one
#   pass it is not needed.)
# - **`no_sync()`** around all groups but the last, forward pass included.
#   Without it the gradients are right, too, but they are exchanged once for
#   each group.
# - **The running statistics** are those of the first process's images: DDP hands
#   them out before each pass whose gradients it exchanges, and the loop does so
#   once more at the end. The trainer takes the mean of all processes instead.
#
# Or do it without DDP, as the trainer does: run all groups, then average
# `p.grad` of all parameters yourself, many of them in a message.
#
# ## Several machines
#
# On each machine, the same command; the first one's name is the address:
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
# Fabric](https://lightning.ai/docs/fabric/), on which the trainer is built, reads
# from SLURM's variables who each of them is. `--devices`, where it is given, must
# be the number of tasks of a node:
#
# ```sh
# #!/bin/bash
# #SBATCH --nodes=1
# #SBATCH --ntasks-per-node=4
# #SBATCH --gpus-per-node=4
# srun python -m tssbn train cityscapes --method tssbn --devices 4 --resume \
#     --minutes 230 --data data/cityscapes
# ```
#
# The same goes for several nodes. Or `srun` starts one `torchrun` on each:
#
# ```sh
# #!/bin/bash
# #SBATCH --nodes=2
# #SBATCH --ntasks-per-node=1
# #SBATCH --gpus-per-node=4
# first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# srun torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d \
#     --rdzv-endpoint "$first:29400" --rdzv-id "$SLURM_JOB_ID" \
#     -m tssbn train cityscapes --method tssbn --resume --minutes 230 \
#     --data data/cityscapes
# ```
#
# `--minutes` ends the run between two epochs, before SLURM would end it in the
# middle of one, and `--resume` lets the next job go on. (It does no harm where
# there is nothing yet to go on from.) Checkpoints, records and data must be where
# all nodes see them: the first process writes, and all of them read.
#
# ## Stop and go on

# %%
show("stop")
print()
show("resume")

# %% [markdown]
# A checkpoint belongs to a number of processes, for the parts of a batch depend
# on it: with another number, `--resume` is refused. Who starts the processes
# does not matter.
#
# The first process locks the folder of the checkpoint (`runs/<run>/lock`). A
# second start of the same run ends with the message that another process trains
# there, in all of its processes. The system lifts the lock when the process
# ends, however it ends. On network file systems locks are only as good as the
# file system's.
#
# ## What was not tried
#
# - **Several GPUs, several machines.** What this page says of them follows from
#   the code and from the documentation of the tools. The tests run the commands
#   with two processes on one machine, and for SLURM with its variables set by
#   hand.
# - **Fast interconnects.** `gloo` over one machine's memory says nothing about
#   NCCL over NVLink or a network.
# - **Many processes.** One exchange at the end of the step cannot hide behind the
#   backward pass, as DDP's does bucket by bucket. With two processes on a CPU
#   that is no loss, as the table shows; with many on a slow network it may be.
# - **Networks that do not fit one device.** Each process holds the whole network
#   and its optimiser; there is no sharding.

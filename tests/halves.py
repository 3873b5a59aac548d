"""Two processes that train on a half of a batch each; the second imports no more than this."""

from datetime import timedelta

import torch
from inputs import TASKS, conv_trunk
from torch import distributed, nn

import tssbn


def network():
    trunk = tssbn.task_specific(conv_trunk().double(), TASKS)
    return tssbn.MultiTask(trunk, {task: nn.Flatten() for task in TASKS})


def gradients(rank, store, weights, batch):
    """Those that the process of this rank has after the last step, by parameter."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(minutes=5)
    )
    try:
        net = network()
        net.load_state_dict(weights)
        ddp = nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)
        x = batch.chunk(2)[rank]
        for tasks in (TASKS, ("depth",), TASKS):  # also a subset, also a second step
            net.zero_grad()
            sum(y.square().mean() for y in ddp(x, tasks).values()).backward()
        distributed.barrier()
        return {name: p.grad for name, p in net.named_parameters()}
    finally:
        distributed.destroy_process_group()

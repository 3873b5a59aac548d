"""Devices and number formats: what a run computes on, and how."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import distributed as dist
from torch import nn

from tssbn.contract import MultiTaskNetwork

__all__ = ["PRECISIONS", "make_fabric", "precision_flags", "room_for_graphs"]

PRECISIONS = {  # as Fabric calls them
    "32": "32-true",
    "tf32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


def make_fabric(accelerator: str, devices: int | str, precision: str) -> Fabric:
    """Start what is to run, on one device or, as one process for each, on several.

    Under torchrun, and SLURM's srun, their processes are taken.

    Raises:
        ValueError: unknown precision, or one that the device has not; a GPU where there is none;
            SLURM does not tell how many processes a node has, or ``devices`` is another number.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} must be one of {tuple(PRECISIONS)}")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError("accelerator='cuda', but torch finds no GPU: take 'auto' or 'cpu'")
    nodes, plugins = 1, None
    if dist.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    elif SLURMEnvironment.detect():
        tasks = int(os.environ["SLURM_NTASKS"])
        of_node = os.environ.get("SLURM_NTASKS_PER_NODE", "1" if tasks == 1 else None)
        if of_node is None:
            raise ValueError(f"SLURM has {tasks} tasks: ask for them by --ntasks-per-node")
        if devices not in (1, "auto", int(of_node)):
            raise ValueError(f"devices={devices}, but SLURM has {of_node} tasks on each node")
        devices, nodes = int(of_node), int(os.environ.get("SLURM_NNODES", "1"))
    else:
        # Named, as Fabric would look for MPI, which fails where mpi4py is there and MPI is not.
        plugins = LightningEnvironment()
        if devices == "auto":
            devices = 1 if accelerator == "cpu" else max(1, torch.cuda.device_count())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*AMP with fp16 is not supported on CPU")
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if devices == nodes == 1 else _Replicas(),
            precision=PRECISIONS[precision],
            plugins=plugins,
        )
    if precision == "16" and fabric.device.type == "cpu":  # Fabric would take bf16 instead
        raise ValueError("precision='16' needs a GPU; on the CPU 'bf16' is there, and '32'")
    fabric.launch()
    return fabric


class _Replicas(DDPStrategy):
    """A network in each process, whose gradients :func:`average` brings together.

    Fabric's own wraps the network in DistributedDataParallel, which takes it for granted that every
    backward pass reaches every parameter; a pass of some tasks does not.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module


@contextmanager
def room_for_graphs(net: MultiTaskNetwork) -> Iterator[None]:
    """Let `torch.compile` make a graph for each pass of a network, however many there are.

    Each group of tasks has one in training and one for another size of the last batch. All together
    have three in evaluation: of test batches, their last, and a batch of training. Beyond its
    limit, eight by default, a network runs uncompiled.
    """
    from torch._dynamo import config  # only where something is compiled: it takes a second

    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    needed = 3 + 2 * sum(1 for _ in net.passes())
    with config.patch({limit: max(needed, getattr(config, limit))}):
        yield


@contextmanager
def precision_flags(precision: str, repeatable: bool = True) -> Iterator[None]:
    """TF32 where it is asked for, and only there; kernels of cuDNN that repeat their results.

    Args:
        repeatable: else cuDNN tries its kernels for each shape, and takes the fastest.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    tf32 = precision == "tf32"
    try:
        matmul.allow_tf32, cudnn.allow_tf32 = tf32, tf32
        cudnn.deterministic, cudnn.benchmark = repeatable, not repeatable
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before

"""One process or several: devices, number formats, and what the processes tell one another."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch import distributed as dist

from tssbn.contract import MultiTaskNetwork

__all__ = [
    "PRECISIONS",
    "all_reduce_mean",
    "differentiate",
    "make_fabric",
    "mean_value",
    "on_rank_zero",
    "precision_flags",
    "room_for_graphs",
]

T = TypeVar("T")

MESSAGE = 2**20  # numbers, 4 MiB of them in 32 bits, after which a message is sent

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


@torch.no_grad()
def all_reduce_mean(fabric: Fabric, tensors: Iterable[Tensor]) -> None:
    """Make each tensor the mean of the processes', in messages of a few MiB."""
    if fabric.world_size == 1:
        return
    sent = []
    for parts in _messages(tensors):
        flat = torch.cat([part.flatten() for part in parts])
        sent.append((parts, flat, dist.all_reduce(flat, async_op=True)))
    for parts, flat, work in sent:
        work.wait()
        means = flat.div_(fabric.world_size).split([part.numel() for part in parts])
        for part, mean in zip(parts, means, strict=True):
            part.copy_(mean.view_as(part))


def mean_value(fabric: Fabric, tensor: Tensor) -> Tensor:
    """A tensor of the mean value of all processes, whose gradient reaches this process's own.

    With it f(x̄) is differentiated at the mean x̄ in every process; the mean of the processes'
    gradients is then that of f(x̄), also where f is not linear.
    """
    if fabric.world_size == 1:
        return tensor
    mean = tensor.detach().clone()
    all_reduce_mean(fabric, [mean])
    return tensor + (mean - tensor).detach()


def differentiate(
    fabric: Fabric, loss: Tensor, parameters: Sequence[Tensor], create_graph: bool = False
) -> list[Tensor | None]:
    """The gradient of a loss, None where it does not reach; `.grad` and the graph stay.

    What `torch.autograd.grad` gives, which Fabric refuses in mixed precision.

    Args:
        create_graph: Make the result differentiable.

    Example:
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> differentiate(Fabric(accelerator="cpu", devices=1), w.square().sum(), [w]), w.grad
        ([tensor([2., 4.])], None)
    """
    before = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    with warnings.catch_warnings():  # a gradient with a graph does not stay in .grad
        warnings.filterwarnings("ignore", r"Using backward\(\) with create_graph=True")
        fabric.backward(loss, retain_graph=True, create_graph=create_graph, inputs=parameters)
    found = [p.grad for p in parameters]
    for p, gradient in zip(parameters, before, strict=True):
        p.grad = gradient
    return found


def _messages(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours together; the memory of one large message would be fetched anew every time."""
    parts, size = [], 0
    for tensor in tensors:
        parts.append(tensor)
        size += tensor.numel()
        if size >= MESSAGE:
            yield parts
            parts, size = [], 0
    if parts:
        yield parts


def on_rank_zero(fabric: Fabric, action: Callable[[], T]) -> T | None:
    """Act in the first process alone; where that fails, it fails in all, and none is left waiting.

    Returns:
        In the first process, what the action returned.
    """
    result = error = None
    if fabric.is_global_zero:
        try:
            result = action()
        except Exception as caught:
            error = caught
    error = fabric.broadcast(error)
    if error is not None:
        raise error
    return result

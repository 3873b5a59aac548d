"""The plain sum of the losses, also called equal weighting; the base of all other balancings.

The usual baseline of the other balancings, EW in their papers.

A backward pass for each pass of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.processes import all_reduce_mean

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Balancing"]


class Balancing(nn.Module):
    """Compute the gradients of a step from the tasks' losses; the base class uses their sum.

    In each step the trainer runs the network once for each group of tasks in `passes` and calls
    `backward` with their losses. After the last group it calls `finish`, then the optimiser, then
    `after_step`; after the last step of an epoch it calls `end_epoch`. The losses are already
    multiplied by the loss weights of the benchmark and of the settings.

    A balancing is a module: the network's optimiser trains its parameters, and checkpoints contain
    its parameters and buffers.

    Attributes:
        one_task_per_pass: whether it needs each task's loss separately. Task-specific networks then
            run one task at a time, whatever ``tasks_per_pass`` is.
        all_tasks_at_once: whether it needs the losses of all tasks in one graph, and so the memory
            for all tasks at once, whatever ``tasks_per_pass`` is.
        lr: learning rate of its parameters; that of the network if None.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import torch, tssbn
        >>> heads = {"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)}
        >>> net = tssbn.MultiTask(nn.Linear(3, 2), heads)
        >>> fabric, balancing = Fabric(accelerator="cpu", devices=1), Balancing()
        >>> for tasks in balancing.passes(net):
        ...     outputs = net(torch.ones(4, 3), tasks)
        ...     losses = {task: output.square().mean() for task, output in outputs.items()}
        ...     balancing.backward(net, losses, fabric)
        >>> balancing.finish(net, fabric)
        >>> net.trunk.weight.grad.shape
        torch.Size([2, 3])
    """

    one_task_per_pass = False
    all_tasks_at_once = False
    lr: float | None = None

    def check(self, precision: str, compile: bool) -> None:
        """Raise an error for a precision or a compilation that would give wrong results.

        Args:
            precision, compile: see :func:`~tssbn.training.loop.train`.

        Raises:
            ValueError: the results would be wrong; the message gives the reason.
        """

    def groups(self, lr: float) -> list[dict]:
        """Return parameter groups without weight decay, or an empty list without parameters.

        Args:
            lr: the learning rate of the network.
        """
        own = list(self.parameters())
        rate = lr if self.lr is None else self.lr
        return [{"params": own, "lr": rate, "weight_decay": 0.0}] if own else []

    def passes(self, net: MultiTaskNetwork) -> Iterator[tuple[str, ...]]:
        """Yield the groups of tasks to run together, the network's groups or all tasks.

        Args:
            net: the network.
        """
        return iter([tuple(net.tasks)]) if self.all_tasks_at_once else net.passes()

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Add the gradients of the losses of one pass to the existing gradients.

        Args:
            net: the network.
            losses: the losses of the tasks in this pass, scalars with a graph.
            fabric: has the precision and the other processes.
        """
        fabric.backward(sum(losses.values()))

    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """Compute the final gradients for the optimiser, after the last group of tasks.

        Args:
            net: the network.
            fabric: has the other processes.
        """
        parameters = (p for module in (net, self) for p in module.parameters())
        all_reduce_mean(fabric, (p.grad for p in parameters if p.grad is not None))

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """Update the balancing after the optimiser's step.

        Args:
            losses: computes the losses of the same batch again, without a graph, in training mode
                and without a change of running statistics.
            fabric: has the other processes.
        """

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Update the balancing at the end of an epoch.

        Args:
            losses: means of the tasks' losses over the steps of the epoch and the processes.
        """


def refuse_float16(precision: str, why: str) -> None:
    """Raise an error for float16, whose scaled gradients overflow now and then.

    Args:
        precision: see :func:`~tssbn.training.loop.train`.
        why: what that does to the balancing.

    Raises:
        ValueError: the precision is ``"16"``; says why.
    """
    if precision == "16":
        raise ValueError(f"precision='16' {why}: take 'bf16', 'tf32' or '32'")


def balancing(net: MultiTaskNetwork) -> Balancing:
    """Make the plain sum.

    Args:
        net: the network.
    """
    return Balancing()

"""The plain sum of the losses, also called equal weighting; the base of all other balancings.

The baseline that the others are compared with, EW.

A backward pass for each pass of the network.
"""

from collections.abc import Callable, Iterator, Mapping

from lightning_fabric import Fabric
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.processes import all_reduce_mean

__all__ = ["Balancing"]


class Balancing(nn.Module):
    """Makes gradients of the losses of a step: here, of their sum.

    In each step the trainer runs the network once for each group of tasks in `passes`, and gives
    their losses to `backward`. After the last group it calls `finish`, then the optimiser, then
    `after_step`; after the last step of an epoch, `end_epoch`. Loss weights of the benchmark and of
    the settings are multiplied beforehand.

    It is a module: the optimiser of the network trains its parameters, and a checkpoint holds them
    and its buffers.

    Attributes:
        one_task_per_pass: Whether it looks at each task by itself. A network whose tasks each make
            a pass of their own then runs one after the other, whatever ``tasks_per_pass`` says.
        all_tasks_at_once: Whether it needs the losses of all tasks on one graph, for which all
            need memory at once, whatever ``tasks_per_pass`` says.
        lr: Learning rate of its parameters; that of the network if None.

    Example:
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
        """Refuse to train in a way that would give wrong numbers.

        Args:
            precision, compile: see :func:`~tssbn.training.loop.train`.

        Raises:
            ValueError: Says why.
        """

    def groups(self, lr: float) -> list[dict]:
        """Its parameters as groups for an optimiser, without weight decay; none if it has none.

        Args:
            lr: The learning rate of the network.
        """
        own = list(self.parameters())
        rate = lr if self.lr is None else self.lr
        return [{"params": own, "lr": rate, "weight_decay": 0.0}] if own else []

    def passes(self, net: MultiTaskNetwork) -> Iterator[tuple[str, ...]]:
        """The tasks in groups that run together: as the network has them, or all."""
        return iter([tuple(net.tasks)]) if self.all_tasks_at_once else net.passes()

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Add the gradients of some tasks' losses to those that are there.

        Args:
            net: The network.
            losses: Of the tasks of a pass, scalars with their graph.
            fabric: Knows the precision, and the other processes.
        """
        fabric.backward(sum(losses.values()))

    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """All tasks were seen: make the gradients what the optimiser is to take."""
        parameters = (p for module in (net, self) for p in module.parameters())
        all_reduce_mean(fabric, (p.grad for p in parameters if p.grad is not None))

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """The optimiser has made its step.

        Args:
            losses: Computes the losses of the same batch once more, without a graph, by a forward
                pass of the network in training mode, which moves no running statistics.
            fabric: Knows the other processes.
        """

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """An epoch is over.

        Args:
            losses: The means of the tasks' losses over its steps, and over the processes.
        """


def balancing(net: MultiTaskNetwork) -> Balancing:
    """The plain sum."""
    return Balancing()

"""One epoch: the steps of training, and the scores after them."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from tssbn.benchmarks.tasks import Task
from tssbn.training.balancing import Balancing

__all__ = ["evaluate", "train_epoch"]


def train_epoch(
    fabric: Fabric,
    net: nn.Module,
    optimiser: Optimizer,
    tasks: Mapping[str, Task],
    batches: Iterable[dict[str, Tensor]],
    weights: Mapping[str, float] | None = None,
    balancing: Balancing | None = None,
) -> Iterator[dict[str, Tensor]]:
    """One pass over the training images; gives the losses of each step, by task.

    The balancing says which tasks go through the network together, and what becomes of their
    losses. The plain sum takes the groups that the network asks for, each with a backward pass of
    its own; the gradients add up.

    Args:
        fabric: knows the precision, and the other processes.
        net, optimiser: as ``fabric.setup`` gives them.
        batches: of images and targets, on the device of the network.
        weights: what the losses of some tasks are multiplied with; those that are given are not.
        balancing: makes gradients of the losses; of their plain sum by default. Its parameters are
            among those of the optimiser.

    Example:
        >>> from tssbn import MultiTask
        >>> from tssbn.data.target import Target
        >>> from tssbn.benchmarks.tasks import tasks_for
        >>> net = MultiTask(nn.Conv2d(3, 4, 1), {"depth": nn.Conv2d(4, 1, 1)})
        >>> fabric = Fabric(accelerator="cpu", devices=1)
        >>> net, optimiser = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
        >>> batch = {"image": torch.rand(2, 3, 8, 8), "depth": torch.ones(2, 1, 8, 8)}
        >>> chosen = tasks_for({"depth": Target("depth", ignore=0)})
        >>> first, *_, last = train_epoch(fabric, net, optimiser, chosen, [batch] * 10)
        >>> bool(last["depth"] < first["depth"])
        True
    """
    net.train()
    weights, balancing = weights or {}, balancing or Balancing()
    for batch in batches:
        losses = {}
        for group in balancing.passes(net):
            predictions = net(batch["image"], group)
            part = {task: tasks[task].loss(predictions[task], batch[task]) for task in group}
            weighted = {task: weights.get(task, 1.0) * loss for task, loss in part.items()}
            balancing.backward(net, weighted, fabric)
            losses |= {task: loss.detach() for task, loss in part.items()}
        balancing.finish(net, fabric)
        optimiser.step()
        optimiser.zero_grad()
        yield losses


@torch.no_grad()
def evaluate(
    net: nn.Module, tasks: Mapping[str, Task], batches: Iterable[dict[str, Tensor]]
) -> dict[str, dict[str, float | list[float]]]:
    """Every metric of every task, over all batches of all processes.

    Args:
        net: a network, or what ``fabric.setup`` made of it.
        batches: of images and targets, on the device of the network.

    Raises:
        FloatingPointError: a prediction is NaN or infinite; names the task.
    """
    net.eval()
    metrics = {name: task.metric() for name, task in tasks.items()}
    for batch in batches:
        predictions = net(batch["image"])
        for task, metric in metrics.items():
            if not predictions[task].isfinite().all():
                raise FloatingPointError(
                    f"the prediction of {task!r} is not finite after the last step"
                )
            # Some devices have no 64-bit floats, which the sums of a metric are.
            device = "cpu" if batch[task].device.type == "mps" else batch[task].device
            metric.to(device).update(predictions[task].to(device), batch[task].to(device))
    return {task: metric.compute() for task, metric in metrics.items()}

"""Balancings on a few numbers that all tasks share, such as a point in the plane."""

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tssbn.training.balancing import find_balancing

__all__ = ["Numbers", "Probe"]


class Numbers(nn.Module):
    """Wrap a tensor θ, shared by all tasks, as the smallest network that a balancing accepts.

    Args:
        theta: initial values; they are copied.
        tasks: the names of the tasks.

    Example:
        >>> Numbers(torch.zeros(2), ("A", "B")).shared()[0].shape
        torch.Size([2])
    """

    tasks_per_pass = None

    def __init__(self, theta: Tensor, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks, self.theta = tasks, nn.Parameter(theta.clone())

    def shared(self) -> list[nn.Parameter]:
        """List θ."""
        return [self.theta]

    def passes(self):
        """Yield all tasks at once."""
        yield self.tasks


class Probe:
    """Apply a balancing to losses that are functions of a tensor θ.

    Each step counts as an epoch. Adam with short averages trains the balancing's own parameters.

    Args:
        name: one of :data:`tssbn.training.balancing.BALANCINGS`.
        theta: the initial θ, of any shape.
        losses: maps θ to the losses (T,).
        options: options of the balancing.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> centres = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> def bowls(theta):
        ...     return 1 + (theta - centres).square().sum(1)
        >>> Probe("pcgrad", torch.tensor([0.5, 0.5]), bowls).step()  # on the Pareto set
        tensor([0., 0.])
    """

    def __init__(self, name: str, theta: Tensor, losses: Callable[[Tensor], Tensor], **options):
        with torch.no_grad():
            self.tasks = tuple(map(str, range(len(losses(theta)))))
        self.net, self.losses = Numbers(theta, self.tasks), losses
        self.fabric = Fabric(accelerator="cpu", devices=1)
        self.balancing = find_balancing(name)(self.net, **options)
        groups = self.balancing.groups(0.05)
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.9)) if groups else None

    @property
    def theta(self) -> Tensor:
        """A copy of the current θ."""
        return self.net.theta.detach().clone()

    def step(self, length: float = 0.0, lr: float = 0.05) -> Tensor:
        """Move θ against the gradient d, train the balancing's own parameters, and return d.

        Args:
            length: the distance that θ moves; θ stays if d is zero.
            lr: learning rate of the balancing's parameters.
        """
        net, balancing = self.net, self.balancing
        net.theta.grad = None
        balancing.zero_grad()
        balancing.backward(net, self._values(), self.fabric)
        balancing.finish(net, self.fabric)
        d = net.theta.grad.clone()
        with torch.no_grad():
            net.theta -= length * nn.functional.normalize(d, dim=0)
        if self.adam:
            for group in self.adam.param_groups:
                group["lr"] = lr
            self.adam.step()
        with torch.no_grad():
            balancing.after_step(self._values, self.fabric)
            balancing.end_epoch({task: loss.item() for task, loss in self._values().items()})
        return d

    def settle(self, steps: int = 300, lr: float = 0.05) -> Tensor:
        """Train only the balancing's parameters, at rates falling to zero, and return the last d.

        Args:
            steps: number of steps.
            lr: the first learning rate.
        """
        for k in range(steps):
            d = self.step(lr=lr * (1 - k / steps))
        return d

    def path(self, steps: int = 300, length: float = 0.05, decay: float = 0.985) -> Tensor:
        """Take steps of shrinking length, and return every θ, (steps + 1, ...).

        Args:
            steps: number of steps.
            length: length of the first step.
            decay: length of a step over that of the step before.
        """
        seen = [self.theta]
        for k in range(steps):
            self.step(length * decay**k)
            seen.append(self.theta)
        return torch.stack(seen)

    def _values(self) -> dict[str, Tensor]:
        return dict(zip(self.tasks, self.losses(self.net.theta), strict=True))

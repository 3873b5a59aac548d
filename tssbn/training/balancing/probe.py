"""What a balancing does on a few numbers that all tasks share, such as a point in the plane."""

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tssbn.training.balancing import find_balancing

__all__ = ["Numbers", "Probe"]


class Numbers(nn.Module):
    """Wrap a tensor θ, shared by all tasks, as the smallest network that a balancing accepts.

    Args:
        theta: Initial values; they are copied.
        tasks: The names of the tasks.

    Example:
        >>> Numbers(torch.zeros(2), ("A", "B")).shared()[0].shape
        torch.Size([2])
    """

    tasks_per_pass = None

    def __init__(self, theta: Tensor, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks, self.theta = tasks, nn.Parameter(theta.clone())

    def shared(self) -> list[nn.Parameter]:
        return [self.theta]

    def passes(self):
        yield self.tasks


class Probe:
    """Apply a balancing to losses that are functions of a tensor θ.

    Each step counts as an epoch. Adam with short averages trains the balancing's own parameters.

    Args:
        name: One of :data:`tssbn.training.balancing.BALANCINGS`.
        theta: The initial θ, of any shape.
        losses: Maps θ to the losses (T,).
        options: Those of the balancing.

    Raises:
        ValueError: An unknown name.

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
        """Where θ is."""
        return self.net.theta.detach().clone()

    def step(self, length: float = 0.0, lr: float = 0.05) -> Tensor:
        """Move θ against the gradient d, train the balancing's own parameters, and return d.

        Args:
            length: The distance that θ moves; θ stays if d is zero.
            lr: Learning rate of the balancing's own parameters.
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
        """Train only the balancing's parameters, at rates falling to zero; return the last d."""
        for k in range(steps):
            d = self.step(lr=lr * (1 - k / steps))
        return d

    def path(self, steps: int = 300, length: float = 0.05, decay: float = 0.985) -> Tensor:
        """Take steps of a length that shrinks by `decay`; return every θ, (steps + 1, ...)."""
        seen = [self.theta]
        for k in range(steps):
            self.step(length * decay**k)
            seen.append(self.theta)
        return torch.stack(seen)

    def _values(self) -> dict[str, Tensor]:
        return dict(zip(self.tasks, self.losses(self.net.theta), strict=True))

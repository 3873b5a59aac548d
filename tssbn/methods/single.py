"""STL: single-task learning, with one network for each task; the baseline of the other methods."""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from tssbn.methods import Method, Network
from tssbn.names import choose_tasks

__all__ = ["SingleTask", "build"]


class SingleTask(nn.Module):
    """Independent networks, one for each task.

    Args:
        networks: the network of each task.

    Example:
        >>> import torch
        >>> net = SingleTask({"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)})
        >>> {task: tuple(y.shape) for task, y in net(torch.rand(4, 3)).items()}
        {'a': (4, 1), 'b': (4, 2)}
    """

    def __init__(self, networks: Mapping[str, nn.Module]):
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.tasks = tuple(networks)

    tasks_per_pass = None  # no two tasks share a pass

    def passes(self) -> Iterator[tuple[str]]:
        """Yield one task at a time, because no two share a pass."""
        yield from ((task,) for task in self.tasks)

    def shared(self) -> list[nn.Parameter]:
        """Return an empty list, because the tasks share no parameter."""
        return []

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predict the named tasks, all by default."""
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        return {task: self.networks[task](x) for task in names}


def build(network: Network, outputs: Mapping[str, int]) -> SingleTask:
    """Build a trunk and a head for each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.

    Example:
        >>> import torch
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 4)).items()}
        {'seg': (2, 3), 'depth': (2, 1)}
    """
    return SingleTask(
        {task: nn.Sequential(network.trunk(), network.head(n)) for task, n in outputs.items()}
    )


METHOD = Method("STL", build, color="black")

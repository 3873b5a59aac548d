"""STL, single-task learning: each task has its own network; the baseline of the other methods."""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from tssbn.methods import Method, Network
from tssbn.names import choose_tasks

__all__ = ["SingleTask", "build"]


class SingleTask(nn.Module):
    """Independent networks, one for each task.

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
        """One task at a time: no two share anything."""
        yield from ((task,) for task in self.tasks)

    def shared(self) -> list[nn.Parameter]:
        """None."""
        return []

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predictions of the named tasks, all by default."""
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        return {task: self.networks[task](x) for task in names}


def build(network: Network, outputs: Mapping[str, int]) -> SingleTask:
    """A trunk and a head for each task."""
    return SingleTask(
        {task: nn.Sequential(network.trunk(), network.head(n)) for task, n in outputs.items()}
    )


METHOD = Method("STL", build, color="black")

"""LTB: learning to branch trains the stage at which the tasks' trunks separate.

(Guo et al., ICML 2020; in the form of LibMTL's code.) There are T columns, which are whole trunks.
Before stage i, other than the first, column t reads Σ_j d_tj u_j, where u_j is the output of column
j's stage before it, and d_t is one-hot:

    forward: d_t = one-hot(argmax_j (a_tj + G_j)),    backward: that of softmax((a_t + G) / τ)

with trained logits a and Gumbel noise G that is drawn for every batch. In the first hundredth of
the training all d are 1, so that every column reads the sum. The temperature falls as in LibMTL
with 200 epochs, τ = 10 / √(200 p + 1), where p is the share of the training that is done.

In evaluation the most probable parent is read. LibMTL also draws a new tree for each batch of the
evaluation, as ``sample=True`` does here. In its code the last stage is always that of the task's
column, so that the network cannot become HPS; with ``heads=True`` the heads choose a column as
well, as in the paper. The paper trains weights and choices on two halves of the data, and then
trains the chosen tree anew; both are left out here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tssbn.methods import Method, Network, single
from tssbn.methods.cross_stitch import Mix, before
from tssbn.names import check_tasks, choose_tasks
from tssbn.networks.stages import find_stages, stages

__all__ = ["LTB", "build", "temperature"]

WARM = 0.01  # of the training


def temperature(progress: Tensor) -> Tensor:
    """Compute the temperature τ after a share of the training.

    Args:
        progress: the share, from 0 to 1.

    Example:
        >>> temperature(torch.tensor([2, 50, 100, 199]) / 200)
        tensor([5.7735, 1.4003, 0.9950, 0.7071])
    """
    return 10 / (200 * progress + 1).sqrt()


class LTB(nn.Module):
    """A network for each task, whose stages choose which task's features they read.

    Args:
        networks: a trunk and a head for each task; the trunk has stages, see
            :func:`tssbn.networks.stages.stages`.
        stages: number of stages of the trunk.
        heads: whether the heads also choose a column.
        sample: whether a tree is also drawn in evaluation.
        last: names of the parameters of a trunk after the last choice.

    Attributes:
        logits: a, (choices, T, T): the choice, the task that reads, the column that is read. Every
            stage but the first makes a choice, and so do the heads with ``heads=True``.
        progress: the share of the training that is done, which the trainer sets; 1 by default.

    Example:
        >>> trunks = {task: nn.Sequential(nn.ReLU(), nn.ReLU()) for task in "ab"}
        >>> nets = {task: nn.Sequential(trunk, nn.ReLU()) for task, trunk in trunks.items()}
        >>> net = LTB(nets, stages=2).eval()
        >>> _ = net.logits.data[0, 0].copy_(torch.tensor([0.0, 1.0]))
        >>> net.parents()[0, 0].tolist()  # task a reads column b before the second stage
        [0.0, 1.0]
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Sequential],
        stages: int,
        heads: bool = False,
        sample: bool = False,
        last: Iterable[str] = (),
    ):
        super().__init__()
        self.tasks = check_tasks(networks)
        self.networks = nn.ModuleDict(networks)
        count = len(self.tasks)
        self.logits = nn.Parameter(torch.ones(stages - 1 + heads, count, count))
        self.mix = Mix()
        self.heads, self.sample = heads, sample
        self.last = tuple(last)
        self.register_buffer("done", torch.ones(()))

    tasks_per_pass = None  # all run together

    @property
    def progress(self) -> float:
        return self.done.item()

    @progress.setter
    def progress(self, share: float) -> None:
        self.done.fill_(share)

    def passes(self) -> Iterator[tuple[str, ...]]:
        """Yield all tasks at once, because each may read the features of any other."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """List the logits, and the parameters of the trunks before the last choice."""
        if len(self.tasks) == 1:
            return []
        return [self.logits, *before(self.networks, self.last)]

    def parents(self) -> Tensor:
        """Compute the weights d with which each stage reads each column, (choices, T, T).

        In training they are a draw with the straight-through gradient, in evaluation the most
        probable parent, or a draw with ``sample=True``. In the first hundredth of the training they
        are ones.
        """
        scores = self.logits
        if self.training or self.sample:
            scores = scores - torch.empty_like(scores).exponential_().log()  # a + Gumbel noise
        soft = (scores / temperature(self.done)).softmax(-1)
        hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
        chosen = hard + (soft - soft.detach())  # its value is exactly 0 or 1
        return torch.where(self.done < WARM, torch.ones_like(chosen), chosen)

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predict the named tasks, all by default; all columns run in any case.

        Raises:
            ValueError: a task is unknown or named twice, or none is named.
        """
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        runs = [stages(trunk, x) for trunk, _ in self.networks.values()]
        features = [next(run) for run in runs]
        *between, final = [*self.parents(), *[None] * (not self.heads)]
        for parents in between:
            read = self._choose(parents, features)
            features = [run.send(each) for run, each in zip(runs, read, strict=True)]
        if final is not None:
            features = self._choose(final, features)
        given = dict(zip(self.tasks, features, strict=True))
        return {task: self.networks[task][1](given[task]) for task in names}

    def _choose(self, parents: Tensor, features: Sequence[Any]) -> list[Any]:
        """Compute what each column reads from the outputs of all columns."""

        def mixed(*parts: Tensor) -> Tensor:
            return self.mix(parents[:, :, None], torch.stack(parts))

        read = tree_map(mixed, *features)
        return [tree_map(itemgetter(place), read) for place in range(len(features))]


def build(
    network: Network, outputs: Mapping[str, int], heads: bool = False, sample: bool = False
) -> LTB:
    """Build the networks of STL, and the logits of the choices.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        heads: whether the heads also choose a column.
        sample: whether evaluation draws a tree for each batch, as in LibMTL.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the stages of such a trunk are not known, or one
            before the last outputs anything but one tensor.
        ValueError: the trunk has a single stage and `heads` is False, there is no task, or a task
            has a name that a module cannot have.

    Example:
        >>> def trunk():
        ...     return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
        >>> network = Network(trunk, lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> build(network, {"seg": 3, "depth": 1}).logits.shape
        torch.Size([2, 2, 2])
    """
    tasks = check_tasks(outputs)
    networks = single.build(network, outputs).networks
    trunk, _ = networks[tasks[0]]
    found = find_stages(trunk, network.example)
    if len(found) < 2 and not heads:
        raise ValueError(
            f"a trunk of type {type(trunk).__name__} with a single stage has nothing to choose: "
            "take heads=True, so that the heads do"
        )
    last = () if heads else sorted(found[-1].parameters)
    return LTB(networks, len(found), heads, sample, last)


METHOD = Method("LTB", build)

"""LTB, learning to branch: it learns at which stage the tasks' trunks part.

(Guo et al., ICML 2020; in the form of LibMTL's code.) There are T columns, whole trunks. Before
each stage but the first, column t reads what one column gave at the stage before. Which one is
drawn for every batch, with probabilities softmax(a_t): of the Gumbel-softmax the hard choice is
what is read, the soft one at temperature τ what is differentiated. In the first hundredth of the
training every column reads the sum of all, and nothing is chosen yet. The temperature falls as
LibMTL's does in 200 epochs: τ = 10 / √(200 p + 1), where p is the share of the training that is
done.

In evaluation the most probable parent is taken. LibMTL draws there, too, a new tree for each batch;
``sample`` does so. In its code the last stage is always a column's own, so that the network cannot
become that of HPS; with ``heads`` the heads choose a column, too, as in the paper. (In the paper
weights and choices learn on halves of the data, and the chosen tree is trained anew.)
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
    """τ after this share of the training.

    Example:
        >>> temperature(torch.tensor([2, 50, 100, 199]) / 200)
        tensor([5.7735, 1.4003, 0.9950, 0.7071])
    """
    return 10 / (200 * progress + 1).sqrt()


class LTB(nn.Module):
    """A network for each task, each of whose stages reads the features of a column.

    Args:
        networks: a trunk and a head for each task; the trunk has stages, see
            :func:`tssbn.networks.stages.stages`.
        stages: how many the trunk has.
        heads: whether the heads choose a column, too.
        sample: whether a tree is drawn in evaluation, too.
        last: names of the parameters of a trunk that are behind the last choice.

    Attributes:
        logits: a, of shape (choices, T, T): of what task (second axis) the parent is what column.
            Every stage but the first makes a choice, and the heads may make one.
        progress: the share of the training that is done. The trainer sets it; a network that nobody
            told is taken to be at the end.
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
        """All tasks at once: each may read the features of any other."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """The logits, and of each trunk what comes before the last choice."""
        if len(self.tasks) == 1:
            return []
        return [self.logits, *before(self.networks, self.last)]

    def parents(self) -> Tensor:
        """What each stage reads of each column, of the shape of the logits.

        In training a draw, with the straight-through gradient; in evaluation the most probable
        parent, or a draw with ``sample``; while the first hundredth of the training lasts, ones.
        """
        scores = self.logits
        if self.training or self.sample:
            scores = scores - torch.empty_like(scores).exponential_().log()
        soft = (scores / temperature(self.done)).softmax(-1)
        hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
        chosen = hard + (soft - soft.detach())  # exactly the hard choice
        return torch.where(self.done < WARM, torch.ones_like(chosen), chosen)

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predictions of the named tasks, all by default; all columns run in any case.

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
        """What each column reads, of what all columns gave."""

        def mixed(*parts: Tensor) -> Tensor:
            return self.mix(parents[:, :, None], torch.stack(parts))

        read = tree_map(mixed, *features)
        return [tree_map(itemgetter(place), read) for place in range(len(features))]


def build(
    network: Network, outputs: Mapping[str, int], heads: bool = False, sample: bool = False
) -> LTB:
    """Build the networks of STL, and the logits of the choices.

    Args:
        heads: whether the heads choose a column, too.
        sample: whether evaluation draws a tree for each batch, as LibMTL's.

    Raises:
        UnsuitableTrunk: it is not known where such a trunk is to be cut into stages, or one before
            the last gives something else than a tensor.
        ValueError: the trunk has a single stage, and the heads choose nothing; there is no task, or
            one with a name that a module cannot have.
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

"""Cross-Stitch: each task has its own network; features are mixed between any two stages.

(Misra et al., arXiv 1604.03539.) Each stage of a task's trunk reads a weighted sum of what the
stages before it gave in the trunks of all tasks; the weights, the units, learn at the rate of
everything else. The networks are those of STL, from the same seed with the same start values.
Published networks disagree on the units, so they go with the trunk; with T tasks they are:

* SegNet: T at each of the 9 places between its 10 stages, from 1, as in mtan's code: a source has
  the same weight for all readers, which so read one tensor. Each task unpools by its own positions.
  (mtan draws the weights of this network from Xavier-uniform; here they are Xavier-normal, as STL.)
* Dilated ResNet: T x T at each of the 3 places between its 4 stages, from 1, as in LibMTL's code
  (which holds a fourth unit and never uses it). arXiv 2512.20420 describes none for Cityscapes.
* CelebANet: T x T for each channel after each of the 4 convolutional stages. No code is public;
  these give the #P of 1.01 in table 1 of 2512.20420, and 1604.03539 has units for channels, too.
  A task starts from 0.9 of its own features and 0.1 of the mean over tasks, close to the 0.9 and
  0.1 that 1604.03539 has for two tasks.
* Any other trunk with stages (:mod:`tssbn.networks.stages`): T x T at each place between two of
  them, from the same start.

Units of 1 mean that at first all tasks read the same sum; BatchNorm makes up for its scale.
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from tssbn.methods import Method, Network, single
from tssbn.names import check_tasks, choose_tasks
from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNet
from tssbn.networks.stages import Stage, find_stages, is_resnet, stages

__all__ = ["CrossStitch", "Mix", "before", "build"]


class CrossStitch(nn.Module):
    """A network for each task, and units that mix the features of all between two stages.

    Args:
        networks: a trunk and a head for each task; the trunk has stages, see
            :func:`tssbn.networks.stages.stages`.
        units: the weights for each place between two stages, of shape (T, T, C), from what task
            (second axis) to what task (first) in what channel. An axis but the second may have
            length 1: the same for all readers, or for all channels.
        first: how many stages run before the first unit.
        last: names of the parameters of a trunk that are behind the last unit, where no task reads
            another's features any more.

    Example:
        >>> trunks = {task: nn.Sequential(nn.ReLU(), nn.ReLU()) for task in "ab"}
        >>> nets = {task: nn.Sequential(trunk, nn.ReLU()) for task, trunk in trunks.items()}
        >>> units = [torch.tensor([[0.9, 0.1], [2.0, 3.0]])[:, :, None]]
        >>> CrossStitch(nets, units)(torch.ones(1, 1, 1))["b"].item()  # 2 · 1 + 3 · 1
        5.0
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Sequential],
        units: Iterable[Tensor],
        first: int = 1,
        last: Iterable[str] = (),
    ):
        super().__init__()
        self.tasks = check_tasks(networks)
        self.networks = nn.ModuleDict(networks)
        self.units = nn.ParameterList(units)
        self.mix = Mix()
        self.first = first
        self.last = tuple(last)

    tasks_per_pass = None  # all run together

    def passes(self) -> Iterator[tuple[str, ...]]:
        """All tasks at once: each reads the features of every other."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """The units, and of each trunk what comes before the last of them."""
        if len(self.tasks) == 1:
            return []
        return [*self.units, *before(self.networks, self.last)]

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predictions of the named tasks, all by default; all trunks run in any case.

        Raises:
            ValueError: a task is unknown or named twice, or none is named.
        """
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        runs = [stages(trunk, x) for trunk, _ in self.networks.values()]
        features = [next(run) for run in runs]
        for _ in range(1, self.first):
            features = [next(run) for run in runs]
        for unit in self.units:
            mixed = self.mix(unit, torch.stack(features))
            mixed = mixed.expand(len(runs), *mixed.shape[1:])
            features = [run.send(each) for run, each in zip(runs, mixed, strict=True)]
        given = dict(zip(self.tasks, features, strict=True))
        return {task: self.networks[task][1](given[task]) for task in names}


class Mix(nn.Module):
    """Sum the features of tasks, scaled by a unit: (S, B, C, ...) -> (T, B, C, ...)."""

    scales_features = True  # a matrix product in this form alone: no MACs

    def forward(self, unit: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("tsc,sbc...->tbc...", unit, features)


def before(networks: nn.ModuleDict, last: Iterable[str]) -> list[nn.Parameter]:
    """List the parameters of all trunks that come before the last place where features mix.

    Args:
        networks: a trunk and a head for each task.
        last: names of the parameters of a trunk that come after it.
    """
    trunks = [trunk for trunk, _ in networks.values()]
    behind = {id(trunk.get_parameter(name)) for trunk in trunks for name in last}
    return [p for trunk in trunks for p in trunk.parameters() if id(p) not in behind]


def build(network: Network, outputs: Mapping[str, int]) -> CrossStitch:
    """Build the networks of STL, with units for the trunk that they have.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: it is not known where such a trunk is to be cut into
            stages, or one before the last gives something else than a tensor.
        ValueError: the trunk has a single stage; there is no task, or one with a name that a module
            cannot have.
    """
    tasks = check_tasks(outputs)
    networks = single.build(network, outputs).networks
    trunk, _ = networks[tasks[0]]
    found = find_stages(trunk, network.example)
    if len(found) < 2:
        raise ValueError(
            f"a trunk of type {type(trunk).__name__} with a single stage has no place for a unit: "
            "cross-stitch mixes features between two stages"
        )
    first, units = _units(trunk, found, len(tasks))
    return CrossStitch(networks, units, first, sorted(found[-1].parameters))


def _units(trunk: nn.Module, found: list[Stage], tasks: int) -> tuple[int, list[Tensor]]:
    """How many stages come before the first unit, and the start values of all."""
    if isinstance(trunk, SegNet):
        return 1, [torch.ones(1, tasks, 1) for _ in found[1:]]
    if is_resnet(trunk):
        return 2, [torch.ones(tasks, tasks, 1) for _ in found[2:]]
    start = (0.9 * torch.eye(tasks) + 0.1 / tasks)[:, :, None]
    if isinstance(trunk, CelebANet):
        return 1, [start.repeat(1, 1, stage.shape[0]) for stage in found[:-1]]
    return 1, [start.clone() for _ in found[1:]]


METHOD = Method("Cross-Stitch", build, color="purple")

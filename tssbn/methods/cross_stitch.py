"""Cross-Stitch: one network for each task, whose features are mixed between the stages.

(Misra et al., arXiv 1604.03539.) Each stage of task t's trunk reads a weighted sum of the features
f_s of the stage before it in the trunks of all tasks s,

    f_t <- Σ_s α_ts f_s

The weights α are called units, and are trained at the common learning rate. The networks are those
of STL, with the same start values from the same seed. Published networks disagree on the units, so
they depend on the trunk; with T tasks they are:

* SegNet: T at each of the 9 places between its 10 stages, starting at 1, as in mtan's code. A
  source has the same weight for all tasks, which thus read the same tensor. Each trunk unpools with
  the indices of its own poolings. mtan draws the filters of this network Xavier-uniform; here they
  are Xavier-normal, as for STL.
* Dilated ResNet: T x T at each of the 3 places between its 4 stages, starting at 1, as in LibMTL's
  code, which has a fourth, unused unit. arXiv 2512.20420 describes none for Cityscapes.
* CelebANet: T x T for each channel after each of the 4 convolutional stages. No code is public;
  these units agree with the #P of 1.01 in table 1 of 2512.20420, and 1604.03539 also has a unit for
  each channel. A task starts with 0.9 of its features and 0.1 of the mean over the tasks, close to
  the 0.9 and 0.1 of 1604.03539 for two tasks.
* Any other trunk with stages (:mod:`tssbn.networks.stages`): T x T at each place between two
  stages, starting like those of CelebANet.

Where the units start at 1, all tasks first read the same sum, and BatchNorm removes its scale.
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
    """A network for each task, with units that mix the features of all tasks between two stages.

    Args:
        networks: a trunk and a head for each task; the trunk has stages, see
            :func:`tssbn.networks.stages.stages`.
        units: the weights α for each place between two stages, (T, T, C): the task that reads, the
            task that is read, the channel. The first and the last length may be 1, for weights that
            are the same for all readers or all channels.
        first: number of stages before the first unit.
        last: names of the trunk's parameters after the last unit, which serve one task only.

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
        """Yield all tasks at once, because each reads the features of all others."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """List the units, and the parameters of the trunks before the last unit."""
        if len(self.tasks) == 1:
            return []
        return [*self.units, *before(self.networks, self.last)]

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predict the named tasks, all by default; all trunks run in any case.

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
    """A weighted sum of the features of all tasks for each task, Σ_s α_ts f_s.

    Shape: α (T, S, C or 1) and features (S, B, C, ...) -> (T, B, C, ...).

    Example:
        >>> unit, features = torch.tensor([[[0.9], [0.1]]]), torch.tensor([[[1.0]], [[5.0]]])
        >>> Mix()(unit, features)
        tensor([[[1.4000]]])
    """

    scales_features = True  # it scales and adds features: its products are not counted as MACs

    def forward(self, unit: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("tsc,sbc...->tbc...", unit, features)


def before(networks: nn.ModuleDict, last: Iterable[str]) -> list[nn.Parameter]:
    """List the parameters of all trunks that come before the last place where features mix.

    Args:
        networks: a trunk and a head for each task.
        last: names of the parameters of a trunk that come after that place.

    Example:
        >>> trunk = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2, bias=False))
        >>> networks = nn.ModuleDict({"a": nn.Sequential(trunk, nn.ReLU())})
        >>> [tuple(p.shape) for p in before(networks, ["1.weight"])]
        [(3, 3), (3,)]
    """
    trunks = [trunk for trunk, _ in networks.values()]
    behind = {id(trunk.get_parameter(name)) for trunk in trunks for name in last}
    return [p for trunk in trunks for p in trunk.parameters() if id(p) not in behind]


def build(network: Network, outputs: Mapping[str, int]) -> CrossStitch:
    """Build the networks of STL, and the units for this kind of trunk.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the stages of such a trunk are not known, or one
            before the last outputs anything but one tensor.
        ValueError: the trunk has a single stage, there is no task, or a task has a name that a
            module cannot have.

    Example:
        >>> def trunk():
        ...     return nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> network = Network(trunk, lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> [unit.shape for unit in build(network, {"seg": 3, "depth": 1}).units]
        [torch.Size([2, 2, 1])]
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
    """Return the number of stages before the first unit, and the start values of all units."""
    if isinstance(trunk, SegNet):
        return 1, [torch.ones(1, tasks, 1) for _ in found[1:]]
    if is_resnet(trunk):
        return 2, [torch.ones(tasks, tasks, 1) for _ in found[2:]]
    start = (0.9 * torch.eye(tasks) + 0.1 / tasks)[:, :, None]
    if isinstance(trunk, CelebANet):
        return 1, [start.repeat(1, 1, stage.shape[0]) for stage in found[:-1]]
    return 1, [start.clone() for _ in found[1:]]


METHOD = Method("Cross-Stitch", build, color="purple")

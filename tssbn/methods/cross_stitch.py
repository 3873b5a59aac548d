"""Cross-Stitch: a network for each task, whose features are mixed between any two stages.

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

Units of 1 mean that at first all tasks read the same sum; BatchNorm makes up for its scale.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tssbn.methods import Method, Network, single
from tssbn.names import check_tasks, choose_tasks
from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNet, pool, unpool

__all__ = ["CrossStitch", "build"]

Stages = Generator[Tensor, Tensor, None]  # yields what a stage gives, is sent what the next reads


class CrossStitch(nn.Module):
    """A network for each task, and units that mix the features of all between two stages.

    Args:
        networks: a trunk and a head for each task.
        stages: ``stages(trunk, images)`` runs the trunk stage by stage: it yields what a stage
            gives and is sent what the next one is to read; its last yield is for the head.
        units: the weights for each place between two stages, of shape (T, T, C), from what task
            (second axis) to what task (first) in what channel. An axis but the second may have
            length 1: the same for all readers, or for all channels.
        last: names of the parts of a trunk that run behind the last unit, in which no task reads
            another's features any more.

    Example:
        >>> def stages(trunk, x):
        ...     x = yield trunk[0](x)
        ...     yield trunk[1](x)
        >>> nets = {
        ...     task: nn.Sequential(nn.Sequential(nn.Identity(), nn.Identity()), nn.Identity())
        ...     for task in "ab"
        ... }
        >>> units = [torch.tensor([[0.9, 0.1], [2.0, 3.0]])[:, :, None]]
        >>> CrossStitch(nets, stages, units)(torch.ones(1, 1, 1))["b"].item()  # 2 · 1 + 3 · 1
        5.0
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Sequential],
        stages: Callable[[nn.Module, Tensor], Stages],
        units: Iterable[Tensor],
        last: Iterable[str] = (),
    ):
        super().__init__()
        self.tasks = check_tasks(networks)
        self.networks = nn.ModuleDict(networks)
        self.stages = stages
        self.units = nn.ParameterList(units)
        self.mix = _Mix()
        self.last = tuple(last)

    tasks_per_pass = None  # all run together

    def passes(self) -> Iterator[tuple[str, ...]]:
        """All tasks at once: each reads the features of every other."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """The units, and of each trunk what comes before the last of them."""
        if len(self.tasks) == 1:
            return []
        trunks = [trunk for trunk, _ in self.networks.values()]
        behind = {
            id(parameter)
            for trunk in trunks
            for name in self.last
            for parameter in trunk.get_submodule(name).parameters()
        }
        before = [p for trunk in trunks for p in trunk.parameters() if id(p) not in behind]
        return [*self.units, *before]

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predictions of the named tasks, all by default; all trunks run in any case.

        Raises:
            ValueError: a task is unknown or named twice, or none is named.
        """
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        runs = [self.stages(trunk, x) for trunk, _ in self.networks.values()]
        features = [next(run) for run in runs]
        for unit in self.units:
            mixed = self.mix(unit, torch.stack(features))
            mixed = mixed.expand(len(runs), *mixed.shape[1:])
            features = [run.send(each) for run, each in zip(runs, mixed, strict=True)]
        given = dict(zip(self.tasks, features, strict=True))
        return {task: self.networks[task][1](given[task]) for task in names}


class _Mix(nn.Module):
    """Sum the features of tasks, scaled by a unit: (S, B, C, ...) -> (T, B, C, ...)."""

    scales_features = True  # a matrix product in this form alone: no MACs

    def forward(self, unit: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("tsc,sbc...->tbc...", unit, features)


def build(network: Network, outputs: Mapping[str, int]) -> CrossStitch:
    """The networks of STL, with units for the trunk that they have.

    Raises:
        TypeError: it is not known where such a trunk is to be cut into stages.
        ValueError: there is no task, or one with a name that a module cannot have.
    """
    tasks = check_tasks(outputs)
    networks = single.build(network, outputs).networks
    trunk, _ = networks[tasks[0]]
    return CrossStitch(networks, *_plan(trunk, len(tasks)))


def _plan(
    trunk: nn.Module, tasks: int
) -> tuple[Callable[..., Stages], list[Tensor], tuple[str, ...]]:
    """How the trunk is cut, the start values of its units, and what runs behind the last."""
    if isinstance(trunk, SegNet):
        gaps = len(trunk.encoder) + len(trunk.decoder) - 1
        return _segnet, [torch.ones(1, tasks, 1) for _ in range(gaps)], ("decoder.0",)
    if isinstance(trunk, CelebANet):
        start = (0.9 * torch.eye(tasks) + 0.1 / tasks)[:, :, None]
        units = [start.repeat(1, 1, stage[-1][0].out_channels) for stage in trunk.stages]
        return _celeba, units, ("linear",)
    if all(hasattr(trunk, part) for part in ("act1", "layer4", "forward_head")):  # timm's
        return _resnet, [torch.ones(tasks, tasks, 1) for _ in range(3)], ("layer4", "fc")
    raise TypeError(
        f"cross-stitch does not know the stages of {type(trunk).__name__}: the trunk must be a "
        f"SegNet, a CelebANet or a ResNet of timm"
    )


def _segnet(trunk: SegNet, x: Tensor) -> Stages:
    pooled = []
    for stage in trunk.encoder:
        fine = stage(x)
        coarse, indices = pool(fine)
        pooled.append((indices, fine.shape))
        x = yield coarse
    for stage in reversed(trunk.decoder):
        x = yield stage(unpool(x, *pooled.pop()))


def _resnet(trunk: nn.Module, x: Tensor) -> Stages:
    x = trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(x))))
    for stage in (trunk.layer1, trunk.layer2, trunk.layer3):
        x = yield stage(x)
    yield trunk.forward_head(trunk.layer4(x))


def _celeba(trunk: CelebANet, x: Tensor) -> Stages:
    for stage in trunk.stages[:-1]:
        x = yield F.max_pool2d(stage(x), 2)
    # The unit could as well stand before the average, which gives the same and costs more.
    x = yield trunk.stages[-1](x).mean((2, 3))
    yield trunk.linear(x)


METHOD = Method("Cross-Stitch", build, color="purple")

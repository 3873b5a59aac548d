"""MTAN: one shared trunk, from which each task selects features with attention masks.

(Liu, Johns and Davison, arXiv 1803.10704.) At stage j of the trunk, task t has a mask m_j in (0, 1)
for every value of the stage's output s_j. The mask is computed from earlier features e_j of the
stage and from the task's selection a_{j-1} at the stage before. A block c_j, which all tasks share,
brings that selection to the size of the stage:

    a_1 = m_1(e_1) · s_1,        a_j = m_j([e_j, c_j(a_{j-1})]) · s_j

The head reads the last a_j. A mask is a 1x1 convolution, BatchNorm, ReLU, a 1x1 convolution,
BatchNorm and a sigmoid. The other details depend on the trunk:

==============  =========================  ========================  ===============================
trunk           stages                     e_j                       c_j
==============  =========================  ========================  ===============================
SegNet          five down, five up         first convolution on the  3x3 convolution, then max-pool,
                (mtan's code)              way down; input on the    on the way down; enlarged, then
                                           way up                    3x3 convolution, on the way up
timm's ResNet   four (auto-lambda's code;  input of the last block   a block of its kind; max-pool
                masks c -> c/4 -> c)                                 where stage j strides
CelebANet       four and the linear        first convolution or      max-pool, 3x3 convolution; a
                layers, as a fifth         linear layer              linear layer from the average
==============  =========================  ========================  ===============================

No code for CelebA is published. With the masks of SegNet, also on the linear layers, there are
0.388 times as many parameters as in STL, where table 1 of arXiv 2512.20420 prints 0.39; without
masks on the linear layers 0.235. Masks and blocks c_j work after the poolings there: before them,
forty tasks would need more computation than STL. A stage with a single block has no earlier
features, and its masks read its output. auto-lambda's ResNet is dilated, so only its stage 2
strides. Where a ResNet has a pooling and a last layer, these read a_4.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tssbn.methods import Method, Network, heads
from tssbn.names import check_tasks, choose_tasks
from tssbn.networks import celeba, segnet
from tssbn.networks.stages import Stages, UnsuitableTrunk, is_resnet, resnet_stages

__all__ = ["MTAN", "build"]

Seen = Iterable[tuple[Tensor, Tensor]]  # e and s of each stage


class MTAN(nn.Module):
    """A trunk, with masks on its stages and a head for each task.

    The BatchNorm layers of the blocks c_j run on one task after the other; their running statistics
    are a mixture of all tasks.

    Args:
        trunk: shared by all tasks.
        stages: ``stages(trunk, images)`` runs the trunk and yields e and s of each stage.
        carries: the blocks c_j for all stages but the first; ``carry(a, size)`` brings a to the
            height and width of the stage's e.
        masks: for each task, a mask for each stage.
        heads: a module for each task.
        rest: ``rest(trunk, a)`` computes the input of a head from the last selection a; by default
            it is a.

    Example:
        >>> def stages(trunk, x):
        ...     yield x, trunk(x)
        >>> net = MTAN(nn.Identity(), stages, [], {"a": [nn.Sigmoid()]}, {"a": nn.Identity()})
        >>> net(torch.tensor([[0.0, 3.0]]))  # 3 · 0.9526
        {'a': tensor([[0.0000, 2.8577]])}
    """

    def __init__(
        self,
        trunk: nn.Module,
        stages: Callable[[nn.Module, Tensor], Seen],
        carries: Sequence[nn.Module],
        masks: Mapping[str, Sequence[nn.Module]],
        heads: Mapping[str, nn.Module],
        rest: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.tasks = check_tasks(heads)
        self.trunk = trunk
        self.stages = stages
        self.carries = nn.ModuleList(carries)
        self.masks = nn.ModuleDict({task: nn.ModuleList(masks[task]) for task in self.tasks})
        self.heads = nn.ModuleDict(heads)
        self.rest = rest

    tasks_per_pass = None  # all share the trunk's

    def passes(self) -> Iterator[tuple[str, ...]]:
        """Yield all tasks at once, because they share the pass through the trunk."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """List the parameters of the trunk and of the blocks c_j."""
        return [*self.trunk.parameters(), *self.carries.parameters()] if self.tasks[1:] else []

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predict the named tasks, all by default; the masks of the others do not run."""
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        stages = list(self.stages(self.trunk, x))
        return {task: self.heads[task](self._attend(task, stages)) for task in names}

    def _attend(self, task: str, stages: list[tuple[Tensor, Tensor]]) -> Tensor:
        masks = self.masks[task]
        (early, output), *rest = stages
        chosen = masks[0](early) * output
        for mask, carry, (early, output) in zip(masks[1:], self.carries, rest, strict=True):
            seen = torch.cat([early, carry(chosen, early.shape[2:])], 1)
            chosen = mask(seen) * output
        return chosen if self.rest is None else self.rest(self.trunk, chosen)


class _Carry(nn.Module):
    """A block c_j, which enlarges the selection before ``up`` where there is one."""

    def __init__(self, *down: nn.Module, up: nn.Module | None = None):
        super().__init__()
        self.down = nn.Sequential(*down)
        self.up = up

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        x = self.down(x)
        if self.up is None:
            return x
        return self.up(F.interpolate(x, size, mode="bilinear", align_corners=True))


def build(network: Network, outputs: Mapping[str, int]) -> MTAN:
    """Build the trunk, the masks of each task, and the heads.

    Trunk and heads have the start values of HPS from the same seed.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk is no SegNet, CelebANet or ResNet of timm.

    Example:
        >>> from tssbn.networks.segnet import SegNet, SegNetHead
        >>> images = torch.zeros(2, 3, 48, 64)
        >>> network = Network(lambda: SegNet(4), lambda n: SegNetHead(n, 4), images)
        >>> net = build(network, {"segmentation": 13, "depth": 1})
        >>> {task: tuple(y.shape) for task, y in net(images).items()}
        {'segmentation': (2, 13, 48, 64), 'depth': (2, 1, 48, 64)}
    """
    trunk, readers = network.trunk(), heads(network, outputs)
    if isinstance(trunk, segnet.SegNet):
        plan = _segnet(trunk)
    elif isinstance(trunk, celeba.CelebANet):
        plan = _celeba(trunk)
    elif is_resnet(trunk):
        plan = _resnet(trunk)
    else:
        raise UnsuitableTrunk(
            f"MTAN was designed for SegNet, CelebANet and timm's ResNet, not for a trunk of type "
            f"{type(trunk).__name__}: build tssbn.methods.mtan.MTAN from your own stages"
        )
    masks = {task: plan.masks() for task in outputs}
    return MTAN(trunk, plan.stages, plan.carries, masks, readers, plan.rest)


def _mask(inputs: int, inside: int, outputs: int, linear: bool = False) -> nn.Sequential:
    def layer(before: int, after: int) -> tuple[nn.Module, nn.Module]:
        if linear:
            return nn.Linear(before, after), nn.BatchNorm1d(after)
        return nn.Conv2d(before, after, 1), nn.BatchNorm2d(after)

    return nn.Sequential(*layer(inputs, inside), nn.ReLU(), *layer(inside, outputs), nn.Sigmoid())


def _masks(early: list[int], outputs: list[int], squeeze: int = 1) -> list[nn.Module]:
    """Make a mask for each stage, for the channels of its e and s."""
    carried = [0, *outputs[1:]]
    return [_mask(e + c, s // squeeze, s) for e, c, s in zip(early, carried, outputs, strict=True)]


def _look(
    stages: Callable[..., Stages], x: Tensor, firsts: Iterable[int]
) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    """Run a trunk and return e and s of each stage, and the features after each stage.

    Args:
        stages: runs the trunk, stage by stage.
        x: the images.
        firsts: for each stage, the number of its first modules, whose output is e.
    """
    seen, left = [], iter(firsts)

    def call(stage: nn.Sequential, x: Tensor) -> Tensor:
        first = next(left)
        early = stage[:first](x)
        output = stage[first:](early)
        seen.append((early, output))
        return output

    features = list(stages(x, call=call))
    return seen, features


@dataclass(frozen=True)
class _Plan:
    """The arguments of :class:`MTAN` that depend on the kind of trunk."""

    stages: Callable[[nn.Module, Tensor], Seen]
    carries: Sequence[nn.Module]
    masks: Callable[[], list[nn.Module]]
    rest: Callable[[nn.Module, Tensor], Tensor] | None = None


def _segnet(trunk: segnet.SegNet) -> _Plan:
    downs, ups = trunk.encoder, trunk.decoder[::-1]
    down, up = ([stage[-1][0].out_channels for stage in stages] for stages in (downs, ups))
    block, deepest = segnet.block, down[-1]
    carries = [
        *(_Carry(block(a, b), nn.MaxPool2d(2)) for a, b in pairwise(down)),
        _Carry(block(deepest, deepest), nn.MaxPool2d(2), up=block(deepest, up[0])),
        *(_Carry(up=block(a, b)) for a, b in pairwise(up)),
    ]
    segnet.start(nn.ModuleList(carries))

    def masks() -> list[nn.Module]:
        made = _masks([*down, *(stage[0][0].in_channels for stage in ups)], down + up)
        segnet.start(nn.ModuleList(made))
        return made

    return _Plan(_segnet_stages, carries, masks)


def _segnet_stages(trunk: segnet.SegNet, x: Tensor) -> Seen:
    firsts = [1 for _ in trunk.encoder] + [0 for _ in trunk.decoder]
    return _look(trunk.forward_stages, x, firsts)[0]


def _resnet(trunk: nn.Module) -> _Plan:
    _, *stages = trunk.feature_info
    widths = [stage["num_chs"] for stage in stages]
    kind = type(trunk.layer1[-1])

    def carry(one: dict, other: dict) -> _Carry:
        before, after = one["num_chs"], other["num_chs"]
        match = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        block = kind(before, after // kind.expansion, downsample=match)
        stride = other["reduction"] // one["reduction"]
        return _Carry(block, *([nn.MaxPool2d(stride, ceil_mode=True)] if stride > 1 else []))

    carries = [carry(one, other) for one, other in pairwise(stages)]
    masks = partial(_masks, widths, widths, squeeze=4)
    return _Plan(_resnet_stages, carries, masks, _resnet_rest)


def _resnet_stages(trunk: nn.Module, x: Tensor) -> Seen:
    layers = (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
    firsts = [max(1, len(layer) - 1) for layer in layers]
    return _look(partial(resnet_stages, trunk), x, firsts)[0]


def _resnet_rest(trunk: nn.Module, chosen: Tensor) -> Tensor:
    return trunk.forward_head(chosen)


def _celeba(trunk: celeba.CelebANet) -> _Plan:
    widths = [stage[-1][0].out_channels for stage in trunk.stages]
    wide = widths[-1]
    *pooled, last = (celeba.block(a, b) for a, b in pairwise(widths))
    carries = [_Carry(nn.MaxPool2d(2), block) for block in pooled]
    carries += [_Carry(last), _Carry(nn.AdaptiveAvgPool2d(1), nn.Flatten(), celeba.linear(wide))]
    linear = partial(_mask, 2 * wide, wide, wide, linear=True)
    return _Plan(_celeba_stages, carries, lambda: [*_masks(widths, widths), linear()])


def _celeba_stages(trunk: celeba.CelebANet, x: Tensor) -> Seen:
    seen, features = _look(trunk.forward_stages, x, [1] * 5)
    pooled = [
        (F.max_pool2d(early, 2), after)
        for (early, _), after in zip(seen[:3], features[:3], strict=True)
    ]
    return pooled + seen[3:]


METHOD = Method("MTAN", build, color="sky")

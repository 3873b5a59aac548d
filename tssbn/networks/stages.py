"""Where a trunk can be cut: the stages of each kind of trunk, one after another.

Methods that mix features of several trunks, or look at them on the way, run a trunk by
:func:`stages` and learn from :func:`find_stages` how many there are. Known are

==============  =================================================================================
trunk           stages
==============  =================================================================================
SegNet          five down, each with its pooling; five up, each with its unpooling
CelebANet       four of convolutions, with the poolings and the average; the linear layers
timm's ResNet   convolution and pooling at the input; ``layer1`` to ``layer4``, the last one with
                what follows it
nn.Sequential   each child
==============  =================================================================================

A trunk of one's own joins with one method, ``forward_stages(self, x)``, a generator. It yields the
features after a stage, and is sent those that the next stage reads:

    >>> class Trunk(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fine, self.coarse = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, stride=2)
    ...
    ...     def forward_stages(self, x):
    ...         x = yield self.fine(x).relu()
    ...         yield self.coarse(x).relu()
    ...
    ...     def forward(self, x):
    ...         return finish(self.forward_stages(x))
    >>> [stage.shape for stage in find_stages(Trunk(), torch.rand(2, 3, 9, 9))]
    [(4, 7, 7), (8, 3, 3)]

What else a run has to remember, such as the places that a pooling took its values from, are
variables of the generator, which nobody else sees.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tssbn.copies import copied

__all__ = ["Stage", "Stages", "find_stages", "finish", "follow", "is_resnet", "stages"]

Stages = Generator[Tensor, Tensor, None]  # yields what a stage gives, is sent what the next reads
Call = Callable[[nn.Module, Tensor], Tensor]


def stages(trunk: nn.Module, x: Tensor) -> Stages:
    """Run a trunk that pauses after each of its stages.

    Args:
        trunk: of one of the known kinds, or with a method ``forward_stages``.
        x: what the trunk is called with.

    Returns:
        A generator that yields the features after a stage, and is sent what the next one is to
        read; its last yield is what the trunk gives.

    Raises:
        TypeError: It is not known where such a trunk can be cut.

    Example:
        >>> run = stages(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.tensor([[[-1.0, 2.0]]]))
        >>> features = next(run)
        >>> run.send(10 * features)
        tensor([[ 0., 20.]])
    """
    if hasattr(trunk, "forward_stages"):
        return trunk.forward_stages(x)
    if is_resnet(trunk):
        return resnet_stages(trunk, x)
    if isinstance(trunk, nn.Sequential) and type(trunk).forward is nn.Sequential.forward:
        return _children(trunk, x)
    raise TypeError(
        f"the stages of a trunk of type {type(trunk).__name__} are not known: give it a method "
        "forward_stages(self, x) that yields the features after each stage and is sent what the "
        "next one reads, see tssbn.networks.stages"
    )


def follow(run: Stages) -> Iterator[Tensor]:
    """The features after each stage, where each stage reads what the one before it gave.

    Example:
        >>> for features in follow(stages(nn.Sequential(nn.ReLU(), nn.Tanh()), torch.zeros(1))):
        ...     print(features)
        tensor([0.])
        tensor([0.])
    """
    x = _resume(run, None)
    while x is not None:
        yield x
        x = _resume(run, x)


def finish(run: Stages) -> Tensor:
    """What the trunk gives, where each stage reads what the one before it gave.

    Example:
        >>> finish(stages(nn.Sequential(nn.ReLU(), nn.Tanh()), torch.zeros(1)))
        tensor([0.])
    """
    x = next(run)
    try:
        while True:
            x = run.send(x)
    except StopIteration:
        return x


class Stage(NamedTuple):
    """A stage of a trunk.

    Attributes:
        shape: of the features that it gives for one input; the channels come first.
        parameters: the names of the trunk's parameters that it computes with.
    """

    shape: tuple[int, ...]
    parameters: frozenset[str]


def find_stages(trunk: nn.Module, example: Tensor) -> list[Stage]:
    """What each stage of a trunk gives, and which parameters are its own.

    Runs a copy of the trunk on the meta device, in eval mode: nothing is computed, and the trunk
    stays as it is.

    Args:
        trunk: as for :func:`stages`.
        example: a batch that it takes.

    Raises:
        TypeError: As :func:`stages`; or a stage gives something else than one tensor.

    Example:
        >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> [sorted(stage.parameters) for stage in find_stages(trunk, torch.rand(2, 3, 8, 8))]
        [['0.bias', '0.weight'], ['1.bias', '1.weight']]
    """
    twin = copied(trunk).to("meta").eval().requires_grad_()
    named = dict(twin.named_parameters())
    found: list[Stage] = []
    with torch.enable_grad():
        run = stages(twin, example.to("meta"))
        features = _resume(run, None)
        while features is not None:
            if not isinstance(features, Tensor):
                raise TypeError(
                    f"stage {len(found)} of {type(trunk).__name__} gives a "
                    f"{type(features).__name__}, expected one tensor"
                )
            own = _used(named, features)
            found.append(Stage(tuple(features.shape[1:]), own))
            features = _resume(run, features.detach())
    return found


def is_resnet(trunk: nn.Module) -> bool:
    """Whether a trunk is a ResNet of timm, which need not be installed.

    Example:
        >>> is_resnet(nn.Identity())
        False
    """
    timm = sys.modules.get("timm.models.resnet")  # imported by whoever made such a trunk
    return timm is not None and isinstance(trunk, timm.ResNet)


def call(part: nn.Module, x: Tensor) -> Tensor:
    """Call a part of a trunk.

    A method that looks inside of the stages of SegNet, CelebANet or a ResNet has their generators
    call them by a function of its own.

    Example:
        >>> call(nn.ReLU(), torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    return part(x)


def resnet_stages(trunk: nn.Module, x: Tensor, call: Call = call) -> Stages:
    """As :func:`stages`, of a ResNet of timm; ``call(part, x)`` runs ``layer1`` to ``layer4``."""
    x = yield trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(x))))
    for layer in (trunk.layer1, trunk.layer2, trunk.layer3):
        x = yield call(layer, x)
    yield trunk.forward_head(call(trunk.layer4, x))


def _children(trunk: nn.Sequential, x: Tensor) -> Stages:
    for child in trunk:
        x = yield child(x)


def _resume(run: Stages, x: Tensor | None) -> Tensor | None:
    """What the next stage gives; nothing after the last one."""
    try:
        return run.send(x)
    except StopIteration:
        return None


def _used(named: dict[str, nn.Parameter], features: Tensor) -> frozenset[str]:
    """The names of the parameters that the features are computed with."""
    if not features.requires_grad:
        return frozenset()
    slopes = torch.autograd.grad(
        features, list(named.values()), torch.ones_like(features), allow_unused=True
    )
    return frozenset(name for name, slope in zip(named, slopes, strict=True) if slope is not None)

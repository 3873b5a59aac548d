"""The stages of a trunk, between which a method can read and replace its features.

Methods that mix features of several trunks, or read features inside one, run a trunk with
:func:`stages`, and :func:`find_stages` lists its stages. Known are

==============  =================================================================================
trunk           stages
==============  =================================================================================
SegNet          five down, each with its pooling; five up, each with its unpooling
CelebANet       four of convolutions, with the poolings and the average; the linear layers
timm's ResNet   convolution and pooling at the input; ``layer1`` to ``layer4``, the last one with
                what follows it
timm's          of ``features_only``: convolution at the input; each stage of blocks, the last of
EfficientNet    which gives all maps
nn.Sequential   each child
==============  =================================================================================

Any other trunk needs one method, the generator ``forward_stages(self, x)``. It yields the features
after each stage, and is sent those that the next stage reads. In a plain loop nothing is sent; the
next stage then reads the features of this one, and the last features are the trunk's output.

    >>> class Trunk(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fine, self.coarse = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, stride=2)
    ...
    ...     def forward_stages(self, x):
    ...         fine = self.fine(x).relu()
    ...         x = read(fine, (yield fine))
    ...         yield self.coarse(x).relu()
    ...
    ...     def forward(self, x):
    ...         return last(self.forward_stages(x))
    >>> [stage.shape for stage in find_stages(Trunk(), torch.rand(2, 3, 9, 9))]
    [(4, 7, 7), (8, 3, 3)]

Whatever else a run has to remember, such as the indices of a pooling, is a local variable of the
generator.
"""

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils._pytree import tree_map

from tssbn.copies import copied
from tssbn.stacking import tensors

__all__ = [
    "Stage",
    "Stages",
    "UnsuitableTrunk",
    "find_stages",
    "is_resnet",
    "last",
    "read",
    "stages",
]


class UnsuitableTrunk(TypeError):
    """A trunk of a type that a method cannot take."""


Stages = Generator[Tensor, Tensor | None, None]  # yields features, is sent what is read next
Call = Callable[[nn.Module, Tensor], Tensor]


def stages(trunk: nn.Module, x: Tensor) -> Stages:
    """Run a trunk and pause after each of its stages.

    Args:
        trunk: of one of the known kinds, or with a method ``forward_stages``.
        x: the input of the trunk.

    Returns:
        A generator that yields the features after each stage, and is sent those that the next stage
        reads. Where nothing is sent, the next stage reads the yielded features.

    Raises:
        UnsuitableTrunk: the stages of such a trunk are not known.

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
    if _is_efficientnet(trunk):
        return _efficientnet_stages(trunk, x)
    if isinstance(trunk, nn.Sequential) and type(trunk).forward is nn.Sequential.forward:
        return _children(trunk, x)
    raise UnsuitableTrunk(
        f"the stages of a trunk of type {type(trunk).__name__} are not known: give it a method "
        "forward_stages(self, x) that yields the features after each stage and is sent what the "
        "next one reads, see tssbn.networks.stages"
    )


def read(own: Tensor, sent: Tensor | None) -> Tensor:
    """Choose what the next stage reads, the features that were sent or else the stage's own.

    Args:
        own: features of the stage.
        sent: what the generator was sent, None in a plain loop.

    Example:
        >>> read(torch.zeros(1), None)
        tensor([0.])
    """
    return own if sent is None else sent


def last(run: Iterable[Tensor]) -> Tensor:
    """Run all stages, each on the features of the one before it, and return the last features.

    Args:
        run: the generator, as :func:`stages` returns it.

    Example:
        >>> last(stages(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.tensor([[[-1.0, 2.0]]])))
        tensor([[0., 2.]])
    """
    for features in run:
        x = features
    return x


class Stage(NamedTuple):
    """A stage of a trunk.

    Attributes:
        shape: of the features for one input, channels first. A tree of shapes where the last stage
            outputs a tree of tensors.
        parameters: the names of the trunk's parameters that this stage reads and no stage before
            it.

    Example:
        >>> Stage((8, 3, 3), frozenset({"coarse.weight", "coarse.bias"})).shape
        (8, 3, 3)
    """

    shape: Any
    parameters: frozenset[str]


def find_stages(trunk: nn.Module, example: Tensor) -> list[Stage]:
    """Find the shape of the features and the parameters of each stage of a trunk.

    A copy of the trunk runs on the meta device, in eval mode: no values are computed, and the trunk
    stays as it is.

    Args:
        trunk: as for :func:`stages`.
        example: a batch of inputs.

    Raises:
        UnsuitableTrunk: as for :func:`stages`, or a stage before the last outputs anything but one
            tensor.

    Example:
        >>> trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> [sorted(stage.parameters) for stage in find_stages(trunk, torch.rand(2, 3, 8, 8))]
        [['0.bias', '0.weight'], ['1.bias', '1.weight']]
    """
    twin = copied(trunk).to("meta").eval().requires_grad_()
    named = dict(twin.named_parameters())
    found, seen = [], frozenset()
    with torch.enable_grad():
        run = stages(twin, example.to("meta"))
        for features in run:
            used = _used(named, tensors(features))
            shape = tree_map(lambda part: tuple(part.shape[1:]), features)
            found.append(Stage(shape, used - seen))
            seen |= used
            if not isinstance(features, Tensor) and not _has_ended(run):
                raise UnsuitableTrunk(
                    f"stage {len(found) - 1} of {type(trunk).__name__} gives a "
                    f"{type(features).__name__}, expected one tensor before the last stage"
                )
    return found


def is_resnet(trunk: nn.Module) -> bool:
    """Tell whether a trunk is a ResNet of timm, which need not be installed.

    Args:
        trunk: any module.

    Example:
        >>> is_resnet(nn.Identity())
        False
    """
    timm = sys.modules.get("timm.models.resnet")  # imported wherever such a trunk exists
    return timm is not None and isinstance(trunk, timm.ResNet)


def call(part: nn.Module, x: Tensor) -> Tensor:
    """Call a part of a trunk.

    This is the default of the generators of SegNet, CelebANet and ResNet. A method that reads
    features inside a stage passes a function of this form that does more.

    Args:
        part: the part, such as a stage.
        x: its input.

    Example:
        >>> call(nn.ReLU(), torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    return part(x)


def resnet_stages(trunk: nn.Module, x: Tensor, call: Call = call) -> Stages:
    """Run a ResNet of timm as :func:`stages` does; ``call(part, x)`` runs each ``layer``."""
    x = trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(x))))
    for layer in (trunk.layer1, trunk.layer2, trunk.layer3):
        x = read(x, (yield x))
        x = call(layer, x)
    x = read(x, (yield x))
    yield trunk.forward_head(call(trunk.layer4, x))


def _is_efficientnet(trunk: nn.Module) -> bool:
    timm = sys.modules.get("timm.models.efficientnet")
    if timm is None or not isinstance(trunk, timm.EfficientNetFeatures):
        return False
    return trunk.feature_hooks is None


def _efficientnet_stages(trunk: nn.Module, x: Tensor) -> Generator:
    chosen, maps = trunk._stage_out_idx, []
    for place, part in enumerate((trunk.conv_stem, *trunk.blocks)):
        x = part(x) if place else trunk.bn1(part(x))
        if place < len(trunk.blocks):
            x = read(x, (yield x))
        if place in chosen:
            maps.append(x)
    yield maps


def _children(trunk: nn.Sequential, x: Tensor) -> Stages:
    for child in trunk:
        x = child(x)
        x = read(x, (yield x))


def _has_ended(run: Stages) -> bool:
    try:
        next(run)
    except StopIteration:
        return True
    except Exception:  # the next stage exists, and cannot read these features
        return False
    return False


def _used(named: dict[str, nn.Parameter], features: Sequence[Tensor]) -> frozenset[str]:
    """Find the names of the parameters that the features depend on, in the graph of autograd."""
    names = {id(parameter): name for name, parameter in named.items()}
    nodes = [get_gradient_edge(part).node for part in features if part.requires_grad]
    seen = set(nodes)
    for node in nodes:  # grows
        before = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= before
        nodes += before
    leaves = [id(node.variable) for node in nodes if hasattr(node, "variable")]
    return frozenset(names[leaf] for leaf in leaves if leaf in names)

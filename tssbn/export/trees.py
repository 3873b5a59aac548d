"""Which tasks share which layers: trees for :func:`tssbn.export.branches`, and how to choose them.

A tree starts with one trunk and ends with as many branches as the tasks need; tasks that have
parted stay apart. Two ways to find one: :func:`tree_by_similarity` looks at gates and statistics
and runs nothing, :func:`greedy` measures what each merger costs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from tssbn.cost import macs
from tssbn.deprecation import former_names
from tssbn.export.plain import task_affine
from tssbn.export.tracing import traced
from tssbn.export.unroll import Partition, branches, refine
from tssbn.multitask import MultiTask
from tssbn.norm import TaskSpecificNorm

__all__ = ["TreeStep", "distances", "greedy", "tree_by_similarity"]

__getattr__ = former_names(
    __name__, Step="TreeStep", agree="tree_by_similarity", differences="distances"
)


class TreeStep(NamedTuple):
    """A network on the way from T passes to fewer.

    Attributes:
        cost: multiply-accumulates for one image and all tasks.
        loss: what was measured.
        tree: who shares what.
    """

    cost: int
    loss: float
    tree: dict[str, tuple[tuple[str, ...], ...]]


def distances(net: MultiTask, example: Any = None) -> dict[str, Tensor]:
    """Measure how far apart two tasks' norm layers are, as maps from one input, by layer.

    In evaluation a norm layer is an affine map of each channel: y = a_t x + c_t with
    a_t = w_t / s_t and c_t = b_t - a_t m_t, of scale w, bias b, running mean m and deviation s.
    For an input with the mean m and variance v that the two tasks have on average, the
    root of the mean over channels of (Δa m + Δc)² + Δa² v is how far the outputs are apart; it is
    divided by that of the scales w, the size of what both put out.

    Args:
        net: a network with task-specific norm layers.
        example: as in :func:`tssbn.export.branches`.

    Returns:
        A (T, T) tensor for each task-specific layer, in the order in which they run; float64.

    Raises:
        ValueError: as :func:`tssbn.export.branches`.

    Example:
        >>> import tssbn
        >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(1), ("seg", "depth"))
        >>> _ = trunk.gamma.data.copy_(torch.logit(torch.tensor([[0.3], [0.4]])))
        >>> net = tssbn.MultiTask(trunk, {task: torch.nn.ReLU() for task in ("seg", "depth")})
        >>> distances(net)[""][0, 1].round(decimals=3)  # 0.1 / √(0.3²/2 + 0.4²/2)
        tensor(0.2830, dtype=torch.float64)
    """
    _, _, layers = traced(net, example)
    return {name: _apart(layer, net.tasks) for name, layer in layers.items()}


def tree_by_similarity(
    net: MultiTask, tolerance: float, example: Any = None
) -> dict[str, Partition]:
    """Make a tree in which tasks stay together while their gates and statistics are similar.

    Layer by layer from the input, the tasks of each group of the layer before are clustered by
    :func:`distances` with complete linkage: no two tasks of a group are further apart than the
    tolerance. Tasks that have parted stay apart. The effect of a difference in an early layer on
    later layers is not measured.

    Args:
        net: a network with task-specific norm layers.
        tolerance: 0 or more. 0 keeps only equal layers together; infinity gives one trunk.
        example: as in :func:`tssbn.export.branches`.

    Returns:
        The tree, with a partition for every task-specific layer in the order in which they run.

    Raises:
        ValueError: a negative tolerance; and as :func:`tssbn.export.branches`.

    Example:
        >>> import tssbn
        >>> tasks = ("seg", "depth", "normal")
        >>> trunk = tssbn.task_specific(torch.nn.BatchNorm1d(4), tasks)
        >>> net = tssbn.MultiTask(trunk, {task: torch.nn.ReLU() for task in tasks})
        >>> _ = trunk.gamma.data[1].fill_(3)
        >>> tree_by_similarity(net, 0)
        {'': (('seg', 'normal'), ('depth',))}
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance={tolerance} must be 0 or more")
    found = distances(net, example)
    partition: Partition = (net.tasks,)
    tree = {}
    for name, apart in found.items():
        groups = []
        for group in partition:
            rows = [net.tasks.index(task) for task in group]
            groups += _clusters(group, apart[rows][:, rows], tolerance)
        tree[name] = partition = tuple(groups)
    return tree


def greedy(
    net: MultiTask,
    loss: Callable[[fx.GraphModule], float],
    example: Tensor,
    depths: Iterable[str] | None = None,
    budget: float = 0,
    on_example: bool = False,
) -> list[TreeStep]:
    """Merge T passes step by step, with the smallest loss per saved MAC in each step.

    A step keeps two groups that part at one depth together up to the next depth. Each time the best
    step is taken. To save time, candidates are measured again in the order of their last result,
    until one stays the best.

    Args:
        net: a network with task-specific norm layers. A copy in evaluation mode is measured.
        loss: of a network as :func:`tssbn.export.branches` gives it, on images that are not those
            of the test; may change it, say re-estimate its statistics.
        example: a batch of inputs, for the cost.
        depths: names of the norm layers at which tasks may part; all by default. The first layer
            always is one. With fewer depths there are fewer and longer moves.
        budget: go on until the network has no more MACs for an image; by default as far as it goes.
        on_example: whether the example also answers what the trunk's code asks, see
            :func:`tssbn.export.branches`.

    Returns:
        The whole path, T passes first. Costs fall from step to step; a tree has the depths alone,
        as a layer that is not named splits nothing.

    Raises:
        ValueError: unknown depths; and as :func:`tssbn.export.branches`.

    Example:
        >>> import tssbn
        >>> from torch import nn
        >>> parts = [nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)]
        >>> heads = {task: nn.Conv2d(2, 1, 1) for task in ("seg", "depth")}
        >>> net = tssbn.MultiTask(tssbn.task_specific(nn.Sequential(*parts), heads), heads)
        >>> path = greedy(net, lambda merged: 0.0, torch.rand(1, 2, 1, 1))
        >>> [step.cost for step in path], path[-1].tree["1"]
        ([16, 12], (('seg', 'depth'),))
    """
    answers = example if on_example else None
    _, _, layers = traced(net, answers)
    net = copy.deepcopy(net).eval()  # a mode that is traced stays: dropout by function, say
    names = (
        list(layers) if depths is None else [depths] if isinstance(depths, str) else list(depths)
    )
    if unknown := [name for name in names if name not in layers]:
        raise ValueError(f"depths names {unknown}: the task-specific layers are {list(layers)}")
    places = [name for i, name in enumerate(layers) if i == 0 or name in names]

    def step(partitions: list[Partition]) -> TreeStep:
        tree = dict(zip(places, partitions, strict=True))
        merged = branches(net, tree, answers)
        cost = macs(copy.deepcopy(merged).to("meta"), example.to("meta"))
        return TreeStep(cost, float(loss(merged)), tree)

    partitions: list[Partition] = [tuple((task,) for task in net.tasks)] * len(places)
    path = [step(partitions)]
    rates: dict[tuple, float] = {}  # loss for each MAC saved, as last measured
    while path[-1].cost > budget:
        fresh: dict[tuple, TreeStep] = {}
        moves = dict(_moves(partitions, net.tasks))
        while moves:
            best = min(moves, key=lambda move: rates.get(move, -torch.inf))
            if best in fresh:
                break
            fresh[best] = now = step(moves[best])
            saved = path[-1].cost - now.cost
            rates[best] = (now.loss - path[-1].loss) / saved if saved else torch.inf
        if not moves or rates[best] == torch.inf:
            break
        partitions = moves[best]
        path.append(fresh[best])
    return path


def _apart(layer: TaskSpecificNorm, tasks: Iterable[str]) -> Tensor:
    """(T, T), see `distances`."""
    values = [task_affine(layer, task) for task in tasks]

    def rows(name: str, default: float) -> Tensor:
        """(T, C)"""
        each = [v.get(name, torch.full_like(v["weight"], default)) for v in values]
        return torch.stack(each).detach().double().flatten(1)

    scale, bias = rows("weight", 1.0), rows("bias", 0.0)
    mean, variance = rows("running_mean", 0.0), rows("running_var", 1.0)
    slope = scale / (variance + getattr(layer, "eps", 0.0)).sqrt()
    shift = bias - slope * mean

    def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
        """Difference and mean of every two rows, (T, T, C)."""
        return x[:, None] - x, (x[:, None] + x) / 2

    (slopes, _), (shifts, _) = pairs(slope), pairs(shift)
    (_, mean), (_, variance), (_, power) = pairs(mean), pairs(variance), pairs(scale**2)
    off = ((slopes * mean + shifts) ** 2 + slopes**2 * variance).mean(-1).sqrt()
    return torch.where(off == 0, 0.0, off / power.mean(-1).sqrt())


def _clusters(group: tuple[str, ...], apart: Tensor, tolerance: float) -> list[tuple[str, ...]]:
    """Complete linkage: the nearest two clusters become one, as long as they are near enough."""
    clusters = [[i] for i in range(len(group))]
    apart = apart.clone().fill_diagonal_(torch.inf)
    while len(clusters) > 1 and apart.min() <= tolerance:
        i, j = sorted(divmod(int(apart.argmin()), len(clusters)))
        apart[i] = apart[:, i] = torch.maximum(apart[i], apart[j])
        stay = [k for k in range(len(clusters)) if k != j]
        apart = apart[stay][:, stay]
        clusters[i] += clusters.pop(j)
    return [tuple(group[i] for i in sorted(cluster)) for cluster in clusters]


def _moves(
    partitions: list[Partition], tasks: tuple[str, ...]
) -> Iterator[tuple[tuple, list[Partition]]]:
    """Every move by depth and groups, and the partitions that it leads to."""
    above: Partition = (tasks,)
    for depth, partition in enumerate(partitions):
        for i, one in enumerate(partition):
            for other in partition[i + 1 :]:
                together = tuple(task for task in tasks if task in one or task in other)
                if len(refine((together,), above)) == 1:
                    rest = tuple(group for group in partition if group not in (one, other))
                    merged = (together, *rest)
                    yield (
                        (depth, one, other),
                        [*partitions[:depth], merged, *partitions[depth + 1 :]],
                    )
        above = partition

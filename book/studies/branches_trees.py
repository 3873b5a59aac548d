"""Ways to choose the tree of a network, for the study of branches."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tssbn import MultiTask
from tssbn.export.trees import distances, tree_by_similarity

Tree = Mapping[str, tuple[tuple[str, ...], ...]]


def by_gates(net: MultiTask, cost: Callable[[Tree], float], share: float) -> Tree:
    """The tree of the smallest tolerance that is cheap enough, by bisection."""
    values = torch.cat([apart.flatten() for apart in distances(net).values()])
    values = values.unique().tolist()
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if cost(tree_by_similarity(net, values[middle])) <= share:
            high = middle
        else:
            low = middle + 1
    return tree_by_similarity(net, values[low])


def together(net: MultiTask, cost: Callable[[Tree], float], share: float) -> Tree:
    """All tasks together up to the first layer that is deep enough."""
    apart = tuple((task,) for task in net.tasks)
    trees = ({layer: apart} for layer in distances(net))
    return next(tree for tree in trees if cost(tree) <= share)


def relabelled(tree: Tree, tasks: tuple[str, ...], seed: int) -> Tree | None:
    """The tree with the tasks' names shuffled until it is another one; None if it never is."""
    if all(len(groups) in (1, len(tasks)) for groups in tree.values()):
        return None
    generator = random.Random(seed)
    while True:
        other = dict(zip(tasks, generator.sample(tasks, len(tasks)), strict=True))
        named = {
            name: tuple(tuple(sorted(map(other.get, group), key=tasks.index)) for group in groups)
            for name, groups in tree.items()
        }
        if any(set(named[name]) != set(groups) for name, groups in tree.items()):
            return named


def short(tree: Tree) -> dict[str, Any]:
    """The tree without the layers at which nobody parts."""
    kept, last = {}, None
    for name, partition in tree.items():
        if set(partition) != last and len(partition) > 1:
            kept[name] = partition
        last = set(partition)
    return kept


def pairs(apart: Tensor) -> Tensor:
    """The values above the diagonal."""
    rows, columns = torch.triu_indices(*apart.shape, offset=1)
    return apart[rows, columns]

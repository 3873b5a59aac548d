"""Numbers of several networks' gates beside those of a null, run by run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch

from tssbn import gates
from tssbn.claims import measures
from tssbn.claims.evidence import Measured
from tssbn.claims.sample import pseudo_values
from tssbn.gates import Importance

__all__ = ["agreement", "beside_shuffled", "cohesion"]

DRAWS = 10


def beside_shuffled(
    title: str,
    nets: Sequence[Importance],
    measure: Callable[[Importance], float],
    unit: str = "points",
    **nulls: Callable[[Importance], float],
) -> Measured:
    """Measure networks' gates, and the same gates shuffled.

    Args:
        title: of the evidence.
        nets: the gates of each run; there may be none.
        measure: a number of gates, such as :func:`tssbn.claims.measures.depth_slope`.
        unit: of the number.
        nulls: the numbers of other nulls, by name.

    Returns:
        The arms ``"gates"`` and ``"shuffled"``, the mean of ten shuffles, and the other nulls.

    Example:
        >>> values = torch.tensor([[0.5, 0.5, 0.9, 0.1], [0.5, 0.5, 0.1, 0.9]]).double()
        >>> net = Importance(values, ("seg", "depth"), {"1": 2, "4": 2})
        >>> found = beside_shuffled("toys", [net, net], measures.spread)
        >>> found.against("gates", "shuffled")  # the same gates, elsewhere
        {'shuffled': +0.0 [+0.0, +0.0] of points}
    """
    dice = torch.Generator().manual_seed(0)
    mean = [
        float(np.mean([measure(gates.permuted(net, dice)) for _ in range(DRAWS)])) for net in nets
    ]
    values = {"gates": [measure(net) for net in nets], "shuffled": mean}
    others = {name: [null(net) for net in nets] for name, null in nulls.items()}
    return Measured(title, values | others, unit, paired=True)


def agreement(
    title: str,
    nets: Sequence[Importance],
    alike: Callable[[Importance], torch.Tensor] = gates.similarity,
) -> Measured:
    """Measure how well seeds agree on which tasks are alike, and shuffled gates of the same seeds.

    A number for each run by the jackknife, since pairs with a run in common are not independent.

    Args:
        title: of the evidence.
        nets: the gates of each run, of three tasks or more; fewer than three runs give no number.
        alike: gives the similarity of the tasks of a run, (T, T).
    """
    dice = torch.Generator().manual_seed(0)
    arms = {"gates": nets, "shuffled": [gates.permuted(net, dice) for net in nets]}
    values = {
        arm: pseudo_values([alike(net) for net in of], measures.agreement)
        for arm, of in arms.items()
    }
    return Measured(title, values, paired=True)


def cohesion(
    title: str,
    nets: Sequence[Importance],
    group: Collection[str],
    labels: Callable[[Sequence[str]], Any],
) -> Measured:
    """Measure how well a group of tasks holds together by centred gates, and by labels alone.

    Args:
        title: of the evidence.
        nets: the gates of each run.
        group: names of tasks; those that the runs have not are left out.
        labels: gives the similarity of the labels of some tasks, (T, T).

    Returns:
        The arms ``"gates"`` and ``"labels alone"``.
    """
    values: dict[str, list[float]] = {"gates": [], "labels alone": []}
    for net in nets:
        rows = [row for row, task in enumerate(net.tasks) if task in group]
        alike = gates.similarity(net, centred=True)
        values["gates"].append(measures.cohesion(alike, rows))
        values["labels alone"].append(measures.cohesion(labels(net.tasks), rows))
    return Measured(title, values, "points", paired=True)

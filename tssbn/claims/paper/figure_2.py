"""Figure 2: gradients of the tasks, their representations, and what one more task costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tssbn.claims import measures, studies
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import Counted, Measured
from tssbn.claims.paper.beds import ROOMS

__all__ = ["claims"]

ROW = {"part": "Figure 2", "chapter": "09_gradients"}


def claims() -> Iterator[Claim]:
    """Gradients are nearer to right angles, representations apart, and a task more is cheap."""
    text = "Early task gradients are nearer to right angles than those of HPS"
    yield Claim(text, angles("TSσBN", "HPS", "random gates"), null="random gates", **ROW)
    text = "Representations of the tasks are well apart (silhouette 0.5)"
    yield Claim(text, silhouettes(), "trained", 0.0, 0.5, "trained, shuffled", **ROW)
    text = "A task more costs a fraction of what STL adds"
    yield Claim(text, growth(), "STL", "TSσBN", chapter="15_cost", part="Figure 2")


def angles(*arms: str) -> Measured:
    """Measure the early cosines of the runs that have them, negative so that more is better."""
    runs = {arm: [run for run in ROOMS.runs[arm] if "angles" in run] for arm in arms}
    values = {arm: [-measures.early_cosine(run) for run in of] for arm, of in runs.items()}
    return Measured(ROOMS.title, values)


def silhouettes() -> Measured:
    """Read how well apart the tasks' features are, and those of shuffled tasks."""
    arms, found = ("trained", "trained, shuffled"), studies.runs("features/five_attributes")
    values = {arm: [run[arm]["silhouette"] for run in found] for arm in arms}
    return Measured("synthetic faces, 16x16", values, paired=True)


def growth() -> Counted:
    """Count what a third task adds to the encoder, in percent."""
    from tssbn import task_specific
    from tssbn.networks.deeplab import dilated_resnet

    with torch.device("meta"):
        two, three = (task_specific(dilated_resnet(), map(str, range(tasks))) for tasks in (2, 3))
    sizes = [sum(p.numel() for p in net.parameters()) for net in (two, three)]
    values = {"STL": 100.0, "TSσBN": 100 * (sizes[1] / sizes[0] - 1)}
    return Counted("ResNet-50", values, "% of the encoder less")

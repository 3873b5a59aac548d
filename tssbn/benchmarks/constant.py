"""The constant baseline, a prediction for each task that is the same for all images.

It is computed from the training targets alone, by the kind of target
(:class:`~tssbn.data.target.Target`), and for maps at each pixel position separately:

========================= ===============================================================
kind                      prediction
========================= ===============================================================
classes, class, words     log of the frequency of each class, whose largest value is that
                          of the most frequent class
depth, disparity, number  the median, which has the least absolute error
normal                    the mean direction, which has the greatest mean cosine
attribute                 log-odds of the attribute's frequency, or always "yes"
========================= ===============================================================

Missing labels are left out. A position without any label has the prediction of all positions
together.

An attribute has two predictions, because no single one is the best for all its scores: F1 at 0.5 is
best for "yes", and cross-entropy for the frequency. Each score is that of the prediction with the
better score on the training targets. For mIoU and the mean angle the predictions above are close to
the best constants, but not equal to them.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tssbn.benchmarks.tasks import Task
from tssbn.data.stored import Stored
from tssbn.data.target import Target

__all__ = ["constant_answers", "constant_scores"]

AT_ONCE = 2**24  # values of maps that are in memory at once
YES = 9.0  # the logit of "yes"


def constant_answers(data: Stored) -> dict[str, list[Tensor]]:
    """Compute the constant predictions of each task.

    Args:
        data: the training set.

    Returns:
        By task one prediction, or two for an attribute, of shape (1, C, H, W), (1, C) or
        (1, C, L), as a head outputs it.

    Example:
        >>> depth = torch.tensor([[1.0, 0.0], [2.0, 0.0], [5.0, 3.0]]).view(3, 1, 1, 2)
        >>> tensors = {"image": torch.zeros(3, 3, 1, 2), "depth": depth}
        >>> constant_answers(Stored(tensors, {"depth": Target("depth", ignore=0)}))
        {'depth': [tensor([[[[2., 3.]]]])]}
    """
    return {task: _answers(target, _parts(data, task)) for task, target in data.targets.items()}


def constant_scores(
    tasks: Mapping[str, Task], train: Stored, test: Stored, batch: int
) -> dict[str, dict[str, float]]:
    """Score the constant predictions of each task.

    Args:
        tasks: the tasks of the benchmark. Tasks whose heads have another number of channels than
            the predictions are left out.
        train: the data that the predictions are computed from.
        test: the data that they are scored on.
        batch: images of a batch, for metrics that average over batches.

    Returns:
        By task the values of its metric, without lists by class.

    Example:
        >>> from tssbn.benchmarks.tasks import tasks_for
        >>> targets = {"smile": Target("attribute")}
        >>> smile = torch.tensor([1, 0, 0, 0])
        >>> data = Stored({"image": torch.zeros(4, 3, 1, 1), "smile": smile}, targets)
        >>> scores = constant_scores(tasks_for(targets), data, data, 2)["smile"]
        >>> {name: round(value, 3) for name, value in scores.items()}
        {'f1': 0.4, 'average_precision': 0.25, 'auc': 0.5, 'cross_entropy': 0.562}
    """
    scores = {}
    for name, answers in constant_answers(train).items():
        if name not in tasks or answers[0].shape[1] != tasks[name].out_channels:
            continue
        found = [_score(tasks[name], name, answer, test, batch) for answer in answers]
        if len(answers) > 1:
            known = [_score(tasks[name], name, answer, train, batch) for answer in answers]
            up = tasks[name].metric().directions
            found = [{score: found[_best(known, score, up[score])][score] for score in found[0]}]
        scores[name] = found[0]
    return scores


def _parts(data: Stored, task: str) -> Iterator[Tensor]:
    """Yield the targets of all samples, those of maps in bands of some rows."""
    value = data.tensors[task]
    if not data.targets[task].dense:
        yield from _targets(data, task, [slice(None)])
        return
    rows = max(1, AT_ONCE * value.shape[-2] // max(1, value.numel()))
    for band in value.split(rows, -2):
        banded = Stored({"image": data.tensors["image"], task: band}, {task: data.targets[task]})
        yield from _targets(banded, task, [slice(None)])


def _targets(data: Stored, task: str, parts: Sequence[slice | Tensor]) -> Iterator[Tensor]:
    """Yield some entries of a task, without reading the images."""
    blank = torch.empty(len(data), 0)
    alone = Stored({"image": blank, task: data.tensors[task].cpu()}, {task: data.targets[task]})
    for part in parts:
        yield alone[part][task]


def _answers(target: Target, parts: Iterator[Tensor]) -> list[Tensor]:
    match target.kind:
        case "classes" | "class":
            classes = range(len(target.classes))
            counts = [torch.stack([(part == c).sum(0) for c in classes]) for part in parts]
            return [_log_frequency(_joined(counts).double())]
        case "words":  # one answer to all: the place in a sentence is not ignored otherwise
            (labels,) = parts
            found = labels[labels >= 0].bincount(minlength=len(target.classes))
            return [_log_frequency(found.double())[..., None].expand(-1, -1, labels.shape[1])]
        case "attribute":
            (labels,) = parts
            share = (labels == 1).sum() / (labels >= 0).sum().clamp(min=1)
            odds = share.double().clamp(1e-6, 1 - 1e-6).logit().float()
            return [odds.view(1, 1), torch.full((1, 1), YES)]
        case "normal":
            return [_direction(_joined([part.nan_to_num().double().sum(0) for part in parts]))]
        case _:
            return [_median(_joined([_known(part, target).nanmedian(0).values for part in parts]))]


def _joined(bands: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(bands), -2) if bands[0].dim() > 1 else bands[0]


def _log_frequency(counts: Tensor) -> Tensor:
    """Return log frequencies of counts (C, ...), where overall frequencies break ties."""
    everywhere = counts.flatten(1).sum(1) if counts.dim() > 1 else counts
    share = (everywhere / everywhere.sum().clamp(min=1)).view(-1, *[1] * (counts.dim() - 1))
    return ((counts + share) / (counts.sum(0) + 1)).clamp(min=1e-9).log().float()[None]


def _direction(sums: Tensor) -> Tensor:
    """Return the directions of sums (3, H, W) of unit vectors; towards the camera if all are 0."""
    everywhere = sums.sum((1, 2), keepdim=True)
    if not everywhere.any():
        everywhere = sums.new_tensor([0, 0, -1]).view(3, 1, 1)
    sums = torch.where((sums != 0).any(0), sums, everywhere)
    return F.normalize(sums, dim=0).float()[None]


def _known(part: Tensor, target: Target) -> Tensor:
    return part if target.ignore is None else part.where(part != target.ignore, torch.nan)


def _median(medians: Tensor) -> Tensor:
    """Fill positions without a median with the median of all positions."""
    middle = medians.flatten().nanmedian().nan_to_num()
    return torch.where(medians.isnan(), middle, medians).view(1, *(medians.shape or (1,)))


def _score(task: Task, name: str, answer: Tensor, data: Stored, batch: int) -> dict[str, float]:
    metric = task.metric()
    metric.distributed_available_fn = lambda: False  # every process scores all images
    whole = not data.targets[name].dense  # no metric of such averages over batches
    parts = [torch.arange(len(data))] if whole else torch.arange(len(data)).split(batch)
    for target in _targets(data, name, parts):
        metric.update(answer.expand(len(target), *answer.shape[1:]), target)
    return {score: value for score, value in metric.compute().items() if isinstance(value, float)}


def _best(scores: Sequence[Mapping[str, float]], name: str, up: bool) -> int:
    values = [score[name] for score in scores]
    return values.index(max(values) if up else min(values))

"""The recipe of a benchmark: epochs, optimiser, learning rate and its schedule."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer

__all__ = ["SCHEDULES", "Recipe"]


def one_cycle(done: int, total: int, _: int = 0) -> float:
    """Compute the factor of the one-cycle schedule, as PyTorch's OneCycleLR does.

    It rises from 1/25 to 1 along half a cosine, up to ``0.3 * total - 1``, and falls to 1/250,000
    along another, down to ``total - 1``.

    Args:
        done: number of epochs or steps that are done.
        total: number of all epochs or steps.

    Example:
        >>> [round(one_cycle(done, 20), 3) for done in (0, 5, 19)]
        [0.04, 1.0, 0.0]
    """
    done, peak, last = min(done, total - 1), 0.3 * total - 1, total - 1
    if done <= peak:
        low, share = 1 / 25, 1 - done / peak
    else:
        low, share = 1 / 250_000, (done - peak) / (last - peak)
    return low + (1 - low) * (1 + math.cos(math.pi * share)) / 2


def warm_cosine(done: int, total: int, _: int = 0) -> float:
    """Compute the factor of the schedule with a warm-up and a cosine, as in MTLoRA.

    It rises in a line from 1/1000 to 1 over the first fifteenth (20 of 300 epochs), and falls to
    1/100 along half a cosine.

    Args:
        done: number of epochs or steps that are done.
        total: number of all epochs or steps.

    Example:
        >>> [round(warm_cosine(done, 300), 4) for done in (0, 10, 20, 160, 300)]
        [0.001, 0.5005, 1.0, 0.505, 0.01]
    """
    warm = round(total / 15)
    if done < warm:
        return 1 / 1000 + (1 - 1 / 1000) * done / warm
    return 1 / 100 + (1 - 1 / 100) * (1 + math.cos(math.pi * (done - warm) / (total - warm))) / 2


#: Schedules of the learning rate. ``factor(done, total, halve)`` is the factor of the base rate
#: after `done` of `total` epochs or steps; ``"step"`` halves the rate after every `halve` of them.
SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "constant": lambda done, total, halve: 1.0,
    "step": lambda done, total, halve: 0.5 ** (done // halve),
    "cosine": lambda done, total, halve: (1 + math.cos(math.pi * done / total)) / 2,
    "poly": lambda done, total, halve: (1 - done / total) ** 0.9,
    "one-cycle": one_cycle,
    "warm-cosine": warm_cosine,
}

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
INTERVALS = ("epoch", "step")
REPORTS = ("last", "last-10", "val", "libmtl")


@dataclass(frozen=True)
class Recipe:
    """The training settings of a benchmark, which are the same for every method.

    Attributes:
        epochs: passes over the training images.
        batch: images of a step; the last batch of an epoch may have fewer.
        lr: the base learning rate.
        optimiser: ``"adam"``, ``"adamw"``, or ``"sgd"`` with momentum 0.9.
        weight_decay: weight decay of all parameters but gates.
        decay_vectors: whether the parameters that :func:`tssbn.optim.spare_vectors` selects are
            decayed as well: biases, and others with one dimension, or one for each task.
        schedule: the change of the rate, a name in :data:`~tssbn.benchmarks.recipe.SCHEDULES`, with
            t from 0 to 1 over the whole training: ``"constant"``; ``"step"``, half every
            `halve_every` epochs; ``"cosine"``, (1 + cos πt)/2; ``"poly"``, (1 - t)^0.9;
            ``"one-cycle"`` and ``"warm-cosine"``, see :func:`~tssbn.benchmarks.recipe.one_cycle`
            and :func:`~tssbn.benchmarks.recipe.warm_cosine`.
        halve_every: epochs after which the schedule ``"step"`` halves the rate.
        warmup: epochs in which the rate is multiplied by a ramp, (k + 1)/(w + 1) in step k of w,
            beside the schedule.
        interval: whether the rate changes after each ``"epoch"`` or each ``"step"``.
        clip: the largest norm of the gradient, to which a longer one is scaled; None for no limit.
            The norm is that of all trained parameters together, including those of a balancing.
        report: the epoch that is reported: ``"last"``, ``"last-10"`` for the mean of the last ten,
            ``"val"`` for the best one on the validation images, or ``"libmtl"`` for the one that
            LibMTL chooses, on the test images, see :func:`tssbn.records.reported`.
        min_last_batch: the last batch of an epoch is left out if it has fewer images. Networks with
            a BatchNorm over 1x1 maps, all but SegNet, cannot train on a single image.
        drop_last: whether every incomplete last batch is left out.
        tasks_per_pass: number of tasks in a pass of the trunk, for networks in which each task
            makes a pass; all if None. It changes memory and speed, but no result. Take as many as
            fit into memory; on a CPU fewer, if an activation of the pass exceeds some 32 MiB.
        weights: factors of the losses, by task; 1 for all others.

    Raises:
        ValueError: a field has an impossible value; the message names field, value and what would
            be right.

    Example:
        >>> recipe = Recipe(epochs=10, batch=8, lr=0.1, schedule="cosine", warmup=1.0)
        >>> [round(recipe.factor(epoch), 3) for epoch in (0, 1, 5, 9)]
        [0.5, 0.976, 0.5, 0.024]
    """

    epochs: int
    batch: int
    lr: float
    optimiser: str = "adam"
    weight_decay: float = 0.0
    decay_vectors: bool = True
    schedule: str = "constant"
    halve_every: int = 100
    warmup: float = 0.0
    interval: str = "epoch"
    clip: float | None = None
    report: str = "last"
    min_last_batch: int = 2
    drop_last: bool = False
    tasks_per_pass: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "halve_every", "min_last_batch", "tasks_per_pass"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            _check(name, value, whole or (name == "tasks_per_pass" and value is None), "1 or more")
        _check("lr", self.lr, 0 < self.lr < math.inf, "positive and finite")
        decay = self.weight_decay
        _check("weight_decay", decay, 0 <= decay < math.inf, "0 or more, and finite")
        clipped = self.clip is None or self.clip > 0
        _check("clip", self.clip, clipped, "positive, or None for no limit")
        for name, choices in (
            ("optimiser", tuple(OPTIMISERS)),
            ("schedule", tuple(SCHEDULES)),
            ("interval", INTERVALS),
            ("report", REPORTS),
            ("drop_last", (False, True)),
            ("decay_vectors", (False, True)),
        ):
            _check(name, getattr(self, name), getattr(self, name) in choices, f"one of {choices}")
        within = 0 <= self.warmup < self.epochs
        room = f"0 or more and below epochs={self.epochs}: take more epochs, or another warmup"
        _check("warmup", self.warmup, within, room)
        steady = self.interval == "step" or self.warmup == int(self.warmup)
        _check("warmup", self.warmup, steady, 'a whole number of epochs unless interval="step"')
        for task, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of {task!r} is {weight}, it must be positive")

    def make_optimiser(self, groups: Iterable[Mapping[str, Any]]) -> Optimizer:
        """Make the optimiser of the parameters that are not frozen.

        Args:
            groups: parameter groups, as a method's ``groups`` returns them.

        Raises:
            ValueError: all parameters are frozen.
        """
        trained = [
            {**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups
        ]
        trained = [group for group in trained if group["params"]]
        if not trained:
            raise ValueError("no parameter is trained: every requires_grad is False")
        momentum = {"momentum": 0.9} if self.optimiser == "sgd" else {}
        make = OPTIMISERS[self.optimiser]
        return make(trained, lr=self.lr, weight_decay=self.weight_decay, **momentum)

    def factor(self, done: int, steps: int = 1) -> float:
        """Compute the factor of the base rate, schedule times warm-up.

        Args:
            done: number of epochs or steps that are done, according to `interval`.
            steps: steps of an epoch; 1 where the rate changes after each epoch.
        """
        total, warm = steps * self.epochs, round(steps * self.warmup)
        ramp = min(1.0, (done + 1) / (warm + 1))
        return ramp * SCHEDULES[self.schedule](done, total, steps * self.halve_every)

    def set_rates(self, optimiser: Optimizer, epoch: int, step: int = 0, steps: int = 1) -> None:
        """Set the learning rates of the next step, from those of the step before.

        Call it exactly once before every step. Each group keeps its multiple of the base rate.

        Args:
            optimiser: the optimiser, changed in place.
            epoch: number of epochs that are done.
            step: number of steps of this epoch that are done.
            steps: steps of an epoch.
        """
        if self.interval == "step":
            done = epoch * steps + step
        elif step > 0:
            return
        else:
            done, steps = epoch, 1
        # PyTorch's schedulers also multiply by ratios, so the rates equal theirs to the last bit.
        ratio = self.factor(done, steps) / (self.factor(done - 1, steps) if done else 1.0)
        for group in optimiser.param_groups:
            group["lr"] = ratio * group["lr"]


def _check(name: str, value: Any, right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"{name}={value!r} must be {what}")

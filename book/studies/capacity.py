"""Does capacity follow difficulty, and sharing follow similarity? Tasks of which both are known.

    python book/studies/capacity.py [KNOB ...] [--seeds 6]

A small network with TSσBN learns two tasks, "first" and "second", and one knob is turned:

- units: the second teacher is a sum of 1 to 16 ReLU units, the first has 4. More units are harder.
- frequency: the second teacher is a sum of two sines of growing frequency, the first has 1.
- noise: two teachers of 4 units; the labels of the second get noise of growing deviation. The
  function to be learned stays what it was: noisier, not harder.
- cosine: two teachers of 8 units, whose directions have a given cosine, unit by unit.
- overlap: both teachers are sums of 8 of 32 given units, which are the first layer of the network
  and are not trained; a given share of the 8 is the same. So we know who needs which filter.
- digits: read the left one of two handwritten digits, and: the same once more, "is it under 5?",
  the same of the right one, or read the right one.

A saved file has the gates and the test errors of each run; chapter 10 computes the measures.
The gates' own learning rate is 0.02, 10 times 2e-3 (digits: 5 times 4e-3): with Adam it is this
product that counts, and the paper's is 0.01, 100 times 1e-4. Of units and cosine there are runs at
1 and 100 times 2e-3, too.

The appendix of arXiv 2512.20420 on synthetic tasks was not available; the design is our own.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

import tssbn
from tssbn.data.synthetic import digits
from tssbn.gates import Importance
from tssbn.records import environment, pack_gates, write

TASKS = ("first", "second")
INPUTS, WIDTH = 16, 32
STEPS, BATCH, LR, MULTIPLIER = 400, 128, 2e-3, 10
DIGITS_STEPS, DIGITS_BATCH, DIGITS_LR, DIGITS_MULTIPLIER = 200, 64, 4e-3, 5

Teacher = Callable[[Tensor], Tensor]  # (N, INPUTS) -> (N, 1)


class Problem(NamedTuple):
    """Two regression tasks on normally distributed inputs.

    Attributes:
        teachers: by task; each has mean 0 and variance 1.
        noise: deviation of what is added to the labels of the second task.
        bank: weights (WIDTH, INPUTS) of a first layer that is not trained.
        needed: by task, the units of the bank that its teacher is made of.
    """

    teachers: Mapping[str, Teacher]
    noise: float = 0.0
    bank: Tensor | None = None
    needed: Mapping[str, list[int]] | None = None


def directions(count: int, generator: Generator) -> Tensor:
    """(count, INPUTS), each of length 1."""
    return F.normalize(torch.randn(count, INPUTS, generator=generator), dim=1)


def standard(function: Teacher) -> Teacher:
    """The same with mean 0 and variance 1, as found on a sample."""
    sample = function(torch.randn(4000, INPUTS, generator=Generator().manual_seed(7)))
    mean, std = sample.mean(), sample.std()
    return lambda x: (function(x) - mean) / std


def relu_units(weights: Tensor) -> Teacher:
    """A sum of ReLU units, with alternating signs."""
    signs = torch.ones(len(weights), 1)
    signs[1::2] = -1
    return standard(lambda x: F.relu(x @ weights.T) @ signs)


def sines(frequency: float, generator: Generator) -> Teacher:
    weights = frequency * directions(2, generator)
    return standard(lambda x: torch.sin(x @ weights.T).sum(1, keepdim=True))


def units(value: int, generator: Generator) -> Problem:
    first = relu_units(directions(4, generator))
    return Problem({"first": first, "second": relu_units(directions(value, generator))})


def frequency(value: float, generator: Generator) -> Problem:
    return Problem({"first": sines(1, generator), "second": sines(value, generator)})


def noise(value: float, generator: Generator) -> Problem:
    return units(4, generator)._replace(noise=value)


def turned(weights: Tensor, cosine: float, generator: Generator) -> Tensor:
    """Directions that have a given cosine with those of the weights, row by row."""
    other = torch.randn(weights.shape, generator=generator)
    other = F.normalize(other - (other * weights).sum(1, keepdim=True) * weights, dim=1)
    return cosine * weights + (1 - cosine**2) ** 0.5 * other


def cosine(value: float, generator: Generator) -> Problem:
    weights = directions(8, generator)
    others = turned(weights, value, generator)
    return Problem({"first": relu_units(weights), "second": relu_units(others)})


def overlap(value: float, generator: Generator) -> Problem:
    bank = directions(WIDTH, generator)
    order, both = torch.randperm(WIDTH, generator=generator), round(8 * value)
    needed = {"first": order[:8], "second": torch.cat([order[:both], order[8 : 16 - both]])}
    return Problem(
        {task: relu_units(bank[chosen]) for task, chosen in needed.items()},
        bank=bank,
        needed={task: chosen.tolist() for task, chosen in needed.items()},
    )


def network(problem: Problem) -> tssbn.MultiTask:
    trunk = nn.Sequential(
        nn.Linear(INPUTS, WIDTH, bias=False),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH, bias=False),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
    )
    if problem.bank is not None:
        trunk[0].weight = nn.Parameter(problem.bank, requires_grad=False)
    heads = {task: nn.Linear(WIDTH, 1) for task in TASKS}
    return tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads)


def descend(
    net: nn.Module, loss: Callable[[], Tensor], multiplier: float, steps: int, lr: float
) -> None:
    """Adam; both rates fall to zero along a cosine."""
    optimiser = torch.optim.Adam(tssbn.param_groups(net, lr, multiplier), fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()
    net.eval()


def regress(
    problem: Problem, seed: int, multiplier: float = MULTIPLIER, steps: int = STEPS
) -> tuple[Importance, dict[str, float]]:
    """The gates of a trained network, and its squared errors on new inputs without noise."""
    _ = torch.manual_seed(seed)
    net, drawn = network(problem), Generator().manual_seed(1000 + seed)

    def loss() -> Tensor:
        x = torch.randn(BATCH, INPUTS, generator=drawn)
        labels = {task: teacher(x) for task, teacher in problem.teachers.items()}
        labels["second"] = labels["second"] + problem.noise * torch.randn(BATCH, 1, generator=drawn)
        return sum(F.mse_loss(y, labels[task]) for task, y in net(x).items())

    descend(net, loss, multiplier, steps, LR)
    x = torch.randn(4000, INPUTS, generator=drawn)
    with torch.no_grad():
        errors = {
            task: F.mse_loss(y, problem.teachers[task](x)).item() for task, y in net(x).items()
        }
    return tssbn.gates.importance(net), errors


@cache
def canvases(split: str) -> dict[str, Tensor]:
    """Two digits a canvas, and the labels of all questions."""
    found = digits.pairs(split, parity=False, per_pair=60, root=None)
    sides = {"left": found["left"], "right": found["right"]}
    under = {f"{side} under 5": (label < 5).long() for side, label in sides.items()}
    return found | {"left again": found["left"]} | under


def read_digits(
    second: str, seed: int, multiplier: float = DIGITS_MULTIPLIER, steps: int = DIGITS_STEPS
) -> tuple[Importance, dict[str, float]]:
    """The gates of a network that reads the left digit and answers a second question.

    Its errors are shares of wrong answers on unseen pairs of digits.
    """
    _ = torch.manual_seed(seed)

    def conv(inputs: int, stride: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(inputs, 20, 3, stride, bias=False), nn.BatchNorm2d(20), nn.ReLU()

    def head() -> nn.Module:
        return nn.Sequential(
            *conv(20, 1), nn.Flatten(), nn.Linear(80, 50), nn.ReLU(), nn.Linear(50, 10)
        )

    trunk = tssbn.task_specific(nn.Sequential(*conv(1, 2), *conv(20, 2)), TASKS)
    net = tssbn.MultiTask(trunk, {task: head() for task in TASKS})
    train, test, drawn = canvases("train"), canvases("test"), Generator().manual_seed(seed)
    question = {"first": "left", "second": second}

    def loss() -> Tensor:
        i = torch.randint(len(train["image"]), (DIGITS_BATCH,), generator=drawn)
        outputs = net(train["image"][i])
        return sum(F.cross_entropy(y, train[question[t]][i]) for t, y in outputs.items())

    descend(net, loss, multiplier, steps, DIGITS_LR)
    with torch.no_grad():
        outputs = net(test["image"])
    return tssbn.gates.importance(net), {
        task: (y.argmax(1) != test[question[task]]).float().mean().item()
        for task, y in outputs.items()
    }


KNOBS: dict[str, tuple[Callable[..., Problem] | None, tuple, tuple[float, ...]]] = {
    "units": (units, (1, 2, 4, 8, 16), (1, MULTIPLIER, 100)),
    "frequency": (frequency, (0.5, 1, 1.5, 2, 3), (MULTIPLIER,)),
    "noise": (noise, (0, 0.5, 1, 2, 4), (MULTIPLIER,)),
    "cosine": (cosine, (0, 0.25, 0.5, 0.75, 1), (1, MULTIPLIER, 100)),
    "overlap": (overlap, (0, 0.25, 0.5, 0.75, 1), (MULTIPLIER,)),
    "digits": (
        None,
        ("right", "right under 5", "left under 5", "left again"),
        (DIGITS_MULTIPLIER,),
    ),
}


def run(knob: str, value: Any, seed: int, multiplier: float) -> dict[str, Any]:
    """One run, as the record holds it."""
    make, _, _ = KNOBS[knob]
    needed = {}
    if make is None:
        gates, errors = read_digits(value, seed, multiplier)
    else:
        problem = make(value, Generator().manual_seed(seed))
        gates, errors = regress(problem, seed, multiplier)
        needed = {"needed": problem.needed} if problem.needed else {}
    run = {"value": value, "seed": seed, "multiplier": multiplier, "error": errors}
    return run | needed | {"gates": pack_gates({1: gates})}


def study(knob: str, seeds: int, folder: Path | None = None) -> Path:
    """All runs of a knob; writes its record."""
    start = time.perf_counter()
    _, values, multipliers = KNOBS[knob]
    runs = [
        run(knob, value, seed, multiplier)
        for multiplier in multipliers
        for value in values
        for seed in range(seeds)
    ]
    record = {
        "study": "capacity",
        "knob": knob,
        "values": values,
        "multipliers": multipliers,
        "seeds": seeds,
        "lr": DIGITS_LR if knob == "digits" else LR,
        "threads": torch.get_num_threads(),
        "seconds": round(time.perf_counter() - start),
        "runs": runs,
    }
    return write(f"capacity/{knob}", record | environment(), folder)


def main(arguments: Iterable[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument(
        "knobs", nargs="*", metavar="KNOB", help=f"{', '.join(KNOBS)}; default: all"
    )
    parser.add_argument("--seeds", type=int, default=6, help="number of seeds; default: 6")
    options = parser.parse_args(arguments)
    if unknown := set(options.knobs) - set(KNOBS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(KNOBS)}")
    torch.set_num_threads(1)
    for knob in options.knobs or KNOBS:
        print(study(knob, options.seeds), flush=True)


if __name__ == "__main__":
    main()

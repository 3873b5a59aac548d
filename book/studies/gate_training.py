"""Gates over training at three rates, for the animation in the chapter on gate rates.

    python book/studies/gate_training.py

Two digits, a trunk of two convolutions of eight channels, TSσBN, Adam at 4e-3 for 300 steps; gates
learn 1, 10 or 100 times as fast as filters. Writes the gates of every tenth step and the mean
accuracy on unseen pairs to `book/_static/gate_training_data.js`, which the page loads.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import tssbn
from tssbn.data.synthetic import digits

TASKS = ("left", "right")
MULTIPLIERS = (1, 10, 100)
RATE, STEPS, EVERY, BATCH = 4e-3, 300, 10, 64
FILE = Path(__file__).resolve().parents[1] / "_static/gate_training_data.js"


def network() -> tssbn.MultiTask:
    """Two shared convolutions with gates, and a small head for each task."""

    def conv(inputs: int, stride: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, 8, 3, stride, bias=False)
        return [layer, nn.BatchNorm2d(8), nn.ReLU()]

    trunk = tssbn.task_specific(nn.Sequential(*conv(1, 2), *conv(8, 2)), TASKS)
    heads = {task: nn.Sequential(*conv(8, 1), nn.Flatten(), nn.Linear(32, 5)) for task in TASKS}
    return tssbn.MultiTask(trunk, heads)


def trained(multiplier: float, steps: int = STEPS) -> dict:
    """The gates of every tenth step, and the accuracy at the end."""
    torch.manual_seed(0)
    data, test = (digits.pairs(split, root=None) for split in ("train", "test"))
    net = network()
    optimiser = torch.optim.Adam(tssbn.param_groups(net, RATE, multiplier=multiplier), RATE)
    gates = []
    for step in range(steps + 1):
        if step % EVERY == 0:
            values = tssbn.gates.importance(net).values.flatten()
            gates.append([round(value, 3) for value in values.tolist()])
        batch = torch.randint(len(data["image"]), (BATCH,))
        outputs = net(data["image"][batch])
        optimiser.zero_grad()
        sum(F.cross_entropy(y, data[task][batch]) for task, y in outputs.items()).backward()
        optimiser.step()
    with torch.no_grad():
        outputs = net.eval()(test["image"])
    right = [(y.argmax(1) == test[task]).float().mean() for task, y in outputs.items()]
    accuracy = round(100 * torch.stack(right).mean().item())
    return {"multiplier": multiplier, "accuracy": accuracy, "gates": gates}


def main() -> None:
    torch.set_num_threads(1)
    made = {"every": EVERY, "tasks": TASKS, "runs": [trained(m) for m in MULTIPLIERS]}
    FILE.write_text(f"window.gateTraining = {json.dumps(made)};\n", encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    main()

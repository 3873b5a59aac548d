"""Can every synthetic task be learned, and is none solved by a constant?

    python book/studies/learnable.py [rooms streets people faces] [--seeds 3] [--steps 1500]

For each set four predictors are scored on images that none of them has seen:

- constant: the best answer that does not look at the image: the commonest class, the median depth,
  the mean normal, "yes" to every attribute;
- position: the same for each pixel of its own, learned from the training images;
- tiny: one 7x7 filter bank and a linear read-out, which sees local colour and texture;
- bigger: a small U-Net (for faces, a small convolutional network).

The table is printed, and written to data/results/learnable/<set>.json.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.data.synthetic import faces, scenes
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.metrics.attributes import Attributes
from tssbn.metrics.boundary import Boundary
from tssbn.metrics.depth import Depth
from tssbn.metrics.normals import Normals
from tssbn.metrics.saliency import SaliencyF
from tssbn.metrics.segmentation import Segmentation
from tssbn.networks.unet import UNet, block
from tssbn import records

PASCAL = ("segmentation", "parts", "saliency", "normal", "boundary")
ROOMS, STREETS = scenes.Rooms(height=48, width=64), scenes.Streets(height=48, width=96)
PEOPLE = replace(ROOMS, people=1.0)  # in every room, or hardly a pixel shows a part
SETS = {
    "rooms": lambda split, n: scenes.rooms(split, n, recipe=ROOMS),
    "people": lambda split, n: scenes.rooms(split, n, recipe=PEOPLE, tasks=PASCAL),
    "streets": lambda split, n: scenes.streets(split, n, recipe=STREETS),
    "faces": lambda split, n: faces.faces(split, 4 * n),
}


def channels(target: Target) -> int:
    return {"classes": len(target.classes), "normal": 3}.get(target.kind, 1)


def metric(task: str, target: Target):
    """The benchmark's metric of a task, its main value, and the unit it is printed in."""
    if task == "boundary":
        return Boundary(inputs="logits", thresholds=19), "ods_f", 100
    if task == "saliency":
        return SaliencyF(inputs="logits"), "max_f", 100
    return {
        "classes": lambda: (Segmentation(len(target.classes)), "miou", 100),
        "depth": lambda: (Depth(), "absolute", 1),
        "disparity": lambda: (Depth(ignore=-1), "absolute", 1),
        "normal": lambda: (Normals(), "mean", 1),
        "attribute": lambda: (Attributes(1, inputs="logits"), "f1", 100),
    }[target.kind]()


def loss(output: Tensor, target: Tensor, kind: Target, weight: Tensor | None) -> Tensor:
    if kind.kind == "classes":
        return F.cross_entropy(output, target, weight, ignore_index=-1)
    if kind.kind == "normal":
        valid = (target != 0).any(1)
        return 1 - F.cosine_similarity(output, target, dim=1)[valid].mean()
    if kind.kind == "attribute":
        return F.binary_cross_entropy_with_logits(output.squeeze(1), target.float())
    valid = target != kind.ignore
    return F.l1_loss(output[valid], target[valid])


class Tiny(nn.Module):
    """Local colour and texture: one bank of 7x7 filters, rectified."""

    width = 32

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.filters = nn.Sequential(
            nn.Conv2d(3, self.width, 7, stride, padding=3, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.filters(image)


class Whole(nn.Module):
    """For one answer an image: the features, averaged."""

    def __init__(self, features: nn.Module, width: int) -> None:
        super().__init__()
        self.features, self.width = features, width

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image).mean((2, 3))


def networks(whole: bool) -> dict[str, nn.Module]:
    if not whole:
        return {"tiny": Tiny(), "bigger": UNet()}
    deep = nn.Sequential(block(3, 32, 2), block(32, 64, 2), block(64, 128, 2), block(128, 128, 2))
    return {"tiny": Whole(Tiny(stride=2), Tiny.width), "bigger": Whole(deep, 128)}


class Heads(nn.Module):
    """A linear read-out for each task, per pixel or per image."""

    def __init__(self, trunk: nn.Module, targets: dict[str, Target], whole: bool) -> None:
        super().__init__()
        layer = nn.Linear if whole else (lambda a, b: nn.Conv2d(a, b, 1))
        self.trunk = trunk
        self.heads = nn.ModuleDict(
            {task: layer(trunk.width, channels(target)) for task, target in targets.items()}
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.trunk(image)
        return {task: head(features) for task, head in self.heads.items()}


def constants(data: Stored, by_position: bool) -> dict[str, Tensor]:
    """For each task the output (1, C, H, W) or (1, 1) that fits the training images best."""
    batch, best = data[:], {}
    for task, target in data.targets.items():
        value = batch[task]
        if target.kind == "attribute":
            best[task] = torch.ones(1, 1)
        elif target.kind == "classes":
            counts = F.one_hot(value + 1, len(target.classes) + 1)[..., 1:].sum(0).double()
            counts = counts if by_position else counts.sum((0, 1), True).expand_as(counts)
            best[task] = (counts / counts.sum(-1, True).clamp(min=1) + 1e-9).log()
            best[task] = best[task].permute(2, 0, 1)[None].float()
        elif target.kind == "normal":
            mean = value.mean(0, True)
            mean = mean if by_position else mean.mean((2, 3), True).expand_as(mean)
            best[task] = mean + torch.tensor([0.0, 0.0, -1e-6]).view(1, 3, 1, 1)
        else:
            known = value.where(value != target.ignore, torch.nan)
            middle = known.nanmedian()
            if by_position:
                best[task] = known.nanmedian(0, True).values.nan_to_num(middle.item())
            else:
                best[task] = middle.expand(1, *value.shape[1:])
    return best


def score(predict, data: Stored, batch: int = 50) -> dict[str, float]:
    chosen = {task: metric(task, target) for task, target in data.targets.items()}
    with torch.no_grad():
        for i in range(0, len(data), batch):
            sample = data[i : i + batch]
            outputs = predict(sample["image"])
            for task, (measure, _, _) in chosen.items():
                output = outputs[task].expand(len(sample["image"]), *outputs[task].shape[1:])
                output = output.squeeze(1) if data.targets[task].kind == "attribute" else output
                measure.update(output, sample[task])
    return {task: scale * m.compute()[value] for task, (m, value, scale) in chosen.items()}


def train(net: nn.Module, data: Stored, steps: int, seed: int, batch: int) -> float:
    """Adam with a short warm-up and a linear decay; returns the seconds that it took."""
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters())
    # Lines are a few per cent of the pixels: without a weight "no line anywhere" fits best.
    weights = {"boundary": torch.tensor([0.1, 0.9])}
    start = time.perf_counter()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 3e-3 * min(1, 10 * step / steps) * (1 - step / steps)
        sample = data[torch.randint(len(data), (batch,), generator=order)]
        outputs = net(sample["image"])
        total = sum(
            loss(outputs[task], sample[task], target, weights.get(task))
            for task, target in data.targets.items()
        )
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return time.perf_counter() - start


def main(arguments: Iterable[str] | None = None, folder: Path | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}; default: all")
    parser.add_argument(
        "--train",
        type=int,
        default=800,
        help="training images; default: 800, and four times that for faces",
    )
    parser.add_argument("--test", type=int, default=200, help="test images; default: 200, likewise")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds; default: 3")
    parser.add_argument(
        "--steps", type=int, default=1500, help="steps of one network; default: 1500"
    )
    parser.add_argument("--batch", type=int, default=16, help="images in a batch; default: 16")
    options = parser.parse_args(arguments)
    for name in options.sets or SETS:
        print(measure(name, options, folder))


def digest(data: Stored) -> str:
    """Of all tensors, in the order of their names."""
    found = hashlib.sha256()
    for _, value in sorted(data.tensors.items()):
        found.update(value.contiguous().numpy().tobytes())
    return found.hexdigest()


def measure(name: str, options: argparse.Namespace, folder: Path | None = None) -> str:
    """Train and score on a set, write the record, and give its table."""
    data, test = SETS[name]("train", options.train), SETS[name]("test", options.test)
    whole = all(target.kind == "attribute" for target in data.targets.values())
    scores: dict[str, list[dict[str, float]]] = {}
    for label in ("constant", "position")[: 1 if whole else 2]:
        best = constants(data, label == "position")
        scores[label] = [score(lambda image, best=best: best, test)]
    seconds: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        for label, trunk in networks(whole).items():
            net = Heads(trunk, data.targets, whole)
            took = train(net, data, options.steps, seed, options.batch)
            seconds.setdefault(label, []).append(round(took))
            scores.setdefault(label, []).append(score(net.eval(), test))
    record = {
        "set": name,
        "made": True,
        "train": len(data),
        "test": len(test),
        "sha256": {"train": digest(data), "test": digest(test)},
        "steps": options.steps,
        "batch": options.batch,
        "seconds": seconds,
        "scores": scores,
        "higher_is_better": {
            task: metric(task, target)[0].higher_is_better for task, target in data.targets.items()
        },
        "threads": torch.get_num_threads(),
        **records.environment(),
    }
    records.write(f"learnable/{name}", record, folder)
    lines = [f"{name:24}" + "".join(f"{label:>26}" for label in scores)]
    for task in data.targets:
        cells = []
        for runs in scores.values():
            values = torch.tensor([run[task] for run in runs])
            cells.append(f"{values.mean():.3f} ({values.min():.3f}..{values.max():.3f})")
        lines.append(f"{task:24}" + "".join(f"{cell:>26}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()

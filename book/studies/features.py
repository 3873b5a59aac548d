"""Do tasks have features of their own? Five attributes of synthetic faces, and controls.

    python book/studies/features.py          # three minutes on one CPU core

TSσBN is trained with three seeds on the first five attributes by alphabet; its gates learn at 100
times the common rate. The features are those of each task's pass on the test faces, standardised.
The saved file has their silhouette by task, and the areas under the ROC curve of linear probes on
them: ``"probes"``, (tasks, attributes). It has the same numbers for networks with other gates or
without trained filters, and the probes of HPS, whose features are those of all tasks, and of
separate networks, whose features have no common space and so no silhouette.
"""

import argparse
import copy
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from angles import averaged, gated, set_gates, shuffled_channels
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, silhouette_score
from sklearn.model_selection import cross_val_predict
from torch import Tensor, nn

import tssbn
from tssbn.methods import find_method
from tssbn.methods.single import SingleTask
from tssbn.data.synthetic.faces import ATTRIBUTES, Faces, faces
from tssbn.data.stored import Stored
from tssbn import records
from tssbn.training.loop import train
from tssbn.training.run import Run

SEEDS = range(7)
FIVE = sorted(ATTRIBUTES)[:5]
SETTINGS = {"side": 16, "batch": 32, "epochs": 8, "schedule": "cosine"}
TRAIN, TEST = 600, 300  # faces
SHOWN = 100  # faces of the silhouette


def main(folder: Path | None = None) -> None:
    """Train, measure and write the record."""
    torch.set_num_threads(1)
    began = time.monotonic()
    runs = [of_seed(seed) for seed in SEEDS]
    record = {
        **records.environment(),
        "benchmark": "faces",
        "tasks": FIVE,
        "settings": SETTINGS,
        "samples": {"train": TRAIN, "test": TEST},
        "seeds": list(SEEDS),
        "seconds": time.monotonic() - began,
        "runs": runs,
    }
    print(records.write("features/five_attributes", record, folder))


def of_seed(seed: int) -> dict[str, dict]:
    """Silhouette and probes of the trained network and of the controls."""
    benchmark = replace(Run("faces", "tssbn", seed, SETTINGS).benchmark, data=five)
    trained, hps, stl = (
        train(Run(benchmark, method, seed), accelerator="cpu").net
        for method in ("tssbn", "hps", "stl")
    )
    torch.manual_seed(seed)
    fresh = find_method("tssbn").build(benchmark.network, dict.fromkeys(FIVE, 1))
    start = [layer.gamma.detach() for layer in gated(fresh)]
    end = [layer.gamma.detach() for layer in gated(trained)]
    nets = {
        "trained": with_gates(trained, end),
        "half open": with_gates(fresh, start),
        "untrained, shuffled": with_gates(fresh, map(shuffled_channels, end)),
        "trained, shuffled": with_gates(trained, map(shuffled_channels, end)),
        "trained, averaged": with_gates(trained, map(averaged, end)),
        "HPS": hps,
    }
    found = {
        name: {"silhouette": silhouette(features(net)[:, :SHOWN]), "probes": probes(net)}
        for name, net in nets.items()
    }
    return {**found, "STL": {"probes": probes(stl)}}


def five(split: str, root: None = None) -> Stored:
    """Faces with these attributes alone."""
    made = faces(split, TRAIN if split == "train" else TEST, recipe=Faces(size=16))
    tensors = {name: made.tensors[name] for name in ("image", *FIVE)}
    return Stored(tensors, {name: made.targets[name] for name in FIVE})


def with_gates(net: nn.Module, gammas: Iterable[Tensor]) -> nn.Module:
    """A copy with these gates, and running statistics of the training images that fit them."""
    net = copy.deepcopy(net)
    set_gates(net, gammas)
    for layer in gated(net):
        layer.momentum = 1.0
    with torch.no_grad():
        net.train()(five("train")[:]["image"])
    return net.eval()


@torch.no_grad()
def features(net: nn.Module) -> np.ndarray:
    """(tasks, faces, D), each feature standardised over faces, and over the tasks of one trunk."""
    images = five("test")[:]["image"]
    points = torch.stack([of_task(net, task, images).double() for task in FIVE])
    over = (1,) if isinstance(net, SingleTask) else (0, 1)
    mean, std = points.mean(over, keepdim=True), points.std(over, keepdim=True)
    return ((points - mean) / (std + 1e-9)).numpy()


def of_task(net: nn.Module, task: str, images: Tensor) -> Tensor:
    if isinstance(net, SingleTask):
        return net.networks[task][0](images)
    if not gated(net):  # hard sharing
        return net.trunk(images)
    with tssbn.select(net.trunk, task):
        return net.trunk(images)


def silhouette(points: np.ndarray) -> float:
    tasks = np.repeat(np.arange(len(points)), points.shape[1])
    return float(silhouette_score(points.reshape(len(tasks), -1), tasks))


def probes(net: nn.Module) -> list[list[float]]:
    """AUC of each attribute (columns) from the features of each task (rows), three folds."""
    test = five("test")[:]

    def auc(points: np.ndarray, name: str) -> float:
        labels = test[name].ravel().numpy()
        probe = LogisticRegression(C=0.1, max_iter=300)
        scores = cross_val_predict(probe, points, labels, cv=3, method="decision_function")
        return float(roc_auc_score(labels, scores))

    return [[auc(points, name) for name in FIVE] for points in features(net)]


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    main()

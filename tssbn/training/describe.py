"""What a record says of a run: all that is known before the first epoch, then epoch by epoch."""

import copy
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tssbn.benchmarks.tasks import Task
from tssbn.cost import macs, parameters
from tssbn.data.real.dataset import RealSet
from tssbn.gates import Importance, importance
from tssbn.norm import TaskSigmoidNorm
from tssbn.records import (
    environment,
    f1_at_validation_thresholds,
    pack_gates,
    pack_logits,
    unpack_gates,
)
from tssbn.registry import short_name
from tssbn.training.batches import fingerprint, labels, sha256
from tssbn.training.run import Run
from tssbn.training.settings import BALANCE

__all__ = ["add_epoch", "add_gates", "add_logits", "description", "device_name", "identity"]

LOGITS = 2**18  # that a saved run holds, a byte each


def description(
    run: Run,
    tasks: Mapping[str, Task],
    sources: Mapping[str, Dataset],
    held: Mapping[str, Dataset],
    net: nn.Module,
) -> dict[str, Any]:
    """What is known of a run from the start.

    Args:
        sources: the data sets of the benchmark, by split.
        held: the same as they are trained on.
        net: on the CPU.
    """
    pretrained = run.benchmark.network.pretrained
    recipe, metrics = run.benchmark.recipe, {name: task.metric() for name, task in tasks.items()}
    with torch.device("meta"):  # a training image may have another size before it is augmented
        image = torch.empty(1, *held["test"][0]["image"].shape)
        decoders = [run.benchmark.network.head(task.out_channels) for task in tasks.values()]
    return {
        "benchmark": run.benchmark.name,
        "method": run.method.name,
        "title": run.method.title,
        "seed": run.seed,
        "settings": dict(run.settings),
        "recipe": asdict(recipe),
        "options": dict(run.options),
        "protocol": dict(run.protocol),
        "balance": short_name(run.balance),
        "balance_options": dict(run.balance_options),
        "data": _data(sources, held, run.benchmark.synthetic),
        **environment(),
        "threads": torch.get_num_threads(),
        "pretrained": "none" if pretrained is None else sha256(pretrained()),
        "stem": getattr(net, "stem", ""),
        "parameters": parameters(net),
        "all_parameters": parameters(net, frozen=True),
        "decoder_parameters": sum(map(parameters, decoders)),
        "macs": macs(copy.deepcopy(net).to("meta"), image),
        "directions": {name: metric.higher_is_better for name, metric in metrics.items()},
        "metric": {name: next(iter(metric.directions)) for name, metric in metrics.items()},
        "units": {name: metric.unit for name, metric in metrics.items()},
    }


def _data(
    sources: Mapping[str, Dataset], held: Mapping[str, Dataset], synthetic: bool
) -> dict[str, Any]:
    splits = {}
    for split, source in sources.items():
        real = isinstance(source, RealSet)
        splits[split] = {
            "samples": len(source),
            "official": source.official[source.split] if real else None,
            "sha256": fingerprint(held[split]),
        }
        if not real:
            splits[split]["labels"] = labels(held[split])
    kind = "synthetic" if synthetic else "real" if isinstance(sources["train"], RealSet) else "own"
    if kind == "real" and any(part["samples"] != part["official"] for part in splits.values()):
        kind = "real subset"
    return {"kind": kind, "splits": splits}


def identity(run: Run, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint must agree in with a run to be resumed."""
    keys = ("benchmark", "method", "seed", "stem", "precision", "devices", "compile")
    return {
        **{key: record[key] for key in (*keys, "channels_last")},
        **record["settings"],
        **record["options"],
        "balance": short_name(run.balance),
        **{f"{BALANCE}.{key}": value for key, value in run.balance_options.items()},
        **record["recipe"],
        **{f"data of {split}": part["sha256"] for split, part in record["data"]["splits"].items()},
    }


def add_epoch(
    record: dict[str, Any],
    entry: dict[str, Any],
    scores: Mapping[str, Mapping[str, Mapping[str, float | list[float]]]],
    net: nn.Module,
) -> None:
    """Add an epoch, and what changes with it.

    Args:
        entry: number, seconds, learning rate and losses.
        scores: by split, then by task, what the metrics gave.
        net: its gates are written down, see :func:`add_gates`.
    """
    for split, tasks in scores.items():
        entry[split] = {
            task: {name: value for name, value in values.items() if isinstance(value, float)}
            for task, values in tasks.items()
        }
    record["epochs"].append(entry)
    record["classes"] = _lists(scores["test"])
    record["seconds"] = math.fsum(one["seconds"] for one in record["epochs"])
    epoch, epochs = entry["epoch"], record["recipe"]["epochs"]
    record["finished"] = epoch == epochs
    if any(isinstance(layer, TaskSigmoidNorm) for layer in net.modules()):
        add_gates(record, epoch, epochs, partial(importance, net))


def add_gates(
    record: dict[str, Any], epoch: int, epochs: int, look: Callable[[], Importance]
) -> None:
    """Write down what the gates are after epoch 1, a tenth, three tenths and all epochs.

    Args:
        look: gives them; asked at those epochs only.
    """
    if epoch in {1, round(0.1 * epochs), round(0.3 * epochs), epochs}:
        earlier = unpack_gates(record["gates"]) if "gates" in record else {}
        record["gates"] = pack_gates({**earlier, epoch: look()})


def add_logits(
    record: dict[str, Any], splits: Mapping[str, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
) -> None:
    """Write down the logits of the attributes, and F1 at thresholds chosen on validation images.

    Of large sets, such as all of CelebA, the logits are left out: they would be megabytes a run.

    Args:
        splits: ``"test"``, and ``"val"`` where there are such images; logits and labels, by task.
    """
    if sum(len(x) for logits, _ in splits.values() for x in logits.values()) <= LOGITS:
        record["logits"] = {
            "epoch": record["epochs"][-1]["epoch"],
            **{split: pack_logits(logits) for split, (logits, _) in splits.items()},
        }
    if "val" in splits:
        logits, labels = ({split: pair[i] for split, pair in splits.items()} for i in (0, 1))
        record["thresholds"] = f1_at_validation_thresholds(logits, labels)


def _lists(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """The metrics that have a value for each class, of the tasks that have any."""
    found = {
        task: {k: v for k, v in values.items() if isinstance(v, list) and len(v) > 1}
        for task, values in scores.items()
    }
    return {task: values for task, values in found.items() if values}


def device_name(device: torch.device) -> str:
    """Such as ``"NVIDIA H200"``, or ``"cpu (x86_64)"``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"

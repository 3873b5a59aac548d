"""Gates and logits in a saved run: a byte for each, compressed."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tssbn.gates import Importance

__all__ = ["pack_gates", "pack_logits", "unpack_gates", "unpack_logits"]

LEVELS = 255  # the largest of a byte


def pack_gates(gates: Mapping[int, Importance]) -> dict[str, Any]:
    """Pack the importances of a network at some epochs: a byte for each gate, compressed.

    The values are rounded to k/255. Packing what :func:`unpack_gates` gave changes nothing.

    Args:
        gates: by epoch, all of the same network.

    Example:
        >>> from torch import tensor
        >>> half = Importance(tensor([[0.5, 1.0]]), ("depth",), {"bn": 2})
        >>> unpack_gates(pack_gates({1: half}))[1].values
        tensor([[0.5020, 1.0000]], dtype=torch.float64)
    """
    first = next(iter(gates.values()))
    packed = {}
    for epoch, importance in gates.items():
        if (importance.tasks, importance.layers) != (first.tasks, first.layers):
            raise ValueError(f"the gates of epoch {epoch} are those of another network")
        packed[str(epoch)] = _packed(importance.values * LEVELS)
    return {"epochs": packed, "layers": dict(first.layers), "tasks": list(first.tasks)}


def unpack_gates(packed: Mapping[str, Any]) -> dict[int, Importance]:
    """Give the importances by epoch, from the entry ``"gates"`` of a saved run.

    Raises:
        ValueError: not as :func:`pack_gates` writes it.
    """
    tasks, layers = tuple(packed["tasks"]), dict(packed["layers"])
    gates = {}
    for epoch, text in packed["epochs"].items():
        what = f"gates of epoch {epoch}"
        expected = f"{len(tasks)} tasks times {sum(layers.values())} channels"
        levels = _unpacked(text, what, len(tasks) * sum(layers.values()), expected)
        gates[int(epoch)] = Importance((levels / LEVELS).reshape(len(tasks), -1), tasks, layers)
    return gates


def pack_logits(logits: Mapping[str, Tensor]) -> dict[str, Any]:
    """Pack the logits of some tasks on the images of a split: a byte for each, compressed.

    Those of a task are rounded to 256 levels from its lowest to its highest. Packing what
    :func:`unpack_logits` gave changes nothing but the last digits.

    Args:
        logits: by task, (N,) each.

    Example:
        >>> from torch import tensor
        >>> unpack_logits(pack_logits({"smile": tensor([-1.0, 0.013, 4.1])}))
        {'smile': tensor([-1.0000,  0.0200,  4.1000], dtype=torch.float64)}
    """
    values = torch.stack([*logits.values()]).double().cpu()
    low, high = values.amin(1), values.amax(1)
    step = ((high - low) / LEVELS).clamp(min=1e-30)
    return {
        "images": values.shape[1],
        "low": dict(zip(logits, low.tolist(), strict=True)),
        "high": dict(zip(logits, high.tolist(), strict=True)),
        "levels": _packed((values - low[:, None]) / step[:, None]),
    }


def unpack_logits(packed: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give the logits (N,) by task, as :func:`pack_logits` packed them.

    Raises:
        ValueError: not as :func:`pack_logits` writes it.
    """
    tasks, images = list(packed["low"]), packed["images"]
    expected = f"{len(tasks)} tasks times {images} images"
    levels = _unpacked(packed["levels"], "logits", len(tasks) * images, expected)
    rows = (levels / LEVELS).reshape(len(tasks), images)
    return {
        task: packed["low"][task] + row * (packed["high"][task] - packed["low"][task])
        for task, row in zip(tasks, rows, strict=True)
    }


def _packed(levels: Tensor) -> str:
    """From 0 to 255, rounded."""
    data = zlib.compress(levels.round().to(torch.uint8).numpy().tobytes(), 9)
    return base64.b64encode(data).decode("ascii")


def _unpacked(text: str, what: str, count: int, expected: str) -> Tensor:
    try:
        levels = bytearray(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the {what} do not unpack: {error}") from error
    if len(levels) != count:
        raise ValueError(f"the {what} are {len(levels)} values, expected {expected}")
    return torch.frombuffer(levels, dtype=torch.uint8).double()

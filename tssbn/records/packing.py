"""Gates and logits in a saved run, packed as one byte each and compressed."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tssbn.gates import Importance

__all__ = ["pack_gates", "pack_logits", "unpack_gates", "unpack_logits"]

LEVELS = 255  # the largest value of a byte


def pack_gates(gates: Mapping[int, Importance]) -> dict[str, Any]:
    """Pack the gates of a network after some epochs, with one byte for each gate.

    The values are rounded to k/255. Packing gates that were unpacked changes nothing.

    Args:
        gates: the gates by epoch, all of the same network.

    Returns:
        The entry ``"gates"`` of a saved run.

    Raises:
        ValueError: the gates belong to different networks.

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
    """Unpack the gates by epoch from the entry ``"gates"`` of a saved run.

    Args:
        packed: the entry, as :func:`pack_gates` returns it.

    Raises:
        ValueError: the entry is damaged.

    Example:
        >>> from torch import ones
        >>> packed = pack_gates({3: Importance(ones(1, 2), ("depth",), {"bn": 2})})
        >>> unpack_gates(packed)[3].values
        tensor([[1., 1.]], dtype=torch.float64)
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
    """Pack the logits of some tasks on the images of a split, with one byte for each logit.

    The logits of a task are rounded to 256 levels between its lowest and its highest logit. Packing
    logits that were unpacked only changes their last digits.

    Args:
        logits: the logits by task, (N,) each.

    Returns:
        An entry of ``"logits"`` of a saved run.

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
    """Unpack the logits (N,) by task.

    Args:
        packed: the entry, as :func:`pack_logits` returns it.

    Raises:
        ValueError: the entry is damaged.

    Example:
        >>> unpack_logits(pack_logits({"smile": torch.tensor([0.0, 1.0])}))
        {'smile': tensor([0., 1.], dtype=torch.float64)}
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
    """Round values from 0 to 255, compress them and write them as text."""
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

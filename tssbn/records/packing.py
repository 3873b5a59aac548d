"""Gates in a saved run: a byte for each, compressed."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import torch

from tssbn.gates import Importance

__all__ = ["pack_gates", "unpack_gates"]


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
        levels = (importance.values * 255).round().to(torch.uint8)
        packed[str(epoch)] = base64.b64encode(zlib.compress(levels.numpy().tobytes(), 9)).decode(
            "ascii"
        )
    return {"epochs": packed, "layers": dict(first.layers), "tasks": list(first.tasks)}


def unpack_gates(packed: Mapping[str, Any]) -> dict[int, Importance]:
    """Give the importances by epoch, from the entry ``"gates"`` of a saved run.

    Raises:
        ValueError: not as :func:`pack_gates` writes it.
    """
    tasks, layers = tuple(packed["tasks"]), dict(packed["layers"])
    gates = {}
    for epoch, text in packed["epochs"].items():
        try:
            levels = bytearray(zlib.decompress(base64.b64decode(text, validate=True)))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"the gates of epoch {epoch} do not unpack: {error}") from error
        if len(levels) != len(tasks) * sum(layers.values()):
            raise ValueError(
                f"the gates of epoch {epoch} are {len(levels)} values, expected "
                f"{len(tasks)} tasks times {sum(layers.values())} channels"
            )
        values = torch.frombuffer(levels, dtype=torch.uint8).double() / 255
        gates[int(epoch)] = Importance(values.reshape(len(tasks), -1), tasks, layers)
    return gates

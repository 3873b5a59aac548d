"""Gates in a saved run: a byte for each."""

import json

import pytest
import torch

from tssbn.gates import Importance
from tssbn.records import pack_gates, unpack_gates


def test_gates_come_back_to_half_a_level():
    values = torch.rand(2, 5, dtype=torch.float64)
    gates = {e: Importance(values**e, ("a", "b"), {"x": 2, "y": 3}) for e in (1, 10)}
    packed = pack_gates(gates)
    back = unpack_gates(json.loads(json.dumps(packed)))
    assert list(back) == [1, 10]
    for epoch, importance in back.items():
        assert (importance.values - values**epoch).abs().max() <= 0.5 / 255 + 1e-12
        assert importance.tasks == ("a", "b") and importance.layers == {"x": 2, "y": 3}
    assert pack_gates(back) == packed


def test_gates_that_do_not_fit():
    one = Importance(torch.rand(1, 2), ("a",), {"x": 2})
    with pytest.raises(ValueError, match="epoch 2 are those of another network"):
        pack_gates({1: one, 2: Importance(torch.rand(1, 2), ("b",), {"x": 2})})
    packed = pack_gates({1: one})
    with pytest.raises(ValueError, match="epoch 1 are 2 values, expected 1 tasks times 3"):
        unpack_gates(packed | {"layers": {"x": 3}})
    with pytest.raises(ValueError, match="epoch 1 do not unpack"):
        unpack_gates(packed | {"epochs": {"1": "%%"}})
    with pytest.raises(ValueError, match="epoch 1 do not unpack"):
        unpack_gates(packed | {"epochs": {"1": "AAAA"}})

"""Gates and logits in a saved run: a byte for each."""

import json

import pytest
import torch

from tssbn.gates import Importance
from tssbn.records import pack_gates, pack_logits, unpack_gates, unpack_logits


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


def test_logits_come_back_to_half_a_level_and_keep_their_order():
    logits = {"a": 5 * torch.randn(300), "b": torch.randn(300) - 8, "c": torch.full((300,), 2.5)}
    packed = pack_logits(logits)
    back = unpack_logits(json.loads(json.dumps(packed)))
    assert list(back) == ["a", "b", "c"]
    for task, values in logits.items():
        assert (back[task] - values).abs().max() <= (values.max() - values.min()) / 510 + 1e-6
        assert (back[task][values.argsort()].diff() >= 0).all()
    assert (back["c"] == 2.5).all()
    again = pack_logits(back)
    assert again["levels"] == packed["levels"]


def test_logits_that_do_not_fit():
    packed = pack_logits({"a": torch.randn(4)})
    with pytest.raises(ValueError, match="logits are 4 values, expected 1 tasks times 5 images"):
        unpack_logits(packed | {"images": 5})
    with pytest.raises(ValueError, match="logits do not unpack"):
        unpack_logits(packed | {"levels": "AAAA"})

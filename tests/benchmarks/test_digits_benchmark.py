"""Two digits and a small ViT: its data, its counts, and each method of Table 3 for a step."""

import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("sklearn")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from tssbn.benchmarks import digits, find_benchmark
from tssbn.data.synthetic.digits import pairs, pairs_in
from tssbn.methods import find_method
from tssbn.training.loop import train
from tssbn.training.run import Run

TABLE_3 = ("hps", "m3vit", "mod-squad", "taskexpert", "mlore", "tsbn", "tssbn")


def test_no_pair_is_in_two_splits_and_the_greys_are_exact():
    seen = []
    for split in ("train", "val", "test"):
        data = find_benchmark("digits")(per_pair=2).data(split, None)[:]
        assert torch.equal(data["image"][:, :1], pairs(split, per_pair=2, root=None)["image"])
        classes = torch.stack([data["left"], data["right"]], 1).unique(dim=0).tolist()
        found = {(2 * left, 2 * right + 1) for left, right in classes}
        assert found == set(pairs_in(split))
        seen.extend(found)
    assert len(seen) == len(set(seen)) == 25


def test_the_sizes_are_the_sums_of_the_layers():
    positions, width, taps = 25, 32, 2
    block = 4 * width + (width + 1) * 3 * width + (width + 1) * width + 2 * 4 * width**2 + 5 * width
    vit = (3 * 4 * 4 + 1) * width + positions * width + 4 * block + 2 * width
    fusion = taps * (9 * width**2 + 2 * width) + (taps * width + 1) * width // 2
    heads = 2 * (positions * width // 2 + 1) * 5
    net = find_method("hps").build(digits.benchmark().network, {"left": 5, "right": 5})
    assert sum(p.numel() for p in net.parameters()) == vit + fusion + heads


@pytest.mark.parametrize("method", TABLE_3)
def test_every_method_of_table_3_trains(method, tmp_path):
    run = Run("digits", method, settings={"per_pair": 4, "epochs": 1, "width": 8})
    record = train(run, tmp_path, accelerator="cpu").record
    assert set(record["epochs"][-1]["test"]) == {"left", "right"}

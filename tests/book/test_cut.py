"""The study of cuts: what is chosen, and that a record holds what the chapter reads."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("torch_pruning")
pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

from tssbn.training.run import Run

CUT = runpy.run_path(str(Path(__file__).resolve().parents[2] / "book/studies/cut.py"))
WIDTHS = {"trunk.1": torch.tensor([0.1, 0.9, 0.3, 0.2]), "trunk.4": torch.tensor([0.05, 0.06])}


def test_the_narrowest_go_but_one_of_each_layer_stays():
    masks = CUT["narrowest"](WIDTHS, 0.5)  # 0.15 is the median
    assert masks["trunk.1"].tolist() == [False, True, True, True]
    assert masks["trunk.4"].tolist() == [False, True]


def test_shuffled_gates_stay_in_their_layers():
    mixed = CUT["shuffled"](WIDTHS, torch.Generator().manual_seed(0))
    assert {name: sorted(v.tolist()) for name, v in mixed.items()} == {
        name: sorted(v.tolist()) for name, v in WIDTHS.items()
    }


def test_by_weights_as_many_filters_go_those_of_small_norm():
    trunk = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    trunk[0].weight.data = torch.tensor([1.0, -3.0, 2.0]).reshape(3, 1, 1, 1)
    single = nn.Sequential()
    single.add_module("trunk", trunk)
    masks = CUT["by_weights"](single, {"trunk.1": torch.tensor([True, False, False])})
    assert masks["trunk.1"].tolist() == [False, True, False]


def test_a_study_gives_for_every_network_task_and_kind_a_row_for_each_share():
    settings = {"n": 16, "height": 32, "width": 32, "filters": 2, "epochs": 1, "batch": 8}
    globals_ = CUT["study"].__globals__
    globals_ |= {"IMAGES": 4, "EPOCHS": 1, "SHARES": (0.4,)}
    record = CUT["study"](Run("rooms", "tssbn", 0, settings))
    assert list(record["networks"]) == ["trained", "went on", "receding"]
    for title, by_task in record["networks"].items():
        assert list(by_task) == ["segmentation", "depth", "normal"]
        for found in by_task.values():
            kinds = {"gates"} if title == "went on" else {"gates", "shuffled", "weights"}
            assert set(found) == kinds | {"whole"}
            for kind in kinds:
                sizes = [row["macs"] for row in (found["whole"], *found[kind])]
                assert len(sizes) == 2 and sizes[1] < sizes[0]

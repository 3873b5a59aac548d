"""Census-Income through the trainer: vectors in place of images, and real people offline."""

from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

from asserts import assert_is_multitask
from transformer_methods import TRANSFORMERS_ONLY

from tssbn.benchmarks import find_benchmark
from tssbn.data.real.census import INPUTS, SHIPPED, Census
from tssbn.methods import METHODS, find_method
from tssbn.records.table import table
from tssbn.training.batches import preload
from tssbn.training.loop import train
from tssbn.training.run import Run

OUTPUTS = {"income": 1, "never_married": 1, "college": 1}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A folder with the first 500 people."""
    root, name = tmp_path_factory.mktemp("census"), "census-income.test.npz"
    np.savez(root / name, **{k: v[:500] for k, v in np.load(SHIPPED / name).items()})
    return root


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("mtan", *TRANSFORMERS_ONLY)]
)
def test_every_method_but_the_one_of_convolutions_takes_vectors(method):
    network = find_benchmark("census")(width=16).network
    net = find_method(method).build(network, OUTPUTS)
    assert_is_multitask(net, torch.rand(4, len(INPUTS)))


def test_parameters_at_full_size():
    network = find_benchmark("census")().network
    with torch.device("meta"):
        trunk, head = network.trunk(), network.head(1)
    count = sum(p.numel() for module in (trunk, head) for p in module.parameters())
    widths = (len(INPUTS), 256, 128, 64)
    linear = sum(a * b for a, b in pairwise(widths))
    assert count == linear + 2 * sum(widths[1:]) + 64 + 1
    assert network.example.shape == (2, len(INPUTS))


def test_a_run_from_data_to_table(few):
    settings = {"width": 8, "epochs": 2, "batch": 50}
    run = Run("census", "tssbn", settings=settings)
    record = train(run, root=few).record
    assert record["data"]["kind"] == "real subset"
    assert record["data"]["splits"]["train"]["samples"] == 300
    assert record["data"]["splits"]["train"]["official"] == 199523
    assert record["stem"] == "1" and record["units"] == dict.fromkeys(OUTPUTS, "%")
    assert record["metric"] == dict.fromkeys(OUTPUTS, "auc")
    assert all(value["auc"] == 0.5 for value in record["constant"].values())
    last = record["epochs"][-1]["test"]
    assert all(0 < value["auc"] < 1 for value in last.values())
    assert record["macs"] == 8 * len(INPUTS) + 3 * (8 * 4 + 4 * 2 + 2)  # the first layer once
    caption = table("census", [record]).caption
    assert (
        "real subset data (300 of 199,523 train, 100 of 49,881 test, 100 of 49,881 val" in caption
    )
    again = train(run, root=few).record
    assert again["epochs"][-1]["test"] == last


def test_without_a_folder_it_reads_the_people_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = find_benchmark("census")()
    assert made.folder() is None
    data = made.data("val", made.folder())
    assert (data.root, len(data)) == (SHIPPED, 19952)


def test_what_is_in_memory_is_not_decoded_sample_by_sample(few, monkeypatch):
    data = Census(few, "train")
    monkeypatch.setattr(Census, "read", None)
    held = preload(data)
    assert held is data.decoded() and len(held) == 300

"""Scores of a network: what they need of its predictions."""

import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn.training.epoch import evaluate
from tssbn.training.loop import train


class Wrong(torch.nn.Module):
    """Predicts what is given for the depth, and zeros for the classes."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images):
        n, _, height, width = images.shape
        depth = torch.full((n, 1, height, width), self.value)
        return {"parts": torch.zeros(n, 3, height, width), "depth": depth}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_prediction_that_is_not_finite_names_its_task(value):
    tasks, batch = tiny.run().benchmark.tasks(tiny.TARGETS), tiny.data("test")[:4]
    assert evaluate(Wrong(1.0), tasks, [batch]).keys() == tasks.keys()
    with pytest.raises(FloatingPointError, match="prediction of 'depth' is not finite after"):
        evaluate(Wrong(value), tasks, [batch])


def test_a_run_that_diverged_at_finite_parameters_names_the_epoch():
    """One huge step: every loss and every weight is finite, but not what the network then gives."""
    with pytest.raises(FloatingPointError, match=r"prediction of .* of epoch 1\. There is no ch"):
        train(tiny.run("hps", torch.nn.Identity, lr=1e30, batch=12), accelerator="cpu")

"""Scores of a network: what they need of its predictions."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn.training.epoch import check_tasks, evaluate
from tssbn.training.loop import train
from tssbn.training.memory import explain_out_of_memory


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


# -- one batch before the first epoch -------------------------------------------------------------


def changed(task="depth", **parts):
    """The tasks, one of which has another loss or metric."""
    tasks = tiny.run().benchmark.tasks(tiny.TARGETS)
    return {**tasks, task: replace(tasks[task], **parts)}


@pytest.mark.parametrize(
    ("task", "parts", "said"),
    [
        (
            "depth",
            {"loss": torch.nn.functional.nll_loss},
            r"^the loss of task 'depth' fails on a prediction torch.float32 \(4, 1, 6, 8\) and a "
            r"target torch.float32 \(4, 1, 6, 8\): ",
        ),
        (
            "depth",
            {"metric": changed()["parts"].metric},
            r"^the metric of task 'depth' fails on a pred.*6, 8\): ",
        ),
        (
            "parts",
            {"loss": lambda y, truth: (y - truth[:, None]).square().mean(1)},
            r"^the loss of task 'parts' must be a scalar tensor, got torch.float32 \(4, 6, 8\)",
        ),
        (
            "parts",
            {"loss": lambda y, truth: y.mean().item()},
            r"^the loss of task 'parts' must be a scalar tensor, got 0\.0",
        ),
    ],
)
def test_a_task_that_does_not_fit_is_named_with_shapes_and_types(task, parts, said):
    with pytest.raises(ValueError, match=said):
        check_tasks(Wrong(1.0), changed(task, **parts), tiny.data("train")[:4])


def test_a_task_without_prediction_or_target_is_named():
    tasks, batch = changed(), tiny.data("train")[:4]
    with pytest.raises(ValueError, match=r"task 'depth' has no target; there are \['image'"):
        check_tasks(Wrong(1.0), tasks, {key: batch[key] for key in ("image", "parts")})
    with pytest.raises(ValueError, match=r"task 'normal' has no prediction; there are \['depth', "):
        check_tasks(Wrong(1.0), {"normal": tasks["depth"]}, {**batch, "normal": batch["depth"]})


def test_a_run_is_refused_before_its_first_step():
    def loss(prediction, target):
        assert not torch.is_grad_enabled(), "a step was made"
        return prediction.square().mean((1, 2, 3))

    run = tiny.changed(tiny.run(), tasks=lambda targets: changed(loss=loss))
    with pytest.raises(ValueError, match="loss of task 'depth' must be a scalar tensor, got torch"):
        train(run, accelerator="cpu")


# -- too little memory ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("all_tasks", "said", "unsaid"),
    [
        (False, "tasks_per_pass=1 needs the least in networks of", "at once"),
        (True, "balance=uw keeps the graphs of all tasks at once, whatever tasks", "the least"),
    ],
)
def test_the_advice_is_one_that_helps(all_tasks, said, unsaid):
    recipe = tiny.run().benchmark.recipe
    with (
        pytest.raises(MemoryError, match=f"out of memory with batch=4.*{said}") as caught,
        explain_out_of_memory(recipe, "uw", all_tasks),
    ):
        raise torch.OutOfMemoryError("none left")
    assert unsaid not in str(caught.value)


def test_other_errors_are_not_explained():
    with (
        pytest.raises(RuntimeError, match=r"^of another kind$"),
        explain_out_of_memory(tiny.run().benchmark.recipe, "sum", all_tasks=False),
    ):
        raise RuntimeError("of another kind")

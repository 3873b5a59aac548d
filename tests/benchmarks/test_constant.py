"""The answer that ignores the image: by hand, and against every other constant."""

import math

import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn.benchmarks.constant import constant_answers, constant_scores
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.training.loop import train

UP, LEFT = (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)


def stored(target, values):
    values = torch.as_tensor(values)
    return Stored({"image": torch.zeros(len(values), 3, 1, 2), "task": values}, {"task": target})


def answer(target, values):
    (made,) = constant_answers(stored(target, values))["task"]
    return made


def test_the_most_frequent_class_of_each_position():
    target = Target("classes", ("a", "b", "c"), ignore=-1)
    values = [[[0, -1, 2, -1]], [[0, 1, 2, -1]], [[1, -1, 0, -1]]]
    made = answer(target, values)
    assert made.shape == (1, 3, 1, 4)
    # The last position has no label: 0 is the most frequent one everywhere.
    assert made.argmax(1).tolist() == [[[0, 1, 2, 0]]]
    share = (torch.tensor([2.0, 1.0, 0.0]) + torch.tensor([3.0, 2.0, 2.0]) / 7) / 4
    torch.testing.assert_close(made[0, :, 0, 0], share.log())


def test_the_most_frequent_class_of_an_image():
    made = answer(Target("class", ("a", "b", "c")), [2, 1, 1, -1, -1, -1])
    assert made.shape == (1, 3) and made.argmax(1).item() == 1
    assert made.isfinite().all()


def test_the_most_frequent_class_of_all_words_whatever_their_place():
    made = answer(Target("words", ("a", "b", "c"), ignore=-1), [[2, 1, 1, -1], [2, 1, -1, -1]])
    assert made.shape == (1, 3, 4) and made.argmax(1).tolist() == [[1] * 4]
    assert made.isfinite().all()


@pytest.mark.parametrize(("kind", "void"), [("depth", 0.0), ("disparity", -1.0)])
def test_the_median_of_what_is_measured(kind, void):
    values = [[1.0, void, void], [2.0, void, void], [9.0, 4.0, void], [void, math.nan, void]]
    made = answer(Target(kind, ignore=void), torch.tensor(values).view(4, 1, 1, 3))
    # The medians of the positions are 2 and 4; that of the two stands where nothing was measured.
    assert made.tolist() == [[[[2.0, 4.0, 2.0]]]]


def test_the_median_of_numbers():
    made = answer(Target("number", unit="years"), [30.0, math.nan, 20.0, 90.0])
    assert made.tolist() == [[30.0]]


def test_the_mean_direction():
    values = torch.tensor([[UP, UP], [UP, (0, 0, 0)], [LEFT, (0, 0, 0)]]).movedim(2, 1)[:, :, None]
    made = answer(Target("normal", ignore=0), values)
    expected = torch.tensor([(-1.0, -2.0, 0.0), (0.0, -1.0, 0.0)]).T[None, :, None]
    torch.testing.assert_close(made, torch.nn.functional.normalize(expected, dim=1))
    nothing = answer(Target("normal", ignore=0), torch.zeros(2, 3, 1, 2))
    assert nothing.movedim(1, -1).tolist() == [[[[0, 0, -1], [0, 0, -1]]]]


def test_bands_of_a_map_are_the_whole_map(monkeypatch):
    random = torch.Generator().manual_seed(0)
    image = torch.zeros(5, 3, 6, 4)
    tensors = {
        "image": image,
        "parts": torch.randint(-1, 3, (5, 6, 4), generator=random),
        "depth": torch.rand(5, 1, 6, 4, generator=random),
        "normal": torch.nn.functional.normalize(torch.randn(5, 3, 6, 4, generator=random), dim=1),
    }
    targets = {
        "parts": Target("classes", ("a", "b", "c"), ignore=-1),
        "depth": Target("depth", ignore=0),
        "normal": Target("normal"),
    }
    whole = constant_answers(Stored(tensors, targets))
    monkeypatch.setattr("tssbn.benchmarks.constant.AT_ONCE", 50)
    for task, (made,) in constant_answers(Stored(tensors, targets)).items():
        torch.testing.assert_close(made, whole[task][0])


def scores(target, train_values, test_values=None):
    data = stored(target, train_values)
    test = data if test_values is None else stored(target, test_values)
    return constant_scores(tasks_for({"task": target}), data, test, batch=2)["task"]


def test_an_attribute_is_scored_by_the_better_answer_on_the_training_targets():
    found = scores(Target("attribute"), [1, 0, 0, 0, 0, -1], [1, 1, 0, 0])
    assert found["f1"] == pytest.approx(2 * 0.5 / 1.5)  # always yes: 2p / (1 + p)
    assert found["average_precision"] == pytest.approx(0.5) and found["auc"] == pytest.approx(0.5)
    # The frequency of the training set, 1/5, on a test set of one half.
    assert found["cross_entropy"] == pytest.approx(-(math.log(0.2) + math.log(0.8)) / 2, rel=1e-6)


def test_no_other_depth_is_better_on_the_training_set():
    random = torch.Generator().manual_seed(1)
    values = 1 + torch.rand(9, 1, 1, 2, generator=random)
    found = scores(Target("depth", ignore=0), values)["absolute"]
    for shift in (-0.05, 0.01, 0.1):
        other = answer(Target("depth", ignore=0), values) + shift
        assert (other - values).abs().mean() > found
    expected = (values - values.median(0).values).abs().mean().item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_head_of_another_form_has_no_baseline():
    target, data = Target("depth", ignore=0), stored(Target("depth"), torch.ones(2, 1, 1, 2))
    tasks = tasks_for({"task": target, "more": target})
    assert list(constant_scores(tasks, data, data, 2)) == ["task"]
    object.__setattr__(tasks["task"], "out_channels", 2)
    assert constant_scores(tasks, data, data, 2) == {}


def test_a_run_has_it_and_training_does_not_depend_on_it(monkeypatch):
    run = tiny.run("tssbn", epochs=1)
    record = train(run).record
    data = {split: tiny.data(split) for split in ("train", "test")}
    expected = constant_scores(tasks_for(tiny.TARGETS), data["train"], data["test"], 4)
    for task, values in expected.items():
        assert record["constant"][task] == pytest.approx(values, rel=1e-5)
    assert record["constant"]["parts"].keys() == {"miou", "accuracy"}  # no list
    monkeypatch.setattr("tssbn.training.trainer.Trainer.score_constant", lambda self: None)
    other = train(run).record
    assert "constant" not in other
    assert [e["losses"] for e in other["epochs"]] == [e["losses"] for e in record["epochs"]]
    assert other["epochs"][0]["test"] == record["epochs"][0]["test"]

"""The study of names: its data, its networks, its record."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn")

FILE = Path(__file__).resolve().parents[2] / "book/studies/beyond_vision.py"
spec = importlib.util.spec_from_file_location("beyond_vision", FILE)
study = importlib.util.module_from_spec(spec)
spec.loader.exec_module(study)


def test_names_and_answers_are_those_of_the_standard():
    characters = study.characters()
    by_name = {" ".join(words): answers for words, answers in characters}
    assert by_name["LATIN SMALL LETTER A WITH GRAVE"] == {
        "category": "Ll",
        "direction": "L",
        "decomposition": "canonical",
        "width": "A",
    }
    assert by_name["VULGAR FRACTION ONE HALF"]["decomposition"] == "<fraction>"
    assert by_name["HEBREW LETTER ALEF"]["direction"] == "R"
    assert not any(name.startswith(("HANGUL SYLL", "CJK UNIFIED", "YI SYLL")) for name in by_name)
    assert len(characters) == 11411  # in every version of Python


def test_no_name_is_in_both_parts_and_no_test_word_is_learned():
    train, test, known, classes = study.data()
    rows = {tuple(row) for row in train.words.tolist()}
    assert (len(train.words), len(test.words)) == (4000, 2000)
    assert int(train.words.max()) == known - 1 and int(test.words.max()) < known
    assert (train.words[:, 0] > 0).all() and len(rows) > 3000
    for task, answers in train.answers.items():
        assert int(answers.min()) == 0 and int(answers.max()) == len(classes[task]) - 1


@pytest.mark.parametrize("method", ["tsln", "tssln", "tssln-preserve"])
def test_stacked_passes_are_separate_ones(method):
    net = study.build(method, 0)
    net.check(study.data().test.words[:16])


def test_kept_scale_and_bias_start_as_the_plain_network():
    words = study.data().test.words[:8]
    plain, kept = (study.build(method, 0).eval() for method in ("hps", "tssln-preserve"))
    with torch.no_grad():
        for task in study.TASKS:
            assert torch.allclose(plain(words)[task], kept(words)[task], atol=1e-5)


def test_changed_gates_are_the_same_gates_elsewhere():
    net = study.build("tssln", 0)
    layers = [layer for layer in net.modules() if isinstance(layer, study.TaskSigmoidNorm)]
    assert len(layers) == 2 * study.LAYERS + 1
    for layer in layers:
        torch.nn.init.normal_(layer.gamma)
    for change in "shuffled", "swapped":
        other = study.with_gates(net, change, seed=0)
        found = [layer for layer in other.modules() if isinstance(layer, study.TaskSigmoidNorm)]
        for one, two in zip(layers, found, strict=True):
            assert not torch.equal(one.gamma, two.gamma)
            if change == "swapped":
                assert torch.equal(one.gamma[1:], two.gamma[:-1])
            else:
                assert torch.equal(one.gamma.sort(1).values, two.gamma.sort(1).values)


def test_scores_count_right_answers():
    test = study.data().test

    class Oracle(torch.nn.Module):
        def forward(self, words):
            return {
                task: torch.nn.functional.one_hot(
                    answers.clamp(min=0), len(study.data().classes[task])
                ).float()
                for task, answers in test.answers.items()
            }

    found = study.scores(Oracle())
    for task, answers in test.answers.items():
        assert found[task]["accuracy"] == pytest.approx((answers >= 0).double().mean().item())
        assert found[task]["f1"] > 0.99


def test_a_study_of_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "RUNS", (("stl", 1), ("hps", 1), ("tsln", 10), ("tssln", 10)))
    path = study.study(seeds=1, steps=1, folder=tmp_path)
    record = json.loads(path.read_text())
    assert path == tmp_path / "beyond_vision/names.json"
    assert [run["method"] for run in record["runs"]] == ["untrained", "stl", "hps", "tsln", "tssln"]
    for run in record["runs"]:
        assert set(run["test"]) == set(study.TASKS)
    counts = {run["method"]: run.get("parameters") for run in record["runs"]}
    norms = 5 * study.WIDTH
    assert counts["tsln"] - counts["hps"] == (4 - 1) * 2 * norms
    assert counts["tssln"] - counts["hps"] == (4 - 2) * norms
    assert {"shuffled", "swapped", "gates"} <= set(record["runs"][-1])

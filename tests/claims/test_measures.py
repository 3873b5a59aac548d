"""Numbers of gates, and of the same gates shuffled."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from tssbn import gates
from tssbn.claims import measures
from tssbn.claims.attributes import (
    frequency_drawn,
    frequency_photographed,
    labels_photographed,
    match_regions,
)
from tssbn.claims.nulls import agreement, beside_shuffled, cohesion
from tssbn.claims.studies import (
    by_knob,
    by_value,
    hurt_most,
    losses,
    lost,
    removal_runs,
    removals,
    runs,
)
from tssbn.gates import Importance
from tssbn.records import pack_gates

TASKS = tuple("abcdef")


def net(values, layers=None, tasks=TASKS):
    values = torch.as_tensor(values, dtype=torch.float64)
    return Importance(values, tasks[: len(values)], layers or {"all": values.shape[1]})


def drawn(seed, tasks=6, layers=(40, 40)):
    dice = torch.Generator().manual_seed(seed)
    values = torch.rand(tasks, sum(layers), generator=dice, dtype=torch.float64)
    return net(values, {str(i): width for i, width in enumerate(layers)})


def test_capacity_of_known_gates():
    equal = net([[0.2, 0.8], [0.2, 0.8]])
    assert measures.shared_capacity(equal) == pytest.approx(100)
    assert measures.shared_capacity(net([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0)
    assert measures.largest_capacity(equal) == pytest.approx(50)
    wide = net([[0.6, 0.6], [0.2, 0.2]])
    assert measures.largest_capacity(wide) == pytest.approx(75)
    assert measures.capacity_gap(wide) == pytest.approx(-0.4)


def test_the_slope_is_from_the_first_layer_to_the_last():
    own, common = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]]
    rows = [a + b + c for a, b, c in zip(common, common, own, strict=True)]
    layers = {"first": 2, "then": 2, "last": 2}
    assert measures.depth_slope(net(rows, layers)) == pytest.approx(100)
    turned = [row[::-1] for row in rows]
    assert measures.depth_slope(net(turned, layers)) == pytest.approx(-100)
    assert measures.depth_slope(net(own)) == 0


def test_spread_and_nearly_binary_gates():
    assert measures.spread(net([[0.5] * 4])) == 0
    assert measures.binary(net([[0.0, 0.04, 0.5, 0.97]])) == pytest.approx(75)


def test_a_group_that_is_alike_holds_together_and_any_other_is_at_half_in_the_mean():
    rng = np.random.default_rng(0)
    alike = np.corrcoef(rng.normal(size=(12, 50)))
    alike[:3, :3] = 0.9
    assert measures.cohesion(alike, [0, 1, 2]) > 99
    plain = np.corrcoef(rng.normal(size=(12, 50)))
    groups = [rng.permutation(12)[:4] for _ in range(200)]
    assert np.mean([measures.cohesion(plain, group) for group in groups]) == pytest.approx(
        50, abs=8
    )
    for group in ([0], range(12)):
        with pytest.raises(ValueError, match="take two or more, and not all"):
            measures.cohesion(plain, group)


def test_early_cosines_are_those_of_the_first_epoch():
    run = {
        "angles": {"steps": [1, 5, 6, 7], "all": [[0.3], [-0.4], [0.0], [9.0]]},
        "data": {"splits": {"train": {"samples": 81}}},
        "recipe": {"batch": 16},
    }
    assert measures.early_cosine(run) == pytest.approx((0.25 / 3) ** 0.5)


def test_gates_stand_beside_the_same_gates_shuffled():
    one = drawn(0)
    common = one.values.mean(0).expand(6, -1)
    nets = [net(common + 0.01 * drawn(seed).values, one.layers) for seed in range(3)]
    found = beside_shuffled("toys", nets, measures.shared_capacity, none=lambda net: 0.0)
    assert found.against("gates", "shuffled")["shuffled"].low > 0
    assert found.values["none"] == [0.0] * 3 and found.paired
    assert found.values["gates"] == [measures.shared_capacity(net) for net in nets]
    empty = beside_shuffled("toys", [], measures.spread, none=lambda net: 0.0)
    assert empty.against("gates", "shuffled", 0.5) == {"shuffled": None, 0.5: None}


def test_seeds_agree_where_the_same_tasks_are_alike_and_shuffled_gates_do_not():
    mix = torch.rand(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nets = [net(mix.softmax(1) @ drawn(seed, layers=(400,)).values) for seed in range(4)]
    found = agreement("toys", nets)
    assert found.against("gates", 0.0)[0.0].low > 0.3
    assert abs(np.mean(found.values["shuffled"])) < 0.5
    alike = [gates.similarity(each) for each in nets]
    assert np.mean(found.values["gates"]) == pytest.approx(measures.agreement(alike))
    assert agreement("toys", nets[:2]).values == {"gates": [], "shuffled": []}


def test_seeds_may_be_compared_by_another_similarity():
    nets = [drawn(seed) for seed in range(3)]
    found = agreement("toys", nets, lambda net: gates.similarity(net, centred=True))
    alike = [gates.similarity(net, centred=True) for net in nets]
    assert np.mean(found.values["gates"]) == pytest.approx(measures.agreement(alike))


def test_frequencies_of_attributes_are_in_the_order_that_is_asked_for():
    for frequency in frequency_drawn, frequency_photographed:
        rare, common = frequency(["Bald", "No_Beard"])
        assert rare < 0.2 < 0.5 < common
        assert frequency(["No_Beard", "Bald"]).tolist() == [common, rare]


def test_a_group_of_names_is_held_against_labels():
    values = drawn(3).values
    values[1] = values[0] + 0.01 * drawn(4).values[0]
    found = cohesion("toys", [net(values)] * 2, {"a", "b", "z"}, lambda tasks: np.eye(len(tasks)))
    assert found.values["gates"][0] > 90 and found.values["labels alone"] == [0.0, 0.0]
    assert cohesion("toys", [], {"a"}, lambda tasks: 1 / 0).values["gates"] == []


def test_who_is_hurt_most():
    record = {
        "directions": {"a": True, "b": False, "c": True},
        "base": [0.9, 0.1, 0.9],
        "without": {
            "own": [[[0.5, 0.2, 0.9], [0.8, 0.6, 0.9], [0.1, 0.1, 0.5]]],
            "least": [[[0.9, 0.2, 0.9], [0.8, 0.1, 0.9], [0.1, 0.1, 0.9]]],
        },
    }
    assert hurt_most(record) == pytest.approx(200 / 3)  # c's filters hurt a more
    assert hurt_most(record, "least") == 0


def test_losses_are_in_percent_of_the_score_and_points_of_f1():
    record = {
        "metric": {"a": "miou", "b": "absolute"},
        "directions": {"a": True, "b": False},
        "base": [0.8, 0.5],
        "without": {"random": [[[0.6, 0.5], [0.8, 0.6]], [[0.4, 0.5], [0.8, 0.8]]]},
    }
    np.testing.assert_allclose(losses(record, "random"), [[37.5, 0], [0, 40]], atol=1e-9)
    attributes = record | {"metric": {"a": "f1", "b": "f1"}, "directions": {"a": True, "b": True}}
    np.testing.assert_allclose(lost(attributes, [0.6, 0.6]), [20, -10])


def test_removals_are_those_of_the_seeds_that_are_saved():
    saved = removal_runs("faces", range(4))
    assert [record["seed"] for record in saved] == [0, 1, 2, 3]
    assert removals("faces", seeds=[2, 99]) == [hurt_most(saved[2])]


def test_a_study_that_is_not_here_has_no_runs(folder):
    assert runs("a/b") == by_knob("units", measures.spread) == removals("faces") == []


def test_a_knob_is_followed_in_the_order_of_its_values(tmp_path, monkeypatch):
    """They may be words, which no sorting brings into order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/results/capacity").mkdir(parents=True)
    saved = [
        {
            "value": value,
            "seed": seed,
            "multiplier": multiplier,
            "gates": pack_gates({1: net([[0.5, 0.5 + (multiplier == 10) * wide]])}),
        }
        for seed in (0, 1)
        for value, wide in (("same", 0.1), ("other", 0.2), ("far", 0.3))
        for multiplier in (1, 10)
    ]
    (tmp_path / "data/results/capacity/words.json").write_text(json.dumps({"runs": saved}))
    assert by_knob("words", measures.spread) == pytest.approx([1, 1])
    assert by_knob("words", lambda net: -measures.spread(net)) == pytest.approx([-1, -1])
    assert by_knob("words", lambda net: 1.0) == [0.0, 0.0]
    values, numbers = by_value("words", measures.spread)
    assert values == ["same", "other", "far"] and numbers.shape == (3, 2)
    assert (np.diff(numbers, axis=0) > 0).all()


def test_labels_of_photographs_are_those_of_the_names_in_any_order():
    names = ["Mustache", "Bald", "Male"]
    some, turned = labels_photographed(names), labels_photographed(names[::-1])
    assert (some == turned[::-1, ::-1]).all() and (some == some.T).all()
    assert (some.diagonal() == 1).all() and some[0, 2] > some[0, 1] > 0


def test_regions_are_matched_by_what_is_alike_within_them():
    tasks = ["Goatee", "Mustache", "Eyeglasses", "Narrow_Eyes"]
    within = np.kron(np.eye(2), [[0, 0.8], [0.8, 0]]) + np.eye(4)
    across = np.kron([[0, 0.8], [0.8, 0]], np.eye(2)) + np.eye(4)
    assert match_regions(tasks, within) == 1 and match_regions(tasks, across) < 0

"""What the studies alone compute, by hand and by definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torch_pruning")

from studies import script
from torch import nn

from tssbn.gates import Importance, most_specialised


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


# Capacity


@pytest.mark.parametrize("wanted", [0, 0.25, 0.5, 1])
def test_turned_directions_have_the_cosine(wanted, generator):
    capacity = script("capacity")
    weights = capacity.directions(8, generator)
    others = capacity.turned(weights, wanted, generator)
    expected = torch.full((8,), float(wanted))
    torch.testing.assert_close((weights * others).sum(1), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(others.norm(dim=1), torch.ones(8))


@pytest.mark.parametrize(("value", "both"), [(0, 0), (0.25, 2), (0.5, 4), (0.75, 6), (1, 8)])
def test_overlapping_teachers_are_sums_of_the_needed_units(value, both, generator):
    capacity = script("capacity")
    problem = capacity.overlap(value, generator)
    first, second = (set(problem.needed[task]) for task in capacity.TASKS)
    assert len(first) == len(second) == 8 and len(first & second) == both
    x = torch.randn(500, capacity.INPUTS, dtype=torch.float64)
    features = F.relu(x @ problem.bank.double().T)
    for task in capacity.TASKS:
        needed = features[:, problem.needed[task]]
        design = torch.cat([needed, torch.ones(500, 1).double()], 1)
        y = problem.teachers[task](x.float()).double()
        fitted = design @ torch.linalg.lstsq(design, y).solution
        torch.testing.assert_close(fitted, y, rtol=0, atol=1e-4)


# Company


def test_frequencies_and_correlations():
    pytest.importorskip("PIL")
    labels = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]], float)
    found = script("company").company(labels)
    assert found["images"] == 4 and found["frequency"] == [0.5, 0.5, 0.5, 1.0]
    assert found["correlation"] == [0.0, 0.0, 0.0, -1.0, 0.0, 0.0]  # 01 02 03 12 13 23


# Removal and cut


def test_the_ways_to_choose_filters(generator):
    values = torch.rand(3, 90, generator=generator).double()
    gates = Importance(values, ("a", "b", "c"), {"first": 30, "second": 60})
    chosen = script("removal").choices(gates, 9, 4, generator)
    (own,) = chosen["own"]
    assert torch.equal(own, most_specialised(gates, 9))
    for kind, sets in chosen.items():
        assert all(one.shape == (3, 90) and (one.sum(1) == 9).all() for one in sets), kind
    for kind, order in ("widest", True), ("least", False):
        for row, line in zip(chosen[kind][0], values, strict=True):
            assert set(line[row].tolist()) == set(line.sort(descending=order).values[:9].tolist())
    for one in chosen["matched"]:
        for part, wanted in zip(one.split([30, 60], 1), own.split([30, 60], 1), strict=True):
            assert torch.equal(part.sum(1), wanted.sum(1))
    drawn = [one for kind in ("random", "matched", "shuffled") for one in chosen[kind]]
    assert len({tuple(one.flatten().tolist()) for one in (own, *drawn)}) == 1 + len(drawn)


def test_the_narrowest_channels_go_and_one_of_each_layer_stays():
    cut = script("cut")
    first, second = torch.tensor([0.1, 0.9, 0.3, 0.2]), torch.tensor([0.05, 0.06])
    masks = cut.narrowest({"trunk.1": first, "trunk.4": second}, 0.5)  # 0.15 is the median
    assert masks["trunk.1"].tolist() == [False, True, True, True]
    assert masks["trunk.4"].tolist() == [False, True]
    trunk = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    trunk[0].weight.data = torch.tensor([1.0, -3.0, 2.0]).reshape(3, 1, 1, 1)
    single = nn.Sequential()
    single.add_module("trunk", trunk)
    by_weights = cut.by_weights(single, {"trunk.1": torch.tensor([True, False, False])})
    assert by_weights["trunk.1"].tolist() == [False, True, False]


# Branches


def test_a_relabelled_tree_is_another_one_of_the_same_form():
    trees = script("branches_trees")
    tree = {"a": (("x", "y"), ("z",)), "b": (("x",), ("y",), ("z",))}
    other = trees.relabelled(tree, ("x", "y", "z"), 0)
    assert other["a"] != tree["a"] and set(other["b"]) == set(tree["b"])
    assert sorted(map(len, other["a"])) == [1, 2]
    assert sorted(task for group in other["a"] for task in group) == ["x", "y", "z"]
    assert trees.relabelled({"b": tree["b"]}, ("x", "y", "z"), 0) is None
    whole = {"first": (("x", "y", "z"),), "second": tree["a"], "third": tree["a"], "b": tree["b"]}
    assert trees.short(whole) == {"second": tree["a"], "b": tree["b"]}


# Names


def test_names_and_answers_are_those_of_the_standard():
    pytest.importorskip("sklearn")
    names = script("beyond_vision")
    characters = names.characters()
    by_name = {" ".join(words): answers for words, answers in characters}
    assert by_name["LATIN SMALL LETTER A WITH GRAVE"] == {
        "category": "Ll",
        "direction": "L",
        "decomposition": "canonical",
        "width": "A",
    }
    assert by_name["VULGAR FRACTION ONE HALF"]["decomposition"] == "<fraction>"
    assert by_name["HEBREW LETTER ALEF"]["direction"] == "R"
    assert len(characters) == 11411  # in every version of Python
    train, test, known, _ = names.data()
    assert int(train.words.max()) == known - 1 and int(test.words.max()) < known


# Receding neurons


def test_the_penalties_of_a_network():
    methods = script("pruning_methods")
    nets = {m: methods.build(methods.Setting("vgg16", m), 3).double() for m in methods.SCOPES}

    def penalty(method):
        return methods.penalty(nets[method], methods.Setting("vgg16", method))

    gamma = torch.cat([value for name, value in nets["rni"].named_parameters() if "gamma" in name])
    p = (gamma + 3).sigmoid()
    torch.testing.assert_close(penalty("rni"), 1e-3 * (p * (1 - p.log())).sum())
    assert penalty("l1").item() == pytest.approx(1e-4 * 0.5 * 4224)
    assert penalty("uniform") == 0


def test_filters_start_alike_with_every_method_and_rates_fall_with_the_epochs():
    methods = script("pruning_methods")
    settings = {m: methods.Setting("vgg16", m, 3, epochs=8) for m in methods.SCOPES}
    nets = {m: methods.build(setting, 10) for m, setting in settings.items()}
    rni, l1, uniform = (dict(net.named_parameters()) for net in nets.values())
    filters = {name for name, value in l1.items() if value.ndim > 1}
    assert filters == {name for name, value in rni.items() if value.ndim > 1}
    for name in filters:
        assert torch.equal(rni[name], l1[name]) and torch.equal(uniform[name], l1[name])
    sgd, schedule = methods.optimiser(nets["rni"], settings["rni"])
    rates = []
    for _ in range(8):
        rates.append([group["lr"] for group in sgd.param_groups])
        sgd.step()
        schedule.step()
    factors = torch.tensor([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])[:, None]
    torch.testing.assert_close(torch.tensor(rates), factors * torch.tensor([0.1, 1.0]))
    with pytest.raises(ValueError, match="epochs=3 must be at least 4"):
        replace(settings["rni"], epochs=3)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("method", ["rni", "l1", "uniform"])
def test_a_cut_keeps_what_is_above_the_quantile(method, share):
    methods = script("pruning_methods")
    setting = methods.Setting("vgg16", method)
    net = methods.build(setting, 3)
    layers = [net.get_submodule(name) for name in net.prunable]
    for layer in layers:
        nn.init.normal_(layer.gamma if method == "rni" else layer.weight)
    scores = [(m.gamma.sigmoid() if method == "rni" else m.weight.abs()).detach() for m in layers]
    limits = [score.quantile(share) for score in scores]
    if method != "uniform":
        limits = [torch.cat(scores).quantile(share)] * len(scores)
    kept = [int((score > limit).sum()) for score, limit in zip(scores, limits, strict=True)]
    small = methods.cut(net, setting, share, torch.rand(2, 3, 32, 32))
    assert [small.get_submodule(name).num_features for name in net.prunable] == kept


def test_crops_and_flips_are_those_of_single_images(generator):
    images = script("pruning_images")
    pixels = torch.randint(256, (9, 32, 32, 3), dtype=torch.uint8, generator=generator)
    top, left = torch.randint(9, (2, 9), generator=generator)
    flip = torch.arange(9) % 2 == 1
    cropped = images.cropped(pixels, top, left, flip)
    for image, y, x, flipped, found in zip(pixels, top, left, flip, cropped, strict=True):
        black = torch.zeros(40, 40, 3, dtype=torch.uint8)
        black[4:36, 4:36] = image
        expected = black[y : y + 32, x : x + 32]
        assert torch.equal(found, expected.flip(1) if flipped else expected)

"""Trunks whose code asks for values become branches, with an example that answers."""

import copy

import pytest
import torch
from torch import nn

import tssbn
from tssbn.export import branches
from tssbn.export.trees import distances, greedy, tree_by_similarity
from tssbn.norm import TaskSpecificNorm

TASKS = ("seg", "depth", "normal")
ALONE = (("seg",), ("depth",), ("normal",))


class Asks(nn.Module):
    """Asks for a value, sizes, how long they are, whether something is among them, the device."""

    def __init__(self):
        super().__init__()
        self.first, self.mix, self.second = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.register_buffer("place", torch.rand(1, 3, 1, 1))

    def forward(self, x):
        x = self.mix(self.first(x))
        if x.shape[2] > 4 and len(x.shape) == 4 and "a" not in {"b": x}:
            x = x + self.place.expand(x.shape[0], -1, -1, -1)
        batch, channels, *size = x.shape
        side = int(size[0]) // 2
        x = x[:, :, :side, : range(side)[-1] + 1]
        with torch.autocast(x.device.type, enabled=False):
            scale = float(x.shape[3])
        return self.second(x.reshape(batch, channels, side, side) / scale)


def transformer(name):
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if name == "BERT":
        config = transformers.BertConfig(vocab_size=50, intermediate_size=32, **small)
        model = transformers.BertModel(config, add_pooling_layer=False)
    else:
        config = transformers.ViTConfig(image_size=16, patch_size=8, intermediate_size=32, **small)
        model = transformers.ViTModel(config, add_pooling_layer=False)

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x).last_hidden_state

    return Features()


TRUNKS = {
    "code that asks": (Asks, lambda images: torch.rand(images, 3, 8, 8)),
    "BERT": (lambda: transformer("BERT"), lambda texts: torch.randint(50, (texts, 6))),
    "ViT": (lambda: transformer("ViT"), lambda images: torch.rand(images, 3, 16, 16)),
}


def network(name):
    make, inputs = TRUNKS[name]
    net = tssbn.MultiTask(
        tssbn.task_specific(make(), TASKS), {task: nn.Identity() for task in TASKS}
    ).eval()
    for layer in net.modules():
        if isinstance(layer, TaskSpecificNorm):
            nn.init.normal_(layer.gamma)
    return net, inputs


@pytest.mark.parametrize("name", TRUNKS)
def test_branches_are_the_network_whatever_the_number_of_images(name):
    net, inputs = network(name)
    before = copy.deepcopy(net.state_dict())
    first, *_ = distances(net, inputs(2))
    apart = branches(net, {first: ALONE}, inputs(2))
    for count in 1, 2, 5:
        x = inputs(count)
        expected, outputs = net(x), apart(x)
        for task in TASKS:
            torch.testing.assert_close(outputs[task], expected[task], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(isinstance(part, TaskSpecificNorm) for part in apart.modules())


@pytest.mark.parametrize("name", TRUNKS)
def test_without_an_example_the_message_names_the_way_out(name):
    net, _ = network(name)
    with pytest.raises(ValueError, match=r"cannot follow .* An example input \(example=x\)"):
        branches(net, {})


@pytest.mark.parametrize("name", TRUNKS)
def test_trees_are_chosen_with_an_example_too(name):
    net, inputs = network(name)
    tree = tree_by_similarity(net, 0.0, inputs(2))
    assert list(tree) == list(distances(net, inputs(2)))
    assert set(tree.values()) == {ALONE}
    path = greedy(net, lambda merged: 0.0, inputs(1), depths=[list(tree)[-1]], on_example=True)
    assert [step.cost for step in path] == sorted((step.cost for step in path), reverse=True)
    assert path[-1].tree[next(iter(tree))] == (TASKS,)


def test_statistics_stay_while_a_training_network_is_followed():
    net, inputs = network("code that asks")
    net.train()
    before = copy.deepcopy(net.state_dict())
    apart = branches(net, {"first": ALONE}, inputs(4))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    layer = apart.get_submodule("trunk.first.seg")
    assert (layer.running_mean == 0).all() and (layer.running_var == 1).all()

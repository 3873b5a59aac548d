"""The penalties of mixtures of experts, and their training."""

from itertools import repeat

import pytest
import torch
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny
from lightning_fabric import Fabric
from tiny_mixtures import FEW, built, images
from transformer_methods import MIXTURES

from tssbn.benchmarks.tasks import tasks_for
from tssbn.benchmarks.transformers import vit_network
from tssbn.cost import parameters
from tssbn.methods import find_method, m3vit, mlore, mod_squad
from tssbn.training.balancing import Penalised, find_balancing
from tssbn.training.epoch import train_epoch
from tssbn.training.loop import train


def test_routers_at_zero_have_no_penalty_of_mod_squad_and_no_gradient():
    net = built("mod-squad", information=1.0)
    net(images())
    routers = [p for n, p in net.named_parameters() if n.endswith("router.weight")]
    penalty = net.penalty()
    assert len(routers) == 4 and abs(penalty) < 1e-14
    for slope in torch.autograd.grad(penalty, routers):
        assert slope.abs().max() < 1e-14


@pytest.mark.parametrize(
    ("method", "option", "routers"),
    [("m3vit", "evenness", 2), ("mod-squad", "information", 4), ("mlore", "evenness", 6)],
)
def test_the_penalty_is_the_weighted_sum_of_the_routers(method, option, routers):
    nets = [built(method, **{option: weight}) for weight in (1.0, 3.0, 0.0)]
    penalties = []
    for net in nets:
        for name, value in net.named_parameters():
            if name.endswith("router.weight"):
                nn.init.normal_(value, generator=torch.Generator().manual_seed(len(name)))
        torch.manual_seed(0)
        net(images())
        penalties.append(net.penalty())
    measure = {"m3vit": m3vit, "mod-squad": mod_squad, "mlore": mlore}[method].measure
    found = [part.routes for part in nets[0].trunk.modules() if hasattr(part, "routes")]
    assert len(found) == routers
    torch.testing.assert_close(penalties[0], sum(map(measure, found)))
    torch.testing.assert_close(penalties[1], 3 * penalties[0])
    assert penalties[0] != 0 == penalties[2]


@pytest.mark.parametrize("method", ["m3vit", "mod-squad", "mlore"])
def test_the_penalty_refuses_a_pass_of_some_tasks(method):
    net = built(method)
    net(images())
    net.penalty()
    net(images(), ["a", "b"])
    with pytest.raises(
        RuntimeError, match=r"is of all 3 tasks, but in the last pass router .* saw 2"
    ):
        net.penalty()


# -- training --------------------------------------------------------------------------------------

SMALL = vit_network(
    (6, 8), fused=8, width=16, depth=2, heads=2, patch=2, taps=(1, 2), drop_path=0.1
)


@pytest.mark.parametrize("method", MIXTURES)
def test_a_whole_run(method):
    run = tiny.run(method, epochs=1, settings=FEW.get(method))
    net, record = train(tiny.changed(run, network=SMALL), accelerator="cpu")
    assert record["finished"] and record["parameters"] == parameters(net)
    assert ("penalty" in record["epochs"][0]) == (method != "taskexpert")


@pytest.mark.parametrize("method", ["m3vit", "mlore"])
def test_a_balancing_that_looks_at_each_task_leaves_the_penalty_whole(method):
    def trained(balance, evenness):
        settings = {"balance": balance, "evenness": evenness, **FEW.get(method, {})}
        run = tiny.run(method, epochs=1, batch=12, settings=settings)  # a single step
        return train(tiny.changed(run, network=SMALL), accelerator="cpu")

    (one, first), (_, second) = (trained(b, 1.0) for b in ("sum", "pcgrad"))
    penalties = [record["epochs"][0]["penalty"] for record in (first, second)]
    assert 0 < penalties[0] == pytest.approx(penalties[1], rel=1e-5)
    without = trained("sum", 0.0).net.state_dict()
    moved = [name for name, p in one.named_parameters() if not torch.equal(p, without[name])]
    assert moved and all(".decoder." in n or ".vit." in n or ".shared." in n for n in moved)


@pytest.mark.parametrize("method", MIXTURES)
def test_four_samples_are_learned_by_heart(method):
    tasks, batch = tasks_for(tiny.TARGETS), tiny.data("train")[:4]
    for name, value in tiny.data("train")[:4].items():
        if name != "image":  # of the whole image
            batch[name] = value[..., :1, :1].expand_as(value)
    outputs = {name: task.out_channels for name, task in tasks.items()}
    shallow = vit_network(
        (6, 8), fused=8, width=16, depth=2, heads=2, patch=2, taps=(2,), drop_path=0.0
    )
    torch.manual_seed(0)
    net = find_method(method).build(shallow, outputs)
    seam = Penalised(net) if hasattr(net, "penalty") else find_balancing("sum")(net)
    fabric = Fabric(accelerator="cpu", devices=1)
    model, optimiser = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=5e-3))
    steps = train_epoch(fabric, model, optimiser, tasks, repeat(batch, 300), balancing=seam)
    start = next(steps)
    for losses in steps:
        if all(losses[task] < 0.05 * start[task] for task in tasks):
            return
    pytest.fail(f"from {start} to {losses}")

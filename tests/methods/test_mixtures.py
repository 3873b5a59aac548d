"""M³ViT, Mod-Squad, MLoRE and TaskExpert: sizes, special cases, and the penalty."""

import copy
import pickle
from functools import cache, partial
from itertools import repeat

import pytest
import torch
from asserts import ABSOLUTE, assert_is_multitask, assert_only_own_rows_move, assert_same_outputs
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny
from lightning_fabric import Fabric
from tiny_transformers import SWIN, VIT
from transformer_methods import MIXTURES

from tssbn import export
from tssbn.benchmarks.tasks import tasks_for
from tssbn.benchmarks.transformers import vit_network
from tssbn.cost import macs, parameters
from tssbn.methods import Network, find_method, hard_sharing, m3vit, mlore, mod_squad
from tssbn.mixtures.mlore import LowRankMixture
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.networks.vit import ViT
from tssbn.training.balancing import Penalised, find_balancing
from tssbn.training.epoch import train_epoch
from tssbn.training.loop import train

OUTPUTS = {"a": 2, "b": 1, "c": 3}
PASCAL = {"segmentation": 21, "parts": 7, "saliency": 2, "normal": 3, "edge": 1}
OWN = ("router.weight", ".embedding")  # of tasks, in blocks
BLOCKS, EMBEDDING, FUSION, HEADS = 42_589_440, 689_280, 5_606_592, 1_668_322
KINDS = {"vit": VIT, "swin": SWIN}
CASES = [("m3vit", "vit"), ("m3vit", "swin"), ("mod-squad", "vit"), ("taskexpert", "vit")]
CASES += [("mlore", "vit")]
every_case = pytest.mark.parametrize(("method", "kind"), CASES)


FEW = {"mlore": {"experts": 4, "top": 2, "own": 3}}  # experts, so that it is soon computed


def built(method, kind="vit", outputs=OUTPUTS, **options):
    torch.manual_seed(0)
    options = FEW.get(method, {}) | options
    return find_method(method).build(KINDS[kind], outputs, **options).double()


def images(kind="vit", n=3):
    _, *shape = KINDS[kind].example.shape
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).double()


# -- sizes -----------------------------------------------------------------------------------------


@cache
def full(method):
    """The network at full size, on the meta device."""
    with torch.device("meta"):
        return find_method(method).build(vit_network(), PASCAL)


def gmacs(net):
    return macs(net, torch.empty(2, 3, 512, 512, device="meta")) / 1e9


@pytest.mark.parametrize(
    ("method", "size", "expected"),
    [
        ("hps", 29_257_762, 64.7),
        ("m3vit", 50_737_954, 214.7),
        ("mod-squad", 60_349_090, 284.3),
        ("taskexpert", 37_356_250, 72.9),
        ("mlore", 42_176_918 - 384, 78.3),  # without the position of a class token
    ],
)
def test_parameters_and_multiplications_at_full_size(method, size, expected):
    assert parameters(full(method)) == size
    assert round(gmacs(full(method)), 1) == expected


def test_where_the_parameters_are():
    for method, matrices, with_vectors in (
        ("m3vit", 42_467_328, BLOCKS),  # which the paper's table has as 42 million
        ("mod-squad", 51_904_512, 52_025_856),
    ):
        named = full(method).trunk.vit.blocks.named_parameters()
        sizes = {n: p.numel() for n, p in named if not n.endswith(OWN)}
        assert sum(sizes.values()) == with_vectors
        vectors = [n for n in sizes if "norm" in n or n.rsplit(".")[-1].startswith("bias")]
        assert sum(sizes[name] for name in sizes.keys() - set(vectors)) == matrices
    rest = EMBEDDING + FUSION + HEADS
    assert parameters(full("m3vit")) == BLOCKS + 5 * 6 * 16 * 384 + rest
    routers, embedding = 5 * 6 * 31 * 384, 5 * 384
    assert parameters(full("mod-squad")) == 52_025_856 + routers + embedding + rest
    mixtures = full("mlore").trunk.decoder.mixtures
    assert [parameters(part) for pair in mixtures for part in pair] == [2_181_868] * 8


def test_mlore_saves_a_third_of_its_multiplications_by_folding():
    """The kernel of each expert and task is made once for all images, their sums for each."""
    branches = copy.deepcopy(full("mlore"))
    branch_by_branch(branches)
    assert round(gmacs(branches), 1) == 122.2
    kernel = 192 * 3 * 3 * 192
    once, each = 8 * kernel * (540 + 5 * 32), 8 * 5 * kernel * 15
    assert round(gmacs(full("mlore")) - (once / 2 + each) / 1e9, 1) == 77.2


def branch_by_branch(net):
    for part in net.modules():
        if isinstance(part, LowRankMixture):
            part.folded = part.branches


# -- the contract ----------------------------------------------------------------------------------


@every_case
def test_it_is_a_multi_task_network_all_of_whose_tasks_share_a_pass(method, kind):
    net, x = built(method, kind), images(kind)
    assert_is_multitask(net, x)
    assert {task: y.shape for task, y in net(x).items()} == {
        task: (3, channels, *x.shape[2:]) for task, channels in OUTPUTS.items()
    }
    assert built(method, kind, {"a": 2}).shared() == []
    if method == "taskexpert":
        return
    net.tasks_per_pass = 1
    assert net.tasks_per_pass is None and list(net.passes()) == [("a", "b", "c")]


@every_case
def test_stacked_tasks_are_each_task_alone(method, kind):
    net, x = built(method, kind), images(kind)
    net(x)  # statistics
    net.eval()
    together = net(x)
    for task in OUTPUTS:
        assert_same_outputs(net(x, [task]), {task: together[task]}, **ABSOLUTE)
        one = net(x[:1], [task])  # a single image has no stem
        assert_same_outputs(one, {task: together[task][:1]}, **ABSOLUTE)
    assert_same_outputs(net(x, ["c", "a"]), {t: together[t] for t in ("a", "c")}, **ABSOLUTE)


@every_case
def test_a_loss_reaches_the_rows_of_its_task_alone(method, kind):
    net = built(method, kind)
    if method == "taskexpert":  # at first a memory is 0, and so is what its weights learn
        net.eval().trunk.decoder.recall[0][0].weight.requires_grad_(False)
    for name, value in net.named_parameters():
        if name.endswith("place.bias"):  # the norm layer that follows takes it away again
            value.requires_grad_(False)
    assert_only_own_rows_move(net, "b", images(kind))


@every_case
def test_copies_are_networks_of_their_own(method, kind):
    net, x = built(method, kind), images(kind)
    net(x)
    net.eval()
    before = net(x)
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert_same_outputs(twin(x), before, rtol=0, atol=0)
        with torch.no_grad():
            for value in twin.parameters():
                value.fill_(0.5)
        assert not torch.equal(twin(x)["a"], before["a"])
        assert_same_outputs(net(x), before, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:torch.fx cannot follow")  # how many tokens an expert gets
@every_case
def test_one_task_as_a_network_of_its_own(method, kind):
    net, x = built(method, kind), images(kind)
    net(x)
    net.eval()
    single = export.task(net, "b", example=x)
    torch.testing.assert_close(single(x), net(x)["b"], rtol=0, atol=1e-12)
    assert parameters(single) < parameters(net)


@every_case
def test_a_task_can_be_added(method, kind):
    net, x = built(method, kind).eval(), images(kind)
    before = net(x)
    net.add_task("d", KINDS[kind].head(1).double().eval(), like="b")
    after = net(x)
    assert list(after) == ["a", "b", "c", "d"]
    for task in before:
        torch.testing.assert_close(after[task], before[task], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", MIXTURES)
def test_other_trunks_are_refused(method):
    plain = Network(
        lambda: nn.Conv2d(3, 4, 3), lambda n: nn.Conv2d(4, n, 1), torch.rand(2, 3, 9, 9)
    )
    with pytest.raises(UnsuitableTrunk, match="trunk of type Conv2d"):
        find_method(method).build(plain, OUTPUTS)
    if method != "m3vit":
        with pytest.raises(UnsuitableTrunk, match="trunk of type Swin"):
            built(method, "swin")


def test_m3vit_and_mod_squad_take_a_vit_of_several_maps():
    class Join(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.last = nn.Conv2d(48, channels, 1)

        def forward(self, maps):
            return self.last(torch.cat(maps, 1))

    trunk = partial(ViT, (16, 16), width=24, depth=2, heads=2, patch=8, taps=(1, 2))
    network = Network(trunk, Join, torch.rand(2, 3, 16, 16))
    for method in m3vit, mod_squad:
        net = method.build(network, OUTPUTS)
        assert [y.shape[1] for y in net(network.example).values()] == [2, 1, 3]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("m3vit", {"experts": 3}, "experts=3, of which 4 are chosen"),
        ("m3vit", {"top": 0}, "of which 0 are chosen"),
        ("m3vit", {"evenness": -1.0}, "evenness=-1.0 must be 0 or more"),
        ("m3vit", {"top": 5}, "96 hidden channels cannot be cut into 5 equal slices"),
        ("mod-squad", {"attention_experts": 1}, "attention_experts=1, of which 2 are chosen"),
        ("mod-squad", {"top": 17}, "experts=16, of which 17 are chosen"),
        ("mod-squad", {"information": -0.1}, "information=-0.1 must be 0 or more"),
        ("mlore", {"top": 16}, "experts=4, of which 16 are chosen"),
        ("mlore", {"least": 0}, "least=0, step=4 and own=3 give ranks below 1"),
        ("mlore", {"step": -3}, "least=8, step=-3 and own=3 give ranks below 1"),
        ("taskexpert", {"experts": 0}, "experts=0 must be 1 or more"),
    ],
)
def test_what_cannot_be_built(method, options, message):
    with pytest.raises(ValueError, match=message):
        built(method, **options)


# -- what they are in special cases ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_m3vit_that_routes_evenly_is_hard_sharing(kind):
    """As many experts as slices, all chosen; or one expert."""
    torch.manual_seed(0)
    plain, x = hard_sharing.build(KINDS[kind], OUTPUTS).double().eval(), images(kind)
    for experts in 1, 4:
        net = built("m3vit", kind, experts=experts, top=experts).eval()
        net.heads = plain.heads
        for name, value in net.trunk.named_parameters():
            if name.endswith("router.weight"):
                nn.init.zeros_(value)
        assert_same_outputs(net(x), plain(x), **ABSOLUTE)


def test_m3vit_begins_near_the_trunk_that_it_was():
    torch.manual_seed(0)
    trunk, net = VIT.trunk().double(), built("m3vit")
    mixture, mlp = net.trunk.vit.blocks[1].mlp, trunk.vit.blocks[1].mlp
    tokens = torch.randn(2, 5, 24).double()
    nn.init.zeros_(mixture.router.weight)
    with mixture.router.tasks.running("a"):
        weights, _ = mixture.router(tokens)
    assert torch.equal(weights, torch.full((2, 5, 4), 1 / 16).double())
    assert torch.equal(mixture.experts.weight1[:4].flatten(0, 1), mlp.fc1.weight)
    assert [type(block.mlp).__name__ for block in net.trunk.vit.blocks] == ["Mlp", "Mixture"] * 2


def test_tasks_of_mod_squad_differ_by_embedding_and_routers_alone():
    net, x = built("mod-squad").eval(), images()
    with torch.no_grad():
        assert not torch.allclose(*features(net, x)[:2])
        nn.init.zeros_(net.trunk.vit.blocks[0][0].embedding)
        one, *others = features(net, x)
        assert all(torch.allclose(one, other, rtol=0, atol=1e-12) for other in others)
        for name, value in net.trunk.named_parameters():
            if name.endswith("router.weight"):
                value.normal_()
        assert not torch.allclose(*features(net, x)[:2])


def features(net, x):
    """What the head of each task reads."""
    seen = []
    hooks = [
        h.register_forward_pre_hook(lambda _, g: seen.append(g[0])) for h in net.heads.values()
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return seen


def test_mod_squad_adds_the_embedding_before_each_block():
    net, x = built("mod-squad").eval(), images()
    for _, block in net.trunk.vit.blocks:
        for branch in block.norm1, block.norm2:  # nothing but the residual stream is left
            nn.init.zeros_(branch.weight), nn.init.zeros_(branch.bias)
        block.ls1 = block.ls2 = type("Nothing", (nn.Module,), {"forward": lambda _, y: 0 * y})()
    seen = []
    net.trunk.vit.norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(x, ["b"])
    vit = net.trunk.vit
    expected = vit.patch_embed(x) + vit.pos_embed + 4 * net.trunk.vit.blocks[0][0].embedding[1]
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", ["mlore", "taskexpert"])
def test_the_trunk_runs_once_for_all_tasks(method):
    net, rows = built(method), []
    net.trunk.vit.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    net(images())
    assert rows == [3]


@pytest.mark.parametrize("method", ["mlore", "taskexpert"])
def test_tasks_that_own_the_same_read_the_same(method):
    net, x = built(method).eval(), images()
    with torch.no_grad():
        one, other, _ = features(net, x)
        assert not torch.allclose(one, other)
        for part in net.trunk.modules():
            for name in getattr(part, "per_task", ()):
                if (value := getattr(part, name, None)) is not None:
                    value.copy_(value[:1].expand_as(value))
        one, *others = features(net, x)
    assert all(torch.allclose(one, other, rtol=0, atol=1e-12) for other in others)


def test_mlore_folded_is_mlore_branch_by_branch():
    net, x = built("mlore"), images()
    net(x)  # statistics
    folded = net.eval()(x)
    branch_by_branch(net)
    assert_same_outputs(net(x), folded, rtol=0, atol=1e-10)


def test_taskexpert_whose_gates_choose_one_expert_adds_up_its_features():
    net, x = built("taskexpert").eval(), images()
    memory = net.trunk.decoder
    with torch.no_grad():
        for gate in memory.gates:
            gate.weight.zero_(), gate.bias.zero_()
            gate.bias[1, 3] = 1000  # the third of the shared ones
        maps = [part(m)[:, 2] for part, m in zip(net.trunk.shared, net.trunk.vit(x), strict=True)]
        torch.testing.assert_close(features(net, x)[1], sum(maps), rtol=0, atol=1e-12)
        for gate in memory.gates:
            gate.bias[1, 0] = 2000  # the memory
        expected = torch.zeros_like(maps[0])
        with memory.recall[0][0].tasks.running("b"):
            for recall in memory.recall:
                expected = expected + recall(expected)
        torch.testing.assert_close(features(net, x)[1], expected, rtol=0, atol=1e-12)


# -- the penalty -----------------------------------------------------------------------------------


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
    net, record = train(tiny.changed(tiny.run(method, epochs=1), network=SMALL), accelerator="cpu")
    assert record["finished"] and record["parameters"] == parameters(net)
    assert ("penalty" in record["epochs"][0]) == (method != "taskexpert")


@pytest.mark.parametrize("method", ["m3vit", "mlore"])
def test_a_balancing_that_looks_at_each_task_leaves_the_penalty_whole(method):
    def trained(balance, evenness):
        settings = {"balance": balance, "evenness": evenness}
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
    model, optimiser = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=1e-2))
    steps = train_epoch(fabric, model, optimiser, tasks, repeat(batch, 300), balancing=seam)
    start = next(steps)
    for losses in steps:
        if all(losses[task] < 0.05 * start[task] for task in tasks):
            return
    pytest.fail(f"from {start} to {losses}")

"""The penalties by value and slope, the masks by their laws, the surgery by its result."""

import copy
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from settings import DEVICE, DTYPE
from torch import nn

import tssbn
from tssbn import pruning
from tssbn.networks.cifar import VGG16, ResNet56
from tssbn.networks.segnet import SegNet

# --- penalties ------------------------------------------------------------------------------------


def gated(values, dtype=torch.float64):
    layer = tssbn.SigmoidBatchNorm1d(len(values), dtype=dtype)
    layer.gamma.data = torch.tensor(values, dtype=dtype)
    return layer


def slope(gamma, shift):
    layer = gated([gamma])
    pruning.rni_penalty(layer, shift).backward()
    return layer.gamma.grad.item()


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [(0, 0.0022), (-1, 0.0133), (-2, 0.0616), (-3, 0.1733), (-4, 0.2582), (-5, 0.2233)],
)
def test_slope_table_at_shift_3(gamma, expected):
    assert slope(float(gamma), shift=3.0) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_slope_is_largest_at_p_02356(shift):
    gamma = torch.linspace(-12, 8, 200001, dtype=torch.float64)
    layer = gated(gamma.tolist())
    pruning.rni_penalty(layer, shift).backward()
    slopes = layer.gamma.grad
    best = slopes.argmax()
    assert slopes[best].item() == pytest.approx(0.2603, abs=5e-5)
    assert torch.sigmoid(gamma[best] + shift).item() == pytest.approx(0.2356, abs=5e-5)
    assert gamma[best].item() == pytest.approx(-1.177 - shift, abs=5e-4)


@given(st.floats(-30, 10), st.floats(-3, 3))
def test_penalty_and_slope_are_the_formula(gamma, shift):
    p = torch.tensor(gamma + shift, dtype=torch.float64).sigmoid()
    layer = gated([gamma])
    value = pruning.rni_penalty(layer, shift)
    assert value.item() == pytest.approx((p * (1 - p.log())).item(), rel=1e-9)
    value.backward()
    assert layer.gamma.grad.item() == pytest.approx((-p * (1 - p) * p.log()).item(), abs=1e-12)


def test_penalty_values_and_sum_over_layers():
    assert pruning.rni_penalty(gated([0.0])).item() == pytest.approx(0.8466, abs=5e-5)
    assert pruning.rni_penalty(gated([40.0])).item() == pytest.approx(1.0)
    trunk = tssbn.task_specific(nn.BatchNorm1d(4), ("a", "b"))
    both = nn.ModuleList([gated([0.0, 0.0]), trunk, nn.BatchNorm1d(7), tssbn.SigmoidLayerNorm(5)])
    assert pruning.rni_penalty(both).item() == pytest.approx((2 + 8 + 5) * 0.84657359)


def test_penalty_leaves_open_and_closed_gates_alone_also_in_float32():
    layer = gated([20.0, -1000.0], torch.float32)
    value = pruning.rni_penalty(layer)
    value.backward()
    assert value.item() == pytest.approx(1.0) and layer.gamma.grad.abs().max() < 1e-7


@pytest.mark.parametrize("shift", [0.0, 3.0])
@pytest.mark.parametrize(("gamma", "limit"), [(-torch.inf, 0.0), (torch.inf, 1.0)])
def test_an_infinite_gate_has_the_limit_and_no_slope(gamma, limit, shift):
    layer, alone = gated([gamma, 0.5]), gated([0.5])
    values = [pruning.rni_penalty(net, shift) for net in (layer, alone)]
    sum(values).backward()
    assert values[0].item() == pytest.approx(limit + values[1].item(), rel=1e-15)
    assert layer.gamma.grad.tolist() == [0, alone.gamma.grad.item()]


@pytest.mark.parametrize("gamma", [30.0, 40.0, 800.0, 1e30])
def test_far_gates_are_on_the_way_to_the_limit(gamma):
    assert pruning.rni_penalty(gated([gamma])).item() == pytest.approx(1.0)
    assert 0 <= pruning.rni_penalty(gated([-gamma])).item() < 1e-11
    assert slope(gamma, 0.0) == pytest.approx(0, abs=1e-11) == slope(-gamma, 0.0)


def test_a_penalty_that_is_no_number_is_seen():
    assert pruning.rni_penalty(gated([torch.nan, 0.0])).isnan()
    for shift in torch.nan, torch.inf:
        with pytest.raises(ValueError, match=f"shift={shift} must be finite"):
            pruning.rni_penalty(gated([0.0]), shift)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_penalties_in_half_precision_are_those_of_the_same_values(dtype):
    """70,000 open gates, or scales, add up to more than float16 can hold."""
    values = torch.randn(70_000, generator=torch.Generator().manual_seed(0)).to(dtype) + 6
    for penalty, host, name in (
        (pruning.rni_penalty, tssbn.SigmoidBatchNorm1d, "gamma"),
        (pruning.slimming_penalty, nn.BatchNorm1d, "weight"),
    ):
        half, full = (host(70_000, dtype=of) for of in (dtype, torch.float32))
        for layer in half, full:
            getattr(layer, name).data.copy_(values)
        found, expected = penalty(half), penalty(full)
        assert found == expected and expected > torch.finfo(torch.float16).max
        found.backward()
        expected.backward()
        slopes = [getattr(layer, name).grad.float() for layer in (half, full)]
        torch.testing.assert_close(*slopes, rtol=1e-2, atol=1e-6)


def test_l1_is_the_sum_over_ordinary_layers():
    layer = nn.BatchNorm2d(3)
    layer.weight.data = torch.tensor([1.0, -2.0, 0.5])
    net = nn.ModuleList([layer, nn.BatchNorm1d(2), tssbn.SigmoidBatchNorm2d(9)])
    net.append(nn.BatchNorm2d(4, affine=False))
    value = pruning.slimming_penalty(net)
    value.backward()
    assert value.item() == 5.5 and layer.weight.grad.tolist() == [1, -1, 1]


def test_nothing_to_penalise():
    with pytest.raises(ValueError, match="Linear has no sigmoid gates"):
        pruning.rni_penalty(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="SigmoidBatchNorm2d has no affine BatchNorm layer"):
        pruning.slimming_penalty(tssbn.SigmoidBatchNorm2d(2))


# --- masks ----------------------------------------------------------------------------------------

scores = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=12)
networks = st.tuples(st.lists(scores, min_size=1, max_size=4), st.booleans())
fractions = st.floats(0, 0.99)
scopes = st.sampled_from(["global", "local"])


def network(values, sigmoid):
    layers = [nn.BatchNorm1d(len(v)) for v in values]
    for layer, v in zip(layers, values, strict=True):
        layer.weight.data = torch.tensor(v)
    if sigmoid:
        layers = [gated(v, torch.float32) for v in values]
    return nn.Sequential(*layers)


def score(v, sigmoid):
    return torch.tensor(v).sigmoid() if sigmoid else torch.tensor(v).abs()


@given(networks, fractions, fractions, scopes)
def test_more_pruning_keeps_a_subset(spec, one, other, scope):
    less, more = sorted((one, other))
    net = network(*spec)
    wide, narrow = (pruning.channel_masks(net, fraction, scope) for fraction in (less, more))
    assert all((narrow[name] <= wide[name]).all() for name in wide)


@given(networks, fractions, scopes, st.integers(1, 5))
def test_the_best_of_a_layer_stay(spec, fraction, scope, minimum):
    masks = pruning.channel_masks(network(*spec), fraction, scope, minimum)
    for v, mask in zip(spec[0], masks.values(), strict=True):
        assert mask.sum() >= min(minimum, len(v))
        strength = score(v, spec[1])
        if not mask.all():
            assert strength[mask].min() >= strength[~mask].max()


@given(networks, st.floats(0.01, 0.99))
def test_the_threshold_is_the_quantile_strictly(spec, fraction):
    values, sigmoid = spec
    net = network(*spec)
    pooled = torch.cat([score(v, sigmoid) for v in values]).quantile(fraction)
    for scope in ("global", "local"):
        masks = pruning.channel_masks(net, fraction, scope)
        for v, mask in zip(values, masks.values(), strict=True):
            strength = score(v, sigmoid)
            above = strength > (pooled if scope == "global" else strength.quantile(fraction))
            assert (mask >= above).all()
            assert torch.equal(mask, above) or mask.sum() == min(3, len(v))


@given(networks, scopes)
def test_dropping_nothing_keeps_all(spec, scope):
    assert all(mask.all() for mask in pruning.channel_masks(network(*spec), 0, scope).values())


@given(networks, fractions, scopes, st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_precision_keeps_what_its_values_would_in_single(spec, fraction, scope, dtype):
    net = network(*spec).to(dtype)
    found = pruning.channel_masks(net, fraction, scope)
    expected = pruning.channel_masks(copy.deepcopy(net).float(), fraction, scope)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for layer, mask in zip(pruning.mask_channels(net, found), found.values(), strict=True):
        scale = layer.gamma.sigmoid() if spec[1] else layer.weight
        assert scale.dtype == dtype and (scale[~mask] == 0).all()


@pytest.mark.parametrize(
    ("sigmoid", "scale"), [(True, torch.nan), (False, torch.nan), (False, -torch.inf)]
)
def test_scales_of_a_diverged_run_are_not_ranked(sigmoid, scale):
    net = network([[1.0, 2.0], [0.5, scale, 3.0]], sigmoid)
    with pytest.raises(ValueError, match=r"layers \['1'\] have scales that are NaN or infinite"):
        pruning.channel_masks(net, 0.5)


def test_gates_at_infinity_are_shut_and_open():
    net = network([[-torch.inf, torch.inf, 0.0, 1.0]], sigmoid=True)
    assert pruning.channel_masks(net, 0.5, minimum=1)["0"].tolist() == [False, True, False, True]


def test_global_pools_and_local_does_not():
    weak, strong = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [-1.1, -1.2, -1.3, -1.4, -1.5, -1.6]
    net = network([weak, strong], sigmoid=False)
    for scope, kept in {"global": [3, 6], "local": [3, 3]}.items():
        assert [
            mask.sum().item() for mask in pruning.channel_masks(net, 0.5, scope).values()
        ] == kept
    assert pruning.channel_masks(net, 0.5, minimum=1)["0"].tolist() == [False] * 5 + [True]


def test_only_the_named_layers():
    net = ResNet56()
    masks = pruning.channel_masks(net, 0.5, layers=net.prunable)
    assert list(masks) == net.prunable and sum(len(m) for m in masks.values()) == 1008
    everywhere = pruning.channel_masks(VGG16(), 0.5)
    assert list(everywhere) == VGG16().prunable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 1.0}, r"fraction must be in \[0, 1\), got 1.0"),
        ({"fraction": -0.1}, r"fraction must be in \[0, 1\), got -0.1"),
        ({"fraction": float("nan")}, r"fraction must be in \[0, 1\), got nan"),
        ({"fraction": 0.5, "scope": "layer"}, "scope must be .* got 'layer'"),
        ({"fraction": 0.5, "minimum": 0}, "minimum must be at least 1, got 0"),
        ({"fraction": 0.5, "layers": ["1"]}, r"no prunable layer '1': the model has \['0'\]"),
        ({"fraction": 0.5, "layers": []}, "no prunable layer"),
    ],
)
def test_bad_arguments_of_keep(arguments, message):
    with pytest.raises(ValueError, match=message):
        pruning.channel_masks(nn.Sequential(nn.BatchNorm1d(4)), **arguments)


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 2),
        nn.BatchNorm1d(3, affine=False),
        tssbn.SigmoidLayerNorm(3),
        tssbn.task_specific(nn.BatchNorm1d(3), ("a", "b")),
    ],
    ids=["linear", "not affine", "σLN", "task-specific"],
)
def test_models_without_prunable_layers(model):
    with pytest.raises(ValueError, match="no prunable layer"):
        pruning.channel_masks(model, 0.5)


# --- silence --------------------------------------------------------------------------------------


def small_net(kind):
    """conv-norm-relu twice and a linear layer, with nothing left at a start value."""
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3),
    )  # fmt: skip
    return stir(net, kind).to(DEVICE, DTYPE)


def stir(net, kind):
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.2, 2.0)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    if kind == "plain":
        return net.eval()
    net = tssbn.sigmoid(net, affine=kind)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.gamma)
    return net.eval()


kinds = pytest.mark.parametrize("kind", ["plain", "paper", "preserve"])


@kinds
@pytest.mark.parametrize("training", [False, True])
def test_silent_channels_put_out_zero_and_the_others_what_they_did(kind, training):
    net = small_net(kind).train(training)
    mask = torch.tensor([True, False, True, True, False, True], device=DEVICE)
    x = torch.rand(4, 2, 7, 7, device=DEVICE, dtype=DTYPE)
    before = net[:2](x)
    after = pruning.mask_channels(net, {"1": mask})[:2](x)
    assert (after[:, ~mask] == 0).all()
    torch.testing.assert_close(after[:, mask], before[:, mask])


@kinds
def test_silence_leaves_the_model_as_it_was(kind):
    net = small_net(kind)
    state = copy.deepcopy(net.state_dict())
    pruning.mask_channels(net, pruning.channel_masks(net, 0.9))
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


def test_penalty_of_a_silenced_network_is_finite():
    net = small_net("paper")
    silent = pruning.mask_channels(net, pruning.channel_masks(net, 0.9))
    value = pruning.rni_penalty(silent)
    value.backward()
    assert value.isfinite()
    gradients = (p.grad for p in silent.parameters() if p.grad is not None)
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"5": torch.ones(8, dtype=torch.bool)}, "no prunable layer '5'"),
        ({"4": torch.ones(6, dtype=torch.bool)}, r"boolean of shape \(8,\), got torch.bool .*6"),
        ({"4": torch.ones(8)}, "must be boolean .* got torch.float32"),
        ({"4": torch.zeros(8, dtype=torch.bool)}, "the mask of '4' keeps no channel"),
    ],
)
def test_bad_masks(masks, message):
    net = small_net("plain")
    with pytest.raises(ValueError, match=message):
        pruning.mask_channels(net, masks)
    pytest.importorskip("torch_pruning")
    with pytest.raises(ValueError, match=message):
        pruning.prune_channels(net, masks, torch.rand(1, 2, 7, 7, device=DEVICE, dtype=DTYPE))


# --- removal --------------------------------------------------------------------------------------


@kinds
@settings(max_examples=10)
@given(fraction=st.floats(0, 0.95), scope=scopes, seed=st.integers(0, 99))
def test_the_small_network_is_the_silenced_one(kind, fraction, scope, seed):
    pytest.importorskip("torch_pruning")
    torch.manual_seed(seed)
    net = small_net(kind)
    masks = pruning.channel_masks(net, fraction, scope)
    x = torch.rand(3, 2, 7, 7, device=DEVICE, dtype=DTYPE)
    small, silent = pruning.prune_channels(net, masks, x), pruning.mask_channels(net, masks)
    torch.testing.assert_close(small(x), silent(x))
    a, b = (int(mask.sum()) for mask in masks.values())
    affine = {"plain": 2, "paper": 1, "preserve": 2}[kind]
    by_hand = (18 * a + a) + (9 * a * b + b) + affine * (a + b) + (4 * b * 3 + 3)
    macs = 49 * 18 * a + 25 * 9 * a * b + 12 * b
    assert pruning.cost(small, x[:1]) == (by_hand, macs)


@pytest.mark.parametrize("network", [VGG16, ResNet56])
@pytest.mark.parametrize("kind", ["plain", "paper"])
def test_networks_of_the_paper(network, kind):
    pytest.importorskip("torch_pruning")
    net = stir(network(), kind)
    masks = pruning.channel_masks(net, 0.8, layers=net.prunable)
    x = torch.rand(2, 3, 32, 32)
    small = pruning.prune_channels(net, masks, x)
    expected = pruning.mask_channels(net, masks)(x)
    torch.testing.assert_close(
        small(x), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item()
    )
    assert {n: small.get_submodule(n).num_features for n in masks} == {
        n: int(mask.sum()) for n, mask in masks.items()
    }
    (before, before_macs), (after, after_macs) = (pruning.cost(n, x) for n in (net, small))
    assert after < 0.5 * before and after_macs < 0.5 * before_macs
    small.train()(x).sum().backward()  # ready for fine-tuning
    assert all(p.grad.shape == p.shape for p in small.parameters())


def test_output_is_unchanged_when_the_removed_gates_are_closed_already():
    pytest.importorskip("torch_pruning")
    net = small_net("paper")
    masks = pruning.channel_masks(net, 0.5)
    with torch.no_grad():
        for name, mask in masks.items():
            net.get_submodule(name).gamma[~mask] = -1000
    x = torch.rand(3, 2, 7, 7, device=DEVICE, dtype=DTYPE)
    torch.testing.assert_close(pruning.prune_channels(net, masks, x)(x), net(x))


def test_removal_keeps_modes_frozen_parameters_and_the_original():
    pytest.importorskip("torch_pruning")
    net = small_net("paper").train()
    net[4].eval()
    net[0].requires_grad_(False)
    state = copy.deepcopy(net.state_dict())
    x = torch.rand(3, 2, 7, 7, device=DEVICE, dtype=DTYPE)
    with torch.no_grad():
        small = pruning.prune_channels(net, pruning.channel_masks(net, 0.5), x)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert [m.training for m in small.modules()] == [m.training for m in net.modules()]
    frozen = [name for name, p in small.named_parameters() if not p.requires_grad]
    assert frozen == ["0.weight", "0.bias"]
    assert small[0].weight.shape[0] < 6


def test_nothing_to_remove():
    pytest.importorskip("torch_pruning")
    net = small_net("paper")
    x = torch.rand(1, 2, 7, 7, device=DEVICE, dtype=DTYPE)
    same = pruning.prune_channels(net, pruning.channel_masks(net, 0), x)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), net.parameters(), strict=True))


def test_a_layer_before_a_sum_is_refused():
    pytest.importorskip("torch_pruning")
    net = stir(ResNet56(), "paper")
    with pytest.raises(ValueError, match=r"'stem.1' can only go together.*'stages.0.0.bn2'"):
        pruning.prune_channels(
            net, pruning.channel_masks(net, 0.5, layers=["stem.1"]), torch.rand(1, 3, 32, 32)
        )


def test_an_activation_that_moves_zero_is_refused():
    pytest.importorskip("torch_pruning")
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Sigmoid(), nn.Linear(8, 2)).eval()
    with pytest.raises(ValueError, match=r"off by .* does not map 0 to 0"):
        pruning.prune_channels(net, pruning.channel_masks(net, 0.5), torch.rand(3, 4))


def test_the_check_of_the_small_network_does_not_overflow():
    """A norm beyond 65,504 is infinite in float16, and no difference is more than 1 % of that."""
    pytest.importorskip("torch_pruning")
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Sigmoid(), nn.Linear(8, 400)).eval()
    nn.init.constant_(net[3].weight, 2000.0)
    x = torch.rand(100, 4, dtype=torch.float16)
    masks = {"1": torch.tensor([True] * 4 + [False] * 4)}
    with pytest.raises(ValueError, match="a removed channel still matters"):
        pruning.prune_channels(net.half(), masks, x)


def test_the_cost_of_attention_is_that_of_its_plain_form():
    """Fused, as a transformer runs where nothing is trained, it would count as nothing."""
    net = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    macs = 10 * 4 * 64 * 64 + 2 * 10 * 10 * 64 + 2 * 10 * 64 * 128
    parameters = sum(p.numel() for p in net.parameters())
    assert pruning.cost(net, torch.rand(3, 10, 64)) == (parameters, 3 * macs)
    assert net.training


def test_missing_torch_pruning_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r'torch-pruning: pip install "tssbn\[train\] @ git'):
        pruning.prune_channels(nn.BatchNorm1d(2), {}, torch.rand(2, 2))


# --- sums and depthwise filters -------------------------------------------------------------------


class Joined(nn.Module):
    """Two branches of a convolution and a norm layer each, joined, and a convolution."""

    def __init__(self, join, inputs):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.b = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4))
        self.join, self.last = join, nn.Conv2d(inputs, 3, 1)

    def forward(self, x):
        return self.last(self.join(self.a(x), self.b(x)).relu())


def marked(*channels):
    """A mask of four."""
    return torch.tensor([i in channels for i in range(4)], device=DEVICE)


def cut(net, masks, x):
    """Masks tied and removed; what is left of the layers."""
    tied = pruning.tie_masks(net, masks, x)
    small = pruning.prune_channels(net, tied, x)
    torch.testing.assert_close(small(x), pruning.mask_channels(net, tied)(x))
    return tied, small


def test_a_channel_of_a_sum_goes_if_both_sides_do_without():
    pytest.importorskip("torch_pruning")
    net = stir(Joined(torch.add, 4), "plain").to(DEVICE, DTYPE)
    x = torch.rand(2, 2, 5, 5, device=DEVICE, dtype=DTYPE)
    masks = {"a.1": marked(0, 1), "b.1": marked(0, 2)}
    tied, small = cut(net, masks, x)
    assert all(torch.equal(mask, marked(0, 1, 2)) for mask in tied.values())
    assert [m.out_channels for m in (small.a[0], small.b[0])] == [3, 3]
    assert small.last.in_channels == 3
    assert torch.equal(small.a[1].weight, net.a[1].weight[:3])
    with pytest.raises(ValueError, match=r"'a.1' can only go together, since \['a.1', 'b.1'\]"):
        pruning.prune_channels(net, masks, x)
    alone = pruning.tie_masks(net, {"a.1": marked(0, 1)}, x)
    assert list(alone) == ["a.1"] and alone["a.1"].all()


def test_channels_side_by_side_go_by_themselves():
    pytest.importorskip("torch_pruning")
    net = stir(Joined(lambda a, b: torch.cat([a, b], 1), 8), "paper").to(DEVICE, DTYPE)
    x = torch.rand(2, 2, 5, 5, device=DEVICE, dtype=DTYPE)
    masks = {"a.1": marked(0, 1), "b.1": marked(2)}
    tied, small = cut(net, masks, x)
    assert all(torch.equal(tied[name], mask) for name, mask in masks.items())
    assert torch.equal(small.last.weight, net.last.weight[:, [0, 1, 6]])


def depthwise(norm_between=True):
    return nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4) if norm_between else nn.Identity(),
        nn.ReLU(), nn.Conv2d(4, 3, 1),
    )  # fmt: skip


def test_the_norm_layer_after_a_depthwise_filter_decides():
    pytest.importorskip("torch_pruning")
    net = stir(depthwise(), "plain").to(DEVICE, DTYPE)
    x = torch.rand(2, 2, 5, 5, device=DEVICE, dtype=DTYPE)
    tied, small = cut(net, {"1": marked(0, 1), "4": marked(1, 2)}, x)
    # 0 is switched off behind the filter; 2 and 3 before it, which leaves 2 with a constant
    assert all(torch.equal(mask, marked(1, 2)) for mask in tied.values())
    assert (small[3].groups, small[3].out_channels, small[6].in_channels) == (2, 2, 2)
    tied, _ = cut(net, {"4": marked(1, 2)}, x)
    assert torch.equal(tied["1"], marked(1, 2))


def test_without_a_norm_layer_after_it_the_one_before_decides():
    pytest.importorskip("torch_pruning")
    net = stir(depthwise(norm_between=False), "plain").to(DEVICE, DTYPE)
    net[3].bias = None  # or the channel would be a constant
    x = torch.rand(2, 2, 5, 5, device=DEVICE, dtype=DTYPE)
    tied, small = cut(net, {"1": marked(0, 1)}, x)
    assert torch.equal(tied["1"], marked(0, 1)) and small[6].in_channels == 2


def test_channels_of_a_grouped_convolution_stay():
    pytest.importorskip("torch_pruning")
    layers = (nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1, groups=2))
    net = stir(nn.Sequential(*layers), "plain").to(DEVICE, DTYPE)
    x = torch.rand(2, 2, 5, 5, device=DEVICE, dtype=DTYPE)
    assert pruning.tie_masks(net, {"1": marked(0, 1)}, x)["1"].all()


def test_channels_under_another_number_stay():
    pytest.importorskip("torch_pruning")
    net = stir(ResNet56(), "paper")
    x = torch.rand(1, 3, 32, 32)
    masks = pruning.channel_masks(net, 0.5)
    tied = pruning.tie_masks(net, masks, x)
    for name, mask in tied.items():
        assert torch.equal(mask, masks[name]) if name in net.prunable else mask.all()


def test_places_of_maxima_tie_the_pooled_to_the_unpooled():
    pytest.importorskip("torch_pruning")
    net = stir(SegNet(4), "paper").to(DEVICE, DTYPE)
    x = torch.rand(2, 3, 32, 32, device=DEVICE, dtype=DTYPE)
    pooled, unpooled = "encoder.0.1.1", "decoder.1.1.1"  # 4 channels each
    assert net.get_submodule(pooled).num_features == net.get_submodule(unpooled).num_features == 4
    both = {pooled: marked(0, 1), unpooled: marked(0, 2)}
    tied, _ = cut(net, both, x)
    assert all(torch.equal(mask, marked(0, 1, 2)) for mask in tied.values())
    with pytest.raises(ValueError, match=rf"\['{pooled}', '{unpooled}'\] feed one sum"):
        pruning.prune_channels(net, both, x)

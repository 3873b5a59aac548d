"""Experts that compute the tokens sent to them are sums of dense networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip("timm")

from timm.layers import Mlp
from timm.models.vision_transformer import Attention

import tssbn
from tssbn.cost import macs
from tssbn.mixtures.attention import AttentionExperts, WideAttention
from tssbn.mixtures.experts import Mixture, MLPExperts, dispatch
from tssbn.mixtures.routing import Router

WIDTH, N = 8, 7
EXACT = {"rtol": 0, "atol": 1e-14}


def tokens(rows=3):
    return torch.randn(rows, N, WIDTH, generator=torch.Generator().manual_seed(1)).double()


def router(experts, top, tasks=("a",), zero=False):
    one = Router(WIDTH, experts, top, tssbn.Tasks(tasks)).double()
    if zero:
        nn.init.zeros_(one.weight)
    return one


def dense():
    torch.manual_seed(0)
    return Mlp(WIDTH, 16).double()


def drawn(experts, top):
    torch.manual_seed(0)
    return Mixture(router(experts, top), MLPExperts(experts, WIDTH, 4).double())


def expert(experts, e, x):
    hidden = F.gelu(x @ experts.weight1[e].T + experts.bias1[e])
    return hidden @ experts.weight2[e].T + experts.bias2[e]


def test_each_row_is_computed_by_its_experts_and_no_other():
    places = torch.randint(6, (40, 3), generator=torch.Generator().manual_seed(0))
    places[places == 4] = 5  # an expert that nobody chose
    rows, seen = torch.rand(40, 2).double(), []

    def compute(e, part):
        seen.append((e, len(part)))
        return part @ torch.full((2, 3), float(e)).double()

    given = dispatch(rows, places, 6, compute)
    expected = rows.sum(1)[:, None, None] * places[:, :, None].expand(-1, -1, 3)
    torch.testing.assert_close(given, expected, rtol=1e-14, atol=0)
    assert seen == [(e, int((places == e).sum())) for e in range(6)]
    three = dispatch(rows[:, None].expand(-1, 3, -1), places, 6, compute)
    assert torch.equal(three, given)


def test_one_expert_is_the_dense_perceptron():
    mlp, x = dense(), tokens()
    mixture = Mixture(router(1, 1), MLPExperts.sliced(mlp, 1, 1))
    torch.testing.assert_close(mixture(x), mlp(x), **EXACT)


def test_all_experts_chosen_are_a_soft_mixture():
    mixture, x = drawn(5, 5), tokens()
    p = (x @ mixture.router.weight[0].T).softmax(-1)
    expected = sum(p[..., e, None] * expert(mixture.experts, e, x) for e in range(5))
    torch.testing.assert_close(mixture(x), expected, **EXACT)


def test_two_of_five_experts_are_a_sum_of_those():
    mixture, x = drawn(5, 2), tokens()
    given, (weights, places) = mixture(x), mixture.router(x)
    for at in (0, 0), (2, 5):
        pairs = zip(weights[at], places[at].tolist(), strict=True)
        expected = sum(w * expert(mixture.experts, e, x[at]) for w, e in pairs)
        torch.testing.assert_close(given[at], expected, **EXACT)


def test_equal_experts_are_the_dense_one_times_what_is_used_of_the_probabilities():
    mixture, x = drawn(5, 2), tokens()
    with torch.no_grad():
        for value in mixture.experts.parameters():
            value.copy_(value[:1].expand_as(value))
    used = mixture.router(x)[0].sum(-1, keepdim=True)
    assert (used < 1).all()
    torch.testing.assert_close(mixture(x), used * expert(mixture.experts, 0, x), **EXACT)


@pytest.mark.parametrize("places", [(0, 1, 2, 3), (4, 5, 6, 7), (12, 9, 6, 3)])
def test_four_slices_are_the_dense_perceptron(places):
    mlp, x = dense(), tokens()
    experts = MLPExperts.sliced(mlp, 16, 4)
    weights = torch.full((3, N, 4), 1 / 16).double()
    given = experts(x, weights, torch.tensor(places).expand(3, N, 4))
    torch.testing.assert_close(given, mlp(x), **EXACT)
    even = Mixture(router(4, 4, zero=True), MLPExperts.sliced(mlp, 4, 4))
    torch.testing.assert_close(even(x), mlp(x), **EXACT)


def test_hidden_channels_have_to_be_a_multiple_of_the_slices():
    with pytest.raises(ValueError, match="16 hidden channels cannot be cut into 3 equal slices"):
        MLPExperts.sliced(dense(), 6, 3)


def test_experts_that_no_token_reaches_learn_nothing_but_have_a_gradient():
    mixture, x = drawn(5, 1), tokens()
    places = mixture.router(x)[1].unique().tolist()
    mixture(x).square().sum().backward()
    for value in mixture.experts.parameters():
        reached = [bool(g.any()) for g in value.grad]
        assert reached == [e in places for e in range(5)]


def attention(experts, top):
    torch.manual_seed(0)
    return AttentionExperts(router(experts, top), experts, WIDTH, 6).double()


def head(mixed, e, x):
    key, value = mixed.key_value(x).chunk(2, -1)
    scores = (x @ mixed.query[e].T) @ key.transpose(1, 2) / 6**0.5
    return scores.softmax(-1) @ value @ mixed.output[e].T


def test_heads_of_attention_are_the_chosen_experts():
    mixed, x = attention(5, 2), tokens()
    given, (weights, places) = mixed(x), mixed.router(x)
    expected = torch.zeros_like(x)
    for e in range(5):
        of_expert = (weights * (places == e)).sum(-1, keepdim=True)
        expected += of_expert * head(mixed, e, x)
    torch.testing.assert_close(given, expected, **EXACT)


def test_equal_heads_are_one_times_what_is_used_of_the_probabilities():
    mixed, x = attention(5, 3), tokens()
    with torch.no_grad():
        for value in mixed.query, mixed.output:
            value.copy_(value[:1].expand_as(value))
    used = mixed.router(x)[0].sum(-1, keepdim=True)
    torch.testing.assert_close(mixed(x), used * head(mixed, 0, x), **EXACT)


def test_wide_attention_of_the_usual_width_is_the_usual():
    usual, x = Attention(WIDTH, num_heads=2, qkv_bias=True).double(), tokens()
    wide = WideAttention(WIDTH, heads=2, width=4).double()
    wide.load_state_dict(usual.state_dict())
    torch.testing.assert_close(wide(x), usual(x), **EXACT)


@pytest.mark.parametrize("top", [1, 3])
def test_multiplications_are_those_of_the_chosen(top):
    x, rows = tokens().float(), 3 * N
    for make, of_one in (
        (lambda: Mixture(router(5, top).float(), MLPExperts(5, WIDTH, 4)), 2 * WIDTH * 4),
        (lambda: attention(5, top).float(), 2 * WIDTH * 6 + 2 * N * 6),
    ):
        with torch.device("meta"):
            on_meta, meta = make(), torch.empty(3, N, WIDTH)
        made = make()
        both = WIDTH * 2 * 6 if isinstance(made, AttentionExperts) else 0  # keys and values
        expected = rows * (WIDTH * 5 + top * of_one + both) // 3
        assert macs(made, x) == macs(on_meta, meta) == expected

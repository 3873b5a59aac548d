"""The ViT, its taps, their fusion and the head."""

import pytest
import torch

pytest.importorskip("timm")

from tssbn.cost import parameters
from tssbn.networks.vit import ConvHead, FusedViT, Fusion, ViT

SMALL = {"width": 24, "depth": 4, "heads": 2, "patch": 8, "drop_path": 0.3}


def test_parameters_at_full_size():
    with torch.device("meta"):
        trunk, fusion = ViT(), Fusion()
        decoders = [ConvHead(outputs) for outputs in (21, 7, 2, 3, 1)]
    assert parameters(trunk) == 21_982_848
    assert parameters(fusion) == 5_606_592
    assert sum(map(parameters, decoders)) == 1_668_322


def test_only_the_last_of_the_features_is_normalised():
    trunk = ViT((32, 48), taps=(1, 3, 4), **SMALL).eval()
    x, streams = torch.rand(2, 3, 32, 48), []
    for block in trunk.blocks:
        block.register_forward_hook(lambda *called: streams.append(called[2]))
    first, third, last = trunk(x)
    assert torch.equal(first, trunk.as_map(streams[0]))
    assert torch.equal(third, trunk.as_map(streams[2]))
    torch.testing.assert_close(last.mean(1), torch.zeros(2, 4, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(last.var(1, unbiased=False), torch.ones(2, 4, 6), atol=1e-3, rtol=0)


@pytest.mark.parametrize("class_token", [False, True])
def test_patches_lie_in_the_map_where_they_lie_in_the_image(class_token):
    """Without blocks and positions a cell is a linear map of its patch alone."""
    trunk = ViT((32, 48), taps=(4,), class_token=class_token, **SMALL).eval()
    with torch.no_grad():
        trunk.pos_embed.zero_()
    x = torch.zeros(1, 3, 32, 48)
    x[..., 8:16, 40:48] = 1  # row 1, column 5
    changed = trunk.as_map(trunk.embed(x)) - trunk.as_map(trunk.embed(torch.zeros_like(x)))
    assert changed.abs().amax((0, 1)).nonzero().tolist() == [[1, 5]]


def test_rates_of_drop_path_grow_in_equal_steps():
    trunk = ViT((32, 48), taps=(4,), **SMALL)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in trunk.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    x = torch.rand(1, 3, 32, 48)
    assert torch.equal(trunk.eval()(x)[0], trunk(x)[0])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"taps": (2, 3)}, r"taps=\(2, 3\) must rise from 1 at least to the depth, 4"),
        ({"taps": (3, 2, 4)}, "must rise"),
        ({"taps": (0, 4)}, "must rise"),
        ({"taps": ()}, "must rise"),
        ({"taps": (4,), "image": (32, 44)}, r"image=\(32, 44\) must be multiples of the patch, 8"),
    ],
)
def test_what_does_not_fit_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ViT(**{"image": (32, 48), **SMALL, **fields})


def test_a_head_reads_a_map_of_any_scale_and_gives_the_size_of_the_image():
    head = ConvHead(3, image=(42, 28), width=6)
    assert head(torch.rand(2, 6, 3, 2)).shape == (2, 3, 42, 28)


def test_positions_are_excepted_from_decay():
    trunk = ViT((32, 48), taps=(4,), **SMALL)
    assert FusedViT(trunk).no_weight_decay() == {"vit.pos_embed"}
    assert ViT((32, 48), taps=(4,), class_token=True, **SMALL).no_weight_decay() == {
        "cls_token",
        "pos_embed",
    }

"""Weights from a file: the layouts that are read, positions on another grid, what is refused."""

from functools import partial

import pytest
import torch

pytest.importorskip("timm")

from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from tssbn.benchmarks.transformers import swin_network, vit_network
from tssbn.networks.pretrained import resized, swin_weights, vit_weights
from tssbn.networks.swin import Swin
from tssbn.networks.vit import ViT

VIT = {"patch": 8, "width": 24, "depth": 3, "heads": 2, "taps": (1, 3), "drop_path": 0.0}
OF_TIMM = {"patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5}
SWIN = {"width": 8, "depths": (1, 2, 1), "heads": (1, 2, 2), "window": 4, "drop_path": 0.0}


def whole_vit(side=32, **fields):
    torch.manual_seed(0)
    return VisionTransformer(img_size=side, **OF_TIMM, **fields).eval()


def whole_swin(side=64):
    torch.manual_seed(0)
    fields = {"embed_dim": 8, "depths": (1, 2, 1), "num_heads": (1, 2, 2), "window_size": 4}
    return SwinTransformer(img_size=side, **fields, drop_path_rate=0.0, num_classes=5).eval()


def taps_of_timm(whole, images):
    last, maps = whole.forward_intermediates(images, indices=[0, 2])
    side = maps[0].shape[-1]
    patches = last[:, whole.num_prefix_tokens :]
    return maps[0], patches.transpose(1, 2).unflatten(2, (side, side))


@pytest.mark.parametrize("class_token", [False, True])
def test_features_of_a_vit_are_those_of_timms(tmp_path, class_token):
    pooling = "token" if class_token else "avg"
    whole = whole_vit(class_token=class_token, global_pool=pooling, fc_norm=False)
    torch.save(whole.state_dict(), path := tmp_path / "vit.pth")
    make = partial(ViT, (32, 32), class_token=class_token, **VIT)
    trunk = make().eval()
    trunk.load_state_dict(vit_weights(path, make))
    images = torch.rand(2, 3, 32, 32)
    for one, other in zip(trunk(images), taps_of_timm(whole, images), strict=True):
        torch.testing.assert_close(one, other)


def test_a_trunk_leaves_out_a_class_token_and_blocks_that_it_has_not(tmp_path):
    whole = whole_vit()
    torch.save({"model": whole.state_dict()}, path := tmp_path / "vit.pth")
    make = partial(ViT, (32, 32), **{**VIT, "depth": 2, "taps": (2,)})
    weights = vit_weights(path, make)
    assert weights.keys() == make().state_dict().keys()
    assert torch.equal(weights["pos_embed"], whole.pos_embed[:, 1:])
    assert torch.equal(weights["blocks.1.mlp.fc2.weight"], whole.blocks[1].mlp.fc2.weight)


def test_half_precision_and_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = {name: x.half() for name, x in whole_vit().state_dict().items()}
    safetensors.save_file(state, path := tmp_path / "vit.safetensors")
    weights = vit_weights(path, partial(ViT, (32, 32), **VIT))
    assert torch.equal(weights["norm.bias"], state["norm.bias"].float())


def test_resized_positions_follow_a_plane_but_for_the_border():
    """The kernel of antialiasing keeps planes, at the centres of the cells; both keep a level."""
    rows, columns = torch.meshgrid(*[torch.arange(12.0)] * 2, indexing="ij")
    plane = (2 * rows - 3 * columns).reshape(1, 144, 1)
    class_token = torch.full((1, 1, 1), 7.0)
    for positions, before in ((plane, 0), (torch.cat([class_token, plane], 1), 1)):
        given = resized(positions, (24, 36), antialias=True)
        assert torch.equal(given[:, :before], positions[:, :before])
        x, y = (torch.arange(24.0) + 0.5) / 2 - 0.5, (torch.arange(36.0) + 0.5) / 3 - 0.5
        expected = 2 * x[:, None] - 3 * y
        inside = given[0, before:].reshape(24, 36)[5:-5, 8:-8]
        torch.testing.assert_close(inside, expected[5:-5, 8:-8], atol=1e-4, rtol=0)
    assert resized(plane, (12, 12)) is plane
    level = resized(torch.ones(1, 144, 2), (24, 36))
    torch.testing.assert_close(level, torch.ones(1, 24 * 36, 2))


def test_antialiasing_is_another_kernel_even_where_the_grid_grows():
    """Keys' kernel with a = -0.75, or -0.5: of a single spike, a quarter of a cell away."""
    spike = F.one_hot(torch.tensor(60), 121).double().reshape(1, 121, 1)
    for antialias, a in ((False, -0.75), (True, -0.5)):
        given = resized(spike, (22, 22), antialias).reshape(22, 22)
        near = (a + 2) * 0.25**3 - (a + 3) * 0.25**2 + 1
        assert given[10, 10].item() == pytest.approx(near**2)


@pytest.mark.parametrize("official", [False, True])
def test_features_of_a_swin_are_those_of_timms_after_merging(tmp_path, official):
    whole = whole_swin()
    state = whole.state_dict()
    if official:  # merging at the end of a stage; buffers that depend on the size
        for stage in (1, 2):
            for name in [name for name in state if name.startswith(f"layers.{stage}.downsample")]:
                other = name.replace(f"layers.{stage}", f"layers.{stage - 1}")
                state[other] = state.pop(name)
        state["layers.0.blocks.1.attn_mask"] = torch.zeros(9, 16, 16)
        state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16)
        state = {"model": state}
    torch.save(state, path := tmp_path / "swin.pth")
    make = partial(Swin, (64, 64), **SWIN)
    trunk = make().eval()
    trunk.load_state_dict(swin_weights(path, make))

    images, merged = torch.rand(2, 3, 64, 64), []
    for stage in whole.layers[1:]:
        stage.downsample.register_forward_hook(lambda *called: merged.append(called[2]))
    whole.layers.register_forward_hook(lambda *called: merged.append(called[2]))
    whole(images)
    for one, other in zip(trunk(images), merged, strict=True):
        torch.testing.assert_close(one, other.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 12}, r"blocks.0.attn.proj.bias of .*vit.pth is \(24,\), of the trunk"),
        ({"depth": 4, "taps": (4,)}, r"blocks.3.* is missing, of the trunk it is"),
        ({"layer_scale": 1.0}, r"blocks.0.ls1.gamma of .* is missing"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change, said):
    torch.save(whole_vit().state_dict(), path := tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=said):
        vit_weights(path, partial(ViT, (32, 32), **{**VIT, **change}))


def test_positions_of_no_square_grid_are_refused():
    with pytest.raises(ValueError, match="pos_embed has 18 positions, expected a square grid"):
        resized(torch.zeros(1, 18, 4), (2, 2))


@pytest.mark.parametrize(
    ("network", "whole", "fields"),
    [(vit_network, whole_vit, VIT), (swin_network, whole_swin, SWIN)],
)
def test_a_network_starts_from_a_file_of_the_folder_weights(
    network, whole, fields, tmp_path, monkeypatch
):
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    torch.save(whole(64).state_dict(), tmp_path / "weights/some.pth")
    started = network((64, 64), "some.pth", **fields)
    by_path = network((64, 64), str(tmp_path / "weights/some.pth"), **fields)
    assert started.pretrained().keys() == by_path.pretrained().keys()
    trunk = started.trunk()
    state = getattr(trunk, "vit", trunk).state_dict()
    assert all(torch.equal(state[name], value) for name, value in started.pretrained().items())
    assert network((64, 64), **fields).pretrained is None
    with torch.device("meta"):  # nothing is read
        (tmp_path / "weights/some.pth").unlink()
        started.trunk()
    with pytest.raises(FileNotFoundError, match=r"pretrained='other.pth' is no file"):
        network((64, 64), "other.pth", **fields).trunk()

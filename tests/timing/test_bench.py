"""``python -m tssbn bench``: what is timed is the same computation, and no measurement is lost."""

import json
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from tssbn import records
from tssbn.__main__ import main
from tssbn.networks.celeba import CelebANet
from tssbn.timing import measure as measuring
from tssbn.timing import memory, record
from tssbn.timing.case import Case
from tssbn.timing.measure import measure_strategies
from tssbn.timing.networks import NETWORKS, TimedTrunk
from tssbn.timing.rounds import SIDE, Spread, relative, time_rounds
from tssbn.timing.strategies import ABOUT, DEFAULT, Setting, applies, make_network

TASKS = 3
SAME = ("sequential", "stacked", "stem", "chunks:1", "chunks:2")


def celeba(size, width=2):
    return CelebANet(width)


TINY = TimedTrunk(celeba, 4, (16, 16), "stages.1")


def case(strategy, tasks=TASKS, **setting):
    return Case(TINY, TINY.batch, TINY.size, tasks, strategy, Setting(**setting))


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run the command on tiny networks; gives its status, and the record where there is one."""
    monkeypatch.setitem(NETWORKS, "tiny", TINY)
    monkeypatch.setitem(NETWORKS, "other", TINY)
    monkeypatch.setitem(SIDE, "cpu", 64)  # of a product that takes no time

    def run(*arguments):
        status = main(["bench", *arguments, "--out", "made", "--results", str(tmp_path)])
        path = tmp_path / "bench/made.json"
        return status, json.loads(path.read_text()) if path.exists() else None, capsys.readouterr()

    return run


@pytest.fixture
def short(bench):
    quick = ("--device", "cpu", "--no-memory", "--strategies", "stacked")
    return lambda *more: bench(*more, *quick)


# -- strategies -----------------------------------------------------------------------------------


def gradients(strategy):
    step = case(strategy).step()
    step.net.double()
    step.images = step.images.double()
    step.add_gradients()
    return {name: p.grad for name, p in step.net.trunk.named_parameters()}


def test_all_strategies_give_the_same_gradients():
    expected = gradients("sequential")
    assert expected and all(gradient.any() for gradient in expected.values())
    for strategy in SAME[1:]:
        torch.testing.assert_close(gradients(strategy), expected, rtol=1e-9, atol=1e-12)


def test_every_known_strategy_is_compared_or_has_a_reason():
    kinds = {name.partition(":")[0] for name in ABOUT}
    assert kinds == {name.partition(":")[0] for name in SAME} | {"plain", "sigmoid", "compiled"}
    assert set(DEFAULT) <= {*ABOUT, "chunks:1", "chunks:5"} - {"compiled"}


def test_with_one_task_the_gated_layer_is_the_sigmoid_layer():
    outputs = [s.net(s.images)["task0"] for s in (case(n, 1).step() for n in ("sigmoid", "stem"))]
    torch.testing.assert_close(*outputs, rtol=1e-6, atol=0)


def test_strategies_differ_in_passes_and_stem():
    nets = {name: case(name, tasks=5).step().net for name in SAME}
    passes = {"sequential": 1, "stacked": None, "stem": None, "chunks:1": 1, "chunks:2": 2}
    assert {name: net.tasks_per_pass for name, net in nets.items()} == passes
    stems = {name: net.stem for name, net in nets.items()}
    assert stems == dict.fromkeys(("sequential", "stacked"), "") | dict.fromkeys(
        ("stem", "chunks:1", "chunks:2"), TINY.stem
    )


def test_a_step_leaves_no_gradients():
    step = case("chunks:2").step()
    step()
    assert all(p.grad is None for p in step.net.parameters())


def test_inference_is_in_eval_mode_without_gradients():
    step = case("stem", inference=True).step()
    seen = []
    step.net.trunk.linear.register_forward_hook(
        lambda module, args, out: seen.append((module.training, out.requires_grad, len(out)))
    )
    step()
    assert seen == [(False, False, TASKS * TINY.batch)]


def test_work_is_counted_per_strategy():
    plain, sequential, stem = (case(s).step().macs() for s in ("plain", "sequential", "stem"))
    assert sequential == TASKS * plain
    first = 3 * 9 * 2 * 16 * 16 * TINY.batch  # the forward pass and weight gradient of one layer
    assert stem == sequential - 2 * (TASKS - 1) * first
    forward = case("plain", inference=True).step().macs()
    assert plain == 3 * forward - first  # the images need no gradient


def test_other_formats_and_precisions_run():
    step = case("stem", channels_last=True, precision="bf16").step()
    assert step.images.is_contiguous(memory_format=torch.channels_last)
    kernel = step.net.trunk.stages[1][0][0].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    seen = []
    step.net.trunk.stages[0][0][0].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    step()
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_a_trunk_that_converts(name):
    if name not in ("segnet", "celeba"):
        pytest.importorskip("timm")
    made = NETWORKS[name]
    with torch.device("meta"):
        trunk, example = made.build(made.size), torch.empty(2, 3, *made.size)
        net = make_network("stacked", trunk, 2, example)
        assert [len(rows) for rows in net.train()(example).values()] == [2, 2]
    assert not any(isinstance(m, nn.Linear) and m.out_features == 1000 for m in trunk.modules())
    assert made.batch >= 2


def test_images_that_do_not_suit_are_named():
    with pytest.raises(ValueError, match="images of 2x2 do not suit"):
        Case(TINY, 2, (2, 2), 1, "plain", Setting()).step()


# -- measuring ------------------------------------------------------------------------------------


def test_rounds_run_everything_once_in_orders_of_their_own():
    calls = []
    steps = {name: partial(calls.append, name) for name in "abcd"}
    times = list(time_rounds(steps, 5))
    orders = ["".join(calls[i : i + 4]) for i in range(0, len(calls), 4)]
    assert len(times) == 5 and len(orders) == 6  # one to warm up
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 2
    assert all(list(now) == list("abcd") and min(now.values()) > 0 for now in times)


def test_ratios_are_taken_within_a_round():
    slow, fast = [2.0, 20.0, 4.0, 10.0, 6.0], [1.0, 10.0, 1.0, 10.0, 2.0]
    assert relative(slow, fast) == (2.0, 2.0, 3.0)  # of 1, 2, 2, 3 and 4
    with pytest.raises(ValueError, match="1 times and 2 others must be of the same rounds"):
        relative(slow[:1], fast[:2])
    with pytest.raises(ValueError, match="one or more"):
        relative([], [])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 30])
def test_quartiles_lie_within_the_values_and_are_those_of_torch(count):
    values = torch.rand(count, generator=torch.Generator().manual_seed(count)).double()
    spread = Spread.of(values.tolist())
    assert min(values) <= spread.low <= spread.median <= spread.high <= max(values)
    quartiles = values.quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    assert torch.allclose(torch.tensor(spread).double(), quartiles)


def test_memory_is_measured_in_a_process_of_its_own():
    batch = 64
    wide = TimedTrunk(partial(celeba, width=8), batch, (64, 64))
    whole = [
        memory.peak_memory(Case(wide, batch, wide.size, tasks, "stacked", Setting()))
        for tasks in (1, 4)
    ]
    # The first stage alone keeps what its BatchNorm read and gave, and the ReLU.
    floor = 3 * 4 * batch * 8 * 64 * 64 / 2**20
    assert whole[0] > floor
    assert 3 * floor < whole[1] - whole[0] < 5 * whole[0]


def test_what_has_too_little_memory_is_left_out(monkeypatch):
    def peak_memory(case):
        if case.strategy == "stacked":
            raise MemoryError
        return 1.0

    monkeypatch.setattr(measuring, "peak_memory", peak_memory)
    cases = {name: case(name) for name in ("plain", "stacked", "stem")}
    (entry,) = measure_strategies(cases, 1)
    assert entry["out_of_memory"] == ["stacked"]
    assert entry["memory"] == {"one": 1.0, "plain": 1.0, "stem": 1.0}
    assert list(entry["seconds"]) == ["matmul", "plain", "stem"]
    floats = sum(p.numel() for p in CelebANet(2).parameters()) + 4 * 3 * 16 * 16
    counts = [n.num_features for n in CelebANet(2).modules() if isinstance(n, _BatchNorm)]
    held = 4 * (floats + 2 * sum(counts)) + 8 * len(counts)
    assert entry["network"]["plain"] == held / 2**20
    last = record.table("tiny", TASKS, entry).splitlines()[-1]
    assert last.split("  ")[0] == "stacked" and last.endswith("too little memory")


# -- the command ----------------------------------------------------------------------------------


def test_a_record_has_all_rounds_and_is_merged(short):
    status, made, printed = short("tiny", "--tasks", "2", "1", "--rounds", "2")
    assert status == 0 and printed.out.endswith("bench/made.json\n")
    assert "tiny, 2 tasks, 4 images of 16x16\nof 2 plain steps: " in printed.out
    assert list(made["networks"]["tiny"]) == ["1", "2"]
    entry = made["networks"]["tiny"]["2"]
    assert {name: len(times) for name, times in entry["seconds"].items()} == {
        "matmul": 2,
        "plain": 2,
        "stacked": 2,
    }
    assert entry["memory"] == {} and entry["batch"] == 4 and "torch" in entry["versions"]
    assert entry["network"] == {}
    assert (made["threads"], made["precision"], made["inference"]) == (1, "32", False)

    _, again, _ = short("other", "--tasks", "3", "--rounds", "1", "--batch", "2")
    assert again["networks"]["tiny"] == made["networks"]["tiny"]
    assert again["networks"]["other"]["3"]["batch"] == 2


def test_ctrl_c_loses_nothing(short, monkeypatch):
    short("tiny", "--tasks", "2", "--rounds", "2")

    def stopping(steps, count, device):
        for number, times in enumerate(time_rounds(steps, count, device)):
            if number == 1:
                raise KeyboardInterrupt
            yield times

    monkeypatch.setattr(measuring, "time_rounds", stopping)
    status, made, printed = short("tiny", "--tasks", "3", "2", "--rounds", "5")
    assert status == 130 and "stopped" in printed.err
    assert len(made["networks"]["tiny"]["3"]["seconds"]["plain"]) == 1  # the round before it
    assert len(made["networks"]["tiny"]["2"]["seconds"]["plain"]) == 2  # of the earlier run

    status, made, _ = short("tiny", "--tasks", "2", "--rounds", "5")
    assert status == 130 and len(made["networks"]["tiny"]["2"]["seconds"]["plain"]) == 2


def test_a_record_of_another_setting_is_not_mixed(short):
    short("tiny", "--tasks", "1", "--rounds", "1")
    status, _, printed = short("tiny", "--tasks", "1", "--rounds", "1", "--inference")
    assert status == 1
    assert "made.json has inference=False, this run True: choose another name" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alexnet"], "networks ['alexnet'] are unknown; use some of ['resnet18', "),
        (["tiny", "--strategies", "fast"], "strategy 'fast' is unknown; use some of ['plain', "),
        (["tiny", "--strategies", "chunks:0"], "strategy 'chunks:0' is unknown"),
        (["tiny", "--strategies", "chunks:K"], "strategy 'chunks:K' is unknown"),
        (["tiny", "--tasks", "3", "0"], "--tasks 0 must be at least 1"),
        (["tiny", "--rounds", "0"], "--rounds 0 must be at least 1"),
        (["tiny", "--batch", "1"], "--batch 1 must be at least 2"),
        (["tiny", "--size", "4", "4", "--no-memory"], "images of 4x4 do not suit"),
    ],
)
def test_wrong_arguments_are_explained(bench, arguments, message):
    status, made, printed = bench(*arguments)
    assert status == 1 and message in printed.err and made is None


def test_the_names_of_records_tell_the_setting(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(NETWORKS, "tiny", TINY)
    arguments = ["--tasks", "1", "--rounds", "1", "--no-memory", "--strategies", "stacked"]
    more = ["--device", "cpu", "--precision", "tf32", "--channels-last", "--inference"]
    assert main(["bench", "tiny", *arguments, *more, "--results", str(tmp_path)]) == 0
    names = [path.name for path in (tmp_path / "bench").iterdir()]
    assert names == ["cpu-1-tf32-channels-last-inference.json"]


def test_networks_and_strategies_are_listed(capsys):
    assert main(["bench", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} " in out for name in (*NETWORKS, *ABOUT))


def test_strategies_that_would_repeat_others_are_skipped():
    chosen = {tasks: [s for s in DEFAULT if applies(s, tasks)] for tasks in (1, 3, 10)}
    assert "sigmoid" in chosen[1] and "sigmoid" not in chosen[3]
    assert [s for s in chosen[1] if s.startswith("chunks")] == []
    assert [s for s in chosen[3] if s.startswith("chunks")] == ["chunks:1"]
    assert [s for s in chosen[10] if s.startswith("chunks")] == ["chunks:1", "chunks:5"]


def test_committed_records_are_whole():
    for path in sorted((records.results_dir() / "bench").glob("*.json")):
        made = json.loads(path.read_text())
        if "inference" not in made:
            continue  # of another study
        for cells in made["networks"].values():
            for tasks, entry in cells.items():
                assert len({len(times) for times in entry["seconds"].values()}) == 1
                assert entry["tasks_a_pass"].keys() == entry["macs"].keys()
                assert entry["macs"].keys() == entry["seconds"].keys() - {"matmul"}
                assert record.time_ratio(entry, "plain", 1).median == 1
                assert int(tasks) >= 1

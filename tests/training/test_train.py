"""The trainer: what a run does and leaves, and how it fails."""

import json
import math
import time
from collections import Counter
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

import decayed
import tiny
from lightning_fabric import Fabric
from transformer_methods import TRANSFORMERS_ONLY

from tssbn.benchmarks import find_benchmark, nyuv2
from tssbn.convert import task_specific
from tssbn.cost import macs
from tssbn.data import augment
from tssbn.data.stored import Stored
from tssbn.methods import METHODS, find_method, heads
from tssbn.records import summary, to_json, unpack_gates
from tssbn.training import batches, checkpoint, loop
from tssbn.training.batches import BatchLoader, epoch_batches, preload, shard
from tssbn.training.epoch import evaluate, train_epoch
from tssbn.training.loop import train
from tssbn.training.progress import NoCallback
from tssbn.training.run import Run
from tssbn.training.trainer import Trainer

train = partial(train, accelerator="cpu")
SMALL = {"n": 8, "epochs": 1, "filters": 4, "height": 32, "width": 32, "batch": 4}
FACES = {"n": 12, "epochs": 1, "filters": 2, "side": 16, "attributes": 3, "batch": 4}


def same(one, other):
    """Whether two networks agree in every bit."""
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def epochs(record):
    """What has nothing to do with time."""
    return [{**entry, "seconds": 0} for entry in record["epochs"]]


def with_loss(run, loss):
    """The run with another loss of depth."""

    def tasks(targets):
        found = run.benchmark.tasks(targets)
        return {**found, "depth": replace(found["depth"], loss=loss)}

    return tiny.changed(run, tasks=tasks)


# -- what a run does ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    sorted(METHODS.keys() - {"shuffled-gates", *TRANSFORMERS_ONLY}),  # that one needs a run
)
def test_every_method_trains_and_is_recorded(method):
    std = {"std": 1} if method == "random-gates" else {}
    net, record = train(Run("faces", method, settings=FACES | std))
    assert record == to_json(json.loads(json.dumps(record, allow_nan=False)))
    assert record["finished"] and len(record["epochs"]) == 1
    assert record["all_parameters"] == sum(p.numel() for p in net.parameters())
    assert record["parameters"] == sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert record["macs"] == macs(net, torch.rand(1, 3, 16, 16)) > 0
    assert record["seconds_per_step"] > 0 and record["peak_memory_mib"] > 0
    assert all(math.isfinite(value) for value in summary(record)["test"].values())
    gated = ("tssbn", "tssbn-frozen", "random-gates", "deep-gates", "tssbn-bias")
    assert ("gates" in record) == (method in gated)


def test_data_and_scores_of_a_saved_run():
    record = train(Run("rooms_segnet", "hps", settings=SMALL)).record
    assert record["data"]["kind"] == "synthetic"
    assert record["data"]["splits"]["train"]["samples"] == 8
    assert record["units"] == {"segmentation": "%", "depth": "m", "normal": "°"}
    assert record["metric"] == {"segmentation": "miou", "depth": "absolute", "normal": "mean"}
    assert record["directions"] == {"segmentation": True, "depth": False, "normal": False}
    assert all(math.isfinite(value) for value in summary(record)["test"].values())
    assert set(record["classes"]) == {"segmentation"}


def test_a_step_is_one_of_the_plain_sum_of_the_losses():
    tasks, net = tiny.run().benchmark.tasks(tiny.TARGETS), torch.nn.ModuleDict()
    run = tiny.run("hps")
    outputs = {name: task.out_channels for name, task in tasks.items()}
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(find_method("hps").build(run.benchmark.network, outputs))
    batch = tiny.data("train")[:4]
    fabric = Fabric(accelerator="cpu", devices=1)
    net, optimiser = fabric.setup(nets[0], torch.optim.SGD(nets[0].parameters(), lr=0.1))
    (losses,) = train_epoch(fabric, net, optimiser, tasks, [batch])
    predictions = nets[1](batch["image"])
    expected = {task: tasks[task].loss(predictions[task], batch[task]) for task in tasks}
    sum(expected.values()).backward()
    torch.optim.SGD(nets[1].parameters(), lr=0.1).step()
    assert losses == expected and same(*nets)


def test_tasks_per_pass_changes_nothing_that_is_learned():
    whole = train(tiny.run("tssbn"))
    assert whole.net.tasks_per_pass is None  # all at once
    parts = train(tiny.run("tssbn", tasks_per_pass=1))
    assert parts.net.tasks_per_pass == 1
    torch.testing.assert_close(parts.net.state_dict(), whole.net.state_dict())


def test_a_trunk_that_runs_once_for_all_tasks_is_not_cut():
    assert list(train(tiny.run("hps", tasks_per_pass=1)).net.passes()) == [("parts", "depth")]


def test_the_seed_decides_everything():
    one, again, other = (train(tiny.run(seed=seed)) for seed in (3, 3, 4))
    assert same(one.net, again.net) and epochs(one.record) == epochs(again.record)
    assert not same(one.net, other.net)


def test_a_recipe_reaches_the_optimiser(monkeypatch):
    """Schedule, warm-up and clipping: SGD without momentum, replayed by hand."""
    recipe = {"schedule": "poly", "interval": "step", "warmup": 0.5, "clip": 0.05, "epochs": 2}
    seen = []

    class Steps(NoCallback):
        def step(self, *_):
            (group,) = trained_by[0].optimiser.param_groups
            seen.append((group["lr"], [p.detach().clone() for p in group["params"]]))

    trained_by = []
    monkeypatch.setattr(
        loop, "Trainer", lambda *given: trained_by.append(Trainer(*given)) or trained_by[0]
    )
    run = tiny.run("hps", torch.nn.GroupNorm, **recipe)
    train(run, callback=Steps())
    assert [lr for lr, _ in seen] == pytest.approx(
        [0.1 * min(1, (k + 1) / 3) * (1 - k / 6) ** 0.9 for k in range(6)]
    )
    (_, first), (lr, second), (next_lr, third) = seen[:3]
    moved = [
        torch.cat([(b - a).flatten() for a, b in zip(x, y, strict=True)])
        for x, y in ((first, second), (second, third))
    ]
    # v_2 = 0.9 v_1 + g_2, where both gradients have the length of the limit
    assert (moved[0] / lr).norm() <= (1 + 0.9) * 0.05 + 1e-6
    gradient = moved[1] / next_lr - 0.9 * moved[0] / lr
    assert gradient.norm().item() == pytest.approx(0.05, rel=1e-3)


def test_the_last_batch_is_dropped_where_the_recipe_says_so():
    steps = []

    class Steps(NoCallback):
        def begin(self, run, record, steps_of_epoch, first_epoch):
            steps.append(steps_of_epoch)

    for drop_last in False, True:  # 12 images
        train(tiny.run(batch=5, drop_last=drop_last, epochs=1), callback=Steps())
    assert steps == [3, 2]


@pytest.mark.parametrize("method", ["hps", "tssbn"])
def test_vectors_do_not_decay_where_the_recipe_says_so(method, monkeypatch):
    made = []
    monkeypatch.setattr(loop, "Trainer", lambda *given: made.append(Trainer(*given)) or made[0])
    net, _ = train(tiny.run(method, decay_vectors=False, weight_decay=0.1, epochs=1))
    names = {id(p): name for name, p in net.named_parameters()}
    groups = made[0].optimiser.param_groups
    decayed = {names[id(p)] for g in groups if g["weight_decay"] for p in g["params"]}
    filters = {"trunk.0.weight", "trunk.3.weight", "heads.parts.weight", "heads.depth.weight"}
    assert decayed == filters and sum(len(g["params"]) for g in groups) == len(names)


def test_frozen_parameters_stay_and_are_counted_apart():
    class Frozen(torch.nn.Conv2d):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.requires_grad_(False)

    def trunk():
        return torch.nn.Sequential(Frozen(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4))

    run = tiny.run("hps", weight_decay=0.1, clip=1.0)
    run = tiny.changed(run, network=replace(run.benchmark.network, trunk=trunk))
    torch.manual_seed(0)
    start = find_method("hps").build(run.benchmark.network, {"parts": 3, "depth": 1})
    net, record = train(run)
    assert torch.equal(net.trunk[0].weight, start.trunk[0].weight)
    assert not torch.equal(net.trunk[1].weight, start.trunk[1].weight)
    frozen = sum(p.numel() for p in net.trunk[0].parameters())
    assert record["all_parameters"] - record["parameters"] == frozen == 112


def test_the_network_is_told_the_progress_before_every_step_and_after_the_last():
    told = []

    class Told(decayed.Decayed):
        def forward(self, x, tasks=None):
            told.append((self.training, self.progress))
            return super().forward(x, tasks)

    def build(network, outputs):
        return Told(task_specific(network.trunk(), outputs), heads(network, outputs))

    run = tiny.run(replace(decayed.METHOD, build=build), epochs=2)
    net, _ = train(run)
    steps = [progress for training, progress in told if training]
    assert steps == pytest.approx([k / 6 for k in range(6)])
    scored = [progress for training, progress in told if not training]
    assert scored == [0, 0, 0.5, 0.5, 1, 1]  # MACs, the check, then two test batches an epoch
    assert net.progress == 1.0


def test_a_penalty_is_in_the_entry_of_an_epoch_and_in_no_task():
    run, losses = tiny.run(decayed.METHOD, epochs=1, lr=1e-30), []

    class Steps(NoCallback):
        def step(self, epoch, step, read):
            losses.append(read())

    net, record = train(run, callback=Steps())
    squares = sum(p.square().sum().item() for p in net.trunk.parameters() if p.ndim == 4)
    (entry,) = record["epochs"]
    values = [(1 - step / 3) * squares / 2 for step in range(3)]
    assert entry["penalty"] == pytest.approx(sum(values) / 3, rel=1e-5)
    assert [each["penalty"] for each in losses] == pytest.approx(values)
    assert set(entry["losses"]) == set(entry["test"]) == {"parts", "depth"}


def test_a_task_named_penalty_is_refused_beside_one():
    run = tiny.run(decayed.METHOD)
    tasks = run.benchmark.tasks(tiny.TARGETS)
    named = tiny.changed(run, tasks=lambda targets: {**tasks, "penalty": tasks["depth"]})
    with pytest.raises(ValueError, match="a network with a penalty cannot have a task named 'pen"):
        train(named)


def test_progress_is_shown_on_request(capsys):
    train(tiny.run(epochs=1))
    assert capsys.readouterr().out == ""
    told = []

    class Tell(NoCallback):
        def epoch(self, entry):
            told.append(entry["epoch"])

    train(tiny.run(epochs=2), progress=True, callback=Tell())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 epochs of 3 steps")
    assert lines[1].startswith("constant baseline | test parts ")
    assert lines[3].startswith("epoch 2/2 | loss")
    assert told == [1, 2]


def test_the_learning_rate_follows_the_schedule():
    record = train(tiny.run(schedule="step", halve_every=2)).record
    assert [entry["lr"] for entry in record["epochs"]] == [0.1, 0.1, 0.05]
    record = train(tiny.run(schedule="cosine")).record
    assert [entry["lr"] for entry in record["epochs"]] == pytest.approx([0.1, 0.075, 0.025])


def test_a_benchmark_has_the_name_that_it_is_found_by(monkeypatch):
    rooms = find_benchmark("rooms_segnet")
    monkeypatch.setattr("tssbn.benchmarks.streets.benchmark", rooms)
    with pytest.raises(ValueError, match="streets is named 'rooms_segnet', not 'streets'"):
        Run("streets", "hps")


def test_options_reach_the_method():
    run = tiny.run(epochs=1)
    slow = tiny.run(epochs=1, settings={"multiplier": 1e-9})
    assert train(run).net.trunk[1].gamma.abs().max() > 1e-3
    assert train(slow).net.trunk[1].gamma.abs().max() < 1e-8


def test_gates_are_written_down_at_a_few_epochs():
    run = tiny.run(epochs=20)
    net, record = train(run)
    gates = unpack_gates(record["gates"])
    assert list(gates) == [1, 2, 6, 20]
    ours = torch.sigmoid(net.trunk[1].gamma).double()
    assert (gates[20].by_layer()["trunk.1"] - ours).abs().max() <= 0.5 / 255 + 1e-6
    assert not torch.equal(gates[1].values, gates[20].values)


def test_validation_images_only_where_the_recipe_selects_by_them():
    asked = []

    def data(split, root):
        asked.append(split)
        return tiny.data(split)

    for select, splits in ("last", ["train", "test"]), ("val", ["train", "test", "val"]):
        run = tiny.run(report=select, epochs=1)
        record = train(tiny.changed(run, data=data)).record
        assert asked == splits == list(record["data"]["splits"])
        assert ("val" in record["epochs"][0]) == (select == "val")
        asked.clear()


def test_a_callback_is_told_everything_in_order():
    told = []

    class Tell(NoCallback):
        def begin(self, run, record, steps, first_epoch):
            assert "constant" in record and not record["epochs"]
            told.append((run.method.name, record["recipe"]["epochs"], steps, first_epoch))

        def step(self, epoch, step, losses):
            told.append((epoch, step, losses()))

        def epoch(self, entry):
            told.append(entry["epoch"])

        def end(self, record):
            told.append(record["finished"])

    record = train(tiny.run(epochs=2), callback=Tell()).record
    assert told.pop(0) == ("tssbn", 2, 3, 1)
    order = [entry[:2] if isinstance(entry, tuple) else entry for entry in told]
    assert order == [(1, 1), (1, 2), (1, 3), 1, (2, 1), (2, 2), (2, 3), 2, True]
    steps = [losses["depth"] for _, _, losses in told[:3]]
    assert record["epochs"][0]["losses"]["depth"] == pytest.approx(sum(steps) / 3, rel=1e-5)


def test_scores_are_those_of_the_whole_split():
    net, record = train(tiny.run("hps"))
    tasks = tiny.run().benchmark.tasks(tiny.TARGETS)
    scores = evaluate(net, tasks, [tiny.data("test")[:]])
    recorded = record["epochs"][-1]["test"]
    for task, value in ("parts", "miou"), ("depth", "absolute"):
        assert recorded[task][value] == pytest.approx(scores[task][value], rel=1e-5)


def test_counting_macs_and_scoring_leave_no_trace():
    """Training for one epoch is: build, then a pass over the batches, whatever is measured."""
    run = tiny.run("hps", epochs=1)
    tasks = run.benchmark.tasks(tiny.TARGETS)
    torch.manual_seed(0)
    net = find_method("hps").build(
        run.benchmark.network, {k: t.out_channels for k, t in tasks.items()}
    )
    optimiser = run.benchmark.recipe.make_optimiser(find_method("hps").groups(net, 0.1))
    fabric, data = Fabric(accelerator="cpu", devices=1), tiny.data("train")
    model, optimiser = fabric.setup(net, optimiser)
    rows = epoch_batches(12, 4, batches.derive_seed(0, 1))
    list(train_epoch(fabric, model, optimiser, tasks, (data[row] for row in rows)))
    assert same(train(run).net, net)


def test_half_precision_is_close_and_keeps_the_network_in_32_bits():
    full, half = train(tiny.run()), train(tiny.run(), precision="bf16")
    assert half.record["precision"] == "bf16" and not same(full.net, half.net)
    assert all(p.dtype == torch.float32 for p in half.net.parameters())
    losses = [trained.record["epochs"][-1]["losses"] for trained in (full, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_no_more_workers_than_processors_that_may_be_used(monkeypatch):
    for given, expected in ({3}, 1), (set(range(5)), 5), (set(range(64)), 8):
        monkeypatch.setattr(batches.os, "sched_getaffinity", lambda _, g=given: g, raising=False)
        assert batches.workers() == expected


def test_channels_last_leaves_vectors_as_they_are():
    run = Run("census", "hps", settings={"people": 64, "width": 4, "epochs": 1})
    usual, other = train(run), train(run, channels_last=True)
    torch.testing.assert_close(usual.net.state_dict(), other.net.state_dict(), rtol=0, atol=0)


def test_channels_last_changes_the_layout_and_nothing_else():
    usual, other = train(tiny.run()), train(tiny.run(), channels_last=True)
    assert other.net.trunk[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert other.record["channels_last"] and not usual.record["channels_last"]
    torch.testing.assert_close(usual.net.state_dict(), other.net.state_dict())


@pytest.mark.parametrize("fast", [False, True])
def test_kernels_of_cudnn(fast):
    cudnn = torch.backends.cudnn
    before, seen = (cudnn.deterministic, cudnn.benchmark), []

    class Watching(NoCallback):
        def step(self, *_):
            seen.append((cudnn.deterministic, cudnn.benchmark))

    record = train(tiny.run(), fast_kernels=fast, callback=Watching()).record
    assert set(seen) == {(not fast, fast)} and record["fast_kernels"] is fast
    assert (cudnn.deterministic, cudnn.benchmark) == before


def test_the_record_has_the_kernels_of_the_last_start(tmp_path):
    assert not train(tiny.run(), tmp_path, deadline=0).record["finished"]
    record = train(tiny.run(), tmp_path, resume=True, fast_kernels=True).record
    assert record["finished"] and record["fast_kernels"]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # read by torch 2.9's Dynamo
@pytest.mark.parametrize("method", ["hps", "tssbn"])
def test_a_compiled_network_learns_the_same(method, monkeypatch, tmp_path):
    compiled = []

    def compile(net, **options):
        compiled.append(net)
        return torch_compile(net, backend="eager")  # what Dynamo makes of it, without a compiler

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile)
    usual = train(tiny.run(method, tasks_per_pass=1))
    other = train(tiny.run(method, tasks_per_pass=1), tmp_path, compile=True)
    assert compiled and all(net is other.net for net in compiled)
    torch.testing.assert_close(usual.net.state_dict(), other.net.state_dict())
    assert checkpoint.load(tmp_path)["net"].keys() == usual.net.state_dict().keys()


@pytest.fixture
def weighted(monkeypatch):
    """The benchmark rooms_segnet, if it had a weight of its own."""
    plain = find_benchmark("rooms_segnet")

    @wraps(plain)
    def benchmark(**arguments):
        made = plain(**arguments)
        return replace(made, recipe=replace(made.recipe, weights={"depth": 5.0}))

    monkeypatch.setattr("tssbn.benchmarks.rooms_segnet.benchmark", benchmark)


@pytest.mark.parametrize(
    ("settings", "weights", "name"),
    [
        ({}, {"depth": 5.0}, ""),
        ({"weight.depth": 5}, {"depth": 5.0}, ""),
        ({"weight.depth": 1}, {"depth": 1}, "-weight.depth=1.0"),
        ({"weight.normal": 1}, {"depth": 5.0}, ""),
        ({"weight.normal": 2.0}, {"depth": 5.0, "normal": 2.0}, "-weight.normal=2.0"),
        (
            {"weight.normal": 2.0, "weight.depth": 3.0},
            {"depth": 3.0, "normal": 2.0},
            "-weight.depth=3.0-weight.normal=2.0",
        ),
    ],
)
def test_settings_change_the_weights_of_a_benchmark_task_by_task(weighted, settings, weights, name):
    run = Run("rooms_segnet", "hps", settings=settings)
    assert run.benchmark.recipe.weights == weights
    assert run.name == f"rooms_segnet/hps-0{name}"


def test_a_weight_of_1_takes_that_of_the_benchmark_away(request):
    usual = train(Run("rooms_segnet", "hps", settings=SMALL))
    request.getfixturevalue("weighted")
    assert not same(usual.net, train(Run("rooms_segnet", "hps", settings=SMALL)).net)
    assert same(
        usual.net, train(Run("rooms_segnet", "hps", settings={**SMALL, "weight.depth": 1})).net
    )


def test_a_weight_of_1_of_an_unknown_task_is_refused(weighted):
    run = Run("rooms_segnet", "hps", settings={**SMALL, "weight.dpeth": 1})
    with pytest.raises(ValueError, match=r"weights are given of \['dpeth'\], the tasks are \['seg"):
        train(run)


# -- batches --------------------------------------------------------------------------------------


def test_shuffled_batches_hold_every_row_once():
    rows = epoch_batches(11, 4, seed=1)
    assert sorted(torch.cat(rows).tolist()) == list(range(11))
    assert [len(part) for part in rows] == [4, 4, 3]
    assert not torch.equal(torch.cat(rows), torch.cat(epoch_batches(11, 4, seed=2)))


def test_a_last_batch_of_one_image_is_left_out():
    assert [len(part) for part in epoch_batches(9, 4, seed=0)] == [4, 4]
    assert [len(part) for part in epoch_batches(3, 1, seed=0)] == [1, 1, 1]
    assert [len(part) for part in epoch_batches(9, 4, seed=0, least=1)] == [4, 4, 1]
    with pytest.raises(ValueError, match="1 training images do not fill a batch of 2"):
        epoch_batches(1, 4, seed=0)


def test_processes_share_every_batch_in_equal_parts():
    whole = epoch_batches(11, 4, seed=5)
    parts = [epoch_batches(11, 4, 5, rank, world=2) for rank in (0, 1)]
    for batch, one, other in zip(whole[:2], *parts, strict=True):  # 3 images have no equal halves
        assert sorted([*one.tolist(), *other.tolist()]) == sorted(batch.tolist())
        assert len(one) == len(other) == 2
    with pytest.raises(ValueError, match="batch=3 must be a multiple of the 2"):
        epoch_batches(11, 3, 5, 0, world=2)


@pytest.mark.parametrize("world", [1, 2, 5])
def test_every_test_image_is_dealt_once_in_whole_batches(world):
    whole = shard(11, 4)
    dealt = [shard(11, 4, rank, world) for rank in range(world)]
    found = Counter(tuple(rows.tolist()) for part in dealt for rows in part)
    assert found == Counter(tuple(rows.tolist()) for rows in whole)


def test_batches_in_one_piece_are_those_of_single_samples():
    data, cpu = tiny.data("train"), torch.device("cpu")
    rows = [torch.tensor([3, 0, 7]), torch.tensor([5, 5])]
    whole = BatchLoader(data, cpu, lambda x: 2 * x - 1)(rows)
    single = BatchLoader(data, cpu, lambda x: 2 * x - 1, augment=lambda sample: sample)(rows)
    for row, one, other in zip(rows, whole, single, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
        assert torch.equal(one["image"], 2 * data[row]["image"] - 1)
        assert torch.equal(one["parts"], data[row]["parts"])


def test_every_sample_has_an_augmentation_of_its_own():
    def shift(sample):
        return {**sample, "depth": sample["depth"] + torch.rand(())}

    rows = [torch.tensor([0, 0, 0, 0])]
    (batch,) = BatchLoader(tiny.data("train"), torch.device("cpu"), lambda x: x, shift)(rows)
    assert len(batch["depth"].flatten(1).unique(dim=0)) == 4


@pytest.fixture
def real(tmp_path):
    """A run on files in the layout of NYUv2, 6 to train and 3 to test."""
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(0)
    for split, count in ("train", 6), ("val", 3):
        for name in ("image", "label", "depth", "normal"):
            (tmp_path / split / name).mkdir(parents=True)
        for i in range(count):
            normal = random.normal(size=(6, 8, 3))
            arrays = {
                "image": random.random((6, 8, 3)),
                "label": random.integers(-1, 13, (6, 8)),
                "depth": random.uniform(0.7, 10, (6, 8, 1)),
                "normal": normal / numpy.linalg.norm(normal, axis=2, keepdims=True),
            }
            for name, value in arrays.items():
                numpy.save(tmp_path / split / name / f"{i}.npy", value)
    benchmark = nyuv2.benchmark(augmented=False)
    return Run(
        replace(
            benchmark,
            data=lambda split, root=None: benchmark.data(split, tmp_path),
            source="",
            network=tiny.run().benchmark.network,
        ),
        "hps",
        settings={"epochs": 2},
    )


def test_files_that_do_not_fit_into_memory_train_the_same(real, monkeypatch):
    held = train(real)
    assert held.record["data"]["kind"] == "real subset"
    train_split = held.record["data"]["splits"]["train"]
    assert (train_split["samples"], train_split["official"]) == (6, 795)
    monkeypatch.setattr(batches, "HELD", 0)
    monkeypatch.setattr(batches, "workers", lambda: 1)
    assert not isinstance(preload(real.benchmark.data("train")), Stored)
    files = train(real)
    assert same(held.net, files.net) and epochs(held.record) == epochs(files.record)
    assert files.record["data"]["splits"]["train"]["sha256"] != train_split["sha256"]


def test_augmentation_is_that_of_the_benchmark(real):
    plain_run = train(real)
    changed = tiny.changed(real, augment=augment.nyuv2)
    one, again = train(changed), train(changed)
    assert same(one.net, again.net) and not same(one.net, plain_run.net)


def test_data_that_is_there_already_is_not_read_again(real):
    sets = {split: preload(real.benchmark.data(split)) for split in ("train", "test")}
    assert same(train(real, data=sets).net, train(real).net)
    with pytest.raises(ValueError, match=r"data\['train'\] has 3 samples, the benchmark 6"):
        train(real, data={**sets, "train": sets["test"]})


# -- what can go wrong ----------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    calls = Counter()

    def loss(prediction, target):
        calls["depth"] += torch.is_grad_enabled()  # not in the check before the first epoch
        return prediction.mean() * (math.inf if calls["depth"] == 5 else 1)

    message = rf"'depth' is -?inf in step 2 of epoch 2\. The last good .*{tmp_path}.*, of epoch 1"
    with pytest.raises(FloatingPointError, match=message):
        train(with_loss(tiny.run(), loss), tmp_path)
    state = checkpoint.load(tmp_path)
    assert len(state["record"]["epochs"]) == 1
    assert all(value.isfinite().all() for value in state["net"].values())


def test_a_parameter_that_is_not_finite_stops_the_run():
    def loss(prediction, target):
        return prediction.abs().sqrt().mean() * 0 + prediction.mul(0).sqrt().mean()

    with pytest.raises(FloatingPointError, match="is not finite after the last step of epoch 1"):
        train(with_loss(tiny.run("hps", batch=12), loss))


def test_too_little_memory_names_the_settings_that_need_less():
    def loss(prediction, target):
        return torch.empty(2**55).sum()

    with pytest.raises(MemoryError, match=r"batch=4.*tasks_per_pass=1 .*bf16.*allocate"):
        train(with_loss(tiny.run(), loss))


def test_other_errors_of_a_step_pass():
    def loss(prediction, target):
        if torch.is_grad_enabled():
            raise RuntimeError("of its own")
        return prediction.mean()

    with pytest.raises(RuntimeError, match=r"^of its own$"):
        train(with_loss(tiny.run(), loss))


def test_a_wrong_root_is_found_before_a_network_is_built(tmp_path):
    run = Run("nyuv2", "hps")

    def build():
        raise AssertionError("a network was built")

    network = replace(run.benchmark.network, trunk=build)
    run = tiny.changed(run, network=network)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(run, root=tmp_path / "nowhere")


@pytest.mark.parametrize("precision", ["64", "16"])
def test_precisions_that_are_not_there(precision):
    with pytest.raises(ValueError, match=f"precision='{precision}'"):
        train(tiny.run(), precision=precision)


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    train(tiny.run(), tmp_path)
    with pytest.raises(ValueError, match="resume it, or delete the file"):
        train(tiny.run(), tmp_path)
    before = Path(tmp_path / checkpoint.LAST).read_bytes()
    for other, message in (
        (tiny.run(lr=0.2), "lr is 0.1 there and 0.2 here"),
        (tiny.run("tsbn"), "method is 'tssbn' there and 'tsbn' here"),
        (tiny.run(seed=1), "seed is 0 there and 1 here"),
        (tiny.run(settings={"multiplier": 10}), "multiplier is None there and 10 here"),
    ):
        with pytest.raises(ValueError, match=message):
            train(other, tmp_path, resume=True)
    run = tiny.run()
    data = lambda split, root: tiny.data("val")  # noqa: E731
    with pytest.raises(ValueError, match="data of train is '"):
        train(tiny.changed(run, data=data), tmp_path, resume=True)
    with pytest.raises(ValueError, match="precision is '32' there and 'bf16' here"):
        train(tiny.run(), tmp_path, resume=True, precision="bf16")
    assert (tmp_path / checkpoint.LAST).read_bytes() == before


def test_two_runs_do_not_share_a_folder(tmp_path):
    with (
        checkpoint.lock(tmp_path),
        pytest.raises(BlockingIOError, match="another process trains in"),
    ):
        train(tiny.run(), tmp_path)
    train(tiny.run(), tmp_path)


# -- stopping and going on ------------------------------------------------------------------------


def test_a_deadline_stops_between_two_epochs(tmp_path):
    class Slow(NoCallback):
        def epoch(self, entry):
            entry["seconds"] = 1000  # so long that there is no time for another

    whole = train(tiny.run())
    stopped = train(tiny.run(), tmp_path, deadline=time.monotonic() + 900, callback=Slow())
    assert not stopped.record["finished"] and len(stopped.record["epochs"]) == 1
    assert not train(tiny.run(), tmp_path, resume=True, deadline=0).record["finished"]
    resumed = train(tiny.run(), tmp_path, resume=True)
    assert same(resumed.net, whole.net)
    assert resumed.record["finished"]


def test_a_finished_run_is_given_back(tmp_path):
    done = train(tiny.run(), tmp_path)
    again = train(tiny.run(), tmp_path, resume=True)
    assert same(done.net, again.net) and done.record == again.record
    assert not done.net.training and not again.net.training


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error():
    with pytest.raises(ValueError, match="torch finds no GPU"):
        train(tiny.run(), accelerator="cuda")

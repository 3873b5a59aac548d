"""What holds for every metric: streaming, ignored pixels, refusals, number formats, processes."""

import copy
import math
import pickle

import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")
pytest.importorskip("scipy")
pytest.importorskip("skimage")

import forks
from hypothesis import given, settings
from hypothesis import strategies as st
from measures import CASES, POOLED, evaluate

from tssbn.metrics.attributes import Attributes
from tssbn.metrics.auc import AUC
from tssbn.metrics.classification import Classification
from tssbn.metrics.depth import Depth
from tssbn.metrics.regression import Regression

NAMES = pytest.mark.parametrize("name", CASES)


def metric(name):
    return CASES[name][0]().to(DEVICE)


def batch(name, n=6):
    return CASES[name][1](n)


def missing(target):
    """The same target without any label."""
    return torch.full_like(target, torch.nan if target.is_floating_point() else -1)


def void(name, target):
    """The same, by the value that maps of numbers have in files."""
    values = {"depth": 0, "normals": 0, "disparity": -1}
    first = name.split()[0]
    return torch.full_like(target, values[first]) if first in values else missing(target)


def ignored(name, target):
    """(B, ...) over the pixels of the target: where nothing counts; channels last."""
    nothing = (target == void(name, target)) | target.isnan()
    return nothing.all(1) if target.dim() == 4 else nothing


def states(m):
    """What a metric has counted so far, as tensors."""
    found = m.metric_state.values()
    return [part for state in found for part in (state if isinstance(state, list) else [state])]


def all_nan(values):
    """Of a metric: floats, and lists of them."""
    numbers = [x for v in values.values() for x in (v if isinstance(v, list) else [v])]
    return all(map(math.isnan, numbers))


def close(a, b):
    """Equal values, but for the order of additions."""
    assert a.keys() == b.keys()
    for key in a:
        assert a[key] == pytest.approx(b[key], rel=1e-12, abs=1e-12, nan_ok=True), key


@NAMES
def test_values_are_named_as_the_directions(name):
    m = metric(name)
    values = evaluate(m, [batch(name)])
    assert list(values) == list(m.directions)
    assert m.higher_is_better == next(iter(m.directions.values()))
    assert all(isinstance(v, float | list) for v in values.values())


@pytest.mark.parametrize("name", POOLED)
def test_any_split_into_batches_gives_the_same(name):
    prediction, target = batch(name)
    whole = evaluate(metric(name), [(prediction, target)])

    @settings(max_examples=6)
    @given(st.permutations(range(6)), st.sets(st.integers(1, 5)))
    def check(order, cuts):
        parts = torch.tensor(order).tensor_split(sorted(cuts))
        close(evaluate(metric(name), [(prediction[i], target[i]) for i in parts]), whole)

    check()


@NAMES
def test_the_order_of_batches_does_not_matter(name):
    batches = [batch(name, 2) for _ in range(3)]
    close(evaluate(metric(name), batches), evaluate(metric(name), batches[::-1]))


@NAMES
def test_what_is_predicted_where_nothing_counts_does_not_matter(name):
    prediction, target = batch(name)
    where = ignored(name, target)
    assert where.any() and not where.all()
    changed = prediction.clone()
    last = changed.movedim(1, -1) if changed.dim() == 4 or name == "words" else changed
    values = evaluate(metric(name), [(prediction, target)])
    last[where] = torch.rand_like(last[where])
    close(evaluate(metric(name), [(changed, target)]), values)
    last[where] = torch.nan
    close(evaluate(metric(name), [(changed, target)]), values)


@NAMES
def test_images_without_labels_take_no_part_and_alone_they_give_nan(name):
    prediction, target = batch(name)
    values = evaluate(metric(name), [(prediction, target)])
    for nothing in (void(name, target), missing(target)):
        close(evaluate(metric(name), [(prediction, nothing), (prediction, target)]), values)
        mixed = torch.cat([nothing[:3], target]), torch.cat([prediction[:3], prediction])
        close(evaluate(metric(name), [mixed[::-1]]), values)
        m = metric(name)
        alone = evaluate(m, [(prediction, nothing)])
        assert all_nan(alone) and list(alone) == list(m.directions)
        close(evaluate(m, [(prediction, target)]), values)


@NAMES
def test_before_anything_is_counted_it_is_nan(name):
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert all_nan(metric(name).compute())


@NAMES
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_predictions_that_are_not_finite_are_refused(name, wrong):
    prediction, target = batch(name)
    prediction[:] = wrong
    m = metric(name)
    with pytest.raises(ValueError, match=f"^{type(m).__name__}: prediction is NaN or infinite"):
        evaluate(m, [(prediction, target)])
    assert all(not state.any() for state in states(m))


@NAMES
def test_wrong_shapes_and_types_are_refused(name):
    prediction, target = batch(name)
    m = metric(name)
    for bad in (
        (prediction[:5], target),
        (prediction, target[:5]),
        (prediction[..., 1:], target),
        (prediction[:, None], target[:, None]),
        (prediction, target.bool()),
        (prediction.bool(), target),
        (prediction.to(torch.complex64), target),
    ):
        with pytest.raises(ValueError, match=f"^{type(m).__name__}: (target|prediction).* must be"):
            evaluate(m, [bad])
    assert all(not state.any() for state in states(m))
    letters = r"\(B, 1, H, W\)|\(B, 3, H, W\)|\(B, H, W\)|\(B, [13]\)|\(B, L\)|\(B\)"
    with pytest.raises(ValueError, match=f"target must be .* of shape ({letters}), got "):
        evaluate(m, [(prediction, target[None])])


@NAMES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_in_64_bits_for_every_input(name, dtype):
    prediction, target = batch(name)
    prediction = prediction.to(dtype)
    if target.is_floating_point() and "normals" not in name:
        target = target.to(dtype)
    wide = target.double() if target.is_floating_point() else target
    m = metric(name)
    counted = evaluate(m, [(prediction, target)])
    by_threshold = "saliency" in name or name == "boundary"
    if not by_threshold or dtype is torch.float32:  # else thresholds have fewer digits, too
        close(counted, evaluate(metric(name), [(prediction.double(), wide)]))
    assert {state.dtype for state in states(m)} <= {torch.int64, torch.float64}


def test_a_batch_without_anything_to_count_loses_nothing():
    metric = Depth()
    target = torch.ones(1, 1, 2, 2)
    metric(2 * target, target)
    assert all_nan(metric(target, 0 * target))
    assert metric(4 * target, target)["absolute"] == 3
    assert metric.compute()["absolute"] == 2


@NAMES
def test_reset_copy_pickle_and_the_value_of_one_batch(name):
    first, second = batch(name, 3), batch(name, 4)
    m = metric(name)
    m.update(*(x.to(DEVICE) for x in first))
    for again in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        close(evaluate(again, [second]), evaluate(metric(name), [first, second]))
    alone = evaluate(metric(name), [second])
    close(m(*(x.to(DEVICE) for x in second)), alone)
    close(evaluate(m, []), evaluate(metric(name), [first, second]))
    m.reset()
    close(evaluate(m, [second]), alone)


@pytest.mark.parametrize("name", ["depth by batch", "depth by sample", "normals by batch"])
def test_the_other_poolings_depend_on_the_batches(name):
    prediction, target = batch(name)
    whole = evaluate(metric(name), [(prediction, target)])
    single = evaluate(metric(name), list(zip(prediction.split(1), target.split(1), strict=True)))
    first = next(iter(whole))
    assert abs(whole[first] - single[first]) > 1e-4 * whole[first]


def work(rank, file, batches, results):
    """One of two processes: its share of the batches, then the values over all of them."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
    mine = {name: evaluate(CASES[name][0](), batches[name][rank::2]) for name in CASES}
    torch.save(mine, f"{results}{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
def test_two_processes_agree_with_one(tmp_path):
    batches = {name: [batch(name, n) for n in (1, 3, 2)] for name in CASES}
    for name in CASES:  # a process that has nothing to count is no problem
        batches[name][1] = batches[name][1][0], void(name, batches[name][1][1])
    given = str(tmp_path / "store"), batches, str(tmp_path / "values")
    torch.multiprocessing.start_processes(work, given, nprocs=2, start_method=forks.METHOD)
    first, second = (torch.load(tmp_path / f"values{rank}") for rank in (0, 1))
    for name in CASES:
        close(first[name], second[name])
        close(first[name], evaluate(metric(name), batches[name]))


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        (Classification(2), "%"),
        (Attributes(inputs="logits"), "%"),
        (AUC(), "%"),
        (Regression("years"), "years"),
        (Regression(), ""),
        (Depth(unit="m"), "m"),
        (Depth(ignore=-1), ""),
    ],
)
def test_a_metric_knows_its_unit_and_keeps_it_in_a_copy(metric, unit):
    assert metric.unit == metric.clone().unit == unit

"""What holds for every metric: streaming, ignored pixels, refusals, number formats, processes."""

import copy
import pickle

import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")
pytest.importorskip("scipy")
pytest.importorskip("skimage")

from hypothesis import given, settings
from hypothesis import strategies as st
from measures import CASES, POOLED, evaluate

from tssbn.metrics.dense import Depth

NAMES = pytest.mark.parametrize("name", CASES)
MAPS = [name for name in CASES if name != "attributes"]  # those whose targets can ignore


def metric(name):
    return CASES[name][0]().to(DEVICE)


def batch(name, n=6):
    return CASES[name][1](n)


def void(name, target):
    """The same target where nothing counts."""
    return torch.full_like(target, 0 if name.split()[0] in ("depth", "normals") else -1)


def ignored(name, target):
    """(B, ...) over the pixels of the target: where nothing counts; channels last."""
    if "normals" in name:
        return (target == 0).all(1)
    if "depth" in name or "disparity" in name:
        return target[:, 0] == void(name, target)[:, 0]
    return target == -1


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

    @settings(max_examples=6, deadline=None)
    @given(st.permutations(range(6)), st.sets(st.integers(1, 5)))
    def check(order, cuts):
        parts = torch.tensor(order).tensor_split(sorted(cuts))
        close(evaluate(metric(name), [(prediction[i], target[i]) for i in parts]), whole)

    check()


@NAMES
def test_the_order_of_batches_does_not_matter(name):
    batches = [batch(name, 2) for _ in range(3)]
    close(evaluate(metric(name), batches), evaluate(metric(name), batches[::-1]))


@pytest.mark.parametrize("name", MAPS)
def test_what_is_predicted_at_ignored_pixels_does_not_matter(name):
    prediction, target = batch(name)
    where = ignored(name, target)
    assert where.any() and not where.all()
    changed = prediction.clone()
    last = changed.movedim(1, -1) if changed.dim() == 4 else changed
    values = evaluate(metric(name), [(prediction, target)])
    last[where] = torch.rand_like(last[where])
    close(evaluate(metric(name), [(changed, target)]), values)
    last[where] = torch.nan
    close(evaluate(metric(name), [(changed, target)]), values)


@pytest.mark.parametrize("name", MAPS)
def test_void_images_take_no_part_and_void_alone_is_refused(name):
    prediction, target = batch(name)
    values = evaluate(metric(name), [(prediction, target)])
    nothing = void(name, target)
    close(evaluate(metric(name), [(prediction, nothing), (prediction, target)]), values)
    if name in POOLED:
        mixed = torch.cat([nothing[:3], target]), torch.cat([prediction[:3], prediction])
        close(evaluate(metric(name), [mixed[::-1]]), values)
    m = metric(name)
    with pytest.raises(ValueError, match=f"^{type(m).__name__}: no"):
        evaluate(m, [(prediction, nothing)])


@NAMES
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_predictions_that_are_not_finite_are_refused(name, wrong):
    prediction, target = batch(name)
    prediction[:] = wrong
    m = metric(name)
    with pytest.raises(ValueError, match=f"^{type(m).__name__}: prediction is NaN or infinite"):
        evaluate(m, [(prediction, target)])
    assert all(not state.any() for state in m.metric_state.values())


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
    assert all(not state.any() for state in m.metric_state.values())
    letters = r"\(B, 1, H, W\)|\(B, 3, H, W\)|\(B, H, W\)|\(B, 3\)"
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
    assert {state.dtype for state in m.metric_state.values()} <= {torch.int64, torch.float64}


def test_a_batch_without_anything_to_count_loses_nothing():
    metric = Depth()
    target = torch.ones(1, 1, 2, 2)
    metric(2 * target, target)
    with pytest.raises(ValueError, match="nothing was counted"):
        metric(target, 0 * target)
    assert metric(4 * target, target)["absolute"] == 3
    assert metric.compute()["absolute"] == 2


@pytest.mark.parametrize("name", MAPS)
def test_after_an_error_among_processes_it_counts_on(name):
    """Of two processes that hold the same."""
    m = metric(name)
    m.distributed_available_fn = lambda: True
    m.dist_sync_fn = lambda state, group: [state, state]
    prediction, target = batch(name)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{type(m).__name__}: no"):
            evaluate(m, [(prediction, void(name, target))])
    values = evaluate(m, [(prediction, target)])
    close(values, evaluate(metric(name), [(prediction, target)] * 2))
    alone = metric(name)
    evaluate(alone, [(prediction, target)])
    assert all(torch.equal(m.metric_state[k], state) for k, state in alone.metric_state.items())


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
    for name in MAPS:  # a process that has nothing to count is no problem
        batches[name][1] = batches[name][1][0], void(name, batches[name][1][1])
    torch.multiprocessing.spawn(
        work, (str(tmp_path / "store"), batches, str(tmp_path / "values")), nprocs=2
    )
    first, second = (torch.load(tmp_path / f"values{rank}") for rank in (0, 1))
    for name in CASES:
        close(first[name], second[name])
        close(first[name], evaluate(metric(name), batches[name]))

"""The losses: exact values, missing labels, gradients, and what torch's own functions give."""

import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st

from tssbn.benchmarks.losses import (
    balanced_cross_entropy,
    binary_cross_entropy,
    cosine_loss,
    cross_entropy,
    l1_loss,
    normal_l1_loss,
)
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.target import Target

CLASSES = ("a", "b", "c")
TARGETS = {
    "classes": Target("classes", CLASSES, ignore=-1),
    "depth": Target("depth", ignore=0),
    "disparity": Target("disparity", ignore=-1),
    "normal": Target("normal"),
    "class": Target("class", CLASSES),
    "words": Target("words", CLASSES, ignore=-1),
    "attribute": Target("attribute"),
    "number": Target("number", unit="years"),
}
TASKS = tasks_for(TARGETS)
KINDS = pytest.mark.parametrize("kind", TARGETS)


def batch(kind, n=5, seed=0):
    """Predictions and targets in float64, all labels there; maps are 2x3."""
    random = torch.Generator().manual_seed(seed)
    size = (2, 3) if TARGETS[kind].dense else TARGETS[kind].shape(4)
    prediction = torch.randn(n, TASKS[kind].out_channels, *size, generator=random).double()
    if kind == "normal":
        target = F.normalize(torch.randn(n, 3, *size, generator=random).double(), dim=1)
    elif TARGETS[kind].dtype is torch.int64:
        below = len(TARGETS[kind].classes) or 2
        target = torch.randint(below, (n, *size), generator=random)
    else:
        channel = (1,) if size else ()
        target = 0.5 + torch.rand(n, *channel, *size, generator=random).double()
    return prediction, target


def rows(kind, prediction, target):
    """A row for each label: maps as if each pixel were an image of one pixel."""
    if kind == "words":
        return prediction.movedim(1, -1).flatten(0, 1), target.flatten()
    if not TARGETS[kind].dense:
        return prediction, target
    prediction = prediction.movedim(1, -1).reshape(-1, prediction.shape[1], 1, 1)
    if kind == "classes":
        return prediction, target.reshape(-1, 1, 1)
    return prediction, target.movedim(1, -1).reshape(-1, target.shape[1], 1, 1)


def gone(kind):
    """The values that say that there is no label."""
    target = TARGETS[kind]
    file = 0 if kind == "normal" else target.ignore
    return [target.missing] if file in (None, target.missing) else [target.missing, file]


@KINDS
@settings(max_examples=25)
@given(data=st.data())
def test_a_loss_is_that_of_the_labels_that_count_alone(kind, data):
    prediction, target = rows(kind, *batch(kind, seed=data.draw(st.integers(0, 99))))
    keep = data.draw(st.lists(st.booleans(), min_size=len(target), max_size=len(target)))
    keep = torch.tensor(keep)
    for value in gone(kind):
        some = target.clone()
        some[~keep] = value
        loss = TASKS[kind].loss(prediction, some)
        if keep.any():
            alone = TASKS[kind].loss(prediction[keep], target[keep])
            assert loss.item() == pytest.approx(alone.item(), rel=1e-13)
        else:
            assert loss == 0


@KINDS
def test_a_missing_label_has_no_gradient_and_changes_no_other(kind):
    prediction, target = batch(kind)
    for value in gone(kind):
        some = target.clone()
        some[1] = value  # an image without any label
        if TARGETS[kind].dense:
            some[2, ..., 0] = value  # a column without
        full = prediction.clone().requires_grad_()
        TASKS[kind].loss(full, some).backward()
        where = torch.zeros_like(target, dtype=torch.bool)
        where[1] = True
        if TARGETS[kind].dense:
            where[2, ..., 0] = True
        if TARGETS[kind].dense and kind != "classes":
            where = where[:, 0]
        else:
            where = where.reshape(len(target), *target.shape[1:])
        gradient = full.grad.movedim(1, -1)
        assert (gradient[where] == 0).all()
        assert (gradient[~where] != 0).all() and gradient.isfinite().all()


@KINDS
def test_without_any_label_loss_and_gradient_are_zero(kind):
    prediction, target = batch(kind)
    for value in gone(kind):
        leaf = prediction.clone().requires_grad_()
        loss = TASKS[kind].loss(leaf, torch.full_like(target, value))
        loss.backward()
        assert loss.shape == () and loss == 0
        assert (leaf.grad == 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_stands_for_no_measurement_in_files_may_be_infinite(value):
    prediction = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
    loss = l1_loss(prediction, torch.tensor([[[[3.0, value]]]]), ignore=value)
    loss.backward()
    assert loss == 2 and prediction.grad.tolist() == [[[[-1, 0]]]]


def test_an_infinite_label_is_no_missing_one():
    """The trainer stops at a loss that is not finite."""
    assert l1_loss(torch.ones(2, 1), torch.tensor([1.0, math.inf])).isinf()


def test_values_by_hand():
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [5.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, -1])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-14)
    maps = logits.movedim(0, -1)[None, :, None]  # (1, 2, 1, 3)
    assert cross_entropy(maps, labels[None, None]).item() == pytest.approx(expected, rel=1e-14)
    one = binary_cross_entropy(logits[:, :1], torch.tensor([0, 1, -1]))  # log 3: absent
    assert one.item() == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-14)
    ages = torch.tensor([[20.0], [50.0], [7.0]])
    assert l1_loss(ages, torch.tensor([21.0, 45.0, math.nan])) == 3
    depth = torch.tensor([2.0, 4.0, 6.0]).view(1, 1, 1, 3)
    assert l1_loss(depth, torch.tensor([1.0, 0.0, 3.0]).view(1, 1, 1, 3), ignore=0) == 2
    towards = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
    right, opposite, across = 7 * towards, -towards, towards.roll(1, 1)
    for prediction, loss in ((right, 0), (opposite, 2), (across, 1), (0 * towards, 1)):
        assert cosine_loss(prediction, towards) == loss


def test_the_mask_by_sums_drops_normals_that_sum_to_zero():
    crossed = torch.tensor([0.6, -0.6, 0.0]).view(1, 3, 1, 1)
    towards = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
    target = torch.cat([crossed, towards, crossed * math.nan], dim=3)
    prediction = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 1, 3)
    assert cosine_loss(prediction, target, mask="sum") == 2
    assert cosine_loss(prediction, target) == 1.5


@pytest.mark.parametrize("n", [1, 7, 64, 256, 1000])
def test_with_all_labels_there_it_is_torchs_cross_entropy_bit_for_bit(n):
    """So numbers of runs without missing labels do not depend on how those are handled."""
    leaf = torch.randn(n, 1, requires_grad=True)
    label = torch.randint(2, (n,))
    ours = binary_cross_entropy(leaf, label)
    theirs = F.binary_cross_entropy_with_logits(leaf.squeeze(1), label.float())
    assert ours.item() == theirs.item()
    assert torch.equal(*(torch.autograd.grad(loss, leaf)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize("ignore", [0, -1])
def test_holes_do_not_change_a_bit_of_what_counts(ignore):
    leaf, target = torch.randn(3, 1, 5, 7, requires_grad=True), torch.rand(3, 1, 5, 7) + 0.1
    target[torch.rand(target.shape) < 0.3] = ignore
    ours = l1_loss(leaf, target, ignore)
    theirs = (leaf - target).abs().where(target != ignore, 0).sum() / (target != ignore).sum()
    assert ours.item() == theirs.item()
    assert torch.equal(*(torch.autograd.grad(loss, leaf)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_normals_are_made_unit_vectors_as_torch_does_it_bit_for_bit(scale):
    leaf = (scale * torch.randn(2, 3, 5, 7)).requires_grad_()
    target = F.normalize(torch.randn(2, 3, 5, 7), dim=1)
    target[:, :, 1] = 0
    counted = (target != 0).any(1)
    error = 1 - (F.normalize(leaf, dim=1) * target).sum(1)
    theirs, ours = error.where(counted, 0).sum() / counted.sum(), cosine_loss(leaf, target)
    assert ours.item() == theirs.item()
    assert torch.equal(*(torch.autograd.grad(loss, leaf)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-13])
def test_a_prediction_without_direction_is_pulled_gently_to_its_target(length):
    target = F.normalize(torch.randn(4, 3, 2, 2, dtype=torch.float64), dim=1)
    leaf = (length * target.roll(1, 0)).requires_grad_()
    loss = cosine_loss(leaf, target)
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-12)
    if length == 0:
        assert torch.equal(leaf.grad, -target / 16)
    assert leaf.grad.abs().max() <= 1 / 16


@pytest.mark.parametrize("kind", ["depth", "normal", "attribute", "number"])
def test_other_shapes_are_refused(kind):
    prediction, target = batch(kind)
    with pytest.raises(ValueError, match=r"prediction has shape .* and target .*must agree"):
        TASKS[kind].loss(prediction[:4], target)
    with pytest.raises(ValueError, match=r"prediction has shape .* and target .*must agree"):
        TASKS[kind].loss(torch.cat([prediction, prediction], 1), target)


def binary_maps(n=3, channels=1):
    """Logits and labels of two classes, a fifth of them void."""
    random = torch.Generator().manual_seed(channels)
    logits = torch.randn(n, channels, 5, 7, generator=random).double()
    labels = (torch.rand(n, 5, 7, generator=random) < 0.3).long()
    return logits, labels.where(torch.rand(n, 5, 7, generator=random) > 0.2, -1)


def test_the_balance_is_that_of_class_weights_in_torch():
    """MLoRE's form: two logits, weights of the batch, divided by what counts."""
    logits, labels = binary_maps(channels=2)
    counted = labels >= 0
    weight = (labels[counted] == 0).double().mean()
    each = F.cross_entropy(
        logits, labels, torch.stack([1 - weight, weight]), ignore_index=-1, reduction="none"
    )
    expected = each.sum() / counted.sum()
    assert balanced_cross_entropy(logits, labels).item() == pytest.approx(expected.item(), 1e-13)
    one = logits[:, 1:] - logits[:, :1]
    assert balanced_cross_entropy(one, labels).item() == pytest.approx(expected.item(), 1e-13)
    everything = balanced_cross_entropy(one, labels, over="all")  # MTLoRA's form
    assert everything.item() == pytest.approx(expected.item() * counted.double().mean().item())


def test_a_fixed_weight_of_the_rare_class():
    """Of boundaries: 0.95 of the positive part and 0.05 of the negative, over what counts."""
    logits, labels = binary_maps()
    counted = labels >= 0
    kept, found = logits.squeeze(1)[counted], labels[counted].double()
    each = F.binary_cross_entropy_with_logits(kept, found, reduction="none")
    expected = (each * (0.95 * found + 0.05 * (1 - found))).mean()
    ours = balanced_cross_entropy(logits, labels, positive=0.95)
    assert ours.item() == pytest.approx(expected.item(), 1e-13)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("over", ["counted", "all"])
def test_void_pixels_of_two_classes_have_no_gradient(channels, over):
    logits, labels = binary_maps(channels=channels)
    logits.requires_grad_()
    balanced_cross_entropy(logits, labels, over=over).backward()
    void = (labels < 0)[:, None].expand_as(logits)
    assert (logits.grad[void] == 0).all() and (logits.grad[~void] != 0).all()
    logits.grad = None
    loss = balanced_cross_entropy(logits, torch.full_like(labels, -1), over=over)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_of_one_class_has_no_balanced_loss(label):
    """The share of the other class, its weight, is 0: so the protocols have it."""
    logits, _ = binary_maps()
    assert balanced_cross_entropy(logits, torch.full((3, 5, 7), label)) == 0


def test_large_logits_do_not_overflow():
    logits = torch.tensor([1e4, -1e4, 1e4]).view(1, 1, 1, 3)
    loss = balanced_cross_entropy(logits, torch.tensor([[[1, 0, 0]]]), positive=0.5)
    assert loss.item() == pytest.approx(0.5 * 1e4 / 3)


def test_the_absolute_error_of_normals_has_two_divisors():
    prediction, target = batch("normal")
    target[1] = 0
    target[2, :, 0] = math.nan
    counted = ((target != 0) & ~target.isnan()).all(1)
    unit = F.normalize(prediction, dim=1).movedim(1, -1)[counted]
    error = (unit - target.movedim(1, -1)[counted]).abs()
    pixels, components = (
        normal_l1_loss(prediction, target, over) for over in ("pixels", "components")
    )
    assert pixels.item() == pytest.approx(error.sum(1).mean().item(), 1e-13)
    assert components.item() == pytest.approx(error.mean().item(), 1e-13)
    scaled = normal_l1_loss(7 * prediction, target)
    assert scaled.item() == pytest.approx(pixels.item(), 1e-13)


def test_the_absolute_error_of_no_normal_is_zero():
    prediction, target = batch("normal")
    prediction.requires_grad_()
    loss = normal_l1_loss(prediction, torch.zeros_like(target))
    loss.backward()
    assert loss == 0 and (prediction.grad == 0).all()


def test_shapes_of_the_losses_of_pascal_are_checked():
    logits, labels = binary_maps()
    for loss, prediction, target in (
        (balanced_cross_entropy, logits[:, :, 1:], labels),
        (balanced_cross_entropy, torch.cat([logits] * 3, 1), labels),
        (normal_l1_loss, logits, torch.zeros(3, 3, 5, 7)),
    ):
        with pytest.raises(ValueError, match=r"prediction has shape .* and target .*must agree"):
            loss(prediction, target)

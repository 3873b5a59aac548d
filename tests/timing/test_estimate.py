"""Operations and memory of a step, counted without computing: against what autograd keeps."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from tssbn import MultiTask, task_specific
from tssbn.cost import macs, parameters
from tssbn.timing.estimate import StepCost, count_step

TASKS = ("a", "b", "c")


def net():
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    trunk.append(nn.Conv2d(8, 8, 3, padding=1))
    heads = {task: nn.Conv2d(8, 1, 1) for task in TASKS}
    return MultiTask(task_specific(trunk, TASKS), heads)


def counted(tasks_per_pass=None, batch=2, change=lambda net: None):
    with torch.device("meta"):
        made, images = net(), torch.empty(batch, 3, 6, 4)
    made.tasks_per_pass = tasks_per_pass
    change(made)
    return count_step(made.train(), images)


def test_a_step_is_three_forward_passes_but_for_the_gradient_of_the_images():
    with torch.device("meta"):
        forward = macs(net(), torch.empty(2, 3, 6, 4))
    first = len(TASKS) * 24 * 3 * 9 * 8  # each task's pass
    assert counted().macs == 3 * forward - first


def test_what_is_held_are_parameters_gradients_and_two_averages():
    every = parameters(net())
    assert counted().held == 16 * every
    frozen = counted(change=lambda made: made.trunk[3].requires_grad_(False))
    assert frozen.held == 16 * every - 12 * (8 * 8 * 9 + 8)
    assert frozen.macs == counted().macs - len(TASKS) * 24 * 8 * 9 * 8  # of its filters


def test_what_is_kept_is_what_autograd_keeps_on_a_cpu():
    made, images = net().train(), torch.rand(2, 3, 6, 4)
    given = {x.untyped_storage().data_ptr() for x in (images, *made.parameters(), *made.buffers())}
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        predictions = made(images)
    total = sum(kept[at].nbytes() for at in kept.keys() - given)
    assert len(predictions) == 3
    # A device may keep a few numbers for each channel more than another.
    assert counted().kept == pytest.approx(total / 2, rel=0.05)


def test_passes_of_one_task_keep_a_third_and_compute_as_much():
    together, apart = counted(), counted(tasks_per_pass=1)
    assert apart.macs == together.macs and apart.held == together.held
    assert apart.kept == pytest.approx(together.kept / 3, rel=0.1)


def test_an_image_counts_as_much_in_any_batch():
    assert counted(batch=6).macs == counted(batch=2).macs
    assert counted(batch=6).kept == pytest.approx(counted(batch=2).kept, rel=0.05)


def test_memory_and_time_follow():
    cost = StepCost(macs=3 * 10**9, kept=2**20, held=2**30)
    assert cost.gib(1024) == 2
    assert cost.seconds(10, tflops=60, share=0.5) == pytest.approx(2e-3)


def test_only_the_meta_device_counts():
    with pytest.raises(ValueError, match="must be on the meta device, where nothing is computed"):
        count_step(net(), torch.empty(2, 3, 6, 4))

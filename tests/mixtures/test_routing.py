"""Routers: which experts a token goes to, of each task by itself."""

import copy
import pickle

import pytest
import torch

import tssbn
from tssbn.mixtures.routing import Router, keep_top

TASKS = ("a", "b", "c")


def router(top=2, floor=0.0, tasks=TASKS):
    torch.manual_seed(0)
    return Router(6, 4, top, tssbn.Tasks(tasks), floor).double()


def tokens(rows):
    return torch.randn(rows, 5, 6, generator=torch.Generator().manual_seed(1)).double()


def test_the_largest_are_kept_as_they_are():
    p = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]])
    assert keep_top(p, 2).tolist() == [[p[0, 0], 0, p[0, 2], 0], [0, 0, p[1, 2], p[1, 3]]]
    assert torch.equal(keep_top(p, 4), p)


@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_weights_are_those_of_a_softmax_of_the_tasks_own_matrix(floor):
    one, x = router(floor=floor), tokens(2)
    for row, task in enumerate(TASKS):
        with tssbn.select(one, task):
            weights, places = one(x)
        p = (x @ one.weight[row].T).softmax(-1) + floor
        assert torch.equal(places, p.topk(2, -1).indices)
        torch.testing.assert_close(weights, p.gather(-1, places), rtol=0, atol=1e-15)
        torch.testing.assert_close(one.routes.probabilities[:, 0], p, rtol=0, atol=1e-15)
        torch.testing.assert_close(one.routes.weights[:, 0], keep_top(p, 2), rtol=0, atol=1e-15)
        assert (one.routes.weights > 0).sum() == 2 * p[..., 0].numel()


def test_stacked_tasks_are_routed_as_each_alone():
    one, x = router(), tokens(2)
    with one.tasks.running(TASKS, images=2):
        weights, places = one(x.repeat_interleave(3, 0))
    together = one.routes
    for row, task in enumerate(TASKS):
        with tssbn.select(one, task):
            alone = one(x)
        torch.testing.assert_close(weights[row::3], alone[0], rtol=0, atol=1e-15)
        assert torch.equal(places[row::3], alone[1])
        torch.testing.assert_close(together.weights[:, row], one.routes.weights[:, 0])


def test_a_map_of_tokens_is_routed_as_a_row_of_them():
    one, x = router(tasks=("a",)), tokens(4)
    row = one(x.flatten(0, 1)[None])
    for got, expected in zip(one(x[None]), row, strict=True):
        assert torch.equal(got, expected)


def test_copies_forget_what_was_routed():
    one = router(tasks=("a",))
    one(tokens(2))
    for twin in copy.deepcopy(one), pickle.loads(pickle.dumps(one)):
        assert twin.routes is None and torch.equal(twin.weight, one.weight)
    assert one.routes is not None

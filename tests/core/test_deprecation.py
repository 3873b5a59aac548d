"""Former names still work, warn where they are used, and lead to the present ones."""

import importlib

import pytest
from torch import nn

import tssbn

FORMER = {
    "tssbn.gates": {"removed": "ablated", "shuffled": "permuted"},
    "tssbn.clusters": {
        "Parts": "DepthAndChannels",
        "agreement": "rank_correlations",
        "clusters": "cluster_tasks",
        "cooccurrence": "coassociation",
        "parts": "depth_and_channel_parts",
        "tree": "linkage",
    },
    "tssbn.pruning": {
        "keep": "channel_masks",
        "l1": "slimming_penalty",
        "receding": "rni_penalty",
        "remove": "prune_channels",
        "silence": "mask_channels",
        "tie": "tie_masks",
    },
    "tssbn.export.plain": {
        "effective": "task_affine",
        "merged": "mean_norm",
        "strip": "strip_hooks",
    },
    "tssbn.export.single": {"gates": "channel_gates", "unfolded": "plain_norms"},
    "tssbn.export.trees": {
        "Step": "TreeStep",
        "agree": "tree_by_similarity",
        "differences": "distances",
    },
}


@pytest.mark.parametrize(
    ("module", "former", "present"),
    [(module, *pair) for module, names in FORMER.items() for pair in names.items()],
)
def test_a_former_name_is_the_present_one_and_says_so(module, former, present):
    loaded = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf"{module}\.{former} is called .*\.{present} now"):
        assert getattr(loaded, former) is getattr(loaded, present)
    assert former not in loaded.__all__ and present in loaded.__all__


def test_the_warning_points_at_the_line_that_uses_the_name():
    with pytest.warns(DeprecationWarning) as caught:
        _ = tssbn.gates.shuffled
    with pytest.warns(DeprecationWarning) as imported:
        from tssbn.pruning import keep  # noqa: F401
    assert {warning.filename for warning in (*caught, imported[-1])} == {__file__}


@pytest.mark.parametrize("module", FORMER)
def test_a_name_that_never_was_is_an_ordinary_error(module):
    loaded = importlib.import_module(module)
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'never'"):
        _ = loaded.never
    assert not hasattr(loaded, "never")


def test_a_networks_groups_of_tasks_were_called_chunks():
    trunk = tssbn.task_specific(nn.BatchNorm1d(2), ("a", "b", "c"))
    net = tssbn.MultiTask(trunk, {task: nn.Identity() for task in "abc"}, tasks_per_pass=2)
    with pytest.warns(DeprecationWarning, match=r"MultiTask\.chunks is called MultiTask\.passes"):
        assert list(net.chunks(("b", "c"))) == list(net.passes(("b", "c"))) == [("b", "c")]

"""The figures of the chapter on pruning show what they are given."""

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
pruning_plots = pytest.importorskip("tssbn.plots.pruning")


def test_cuts_have_a_mean_by_share_for_each_penalty():
    _, ax = plt.subplots()
    runs = {"RNI": [{0: 90, 0.5: 80}, {0: 92, 0.5: 84}], "no penalty": [{0: 95, 0.5: 10}]}
    pruning_plots.cuts(ax, runs, constant=10)
    rni, none, constant = ax.lines
    assert list(rni.get_xdata()) == [0, 50]
    assert rni.get_ydata().tolist() == [91, 82]
    assert none.get_ydata().tolist() == [95, 10]
    assert list(constant.get_ydata()) == [10, 10]


def test_pulls_are_the_steps_that_sgd_makes_of_the_penalties():
    from tssbn import SigmoidBatchNorm1d
    from tssbn.pruning import rni_penalty, slimming_penalty

    _, ax = plt.subplots()
    pruning_plots.pulls(ax, l1=0.04, rni=0.2, shift=1, lr=1e-4, multiplier=10)
    of_l1, of_rni = ax.lines
    gates = torch.as_tensor(of_rni.get_xdata())
    layer = SigmoidBatchNorm1d(len(gates)).double()
    layer.gamma.data = gates.logit()
    (0.2 * rni_penalty(layer, shift=1)).backward()
    after = (layer.gamma - 10 * 1e-4 * layer.gamma.grad).sigmoid()
    step = torch.as_tensor(of_rni.get_ydata())
    torch.testing.assert_close(gates - after, step, rtol=1e-3, atol=1e-12)

    scales = torch.nn.BatchNorm1d(3)
    (0.04 * slimming_penalty(scales)).backward()
    assert of_l1.get_ydata() == pytest.approx([1e-4 * scales.weight.grad[0].item()] * 2)

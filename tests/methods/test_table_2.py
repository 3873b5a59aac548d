"""Parameters and multiplications of table 2 of arXiv 2512.20420, at full size.

The paper's #P and #F are ratios to HPS. Its #F counts two operations for each value that a
BatchNorm layer gives, beside the multiplications; `macs` does not, and differs by 0.3 %.
"""

from functools import partial

import pytest
import torch
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchvision")

from tssbn.cost import macs, parameters
from tssbn.methods import Network, find_method
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet

TRUNK = 23_508_032
BENCHMARKS = {  # outputs, size, parameters of HPS
    "nyuv2": ({"segmentation": 13, "depth": 1, "normal": 3}, (288, 384), 71_888_721),
    "cityscapes": ({"segmentation": 7, "depth": 1}, (128, 256), 55_760_968),
}
IMAGE = {"gate": "image"}
OPTIONS = {"mmoe": IMAGE, "cgc": IMAGE, "ple": IMAGE, "dselect-k": IMAGE}
PRINTED = {  # #P and #F of NYUv2, then of Cityscapes
    "hps": (1, 1, 1, 1),
    "cross-stitch": (1.65, 1.69, 1.42, 1.44),
    "mmoe": (1.35, 1.34, 1.42, 1.44),
    "mtan": (1.28, 1.56, 1.29, 1.48),
    "cgc": (2.01, 2.03, 1.85, 1.88),
    "ple": (2.41, 2.71, 1.95, 2.32),
    "ltb": (1.65, 1.69, 1.42, 1.44),
    "dselect-k": (1.38, 1.34, 1.44, 1.44),
}
# LibMTL's, whose Cross-Stitch and LTB hold rows that nothing uses.
PARAMETERS = {
    "hps": (71_888_721, 55_760_968),
    "cross-stitch": (118_904_821 - 9, 79_269_016 - 4),
    "mmoe": (97_387_415, 79_662_220),
    "mtan": (92_347_921, 72_044_232),
    "cgc": (144_403_479, 103_170_252),
    "ple": (173_599_791, 108_937_436),
    "ltb": (118_904_839 - 2 * 9, 79_269_024 - 2 * 4),
    "dselect-k": (99_378_077, 80_055_440),
}
PASSES = {"hps": 1, "mmoe": 2, "dselect-k": 2}  # of the trunk; of others they grow with the tasks
ENCODER = {"nyuv2": 42_047_963_136, "cityscapes": 12_458_655_744}
HEADS = {
    "nyuv2": 26_958_872_576 + 26_953_564_160 + 26_954_448_896,
    "cityscapes": 7_987_396_608 + 7_986_610_176,
}


def built(method, benchmark):
    outputs, size, _ = BENCHMARKS[benchmark]
    network = Network(dilated_resnet, partial(DeepLabHead, dropout=0.5), torch.empty(2, 3, *size))
    return find_method(method).build(network, outputs, **OPTIONS.get(method, {}))


def measured(method, benchmark):
    """Parameters, multiplications, and how many values the BatchNorm layers give."""
    x = torch.empty(1, 3, *BENCHMARKS[benchmark][1], device="meta")
    with torch.device("meta"):
        net = built(method, benchmark)
    given = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *call: given.append(call[-1].numel()))
    work = macs(net, x)  # one pass
    return parameters(net), work, sum(given)


@pytest.fixture(scope="module")
def shared():
    return {benchmark: measured("hps", benchmark) for benchmark in BENCHMARKS}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("method", PRINTED)
def test_a_row(method, benchmark, shared):
    place = list(BENCHMARKS).index(benchmark)
    of_one, products_of_one, norms_of_one = shared[benchmark]
    found = shared[benchmark] if method == "hps" else measured(method, benchmark)
    count, products, norms = found
    assert count == PARAMETERS[method][place]

    printed_count, printed_work = PRINTED[method][2 * place : 2 * place + 2]
    ratio = count / of_one
    if (method, benchmark) == ("mmoe", "cityscapes"):
        assert f"{ratio:.4f}" == "1.4286"  # printed as 1.42
    else:
        assert f"{ratio:.2f}" == f"{printed_count:.2f}"
    work = (products + 2 * norms) / (products_of_one + 2 * norms_of_one)
    assert f"{work:.2f}" == f"{printed_work:.2f}"
    assert products / products_of_one == pytest.approx(work, rel=2e-3)

    tasks = len(BENCHMARKS[benchmark][0])
    gates = {
        "mmoe": count - 2 * TRUNK - (of_one - TRUNK) - 2 * tasks,
        "cgc": count - (1 + tasks) * TRUNK - (of_one - TRUNK) - 2 * tasks,
        "ple": count - (1 + tasks) * TRUNK - (of_one - TRUNK) - 2 * 5 * tasks,
        "dselect-k": count - 2 * TRUNK - (of_one - TRUNK) - 4 * tasks,
    }  # a weight of a gate is one multiplication
    passes = {"cross-stitch": tasks, "ltb": tasks, "cgc": 1 + tasks, "ple": 2 * tasks}
    if method != "mtan":
        whole = (PASSES | passes)[method] * ENCODER[benchmark] + HEADS[benchmark]
        assert products == whole + gates.get(method, 0)

"""One task's network runs in ONNX Runtime, with any number of images, and gives what ours gives."""

import warnings

import pytest
import torch
from plain import network

from tssbn import export

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module", params=["segnet", "residual", "vit"])
def exported(request, tmp_path_factory):
    """A network, images, one task as a module, and its file by the lines of the documentation."""
    torch.manual_seed(0)
    net, x = network(request.param)
    net, x = net.float().cpu(), x.float().cpu()
    single, path = export.task(net, "depth"), tmp_path_factory.mktemp("onnx") / "depth.onnx"
    shapes = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(single, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    program.save(path)
    return net, x, single, path


def test_onnx_runtime_gives_the_same_for_every_batch_size(exported):
    net, x, _, path = exported
    run = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (inputs,) = run.get_inputs()
    for images in x[:1], x, torch.cat([x, x.flip(0), x]):
        (output,) = run.run(None, {inputs.name: images.numpy()})
        expected = net(images)["depth"].detach()
        assert expected.std() > 1e-3
        torch.testing.assert_close(torch.from_numpy(output), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("exported", ["segnet", "residual"], indirect=True)
def test_the_file_holds_the_weights_of_one_task_and_no_norm_layer(exported):
    onnx = pytest.importorskip("onnx")
    *_, single, path = exported
    graph = onnx.load(path).graph
    assert not [node for node in graph.node if "Normalization" in node.op_type]
    sizes = [torch.Size(weight.dims).numel() for weight in graph.initializer]
    parameters = sum(p.numel() for p in single.parameters())
    assert parameters <= sum(sizes) <= parameters + 100  # a few axes and shapes

"""One task's network runs in ONNX Runtime, with any number of images, and gives what ours gives."""

import warnings

import pytest
import torch
from plain import network

from tssbn import export

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def session(single, x, path):
    """The two lines of the documentation, and a session that runs the file."""
    shapes = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(single, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    program.save(path)
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", ["segnet", "residual", "vit"])
def test_onnx_runtime_gives_the_same_for_every_batch_size(name, tmp_path):
    net, x = network(name)
    net, x = net.float().cpu(), x.float().cpu()
    run = session(export.task(net, "depth"), x, tmp_path / "depth.onnx")
    (inputs,) = run.get_inputs()
    for images in x[:1], x, torch.cat([x, x.flip(0), x]):
        (output,) = run.run(None, {inputs.name: images.numpy()})
        expected = net(images)["depth"].detach()
        assert expected.std() > 1e-3
        torch.testing.assert_close(torch.from_numpy(output), expected, rtol=0, atol=1e-4)


def test_the_file_holds_the_weights_of_one_task_and_no_norm_layer(tmp_path):
    onnx = pytest.importorskip("onnx")
    net, x = network("celeba")
    path = tmp_path / "depth.onnx"
    single = export.task(net.float().cpu(), "depth")
    session(single, x.float().cpu(), path)
    graph = onnx.load(path).graph
    assert not [node for node in graph.node if "Normalization" in node.op_type]
    sizes = [torch.Size(weight.dims).numel() for weight in graph.initializer]
    parameters = sum(p.numel() for p in single.parameters())
    assert parameters <= sum(sizes) <= parameters + 100  # a few axes and shapes

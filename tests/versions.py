"""What older versions of torch do not do."""

import pytest
import torch
from torch.torch_version import TorchVersion

OLD = TorchVersion(torch.__version__) < "2.14"

one_graph = pytest.mark.skipif(
    OLD, reason="torch.compile of 2.9 breaks the graph at converted layers; values agree"
)
pickles_fx = pytest.mark.skipif(OLD, reason="torch.fx of 2.9 pickles no such network")

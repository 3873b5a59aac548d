"""Where and in which number format the suite runs.

TSSBN_TEST_DEVICE (cpu, cuda, ...) and TSSBN_TEST_DTYPE (float64, float32) choose; tests take
`from settings import DEVICE, DTYPE` and make their tensors and modules there.
"""

import os

import torch

DEVICE = torch.device(os.environ.get("TSSBN_TEST_DEVICE", "cpu"))
DTYPE = getattr(torch, os.environ.get("TSSBN_TEST_DTYPE", "float64"))

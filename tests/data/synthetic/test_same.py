"""Synthetic data are the same on every processor, with any number of threads and any default."""

import builtins
import hashlib
import json
import math
import os
import subprocess
import sys
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tssbn.data.synthetic import digits
from tssbn.data.synthetic.faces import ATTRIBUTES, Faces, draw, faces
from tssbn.data.synthetic.faces import make as faces_make
from tssbn.data.synthetic.same import float32_on_cpu, sqrt
from tssbn.data.synthetic.scenes import Rooms, Streets, rooms, streets
from tssbn.data.synthetic.scenes import make as scenes_make
from tssbn.data.synthetic.scenes.rooms import TARGETS

ROOT = Path(__file__).resolve().parents[3]
BLANK = torch.zeros(4, len(ATTRIBUTES), dtype=torch.int8)
KNOBS = {"height": 32, "width": 48, "zoom": 0.2}


def portraits():
    return {"image": draw(BLANK, "val", recipe=Faces(size=32))}


DRAWN = {
    "faces": partial(faces, "val", 6, recipe=Faces(size=32)),
    "portraits": portraits,
    "rooms": partial(rooms, "val", 4, recipe=Rooms(**KNOBS, people=1.0), tasks=tuple(TARGETS)),
    "streets": partial(streets, "val", 4, recipe=Streets(**KNOBS)),
}
PLACED = {
    "digits": partial(digits.single, "val", root=None),
    "pairs": partial(digits.pairs, "val", per_pair=3, root=None),
}
SETS = DRAWN | (PLACED if find_spec("sklearn") else {})  # which the digits ship inside


def hashes(data):
    """Of every tensor of a data set, with its type."""
    return {
        name: f"{value.dtype} {hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()}"
        for name, value in getattr(data, "tensors", data).items()
    }


@pytest.fixture
def afresh(tmp_path, monkeypatch):
    """Makes a data set that no cache holds."""

    def make(name):
        with monkeypatch.context() as patch:
            patch.setenv("TSSBN_CACHE", str(tmp_path / uuid4().hex))
            return SETS[name]()

    return make


# ----------------------------------------------------------------------------------- the operations


def test_roots_are_rounded_correctly():
    """By exact fractions, where an error shows first: next to the squares of the middles between
    two numbers."""
    near = []
    for middle in range(2**24 + 1, 2**25, 19946):  # odd numbers of 25 bits
        step = 2 ** ((middle**2).bit_length() - 24)
        near += [middle**2 // step * step, (middle**2 // step + 1) * step]
    x = torch.cat([torch.tensor(near).float(), torch.rand(1000), torch.rand(9) * 1e-40])
    roots = sqrt(x)
    below, above = (roots.nextafter(torch.tensor(to)) for to in (-math.inf, math.inf))
    for value, low, root, high in zip(*(t.tolist() for t in (x, below, roots, above)), strict=True):
        low, root, high = map(Fraction, (low, root, high))
        assert ((low + root) / 2) ** 2 <= Fraction(value) <= ((root + high) / 2) ** 2, value


def test_roots_of_nothing_and_of_everything():
    x = torch.tensor([0.0, -0.0, math.inf, -1.0])
    assert str(sqrt(x).tolist()) == "[0.0, -0.0, inf, nan]" and sqrt(x).dtype is torch.float32


# What IEEE 754 rounds in one way only, and what only copies.
EXACT = {
    *("abs", "add", "clamp", "clamp_max", "clamp_min", "clone", "div", "floor", "masked_fill"),
    *("maximum", "minimum", "mul", "neg", "reciprocal", "rsub", "sub", "where"),
}
SUMS = {
    *("addmm", "baddbmm", "bmm", "convolution", "cumsum", "dot", "linalg_vector_norm", "mean"),
    *("mm", "mv", "norm", "prod", "std", "sum", "var"),
}


class OtherProcessor(TorchDispatchMode):
    """A processor whose libraries round in another way whatever is neither in ``EXACT`` nor a copy.

    Float64 results are off by a unit in the last place. Float32 results are off by thousands, so
    that every image of 8 bits shows it.
    """

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__.rstrip("_")
        inexact = (torch.Tag.pointwise in operation.tags and name not in EXACT) or name in SUMS
        if inexact and isinstance(result, torch.Tensor) and result.is_floating_point():
            result.mul_(1 + (2**-52 if result.dtype is torch.float64 else 2**-10))
        return result


def test_the_other_processor_is_another_one():
    x = torch.rand(100) + 0.5
    moved = (torch.sqrt, torch.exp, torch.sin, torch.sum, torch.rsqrt, lambda x: x @ x)
    same = (torch.reciprocal, torch.floor, lambda x: 3 - x / x.flip(0) * 2, lambda x: x.clamp(0, 1))
    for function in (*moved, *same):
        here = function(x)
        with OtherProcessor():
            there = function(x)
        assert torch.equal(here, there) == (function in same)


def other_sum(values, start=0, sum=sum):
    """The `sum` of another Python: that of 3.12 began to round floats in another way. Far off."""
    total = sum(values, start)
    return total * 1.25 if isinstance(total, float) else total


@pytest.mark.parametrize("name", SETS)
def test_other_libraries_make_the_same(name, afresh, monkeypatch):
    """Those of another processor, and those of another Python."""
    here = hashes(SETS[name]())
    # Threads of their own would leave the mode.
    monkeypatch.setattr(faces_make, "side_by_side", lambda work, jobs: (work(*job) for job in jobs))
    monkeypatch.setattr(builtins, "sum", other_sum)
    with OtherProcessor():
        there = afresh(name)
    assert hashes(there) == here


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What a process with other instructions and more threads renders, from ``__main__`` below."""
    environment = {
        **os.environ,
        "ATEN_CPU_CAPABILITY": "default",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "TSSBN_CACHE": str(tmp_path_factory.mktemp("elsewhere")),
    }
    command = [sys.executable, __file__, "3"]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", SETS)
def test_other_instructions_and_threads_make_the_same(name, elsewhere):
    assert elsewhere[name] == hashes(SETS[name]())


@pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX"),
    reason="the processor has one set",
)
def test_the_instructions_were_other_ones(elsewhere):
    assert elsewhere["instructions"] != torch.backends.cpu.get_cpu_capability()


# ------------------------------------------------------------------------------------- the defaults


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "defaults",
    [
        partial(default_dtype, torch.float64),
        partial(default_dtype, torch.float16),
        partial(torch.device, "meta"),
    ],
)
def test_the_defaults_change_nothing(name, defaults, afresh):
    """Neither what is made, nor what is read from the cache."""
    here = hashes(SETS[name]())
    with defaults():
        made, read = afresh(name), SETS[name]()
    assert hashes(made) == hashes(read) == here


def test_the_defaults_come_back():
    with default_dtype(torch.float64), pytest.raises(KeyError), float32_on_cpu():
        assert torch.ones(1).dtype is torch.float32
        raise KeyError
    with default_dtype(torch.float64), torch.device("meta"):
        with float32_on_cpu():
            assert (torch.ones(1).dtype, torch.ones(1).device.type) == (torch.float32, "cpu")
        assert (torch.ones(1).dtype, torch.ones(1).device.type) == (torch.float64, "meta")


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    faces_make.CHUNK = scenes_make.CHUNK = 32 * 48  # pieces enough for several threads
    made = {name: hashes(make()) for name, make in SETS.items()}
    print(json.dumps(made | {"instructions": torch.backends.cpu.get_cpu_capability()}))

"""In a notebook without ipywidgets nothing of tqdm is said."""

import subprocess
import sys

import pytest

pytest.importorskip("tqdm")

NOTEBOOK = """
import sys, types, warnings

shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
sys.modules["ipykernel.zmqshell"] = types.ModuleType("zmqshell")  # how newer ones know a notebook
sys.modules["ipywidgets"] = None
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", NOTEBOOK + code], capture_output=True, text=True
    )


def test_tqdm_alone_says_something():
    """That the test below could see."""
    assert "IProgress not found" in run("import tqdm.auto").stderr


def test_every_room_that_loads_tqdm_loads_it_quietly():
    rooms = ("training", "metrics", "networks", "timing")
    code = f"""
for room in {rooms}:
    for name in [name for name in sys.modules if name.startswith(("tqdm", "tssbn.bars"))]:
        del sys.modules[name]
    __import__(f"tssbn.{{room}}")
    assert "tqdm.auto" in sys.modules, room
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")

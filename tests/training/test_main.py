"""``python -m tssbn`` itself: what it prints, where it prints it, and what it need not import."""

import io
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("tqdm")

from balancings import TORCHJD

from tssbn import __version__, arguments
from tssbn.__main__ import main
from tssbn.methods import METHODS
from tssbn.training import progress
from tssbn.training.balancing import BALANCINGS

HEAVY = ("torchvision", "timm", "torchmetrics", "lightning_fabric", "torchjd")
TRAIN = ["train", "rooms", "--method", "hps", "--set", "n=8", "filters=2", "height=32", "width=32"]
pytestmark = pytest.mark.usefixtures("here")


def shell(*command, **environment):
    """A command in a process of its own, both streams a pipe."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


def test_without_a_command_it_names_all(capsys):
    assert main([]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    named = {line[0] for line in lines if line}
    assert {"train", "queue", "methods", "benchmarks", "balancings", "table", "data"} < named


def test_the_version(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0 and capsys.readouterr().out == f"tssbn {__version__}\n"


def test_what_trains_nothing_imports_nothing_heavy():
    program = (
        "import sys\nfrom tssbn.__main__ import main\n"
        "for command in [['--help'], ['train', '--help'], ['methods']]:\n"
        "    try:\n        main(command)\n    except SystemExit:\n        pass\n"
        f"    found = [name for name in {HEAVY} if name in sys.modules]\n"
        "    print('HEAVY', command, found)\n"
    )
    done = shell("-c", program)
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith("HEAVY")]
    assert done.returncode == 0 and len(lines) == 3, done.stderr
    assert all(line.endswith("[]") for line in lines), lines


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_will_do(encoding, monkeypatch):
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    assert main(["methods"]) == main(["table", "nyuv2"]) == 0
    text, said = (stream.buffer.getvalue().decode(encoding) for stream in (out, error))
    sigma = "σ" if encoding == "utf-8" else "?"
    times = "?" if encoding == "ascii" else "×"
    assert f"tssbn (TS{sigma}BN)" in text and f"\nTSBN {times}100" in text
    assert said == f"there is no saved run of nyuv2 in {Path('data/results').resolve()}\n"


def test_methods_are_in_the_order_of_tables(capsys):
    assert main(["methods"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [head.split(" ")[0] for head in heads] == list(METHODS)
    assert heads[0] == "stl (STL)" and "tssbn (TSσBN)" in heads


def test_a_method_that_lacks_a_package_hides_no_other(monkeypatch, capsys, here):
    (here / "lacking.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setitem(METHODS, "mtan", "lacking:METHOD")
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert "\nmtan\n  method='mtan' needs nowhere_to_be_found, which is not installed" in out
    assert "\ntssbn (" in out
    assert main([*TRAIN[:2], "--method", "mtan"]) == 1
    error = capsys.readouterr().err
    assert "needs nowhere_to_be_found" in error and "tssbn[train]" in error


def test_a_recipe_that_a_method_changes_is_shown(monkeypatch, capsys, here):
    from tssbn.methods import hard_sharing

    changed = replace(hard_sharing.METHOD, settings={"batch": 4})
    monkeypatch.setattr(hard_sharing, "METHOD", changed)
    assert main(["methods"]) == 0
    assert "\n  recipe: batch=4\n" in capsys.readouterr().out


def test_balancings_have_a_sentence_and_their_settings(capsys):
    assert main(["balancings"]) == 0
    out = capsys.readouterr().out
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert heads == list(BALANCINGS)
    assert "settings: balance.alpha=10.0 balance.layer=" in out
    assert out.count("\n  source: ") == out.count("\n  costs: ") >= len(heads) - len(TORCHJD)
    about = "each task's loss is divided by a trained variance."
    assert f"uw\n  Uncertainty weighting: {about}\n" in out


def test_what_is_no_terminal_has_a_line_for_each_epoch(capfd):
    """In a process of its own, and through a pipe: see `test_train_command.py`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([*TRAIN, "epochs=2", "batch=2"]) == 0
    out, error = capfd.readouterr()
    lines = out.splitlines()
    assert sum("| loss" in line for line in lines) == 2 and len(lines) == 4 + 3 + 2
    assert "\r" not in out and not error


def test_a_terminal_has_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = []
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress.ProgressBar, "end", lambda self, record: shown.append(self.bar))
    assert main([*TRAIN, "epochs=1"]) == 0 and len(shown) == 1
    assert main([*TRAIN, "epochs=1", "lr=0.1", "--quiet"]) == 0 and len(shown) == 1


def test_one_is_no_plural(capsys):
    assert main([*TRAIN, "epochs=1", "batch=8"]) == 0
    assert ": 1 epoch of 1 step\n" in capsys.readouterr().out
    assert main([*TRAIN, "epochs=1", "batch=4", "--minutes", "0"]) == 0
    assert "stopped in time after 0 of 1 epoch; " in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--results", "--runs"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(option, capsys, monkeypatch):
    Path("file").touch()
    Path("queue.toml").write_text(
        'runs = [{ benchmark = "rooms", method = "hps", minutes = 1, settings = { n = 8 } }]'
    )
    commands = [*TRAIN, "epochs=1"], ["queue", "queue.toml", "--minutes", "5"]
    for command in commands:
        assert main([*command, option, "file/deep"]) == 1
        error = capsys.readouterr().err
        assert f"error: {option}='file/deep': file is a file, not a folder\n" == error
    Path("closed").mkdir()
    can = os.access
    monkeypatch.setattr(
        arguments.os, "access", lambda path, mode: "closed" not in str(path) and can(path, mode)
    )
    for command in commands:
        assert main([*command, option, "closed/deep/er"]) == 1
        said = capsys.readouterr()
        assert f"error: {option}='closed/deep/er': nothing can be written in " in said.err
        assert not said.out and not list(Path("closed").iterdir())


def test_what_the_balancing_refuses_is_said_before_data_are_decoded(monkeypatch, capsys):
    from tssbn.training import trainer

    monkeypatch.setattr(trainer, "preload_all", lambda *_: pytest.fail("data were decoded"))
    assert main([*TRAIN, "balance=cosreg", "--compile"]) == 1
    assert "error: " in capsys.readouterr().err


def test_only_a_real_set_is_looked_for(capsys):
    assert main(["train", "celeba_small", "--method", "hps"]) == 1
    assert "`python -m tssbn data where celeba` prints where" in capsys.readouterr().err
    assert main([*TRAIN, "--data", "x"]) == 1
    assert "data where" not in capsys.readouterr().err


def test_a_table_takes_methods_whose_protocol_changes_the_recipe(capsys):
    for method in "stl", "hps":
        assert main([*TRAIN[:3], method, *TRAIN[4:], "epochs=1"]) == 0
    path = next(Path("data/results/rooms").glob("stl*.json"))
    record = json.loads(path.read_text())
    other = record | {"recipe": record["recipe"] | {"batch": 4}}
    command = ["table", "rooms", "--set", *TRAIN[5:], "epochs=1"]
    path.write_text(json.dumps(other))
    assert main(command) == 1
    assert "'batch' of recipe is" in capsys.readouterr().err
    path.write_text(json.dumps(other | {"protocol": {"batch": 4}}))
    assert main(command) == 0


def test_a_trunk_that_a_method_cannot_take_is_an_error_in_a_line(capsys, here):
    settings = ["n=8", "height=16", "width=16", "filters=2", "epochs=1"]
    assert main(["train", "rooms", "--method", "mtan", "--quiet", "--set", *settings]) == 1
    assert "error: MTAN was designed for SegNet" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-m", "tssbn", "methods"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.wait() == 0 and not process.stderr.read()
    process.stderr.close()

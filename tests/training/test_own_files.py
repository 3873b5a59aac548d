"""The user's own benchmark, method and balancing, each a file, from the command line."""

import json
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from tssbn.__main__ import main
from tssbn.benchmarks import find_benchmark
from tssbn.methods import find_method
from tssbn.records import store
from tssbn.training.balancing import find_balancing
from tssbn.training.jobs import load_queue
from tssbn.training.run import Run

FILES = ("my_benchmark.py", "my_method.py", "my_balancing.py")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with the files in ``own``."""
    (tmp_path / "own").mkdir()
    for name in FILES:
        shutil.copy(Path(__file__).parent / name, tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # undoes what the files' folder adds
    return tmp_path


def train(method, *options):
    return main(["train", "own/my_benchmark.py", "--method", method, *options])


def test_train_and_table(capsys):
    assert train("own/my_method.py", "--set", "drop=0.25", "balance=own/my_balancing.py") == 0
    assert train("stl") == train("tssbn", "--set", "multiplier=10") == 0
    folder = Path("data/results/my_benchmark")
    names = {path.stem for path in folder.iterdir()}
    assert names == {
        "my_method-0-balance=my_balancing-drop=0.25",
        "stl-0",
        "tssbn-0-multiplier=10",
    }
    record = json.loads((folder / "my_method-0-balance=my_balancing-drop=0.25.json").read_text())
    assert record["settings"] == {"drop": 0.25, "balance": "my_balancing"}
    assert record["options"] == {"drop": 0.25} and record["balance"] == "my_balancing"
    assert record["recipe"]["batch"] == 8 and record["protocol"] == {"batch": 8}
    assert record["data"]["kind"] == "own" and record["title"] == "HPS, dropout"
    assert train("own/my_method.py") == 0
    capsys.readouterr()
    assert main(["table", "own/my_benchmark.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "colours" and lines[1].startswith("own data (48 train, 48 test)")
    assert [line.split("  ")[0] for line in lines[-2:]] == ["STL", "HPS, dropout"]
    assert main(["table", "own/my_benchmark.py", "--set", "multiplier=10"]) == 0
    titles = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert "TSσBN" in titles and "STL" in titles
    assert main(["table", "own/my_benchmark.py", "--set", "drop=0.25"]) == 1  # another balancing
    assert main(["table", "own/my_benchmark.py", "--set", "drop=0.25", "balance=my_balancing"]) == 0


def test_a_queue_whose_paths_are_relative_to_it(capsys):
    Path("own/queue.toml").write_text(
        '[[runs]]\nbenchmark = "my_benchmark.py"\nmethod = "my_method.py"\nminutes = 1\n'
        'settings.balance = "my_balancing.py"\nsettings.epochs = 1\n'
        '[[runs]]\nbenchmark = "my_benchmark.py"\nmethod = "hps"\nminutes = 1\n'
    )
    assert main(["queue", "own/queue.toml", "--minutes", "5"]) == 0
    assert [record["method"] for record in store.load_all("my_benchmark")] == ["hps", "my_method"]
    assert main(["queue", "own/queue.toml", "--minutes", "5", "--dry"]) == 0
    out = capsys.readouterr().out
    assert "done       my_benchmark/my_method-0-balance=my_balancing-epochs=1" in out


def test_the_folder_of_the_data_reaches_it(capsys):
    path = Path("own/my_benchmark.py")
    asked = "    from pathlib import Path\n    assert (Path(root) / 'here').exists()\n"
    path.write_text(path.read_text().replace("    images =", f"{asked}    images ="))
    Path("photos").mkdir()
    Path("photos/here").touch()
    assert train("hps", "--data", "photos") == 0
    Path("queue.toml").write_text(
        'runs = [{ benchmark = "own/my_benchmark.py", method = "stl", minutes = 1 }]'
    )
    command = ["queue", "queue.toml", "--minutes", "5", "--data", "own/my_benchmark.py=photos"]
    assert main(command) == 0
    (job,) = load_queue(Path("queue.toml"), {"own/my_benchmark.py": "photos"})
    assert job.root == "photos" and job.data
    assert len(store.load_all("my_benchmark")) == 2


def test_a_file_may_import_its_neighbour():
    Path("own/neighbour.py").write_text("from my_method import METHOD\n")
    assert find_method("own/neighbour.py").name == "neighbour"
    del sys.modules["my_method"]


def test_a_file_is_read_anew():
    path = Path("own/my_method.py")
    path.write_text(path.read_text().replace('"HPS, dropout"', '"Dropout"'))
    assert find_method(path).title == "Dropout"


@pytest.mark.parametrize(
    ("find", "text", "message"),
    [
        (find_method, "", "own/new.py must define 'METHOD'"),
        (find_method, "METHOD = 3", r"METHOD of own/new.py must be a tssbn.methods.Method, got 3"),
        (find_benchmark, "", "own/new.py must define 'benchmark'"),
        (find_balancing, "", "own/new.py must define 'balancing'"),
    ],
)
def test_a_file_without_what_is_wanted(find, text, message):
    Path("own/new.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        find("own/new.py")


def test_a_file_that_needs_what_is_not_there(capsys):
    Path("own/new.py").write_text("import nowhere_to_be_found")
    assert train("own/new.py") == 1
    assert "own/new.py needs nowhere_to_be_found, which is not" in capsys.readouterr().err
    assert train("own/gone.py") == 1
    assert "error: method='own/gone.py' is no file" in capsys.readouterr().err


def test_names_and_arguments_of_a_benchmark_are_checked():
    shutil.copy("own/my_benchmark.py", "own/other.py")
    with pytest.raises(ValueError, match=r"of own/other.py is named 'my_benchmark', not 'other'"):
        Run("own/other.py", "hps")
    Path("own/old.py").write_text("def benchmark(root, side=3): ...")
    with pytest.raises(ValueError, match=r"own/old.py must have defaults for root; the folder"):
        Run("own/old.py", "hps")

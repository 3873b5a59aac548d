"""``python -m tssbn train | methods | benchmarks | table``, from the outside."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("tqdm")

from tssbn import records
from tssbn.__main__ import main
from tssbn.arguments import setting
from tssbn.benchmarks import BENCHMARKS, find_benchmark
from tssbn.methods import METHODS
from tssbn.records.command import _meant_for
from tssbn.training import progress

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("n=16", "filters=2", "height=32", "width=32")
NAME = "rooms/tssbn-0-epochs=2-filters=2-height=32-n=16-width=32"
pytestmark = pytest.mark.usefixtures("here")


def train(*options, epochs=2):
    command = ["train", "rooms", "--method", "tssbn", "--epochs", str(epochs), "--set", *SMALL]
    return main([*command, "--quiet", *options])


def record(name=NAME):
    return json.loads(Path(f"data/results/{name}.json").read_text())


def stop_after(epoch, monkeypatch):
    """Ctrl-C when this epoch is reported."""
    original = progress.LineLog.epoch

    def report(self, entry):
        original(self, entry)
        if entry["epoch"] == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.LineLog, "epoch", report)


def test_a_run_leaves_a_record(capsys):
    assert train("--note", "first") == 0
    out = capsys.readouterr().out
    assert "epoch 2/2" in out and out.endswith(f"data/results/{NAME}.json\n")
    made = record()
    assert made["finished"] and made["note"] == "first" and len(made["epochs"]) == 2
    shown = records.summary(made)["test"]
    assert f"segmentation  miou      {100 * shown['segmentation']:.4g}%" in out
    assert [float(f"{v:.6g}") for v in shown.values()] == list(shown.values())
    assert [r["method"] for r in records.load_all("rooms")] == ["tssbn"]


def test_a_finished_run_is_left_alone(capsys):
    assert train("--note", "first") == 0
    assert train("--note", "second") == 0
    assert f"{NAME} is finished" in capsys.readouterr().out
    assert record()["note"] == "first"
    assert train("--note", "second", "--restart") == 0
    assert record()["note"] == "second"


def test_an_interrupted_run_goes_on(monkeypatch, capsys):
    assert train() == 0
    whole = record()
    shutil.rmtree("runs")
    shutil.rmtree("data/results/rooms")
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        assert train() == 130
    assert "stopped; --resume continues" in capsys.readouterr().err
    assert train() == 1
    error = capsys.readouterr().err
    assert f"{NAME} was begun already: --resume" in error and "--restart" in error
    assert not Path(f"data/results/{NAME}.json").exists()
    assert train("--resume") == 0
    assert "from epoch 2" in capsys.readouterr().out
    assert (whole["starts"], record()["starts"]) == (1, 2)
    for one, other in zip(whole["epochs"], record()["epochs"], strict=True):
        assert (one["losses"], one["test"]) == (other["losses"], other["test"])


def test_restart_begins_anew(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        assert train() == 130
    capsys.readouterr()
    kept = next(Path("runs").rglob("last.pt")).parent / "before.pt"
    kept.write_bytes(b"of the run before")
    assert train("--restart", epochs=1) == 0  # of a name of its own
    assert kept.exists()
    assert train("--restart") == 0
    assert not kept.exists() or kept.read_bytes() != b"of the run before"
    assert "from epoch" not in capsys.readouterr().out
    assert [entry["epoch"] for entry in record()["epochs"]] == [1, 2]


def test_a_restart_that_is_stopped_leaves_no_old_record(monkeypatch, capsys):
    assert train() == 0
    shutil.rmtree("runs")  # as where the record came from another machine
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        assert train("--restart") == 130
    assert train("--resume") == 0
    assert "from epoch 2" in capsys.readouterr().out and record()["finished"]


def test_a_restart_without_its_data_deletes_nothing(capsys):
    path = records.write("nyuv2/hps-0", {}, Path("data/results"))
    assert main(["train", "nyuv2", "--method", "hps", "--data", "x", "--restart"]) == 1
    assert path.exists()


def test_a_damaged_record_is_not_taken_for_a_finished_run(capsys):
    assert train() == 0
    path = Path(f"data/results/{NAME}.json")
    path.write_text(path.read_text()[:-9])
    assert train() == 1
    assert f"{path} is not a complete saved run" in (error := capsys.readouterr().err)
    assert "delete it, and the run continues from its checkpoint" in error
    path.unlink()
    assert train("--resume") == 0
    assert record()["finished"]


def test_a_record_that_cannot_be_written_loses_nothing(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", full)
        assert train() == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: data/results/{NAME}.json could not be written: [Errno 28] No")
    assert "; it needs about 0.1 MB, and " in error
    assert train("--resume") == 0
    assert record()["finished"] and "| loss" not in capsys.readouterr().out


@pytest.mark.parametrize("minutes", ["nan", "-1", "some"])
def test_a_time_that_is_none(minutes, capsys):
    for command in (["train", "rooms", "--method", "hps"], ["queue"]):
        with pytest.raises(SystemExit):
            main([*command, f"--minutes={minutes}"])
        assert f"'{minutes}' is not a number of minutes, 0 or more" in capsys.readouterr().err


def test_the_time_is_kept(capsys):
    assert train("--minutes", "0") == 0
    assert "stopped in time after 0 of 2 epochs" in capsys.readouterr().out
    assert not list(Path("data/results").rglob("*.json"))


def test_a_stop_before_the_first_step_is_told_and_leaves_nothing(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.LineLog, "begin", stop)
    assert train() == 130
    assert capsys.readouterr().err == "stopped; nothing was saved\n"
    assert not list(Path("runs").rglob("lock"))


def test_a_run_that_is_refused_leaves_no_folder(capsys):
    assert train("--set", "weight.colour=2.0") == 1
    assert "weights are given of ['colour']" in capsys.readouterr().err
    assert not list(Path("runs/rooms").iterdir())


def test_settings_are_python_values():
    read = [setting(text) for text in ("a=1e-3", "b=None", "c=True", "d=sgd", "e=8", "f=x=y")]
    values = [("a", 1e-3), ("b", None), ("c", True), ("d", "sgd"), ("e", 8), ("f", "x=y")]
    assert read == values
    assert type(dict(read)["e"]) is int


def test_other_folders(tmp_path, capsys):
    assert train("--runs", "a", "--results", "b/c", "--device", "cpu") == 0
    assert Path(f"a/{NAME}/last.pt").exists() and Path(f"b/c/{NAME}.json").exists()
    assert not list(Path("data/results").iterdir()) and not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--method", "hps"], "benchmark='nowhere' is unknown"),
        (["rooms", "--method", "best"], "method='best' is unknown, use one of stl, hps"),
        (["rooms", "--method", "hps", "--set", "n=many"], "n='many' must be of type int"),
        (["rooms", "--method", "hps", "--set", "epoch=1"], "setting 'epoch' is unknown"),
        (
            ["rooms", "--method", "hps", "--data", "x"],
            "root='x' must not be given: the data of rooms are synthetic",
        ),
        (["nyuv2", "--method", "hps"], "nyuv2 needs the folder of its data"),
        (
            ["nyuv2", "--method", "hps", "--data", "x"],
            "--data x is not a folder; `python -m tssbn data",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments, message, capsys):
    assert main(["train", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_a_setting_without_a_value(capsys):
    with pytest.raises(SystemExit):
        main(["train", "rooms", "--method", "hps", "--set", "n"])
    assert "'n' is not of the form KEY=VALUE" in capsys.readouterr().err


def test_a_folder_of_the_same_name_is_not_the_data_of_a_made_benchmark(capsys):
    Path("data/rooms").mkdir()
    assert train("--minutes", "0") == 0


def test_the_small_form_of_a_benchmark_reads_the_same_data(here):
    large, small = (find_benchmark(name)() for name in ("celeba", "celeba_small"))
    with pytest.raises(FileNotFoundError, match="data where celeba` prints where to get it"):
        small.folder()
    (here / "data/celeba").mkdir()
    assert small.folder() == large.folder() == Path("data/celeba")
    assert small.name == "celeba_small" and not small.paper and large.paper
    assert small.network.example.shape == (2, 3, 32, 32)


def test_lists(capsys):
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} (" in out for name in METHODS)
    assert "settings: norm=sigmoid multiplier=100.0" in out
    about = [out.split(f"\n{name} (")[1].splitlines()[1] for name in ("tssbn", "tsbn", "tsbn-x100")]
    assert len(set(about)) == 3 and "each task multiplies the channels" in about[0]
    assert main(["benchmarks"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}\n" in out for name in BENCHMARKS)
    assert "settings: n=800 height=48" in out and "recipe: epochs=200 batch=2" in out
    assert max(map(len, out.splitlines())) <= 100
    assert main(["benchmarks", "celeba_small"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("celeba_small\n") and "\nrooms\n" not in out
    assert "  other defaults for tssbn, tsbn, shared-gates, deep-gates: multiplier=10\n" in out
    assert main(["methods", "tsbm"]) == 1
    assert "'tsbm' is unknown (did you mean 'tsbn'?)" in capsys.readouterr().err


def test_balanced_runs_are_shown_beside_single_task_networks_of_the_plain_sum():
    settings = {"balance": "pcgrad", "balance.seed": 1, "epochs": 2, "multiplier": 10}
    options = {"stl": set(), "hps": set(), "tssbn": {"multiplier"}}
    balanced = {key: value for key, value in settings.items() if key != "multiplier"}
    assert _meant_for("stl", settings, options, "stl") == [balanced, {"epochs": 2}]
    assert _meant_for("hps", settings, options, "stl") == [balanced]
    assert _meant_for("tssbn", settings, options, "stl") == [settings]


def test_tables(capsys):
    assert train("--seed", "3") == 0
    capsys.readouterr()
    assert main(["table", "rooms"]) == 0
    out = capsys.readouterr()
    assert out.out == "rooms\nno saved runs with these settings\n"
    command = "table rooms --set epochs=2 filters=2 height=32 n=16 width=32"
    assert out.err.splitlines()[1:] == [f"    1  python -m tssbn {command}"]
    assert main(command.split()) == 0
    out = capsys.readouterr()
    assert "no Δm, as there is no saved run of STL" in " ".join(out.out.split()) and not out.err
    assert main(["table", "rooms", "--set", "epochs=2", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "synthetic data (16 train, 4 test); " in out and "the last of 2 epochs" in " ".join(
        out.split()
    )
    assert main(["table", "rooms", "--set", "typo=1"]) == 1
    error = capsys.readouterr().err
    assert "no saved run with --set typo=1; " in error
    assert "differ from the recipes in epochs, filters, height, n, width" in error
    assert main(["table", "rooms", "--set", "epoch=2"]) == 1
    assert "no saved run with --set epoch=2 (did you mean 'epochs'?); " in capsys.readouterr().err
    assert main(["table", "streets", "--set", "typo=1"]) == 1
    where = Path("data/results").resolve()
    assert f"there is no saved run of streets in {where}\n" in capsys.readouterr().err
    assert main(["table", "streets", "--results", "elsewhere"]) == 1
    assert "--results elsewhere is not a folder\n" in capsys.readouterr().err
    assert main(["table", "rooms", "--set", "epochs=3", *SMALL]) == 1
    assert "; the saved runs have epochs=2, filters=2, height=32, " in capsys.readouterr().err
    assert train("--seed", "3", "--set", "multiplier=10") == 0
    assert train("--seed", "4") == 0
    assert main(["table", "rooms"]) == 0  # those with most runs come first
    most, fewer = capsys.readouterr().err.split("--set ")[1:]
    assert "multiplier=10" in fewer and "multiplier" not in most
    assert main(["table", "rooms", "--set", "multiplier=10", "epochs=2", *SMALL]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "multiplier=10" in out and "TSσBN 1" in out
    assert main(["table", "1"]) == 0
    out = capsys.readouterr().out
    assert all(title in out for title in ("NYUv2", "Cityscapes", "CelebA", "+6.93", "+1.81"))
    assert "quarter" not in out  # the short form, without records
    path = next(Path("data/results/rooms").iterdir())
    short = json.loads(path.read_text()) | {"benchmark": "nyuv2_short", "settings": {}}
    records.write("nyuv2_short/tssbn-3", short)
    assert main(["table", "1"]) == 0
    assert "NYUv2, a quarter of the epochs" in capsys.readouterr().out


def test_a_missing_package_is_named_and_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lightning_fabric.utilities.rank_zero", None)
    assert train() == 1
    assert "lightning_fabric" in (error := capsys.readouterr().err) and "tssbn[train]" in error


def test_a_table_that_is_not_here_names_those_that_are(capsys):
    assert main(["table", "5"]) == 1
    assert (
        capsys.readouterr().err == "error: there is no table 5; the tables are 1, 2, 3, 4 and G\n"
    )


def test_the_option_devices_trains_with_as_many_processes_once(tmp_path):
    """The command is that of the page, on fewer images, and warns of nothing."""
    command = records.load("ddp/run")["commands"]["devices"]["command"]
    assert command.startswith("python -m tssbn train ") and " --devices 2 " in command
    short = "--set", "n=16", "batch=4", "epochs=1"
    done = subprocess.run(
        [sys.executable, "-W", "error", *shlex.split(command)[1:], *short],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
            ),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
    )
    printed, said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0 and "Warning" not in said, said
    (path,) = tmp_path.glob("data/results/rooms/*.json")
    record = json.loads(path.read_text())
    assert record["devices"] == 2 and record["finished"]
    assert printed.count("epoch 1/1 ") == 1 and printed.strip().endswith(path.name)
    assert "\r" not in printed  # which is a pipe

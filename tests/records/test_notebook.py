"""Notebooks without saved runs: cells that need them say so, all others run as ever."""

import pytest

pytest.importorskip("IPython")

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from tssbn.records import notebook

SENTENCE = "Skipped: 'faces/stl-0' is not among the saved runs of "
FOLLOWS = (
    "Skipped: this cell builds on saved runs, which are not on this machine; "
    "tssbn.records.fetch() downloads the published ones."
)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TSSBN_CACHE", str(tmp_path / "cache"))
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell


@pytest.fixture
def run(shell):
    """Runs a cell; what it prints and shows, whether it failed."""

    def cell(source):
        with capture_output() as shown:
            result = shell.run_cell(source, store_history=True)
        return shown.stdout, result.success

    notebook.skip_cells()
    cell("from tssbn import records")
    return cell


ASK = "run = records.load('faces/stl-0')"


def test_a_cell_without_its_runs_and_those_behind_it_are_skipped(run):
    text, fine = run(f"{ASK}\nprint('not reached')")
    assert fine and text.startswith(SENTENCE) and len(text.splitlines()) == 1
    assert run("mean = sum(run['scores'])") == (f"{FOLLOWS}\n", True)
    assert run("print(mean)") == (f"{FOLLOWS}\n", True)
    assert run("print('free')") == ("free\n", True)


def test_names_of_earlier_cells_are_not_mistaken_for_those_of_a_skipped_one(run):
    run("rows = [1, 2]\nfree = 3")
    run(f"rows = []\n{ASK}\nrows.append(run)")
    assert run("print(len(rows))") == (f"{FOLLOWS}\n", True)
    assert run("print(free)") == ("3\n", True)
    run("rows = [4]")  # given anew
    assert run("print(rows)") == ("[4]\n", True)


def test_imports_of_a_skipped_cell_stay(run):
    run(f"import math\n{ASK}")
    assert run("print(math.tau > 6)") == ("True\n", True)


def test_functions_that_lack_a_name_are_skipped_where_they_are_called(run):
    run(ASK)
    assert run("def show():\n    print(run)") == ("", True)
    assert run("show()") == (f"{FOLLOWS}\n", True)


def test_other_errors_are_errors(run):
    run(ASK)
    for source in ("1 / 0", "print(never_heard_of)", "open('no such file')"):
        assert not run(source)[1]
    assert run("print('goes on')") == ("goes on\n", True)


def test_the_last_value_is_shown_as_ever(run):
    assert run("x = 1\nx + 1")[0].endswith("2\n")
    assert run("x + 1;")[0] == ""
    assert run("x = 2") == ("", True) and run("") == ("", True)


def test_half_drawn_figures_are_dropped(run):
    pytest.importorskip("matplotlib")
    run("import matplotlib; matplotlib.use('Agg')\nimport matplotlib.pyplot as plt")
    run(f"plt.figure()\n{ASK}")
    assert run("print(plt.get_fignums())") == ("[]\n", True)


def test_where_there_are_saved_runs_nothing_changes(shell, tmp_path):
    (tmp_path / "data/results").mkdir(parents=True)
    notebook.skip_cells()
    assert shell.ast_transformers == []


def test_no_notebook(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    notebook.skip_cells()

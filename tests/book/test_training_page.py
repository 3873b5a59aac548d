"""The page "Training the benchmarks": its files train, and its blocks run."""

import shlex

import pages
import pytest

pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

PAGE = "book/training.md"
FILES = pages.files(PAGE)
SMALL = ["n=16", "filters=4", "epochs=1"]


@pytest.mark.parametrize("name", FILES)
def test_the_command_with_a_file_of_the_page_trains(name, tmp_path, monkeypatch):
    from tssbn.__main__ import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    (command,) = (line for line in pages.commands(PAGE) if name in line)
    assert main([*shlex.split(command), "--set", *SMALL, "--quiet"]) == 0
    assert len(list((tmp_path / "data/results/rooms").glob("*.json"))) == 1


def test_the_blocks_run(monkeypatch, capsys):
    monkeypatch.chdir(pages.ROOT)
    code = [code for kind, code in pages.blocks(PAGE) if kind == "python"]
    rest = [block for block in code if block not in FILES.values()]
    assert rest
    for block in rest:
        exec(compile(block, PAGE, "exec"), {})


def test_every_command_is_known():
    from tssbn.__main__ import main

    names = {shlex.split(line)[0] for line in pages.commands(PAGE)}
    assert {"train", "table", "queue", "methods", "benchmarks"} <= names
    for name in names:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0

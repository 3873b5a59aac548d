"""The examples of CONTRIBUTING.md, each tried as its recipe says."""

import re
import shlex

import pages
import pytest

pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

TEXT = (pages.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = pages.files("CONTRIBUTING.md")
TRIES = re.findall(r"`python -m tssbn ((?:train|table) [^`]*\.py[^`]*)`", TEXT)
SMALL = ["n=16", "filters=4", "epochs=1"]  # of the synthetic rooms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_short(name):
    assert len(FILES[name].splitlines()) <= 40


def test_every_try_is_of_an_example(folder, capsys):
    from tssbn.__main__ import main

    assert len(TRIES) == 4 and all(any(name in line for line in TRIES) for name in FILES)
    for line in TRIES:
        arguments = shlex.split(line)
        if "rooms" in arguments:
            arguments += ["--set", *SMALL]
        assert main(arguments) == 0, line
    assert "Colours" in capsys.readouterr().out
    saved = {path.parent.name for path in (folder / "data/results").rglob("*.json")}
    assert saved == {"rooms", "colours"}


def test_the_map_names_every_folder():
    folders = [pages.ROOT / "book/studies", pages.ROOT / "tssbn/training/balancing"]
    folders += (pages.ROOT / "tssbn").iterdir()
    names = [path.relative_to(pages.ROOT).as_posix() for path in folders if list(path.glob("*.py"))]
    assert len(names) > 10
    assert not [name for name in names if f"| `{name}/" not in TEXT]

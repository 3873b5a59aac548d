"""The scripts explain themselves: `--help` prints the whole text at their top, and runs nothing."""

import runpy
import sys

import pages
import pytest

for package in ("torchvision", "timm", "lightning_fabric", "sklearn", "torch_pruning", "jupytext"):
    pytest.importorskip(package)

SCRIPTS = [
    path
    for folder in ("book/studies", "tools")
    for path in sorted((pages.ROOT / folder).glob("*.py"))
    if "__main__" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_prints_the_text_at_the_top(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code in (None, 0)
    text = path.read_text(encoding="utf-8").split('"""')[1]
    assert " ".join(text.split()) in " ".join(capsys.readouterr().out.split())

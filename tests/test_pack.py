"""Files for a machine without network, packed, carried and unpacked."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "experiments/pack.py"


def pack(*arguments, cwd, script=SCRIPT):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-W", "error", script, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "here/set").mkdir(parents=True)
    (tmp_path / "here/set/a.bin").write_bytes(os.urandom(300_000))
    (tmp_path / "here/set/b.txt").write_text("b")
    return tmp_path


def test_there_and_back(tree):
    here, there = tree / "here", tree / "there"
    done = pack("make", "pack", "--add", "set", "set/b.txt=other/c.txt", "--size", 0.1, cwd=here)
    assert done.returncode == 0, done.stderr
    parts = sorted((here / "pack").glob("part-*"))
    assert len(parts) == 4 and all(part.stat().st_size <= 100_000 for part in parts)

    (here / "pack").rename(tree / "carried")
    code = "from pathlib import Path; Path('out').mkdir(); Path('out/x').write_text('done')"
    command = (sys.executable, "-c", code)
    done = pack("open", "carried", there, *command, cwd=tree, script=tree / "carried/pack.py")
    assert done.returncode == 0, done.stderr
    assert (there / "set/a.bin").read_bytes() == (here / "set/a.bin").read_bytes()
    assert (there / "other/c.txt").read_text() == "b"

    assert pack("make", "back", "--add", "out", cwd=there).returncode == 0
    assert pack("open", there / "back", ".", cwd=here).returncode == 0
    assert (here / "out/x").read_text() == "done"


def test_sources_come_along_and_the_commit_is_known(tree):
    if subprocess.run(["git", "rev-parse"], cwd=SCRIPT.parent, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    assert pack("make", "pack", "--sources", cwd=tree).returncode == 0
    commit = json.loads((tree / "pack/parts.json").read_text())["commit"]
    code = "import os, tssbn; print(tssbn.__file__, os.environ['TSSBN_COMMIT'])"
    done = pack("open", "pack", "there", sys.executable, "-c", code, cwd=tree)
    assert done.stdout.split() == [str((tree / "there/tssbn/__init__.py").resolve()), commit]
    assert (tree / "there/experiments/queue.toml").exists()
    assert not list((tree / "there").rglob("__pycache__/*.pyc.*"))


def test_wheels_are_installed_without_network(tree):
    pytest.importorskip("pip")
    (tree / "wheels").mkdir()
    with zipfile.ZipFile(tree / "wheels/trifle-1.0-py3-none-any.whl", "w") as wheel:
        info = "trifle-1.0.dist-info"
        wheel.writestr("trifle.py", "x = 5\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: trifle\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"trifle.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
    assert pack("make", "pack", "--wheels", "wheels", cwd=tree).returncode == 0
    code = "import trifle; raise SystemExit(trifle.x)"
    assert pack("open", "pack", "there", sys.executable, "-c", code, cwd=tree).returncode == 5


def test_what_is_wrong_is_named(tree):
    here = tree / "here"
    assert "no file or folder nothing" in pack("make", "pack", "--add", "nothing", cwd=here).stderr
    assert "nothing to pack" in pack("make", "pack", cwd=here).stderr
    assert "set is not empty" in pack("make", "set", "--add", "set", cwd=here).stderr
    assert pack("make", "pack", "--add", "set", "--size", 0.1, cwd=here).returncode == 0
    second = here / "pack/part-001"
    content = second.read_bytes()
    second.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = pack("open", "pack", "there", cwd=here)
    assert done.returncode == 1 and "part-001 is damaged" in done.stderr
    second.unlink()
    assert "pack lacks part-001" in pack("open", "pack", "there", cwd=here).stderr
    assert not (here / "there").exists()

"""Files for a machine without network, packed, carried and unpacked."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools/pack.py"


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
    code = (
        "import os; from importlib.util import find_spec; "
        "print(find_spec('tssbn').origin, os.environ['TSSBN_COMMIT'])"
    )
    done = pack("open", "pack", "there", sys.executable, "-c", code, cwd=tree)
    assert done.stdout.split() == [str((tree / "there/tssbn/__init__.py").resolve()), commit]
    assert (tree / "there/data/queue.toml").exists()
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


def test_in_the_place_of_links_stands_what_they_point_to(tree):
    here = tree / "here"
    (here / "way").symlink_to(here / "set")
    os.link(here / "set/b.txt", here / "set/c.txt")
    assert pack("make", "pack", "--add", "way", cwd=here).returncode == 0
    assert pack("open", "pack", "there", cwd=here).returncode == 0
    assert [(here / f"there/way/{name}.txt").read_text() for name in "bc"] == ["b", "b"]
    assert not (here / "there/way").is_symlink()


def member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    return info, content


def written(folder, *members):
    """A pack as ``make`` would write it, of what ``make`` would not take."""
    folder.mkdir()
    with tarfile.open(folder / "part-000", "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256((folder / "part-000").read_bytes()).hexdigest()
    text = json.dumps({"commit": None, "parts": {"part-000": digest}})
    (folder / "parts.json").write_text(text)


@pytest.mark.parametrize(
    ("hostile", "said"),
    [
        (member("../x", b"new"), "'../x', which is no name of a file in it"),
        (member("a/../../x", b"new"), "'a/../../x', which is no name"),
        (member("/x", b"new"), "'/x', which is no name"),
        (member("", b"new"), "'', which is no name"),
        (member("link", kind=tarfile.SYMTYPE, link="../x"), "'link', which is no file and"),
        (member("link", kind=tarfile.LNKTYPE, link="a"), "'link', which is no file and"),
        (member("pipe", kind=tarfile.FIFOTYPE), "'pipe', which is no file and no folder"),
        (member("out/x", b"new"), "out is a link, and nothing is unpacked through it"),
        (member("own", b"new"), "own is a link, and nothing is unpacked through it"),
        (member("big", bytes(2000)), "'big' takes the pack beyond limit=1e-06 GB"),
    ],
)
def test_nothing_is_written_outside_of_the_destination(tmp_path, hostile, said):
    (tmp_path / "there").mkdir()
    (tmp_path / "x").write_text("old")
    (tmp_path / "there/out").symlink_to(tmp_path)
    (tmp_path / "there/own").symlink_to(tmp_path / "x")
    written(tmp_path / "pack", member("a", b"first"), hostile)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = pack("open", "--limit", "1e-6", "pack", "there", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert (tmp_path / "x").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_wheels_are_those_of_the_pack_and_stay_in_the_destination(tmp_path):
    (tmp_path / "there/wheels").mkdir(parents=True)
    (tmp_path / "there/wheels/of_before-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    written(tmp_path / "pack", member("a", b"new"))
    assert pack("open", "pack", "there", cwd=tmp_path).returncode == 0
    (tmp_path / "there/packages").symlink_to(tmp_path)
    written(tmp_path / "other", member("wheels/x-1.0-py3-none-any.whl", b"no wheel"))
    done = pack("open", "other", "there", cwd=tmp_path)
    assert done.returncode == 1 and "packages is a link" in done.stderr


def test_the_limit_is_one_of_all_files(tmp_path):
    written(tmp_path / "pack", member("a", bytes(600)), member("b", bytes(401)))
    done = pack("open", "--limit", "1e-6", "pack", "there", cwd=tmp_path)
    assert done.returncode == 1 and "'b' takes the pack beyond" in done.stderr
    assert pack("open", "--limit", "1.001e-6", "pack", "there", cwd=tmp_path).returncode == 0


def test_what_does_not_fit_together_is_not_packed(tree):
    here = tree / "here"
    for items, said in (
        (["set", "set/b.txt=set"], "the place of set=set is taken by another item"),
        (["set=../x"], "'set=../x' names a place outside of the pack"),
        (["."], "pack lies in ., which is packed"),
    ):
        done = pack("make", "pack", "--add", *items, cwd=here)
        assert done.returncode == 1 and said in done.stderr, items
        assert not (here / "pack").exists()


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

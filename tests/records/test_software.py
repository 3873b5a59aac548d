"""What a saved run says of the software that made it."""

import subprocess

from tssbn.records import environment, software


def git(folder, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_package(tmp_path, monkeypatch):
    package = tmp_path / "repository/tssbn"
    (package / "records").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(software, "__file__", str(package / "records/software.py"))
    monkeypatch.delenv("TSSBN_COMMIT", raising=False)
    nothing = {"commit": None, "dirty": False}
    assert environment().items() >= nothing.items()
    git(package.parent, "init", "-q")
    assert environment().items() >= nothing.items()  # git does not track the package
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    clean = environment()
    assert len(clean["commit"]) >= 7 and not clean["dirty"]
    (package.parent / "result.json").touch()  # beside the sources
    assert environment() == clean
    (package / "new.py").touch()
    assert environment() == clean | {"dirty": True}
    monkeypatch.setattr(software, "__file__", str(tmp_path / "site/tssbn/records/software.py"))
    assert environment().items() >= nothing.items()
    monkeypatch.setenv("TSSBN_COMMIT", "abc1234-dirty")
    assert environment().items() >= {"commit": "abc1234", "dirty": True}.items()

"""What surrounds the code agrees with it: versions, addresses, environments, README, wheel."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it along

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Pages that the strict build of the site does not check.
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES += ("data/README.md", "tools/README.md", "book/studies/README.md")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def run(*command, cwd=ROOT):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_version_everywhere():
    version = PROJECT["version"]
    assert re.search(r"^version: (.*)$", read("CITATION.cff"), re.M)[1] == version
    assert re.search(r"^## \[(.*?)\]", read("CHANGELOG.md"), re.M)[1] == version
    assert re.search(r'^__version__ = "(.*)"$', read("tssbn/__init__.py"), re.M)[1] == version


def test_conda_gets_what_pip_gets():
    yaml = pytest.importorskip("yaml")
    environment = yaml.safe_load(read("environment.yml"))
    python, pip, rest = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip"
    assert rest == {"pip": ["-e .[all]"]}


def test_all_means_all_extras():
    extras = PROJECT["optional-dependencies"]
    others = sorted(set(extras) - {"all", "treebank"})  # its package asks for what is not used
    (everything,) = extras["all"]
    assert sorted(re.fullmatch(r"tssbn\[(.*)\]", everything)[1].split(",")) == others


def test_the_core_needs_torch_alone():
    assert [re.match(r"[\w-]+", need)[0] for need in PROJECT["dependencies"]] == ["torch"]


def test_every_address_is_the_one_in_pyproject():
    run(sys.executable, "tools/address.py", "--check")


def test_the_package_is_installed_from_its_repository_as_long_as_no_index_has_it():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("book/*.md"), *ROOT.glob("book/*.py")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in pages}
    found = [
        (name, command)
        for name, text in texts.items()
        for command in re.findall(r"pip install(?: -q)? [\"']?tssbn[^`\n]*", text)
    ]
    assert len(found) > 20
    assert not [where for where in found if " @ git+" not in where[1]]


def test_moving_the_address_reaches_everything_and_can_be_undone(tmp_path):
    """On a copy: move to another address and back, and nothing but addresses changes."""
    for pattern in ("*.toml", "*.yml", "*.md", "*.cff", "tools/*.py", "book/*.*", "tssbn/**/*.py"):
        for path in ROOT.glob(pattern):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    home = PROJECT["urls"]["Repository"]

    run(sys.executable, "tools/address.py", "https://github.com/Some-Org/a.repo", cwd=tmp_path)
    moved = [path for path in before if path.read_bytes() != before[path]]
    assert {"pyproject.toml", "_config.yml", "README.md"} <= {path.name for path in moved}
    for path in before:
        assert home.removeprefix("https://") not in path.read_text(encoding="utf-8"), path

    run(sys.executable, "tools/address.py", home, cwd=tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_malformed_address_is_refused():
    done = subprocess.run(
        [sys.executable, "tools/address.py", "github.com/ORG"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "https://github.com/ORG/REPO" in done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_outside_the_site_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", read(page))
    folder = (ROOT / page).parent
    assert not [link for link in links if not (folder / link).exists()]


def test_the_code_of_the_readme_runs():
    pytest.importorskip("torchvision")
    blocks = re.findall(r"^```python\n(.*?)^```", read("README.md"), re.S | re.M)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_the_saved_runs(wheel):
    assert wheel.name == f"tssbn-{PROJECT['version']}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    info = f"tssbn-{PROJECT['version']}.dist-info"
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tssbn").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    runs = {name for name in names if name.startswith("tssbn/results/")}
    assert len(runs) == sum(path.is_file() for path in (ROOT / "data/results").rglob("*"))
    assert {name for name in names if not name.startswith(info)} - runs == source
    assert {"tssbn/__init__.py", "tssbn/py.typed"} <= source
    assert f"{info}/licenses/LICENSE" in names


def test_the_wheel_holds_the_people_of_the_census_with_their_licence(wheel):
    packed = zipfile.ZipFile(wheel)
    for name in ("census-income.test.npz", "columns.json", "README.md", "LICENSE"):
        path = f"tssbn/data/census/{name}"
        assert packed.read(path) == (ROOT / path).read_bytes()
    info = f"tssbn-{PROJECT['version']}.dist-info"
    licence = packed.read(f"{info}/licenses/tssbn/data/census/LICENSE").decode()
    assert licence.startswith("Attribution 4.0 International\n")
    assert "License-Expression: MIT AND CC-BY-4.0\n" in packed.read(f"{info}/METADATA").decode()


def test_the_wheel_imports_nothing_but_torch(wheel, tmp_path):
    """What `import tssbn` loads beyond `import torch` is itself and the standard library."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tssbn\n"
        f"assert tssbn.__file__.startswith({str(tmp_path)!r}), tssbn.__file__\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'torch'}))\n"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path).split() == ["tssbn"]

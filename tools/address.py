"""Move the public address of the project, or check that it is the same everywhere.

    python tools/address.py https://github.com/ORG/REPO    move everything to this address
    python tools/address.py --check                        list what disagrees with the address

The address stands in pyproject.toml, [project.urls] Repository.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]"  # GitHub's, and it never ends in a full stop of a sentence

# Whatever ORG and REPO they carry, these forms are always about ourselves.
OURS = (
    rf"git\+https://github\.com/(?P<org>{NAME})/(?P<repo>{NAME})",
    rf"colab\.research\.google\.com/github/(?P<org>{NAME})/(?P<repo>{NAME})",
    rf"https://(?P<org>{NAME})\.github\.io/(?P<repo>{NAME})",
)


def files() -> list[Path]:
    """Every file that may carry the address."""
    names = "pyproject.toml _config.yml README.md CITATION.cff CHANGELOG.md CONTRIBUTING.md"
    patterns = ["book/*.md", "book/*.py", "book/*.ipynb", "tssbn/**/*.py"]
    return [ROOT / name for name in names.split()] + [
        path for pattern in patterns for path in sorted(ROOT.glob(pattern))
    ]


def current() -> tuple[str, str]:
    """ORG and REPO as pyproject.toml has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf'^Repository = "https://github\.com/({NAME})/({NAME})"$', text, re.M)
    if not found:
        sys.exit('pyproject.toml lacks Repository = "https://github.com/ORG/REPO".')
    return found[1], found[2]


def rewrite(org: str, repo: str) -> list[Path]:
    """Put ORG/REPO in place of the old address everywhere; the files that changed."""
    old = "/".join(map(re.escape, current()))
    plain = rf"github\.com/(?P<org>{old.split('/')[0]})/(?P<repo>{old.split('/')[1]})(?![\w-])"
    changed = []
    for path in files():
        # Bytes in, bytes out: line ends and everything else stay as they are.
        before = path.read_bytes().decode("utf-8")
        after = before
        for pattern in (*OURS, plain):
            after = re.sub(pattern, lambda found: moved(found, org, repo), after)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed


def moved(found: re.Match, org: str, repo: str) -> str:
    """The matched address with ORG and REPO in place of its own."""
    text, start = found[0], found.start()
    (o1, o2), (r1, r2) = found.span("org"), found.span("repo")
    return text[: o1 - start] + org + text[o2 - start : r1 - start] + repo + text[r2 - start :]


def problems() -> list[str]:
    """Where the address is missing or another one stands."""
    org, repo = current()
    page, source = f"https://{org}.github.io/{repo}", f"https://github.com/{org}/{repo}"
    found = []
    for path in files():
        text = path.read_text(encoding="utf-8")
        for pattern in OURS:
            for match in re.finditer(pattern, text):
                if (match["org"], match["repo"]) != (org, repo):
                    found.append(f"{path.relative_to(ROOT)}: {match[0]} is not {org}/{repo}")
    must_hold = {
        "pyproject.toml": [source, page],
        "_config.yml": [source, page],
        "CITATION.cff": [source, page],
        "CHANGELOG.md": [source],
        "tssbn/_install.py": [source],
        "README.md": [source, page],
    }
    for chapter in sorted(ROOT.glob("book/*.py")):
        badge = f"https://colab.research.google.com/github/{org}/{repo}/blob/main/book/"
        for name in (chapter.name, chapter.with_suffix(".ipynb").name):
            must_hold[f"book/{name}"] = [f"git+{source}"]
        if chapter.stem[0].isdigit():
            for name in ("README.md", "book/index.md"):
                must_hold.setdefault(name, []).append(f"{badge}{chapter.stem}.ipynb")
    for name, addresses in must_hold.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        found += [f"{name} lacks {address}" for address in addresses if address not in text]
    return found


def main(arguments: list[str]) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("address", nargs="?", metavar="ADDRESS", help="the new address")
    action.add_argument("--check", action="store_true", help="change nothing")
    address = parser.parse_args(arguments).address
    if address:
        asked = re.fullmatch(rf"https://github\.com/({NAME})/({NAME})", address.rstrip("/"))
        if not asked:
            sys.exit(f"'{address}' is not of the form https://github.com/ORG/REPO")
        for path in rewrite(asked[1], asked[2]):
            print(f"changed {path.relative_to(ROOT)}")
    if found := problems():
        sys.exit("\n".join(found))
    print("Every address is https://github.com/{}/{}".format(*current()))


if __name__ == "__main__":
    main(sys.argv[1:])

"""A small site, built as the book is, in a real browser: search, theme, pictures, no error."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("jupyter_book")
pytest.importorskip("sphinx_exercise")

ROOT = Path(__file__).resolve().parents[2]
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PAGES = {
    "index": "# Rooms\n\nA gate shuts.\n\n![drawing](images/result.svg)\n\n$x^2$\n",
    "second": "# Streets\n\nThe word zebracrossing stands on this page alone.\n",
}
ERRORS = """<head><script>
    window.failures = [];
    window.addEventListener("error", (e) => failures.push(e.message || e.target.src), true);
    window.addEventListener("unhandledrejection", (e) => failures.push(e.reason));
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site, and its address."""
    source = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "_config.yml", source)
    (source / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters: [{file: book/second}]\n", encoding="utf-8"
    )
    for folder in ("_static", "images"):
        shutil.copytree(ROOT / "book" / folder, source / "book" / folder)
    shutil.copy(ROOT / "book/references.bib", source / "book")
    for name, text in PAGES.items():
        (source / f"book/{name}.md").write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    done = subprocess.run([*command, str(source), "-W", "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    html = source / "_build/html"
    handler = functools.partial(Quiet, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield html, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def shown(site, tmp_path, page, query="", then=""):
    """What a page holds once its scripts have run and `then`, which may call `say`, was done."""
    html, address = site
    text = (html / page).read_text(encoding="utf-8")
    after = f"""<script>window.addEventListener("load", () => {{
        const say = (what) => document.body.append(`SAID ${{what}}.`);
        {then}
        setTimeout(() => say(`failures: ${{failures.length}} ${{failures}}`), 3000);
    }})</script></body>"""
    probe = Path(page).with_name(f"probe_{Path(page).name}")
    probed = text.replace("<head>", ERRORS, 1).replace("</body>", after, 1)
    (html / probe).write_text(probed, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=9000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    url = f"{address}/{probe.as_posix()}{query}"
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=300, check=True)
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)


def test_search_finds_the_page_that_has_the_word(site, tmp_path):
    page = shown(site, tmp_path, "search.html", "?q=zebracrossing")
    results = page[page.index('id="search-results"') :]
    found = re.findall(r'<li[^>]*>\s*<a href="([^"?#]*)', results)
    assert [Path(link).name for link in found] == ["second.html"]
    assert "SAID failures: 0 ." in page


def test_the_switch_changes_the_theme(site, tmp_path):
    then = """const root = document.documentElement;
        const button = document.querySelector(".theme-switch-button");
        const looks = new Set();
        for (let i = 0; i < 3; i++) {
            button.click();
            looks.add(`${root.dataset.mode} ${root.dataset.theme} `
                + getComputedStyle(document.body).backgroundColor);
        }
        say([...looks].sort().join("; "));"""
    page = shown(site, tmp_path, "book/index.html", then=then)
    said = re.search(r"SAID (auto .*?)\.", page)[1].split("; ")
    modes = {look.split()[0]: look.split(" ", 2)[1:] for look in said}
    assert set(modes) == {"auto", "dark", "light"}
    assert modes["dark"][0] == "dark" and modes["light"][0] == "light"
    assert modes["dark"][1] != modes["light"][1]


def test_a_page_has_its_picture_and_its_formula_and_no_error(site, tmp_path):
    then = """const pictures = [...document.querySelectorAll("article img")];
        say(`widths ${pictures.map((picture) => picture.naturalWidth > 0)}`);"""
    page = shown(site, tmp_path, "book/index.html", then=then)
    assert "SAID widths true." in page
    assert "<mjx-container" in page
    assert "SAID failures: 0 ." in page


@pytest.mark.parametrize("width, scrolls", [(390, True), (1200, False)])
def test_a_drawing_scrolls_in_its_frame_on_a_phone_and_the_page_does_not(
    site, tmp_path, width, scrolls
):
    then = f"""const screen = document.createElement("iframe");
        screen.style.width = "{width}px";
        screen.onload = () => {{
            const page = screen.contentDocument.documentElement;
            const frame = page.querySelector(".drawing");
            say(`page ${{page.scrollWidth > screen.contentWindow.innerWidth}}`);
            say(`drawing ${{frame.scrollWidth > frame.clientWidth}}`);
        }};
        screen.src = "index.html";
        document.body.append(screen);"""
    page = shown(site, tmp_path, "book/index.html", then=then)
    assert "SAID page false." in page
    assert f"SAID drawing {str(scrolls).lower()}." in page

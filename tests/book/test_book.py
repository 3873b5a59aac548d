"""The notebooks match their sources and are complete; the pages list them all."""

import base64
import io
import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(ROOT.glob("book/*.py"))

every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
every_numbered_chapter = pytest.mark.parametrize(
    "chapter", [path for path in CHAPTERS if path.stem[0].isdigit()], ids=lambda path: path.stem
)


def notebook(chapter):
    return nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)


def code_cells(chapter):
    return [cell for cell in notebook(chapter).cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_every_page_is_in_the_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = {toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])}
    pages = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for suffix in ("md", "ipynb")
        for path in ROOT.glob(f"book/*.{suffix}")
    }
    assert CHAPTERS
    assert listed == pages
    assert pages >= {path.relative_to(ROOT).with_suffix("").as_posix() for path in CHAPTERS}


@every_chapter
def test_the_notebook_has_the_text_of_its_source(chapter):
    from jupytext.compare import compare_notebooks

    compare_notebooks(
        notebook(chapter), jupytext.read(chapter), fmt="py:percent", compare_outputs=False
    )


@every_chapter
def test_every_cell_was_run_once_and_in_order(chapter):
    counts = [
        cell.execution_count for cell in code_cells(chapter) if "nbval-skip" not in tags(cell)
    ]
    assert counts == list(range(1, len(counts) + 1))


@every_chapter
def test_no_cell_failed(chapter):
    for cell in code_cells(chapter):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in tags(cell)), cell.source


@every_chapter
def test_a_cell_that_is_not_compared_with_a_run_is_not_run_elsewhere_either(chapter):
    for cell in code_cells(chapter):
        assert ("nbval-skip" in tags(cell)) == ("skip-execution" in tags(cell)), cell.source


@every_chapter
def test_nothing_went_to_stderr(chapter):
    for cell in code_cells(chapter):
        for output in cell.outputs:
            assert output.get("name") != "stderr", f"{cell.source}\n\n{output.text}"


@every_chapter
def test_every_figure_is_described(chapter):
    for cell in code_cells(chapter):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            image = cell.metadata.get("mystnb", {}).get("image", {})
            assert image.get("alt"), (
                "the figure of this cell needs alt text: "
                f'# %% mystnb={{"image": {{"alt": "what it shows"}}}}\n\n{cell.source}'
            )


@every_chapter
def test_every_figure_is_there_and_not_empty(chapter):
    """Of runs as of the saved networks: where a cell shows a figure, the page has its picture."""
    image = pytest.importorskip("PIL.Image")
    for cell in code_cells(chapter):
        if "nbval-skip" in tags(cell):
            continue
        pictures = [output.get("data", {}).get("image/png") for output in cell.outputs]
        pictures = [picture for picture in pictures if picture]
        assert len(pictures) >= cell.source.count("plt.show()"), cell.source
        for picture in pictures:
            greys = image.open(io.BytesIO(base64.b64decode(picture))).convert("L")
            assert len(greys.getcolors()) > 2, f"this figure is empty:\n\n{cell.source}"


def test_a_chapter_shows_what_the_saved_networks_answer():
    cells = [cell for chapter in CHAPTERS for cell in code_cells(chapter)]
    texts = [cell.source for cell in cells]
    first = next(i for i, text in enumerate(texts) if "records.network(" in text)
    assert any("image/png" in out.get("data", {}) for out in cells[first + 1].outputs)


def test_scripts_in_blocks_of_text_begin_with_their_first_line():
    """jupytext takes the # of #! for its own where the block is not indented."""
    for name, text in pages_of_text():
        for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.S | re.M):
            assert not block.lstrip().startswith("!/"), f"{name}: {block}"


@every_chapter
def test_colab_installs_the_package_first(chapter):
    first = code_cells(chapter)[0]
    assert "remove-cell" in tags(first)
    assert 'if "google.colab" in sys.modules:' in first.source
    assert re.search(r'%pip install -q "tssbn(\[train(,balance)?\])? @ git\+https://', first.source)


@every_numbered_chapter
def test_the_first_pages_list_the_chapter_with_its_colab_badge(chapter):
    links = {"README.md": f"book/{chapter.stem}.ipynb", "book/index.md": chapter.stem}
    for page, link in links.items():
        rows = [
            line
            for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
            if line.startswith("|") and f"/blob/main/book/{chapter.stem}.ipynb" in line
        ]
        assert len(rows) == 1, f"{page} lists {chapter.stem} {len(rows)} times"
        assert link in rows[0].split("|")[1], f"{page} does not link {chapter.stem}"


def pages_of_text():
    """(name, markdown) of the README, the pages and the text cells of the chapters."""
    for path in (ROOT / "README.md", *sorted(ROOT.glob("book/*.md"))):
        yield path.name, path.read_text(encoding="utf-8")
    for chapter in CHAPTERS:
        for cell in notebook(chapter).cells:
            if cell.cell_type == "markdown":
                yield chapter.name, cell.source


def test_every_picture_has_alt_text():
    seen = 0
    for name, text in pages_of_text():
        for alt in re.findall(r"!\[([^\]]*)\]\(", text):
            seen += 1
            assert alt.strip(), f"{name}: a picture without alt text"
        for block in re.findall(r"(?:```|:::)\{(?:image|figure)\}.*?(?:```|:::)", text, re.S):
            seen += 1
            assert re.search(r"^:alt: \S", block, re.M), f"{name}: {block} lacks :alt:"
        assert not re.search(r"<img (?![^>]*\balt=)", text), f"{name}: <img> without alt"
    assert seen


def test_colours_in_equations_need_no_network():
    """MathJax loads the extension of `\\color` where it meets one, and typesets nothing without."""
    extension = ROOT / "book/_static/mathjax/input/tex/extensions/color.js"
    assert any(r"\color{" in source.read_text(encoding="utf-8") for source in CHAPTERS)
    assert extension.exists()

"""A chapter is short, read in a quarter of an hour, and mostly made of its idea."""

import re
from pathlib import Path

import pytest

pytest.importorskip("jupytext")

from studies import script

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(ROOT.glob("book/[0-9]*.py"))
measuring = script("measure", "tools")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_keeps_the_limits(chapter):
    measures = measuring.measure(chapter)
    assert measures.lines <= measuring.LINES
    assert measures.minutes <= measuring.MINUTES
    assert measures.share >= measuring.SHARE


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_the_first_pages_give_the_minutes_that_are_measured(page):
    rows = re.findall(
        r"^\|.*\| (\d+) min \|.*/book/(\d\d_\w+)\.ipynb",
        (ROOT / page).read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert len(rows) == len(CHAPTERS)
    for minutes, name in rows:
        assert abs(int(minutes) - measuring.measure(ROOT / f"book/{name}.py").minutes) <= 1, name


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_the_minutes_of_a_way_are_the_sum_of_its_chapters(page):
    _, *ways = re.split(r"\((\d+) minutes in all\)", (ROOT / page).read_text(encoding="utf-8"))
    assert len(ways) == 2 * 3
    for total, chapters in zip(ways[::2], ways[1::2], strict=True):
        assert int(total) == sum(map(int, re.findall(r"\| (\d+) min \|", chapters)))


WORDS = dict(zip(["five", "six", "seven", "eight", "nine", "ten"], range(5, 11), strict=True))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_gives_the_minutes_that_are_measured(chapter):
    text = chapter.read_text(encoding="utf-8")
    said = re.search(r"^# \*(\w+) minutes to read", text, flags=re.MULTILINE)[1].lower()
    minutes = WORDS[said] if said in WORDS else int(said)
    assert abs(minutes - measuring.measure(chapter).minutes) <= 0.75  # rounded

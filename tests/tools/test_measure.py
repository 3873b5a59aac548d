"""What measure.py counts in a chapter of a few lines."""

import pytest

pytest.importorskip("jupytext")

from studies import script

CHAPTER = '''# %% [markdown]
# # One two three
#
# :::{image} images/x.svg
# :alt: words that are not read
# :::
# $$
# a formula
# $$

# %% tags=["hide-input"]
import torch

# %%
x = torch.zeros(3)

def double(x):
    """Twice."""
    return 2 * x

print(double(x))
assert x.sum() == 0

# %% mystnb={"image": {"alt": "a line"}}
plt.plot(x)

# %% [markdown]
# :::{exercise}
# :label: one
# :::
# :::{solution-start} one
# :::

# %%
answer = 4

# %% [markdown]
# :::{solution-end}
# :::
'''


@pytest.fixture
def chapter(tmp_path):
    path = tmp_path / "one.py"
    path.write_text(CHAPTER, encoding="utf-8")
    return path


def test_words_lines_and_the_share_of_the_idea(chapter):
    measures = script("measure", "tools").measure(chapter)
    assert measures.lines == len(CHAPTER.splitlines())
    assert measures.code == 7  # of x, double, print, assert, plot; hidden and solutions are not
    assert measures.share == pytest.approx(4 / 7)
    assert (measures.figures, measures.drawings, measures.exercises) == (1, 1, 1)


def test_formulas_and_alternative_texts_are_no_words(chapter):
    assert script("measure", "tools").measure(chapter).words == 3


def test_plumbing_is_what_draws_prints_and_asserts(chapter):
    lines = script("measure", "tools").plumbing(chapter).splitlines()
    assert lines == ["print(double(x))", "assert x.sum() == 0", "plt.plot(x)"]

"""Text in columns: widths, sides and the rule."""

import pytest

from tssbn.columns import columns

ROWS = [("", "ab", "c"), ("long", "", "3")]


def test_cells_have_the_width_of_their_column_and_lines_no_space_at_their_end():
    assert columns(ROWS) == ["      ab  c", "long      3"]
    assert columns([*ROWS, ("x", "", "")])[2] == "x"
    assert columns([]) == []


def test_columns_after_the_left_ones_are_aligned_to_the_right():
    assert columns([("a", "b"), ("aa", "bbb")], left=1) == ["a     b", "aa  bbb"]


def test_the_rule_is_below_the_head_and_as_long_as_the_longest_line():
    assert columns(ROWS, head=1) == ["      ab  c", "-" * 11, "long      3"]
    assert columns(ROWS, head=2)[2] == "-" * 11


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        columns([("a", "b"), ("a",)])

"""Claims as tables."""

import pytest

pytest.importorskip("scipy")

from tssbn.claims import (
    Bed,
    BedOfRuns,
    Claim,
    Counted,
    Measured,
    count,
    matrix,
    power,
    spreads,
    table,
    unrun,
)

RUNS = Measured("toys", {"ours": [3.0, 3.2, 2.8], "low": [1.0, 1.2, 0.8], "none": []}, "points")
CLAIMS = [
    Claim("Ours > low", RUNS, "ours", "low", 2.0, "none", part="Table 9", chapter="06_nyuv2"),
    Claim("Low > ours", RUNS, "low", "ours", part="Table 9"),
    Claim("As good", RUNS, "low", "ours", margin=0.5, part="Figure 9", bed="others"),
    Claim("Nobody ran this", claimed=1.0, null="low", part="Table 9"),
]


def test_a_row_has_all_that_the_verdict_rests_on():
    (title, rows), (other, more) = table(CLAIMS).groups
    assert (title, other) == ("Table 9", "Figure 9") and len(rows) == 3
    assert rows[0] == [
        ("Ours > low", "06_nyuv2.html"),
        "toys",
        "supported",
        "+2.0 [+1.5, +2.5] points, n = 3, 3",
        "+2.0",
        "0.6",
        "none: not run",
    ]
    assert rows[2] == ["Nobody ran this", "", "not run", "", "+1.0", "", ""]
    assert more[0][2] == "contradicted" and more[0][4] == "above -0.5"


def test_one_word_is_shown_without_a_column_for_it():
    [(title, [row])] = table(CLAIMS, "supported").groups
    assert title == "Table 9" and row[0] == ("Ours > low", "06_nyuv2.html") and len(row) == 5
    assert "verdict" not in table(CLAIMS, "supported").head
    assert "visible" in table(CLAIMS, "undecided").head and not table(CLAIMS, "undecided").groups
    assert sum(len(rows) for _, rows in table(CLAIMS, "contradicted").groups) == 2


def test_a_small_effect_and_a_count_are_said_to_be_such():
    counts = Counted("toys", {"ours": 3.0, "low": 1.0}, "%")
    claims = Claim("> low", RUNS, "ours", "low", 9.0), Claim("More", counts, "ours", "low")
    [(_, (small, counted))] = table(claims).groups
    assert small[2] == "supported" and small[4] == "+9.0, ours is smaller"
    assert counted[3] == "+2.0 %, counted"


def test_runs_that_do_not_differ_have_no_interval():
    runs = Measured("toys", {"ours": [100.0, 100.0, 100.0]}, "%")
    [(_, [row])] = table([Claim("Above 95 %", runs, "ours", 95.0)]).groups
    assert row[2:4] == ["supported", "+5.0 %, in each of 3 runs"]


def test_what_is_not_run_is_listed_by_part_and_bed():
    row = {"part": "Table 9", "chapter": "06_nyuv2", "bed": "rooms"}
    made = [Claim("A", **row), Claim("B", part="Table 9"), *CLAIMS[:2], Claim("C", **row)]
    assert unrun(made) == "- {doc}`Table 9 <06_nyuv2>`, rooms: A; C.\n- Table 9: B."
    assert unrun([]) == ""


def test_html_is_escaped_and_links_the_chapter():
    shown = table(CLAIMS)._repr_html_()
    assert '<a href="06_nyuv2.html">Ours &gt; low</a>' in shown
    assert "<b>contradicted</b>" in shown and '<th colspan="7">Table 9</th>' in shown
    assert shown.count("<tr>") == 1 + 2 + 4


def test_a_matrix_has_a_row_for_each_question_and_a_column_for_each_bed():
    asked = [
        Claim("Ours?", RUNS, "ours", "low"),
        Claim("Ours?", RUNS, "ours", "none", bed="others"),
        Claim("Low?", RUNS, "low", "ours"),
    ]
    found = matrix(asked)
    [(_, rows)] = found.groups
    assert list(found.head) == ["", "toys", "others"]
    assert rows[0] == ["Ours?", "supported: +2.0 [+1.5, +2.5], n = 3, 3", "not run"]
    assert rows[1] == ["Low?", "contradicted: -2.0 [-2.5, -1.5], n = 3, 3", ""]


def test_words_are_counted():
    assert count(CLAIMS) == {"supported": 1, "contradicted": 2, "undecided": 0, "not run": 1}
    assert sum(count([]).values()) == 0 and str(table([])).count("\n") == 0


def bed_of(scores, baseline=None):
    bed = BedOfRuns("toys", "rooms", {})
    vars(bed)["bed"] = Bed(scores, baseline=baseline)
    return bed


def test_what_the_spread_of_a_bed_would_show():
    stl = {"STL": [50.0, 51.0, 49.0], "HPS": [52.0, 50.0, 51.0]}
    found = spreads([bed_of({"a": [1.0]}), bed_of(stl, "STL")], seeds=[5, 10], arms=5)
    [(_, [row])] = found.groups  # of a single run nothing is known
    sd, visible = float(row[1]), [float(cell) for cell in row[3:]]
    assert sd == 2 and float(row[2][1:]) > 2 and visible[0] > visible[1]
    for n, effect in zip([5, 10], visible, strict=True):
        assert power([effect], [n], sd, arms=5)[n][effect] == pytest.approx(0.8, abs=0.02)

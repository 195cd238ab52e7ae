"""Headings of a text: what people mean as one is found, what only looks like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.wire.heading import HEADING_MAX_CHARS, Heading, find_headings, paths_of

LINES = st.lists(
    st.sampled_from(["# A", "## B ##", "###### C", "", "  ", "text", "===", "---", "```", "~~~", "- x", "#", "#tag"]),
    max_size=60,
).map("\n".join)


def titles(text):
    return [(heading.level, heading.title) for heading in find_headings(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Water\nBoil it.", [(1, "Water")]),
        ("Intro.\n\n## Boil water ##\n\nOne minute.", [(2, "Boil water")]),
        ("# Box\n## Radio\ntext", [(1, "Box"), (2, "Radio")]),
        ("###### Deep", [(6, "Deep")]),
        ("Water\n=====\n\nBoil it.\n\nFilter\n---\nSand.", [(1, "Water"), (2, "Filter")]),
        ("   #\tTabs\t", [(1, "Tabs")]),
        ("####### seven signs", []),
        ("#tag and #another", []),
        ("#\n\n# \n\n## ##", []),
        ("make x\n# a comment in a listing", []),
        ("```\n\n# a comment\n```\n# Real", []),
        ("```\n\n# a comment\n\n```\n\n# Real", [(1, "Real")]),
        ("~~~\n```\n\n# inside\n~~~\n\n# Real", [(1, "Real")]),
        ("two\nlines\n-----", []),
        ("---\ntitle: x\n---\n\ntext", []),
        ("Water\n--", []),
        ("Water\n-=-", []),
        ("", []),
        ("# " + "x" * (HEADING_MAX_CHARS + 1), []),
        ("x" * (HEADING_MAX_CHARS + 1) + "\n===", []),
    ],
)
def test_headings_are_what_people_mean_by_them(text, expected):
    assert titles(text) == expected


def test_a_path_names_the_headings_above_outermost_first_but_not_the_title():
    levels = [Heading(0, 1, "The Box"), Heading(9, 2, "Radio"), Heading(20, 3, "LoRa"), Heading(30, 2, "Power")]
    assert paths_of(levels, "the box") == ["", "Radio", "Radio / LoRa", "Power"]
    assert paths_of(levels)[2] == "The Box / Radio / LoRa"


def test_of_a_long_path_the_inner_part_is_kept():
    levels = [Heading(0, 1, "a" * 100), Heading(5, 2, "b" * 60), Heading(9, 3, "c" * 90)]
    assert paths_of(levels) == ["a" * 100, "b" * 60, f"{'b' * 60} / {'c' * 90}"]


@given(LINES | st.text(max_size=400))
def test_headings_stand_at_line_beginnings_in_order(text):
    found = find_headings(text)
    starts = [heading.start for heading in found]
    assert starts == sorted(set(starts))
    assert all(start == 0 or text[start - 1] == "\n" for start in starts)
    assert all(heading.title in text[heading.start :] and 1 <= heading.level <= 6 for heading in found)
    assert len(paths_of(found)) == len(found)

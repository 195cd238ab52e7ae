"""Cutting text: nothing is lost, nothing is too long, sentences end where people end them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.wire.chunk import SENTENCE_MAX_CHARS, Span, chunk_text, guess_tokens, split_sentences

PROSE = st.lists(
    st.sampled_from(
        ["Wasser", "boil it", "z. B.", "112", "5,5 l", "!", "?", ".", "\n", "\n\n", "- ", "1. ", "Ä", "  "]
    ),
    max_size=200,
).map(" ".join)


def sentences(text):
    return [text[span.start : span.end] for span in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Koche das Wasser z. B. 10 Minuten. Warte dann.", ["Koche das Wasser z. B. 10 Minuten.", "Warte dann."]),
        ("Warte ca. 5,5 Stunden. Trink nichts.", ["Warte ca. 5,5 Stunden.", "Trink nichts."]),
        ("Nimm 2.5 l. Then go.", ["Nimm 2.5 l.", "Then go."]),
        ("Am 3. Oktober heult die Sirene. Bleib ruhig.", ["Am 3. Oktober heult die Sirene.", "Bleib ruhig."]),
        ("Ruf 112. Sag den Ort.", ["Ruf 112.", "Sag den Ort."]),
        ("Dr. Meier kommt um 5. Danach geht er.", ["Dr. Meier kommt um 5.", "Danach geht er."]),
        (
            "Say no. Use soap, e.g. Marseille soap, approx. 2 g.",
            ["Say no.", "Use soap, e.g. Marseille soap, approx. 2 g."],
        ),
        ("Siehe Nr. 5 und max. 3 Tage. Ende.", ["Siehe Nr. 5 und max. 3 Tage.", "Ende."]),
        ('Rufe "Feuer!" Dann lauf.', ['Rufe "Feuer!"', "Dann lauf."]),
        ("Er sagt „Hilfe.“ Alle hören es.", ["Er sagt „Hilfe.“", "Alle hören es."]),
        ("Is it safe? No! Go out… Now.", ["Is it safe?", "No!", "Go out…", "Now."]),
        ("## Do now\n1. Leave the room.\n2. Call 112.\n- Never wait.", ["Leave the room.", "Call 112.", "Never wait."]),
        ("A line that\ngoes on. Next one.", ["A line that\ngoes on.", "Next one."]),
        ("No full stop\n\nAnother paragraph", ["No full stop", "Another paragraph"]),
        ("", []),
        (" \n - \n ***\n", []),
    ],
)
def test_sentences_end_where_people_end_them(text, expected):
    assert sentences(text) == expected


def test_a_text_without_full_stops_is_cut_at_spaces():
    found = split_sentences("Wort " * 1000)
    assert all(span.end - span.start <= SENTENCE_MAX_CHARS for span in found)
    assert "".join(sentences("Wort " * 1000)).replace(" ", "") == "Wort" * 1000


def test_sentences_of_a_part_keep_the_offsets_of_the_whole():
    text = "First one. Second one. Third one."
    assert [text[s.start : s.end] for s in split_sentences(text, Span(11, len(text)))] == ["Second one.", "Third one."]


@given(PROSE | st.text(max_size=2000))
def test_sentences_are_in_order_apart_and_trimmed(text):
    found = split_sentences(text)
    assert all(0 <= span.start < span.end <= len(text) for span in found)
    assert all(left.end <= right.start for left, right in itertools.pairwise(found))
    assert all(text[span.start : span.end].strip() == text[span.start : span.end] for span in found)


@given(PROSE | st.text(max_size=3000), st.integers(10, 200), st.integers(0, 8))
def test_chunks_keep_every_character_and_their_size(text, tokens, overlap):
    found = chunk_text(text, tokens, overlap)
    covered = set()
    for span in found:
        assert 0 < span.end - span.start <= int(tokens * 3.5)
        covered.update(range(span.start, span.end))
    assert all(place in covered or text[place].isspace() for place in range(len(text)))
    assert [span.start for span in found] == sorted({span.start for span in found})


def test_a_chunk_ends_at_a_paragraph_before_a_sentence_before_a_word():
    paragraphs = ("Ein Satz steht hier. " * 8 + "\n\n") * 10
    ends = [paragraphs[span.end : span.end + 3].strip(" ") for span in chunk_text(paragraphs, 100, 0)]
    assert set(ends[:-1]) == {"\n\nE"} or set(ends[:-1]) == {"\n\n"}
    lines = "Ein Satz steht hier. " * 100
    assert all(lines[span.start : span.end].endswith(".") for span in chunk_text(lines, 100, 0))
    words = "wort " * 500
    assert all(words[span.start : span.end].endswith("wort") for span in chunk_text(words, 100, 0))


def test_neighbouring_chunks_overlap_by_about_the_asked_length():
    text = "Ein Satz steht hier. " * 1000
    found = chunk_text(text)
    shared = [left.end - right.start for left, right in itertools.pairwise(found)]
    assert all(600 <= chars <= 700 for chars in shared)


def test_what_has_no_spaces_is_cut_where_it_must_be():
    assert [(s.start, s.end) for s in chunk_text("x" * 500, 100, 0)] == [(0, 350), (350, 500)]
    assert [s.end - s.start for s in split_sentences("x" * 1500)] == [SENTENCE_MAX_CHARS, SENTENCE_MAX_CHARS, 300]
    assert sentences("x" * 500 + "\n" + "y" * 500) == ["x" * 500, "y" * 500]


def test_a_chunk_ends_where_a_section_begins_and_repeats_nothing_of_it():
    first, second = "Ein Satz steht hier.\n\n" * 60, "Hier steht ein Satz. " * 140
    found = chunk_text(first + second, 500, 100, sections=[10, len(first)])
    assert found[1].start == len(first)
    assert found[0].end == len(first.rstrip())
    assert found[2].start < found[1].end  # within a section they overlap as ever
    early = chunk_text(first + second, 500, 100, sections=[300])
    assert early == chunk_text(first + second, 500, 100)


def test_a_part_that_begins_within_a_line_has_no_list_marker_there():
    text = "One. - two\n- three"
    assert [text[s.start : s.end] for s in split_sentences(text, Span(5, len(text)))] == ["- two", "three"]


def test_tokens_are_guessed_from_characters():
    assert guess_tokens(3500) == 1000

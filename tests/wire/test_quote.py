"""Quoting word for word: nothing but sentences of the passages can come out, and the proof notices everything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.wire.quote import choice_grammar, find_quote, is_verbatim, quotes_of, settled_choice, split_citations

CARD = """## Do now
1. Run a generator outdoors. Keep 6 m to windows.

## Do not
- Never run a generator in the cellar.
"""
GERMAN = "## Nicht tun\n- Betreibe nie ein Aggregat im Keller.\n- Warte z. B. nicht auf andere."
_LITERAL = re.compile(r'"((?:\\.|[^"\\])*)"')
_ESCAPE = re.compile(r"\\(?:u([0-9A-F]{4})|(.))")


def read_grammar(grammar):
    """Every text that the grammar allows, by a reader of its own: literals joined by bars, nothing else."""
    head, _, body = grammar.partition(" ::= ")
    assert head == "root"
    assert re.fullmatch(r'"(?:\\.|[^"\\])*"(?: \| "(?:\\.|[^"\\])*")*', body), body
    return [_ESCAPE.sub(unescape, found) for found in _LITERAL.findall(body)]


def unescape(found):
    if found[1]:
        return chr(int(found[1], 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(found[2], found[2])


sentences = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), min_size=1, max_size=6)


@given(sentences)
def test_the_grammar_allows_exactly_the_sentences(texts):
    assert read_grammar(choice_grammar(texts)) == list(dict.fromkeys(texts))


@pytest.mark.parametrize(
    "hostile", ['" | "yes', 'x" ::= root', "a\\", '\\"', "line\nroot ::= y", "tab\tend", "\x00\x1b[0m", "\u2028"]
)
def test_a_hostile_sentence_stays_one_literal(hostile):
    assert read_grammar(choice_grammar([hostile, "b"])) == [hostile, "b"]


def test_control_characters_never_stand_raw_in_a_grammar():
    assert all(sign.isprintable() for sign in choice_grammar(["a\nb\x07\u2029c"]))


@given(sentences, st.integers(0, 5))
def test_a_beginning_settles_as_soon_as_only_one_sentence_fits(texts, which):
    texts = list(dict.fromkeys(texts))
    wanted = texts[which % len(texts)]
    steps = [settled_choice(wanted[:length], texts) for length in range(len(wanted) + 1)]

    assert all(step is None or texts[step].startswith(wanted[:length]) for length, step in enumerate(steps))
    alone = not any(other != wanted and other.startswith(wanted) for other in texts)
    assert not alone or texts[steps[-1]] == wanted


def test_words_that_fit_no_sentence_settle_nothing():
    assert settled_choice("Yes, that is safe", ["Never run it.", "Run it outdoors."]) is None


def test_every_sentence_of_a_passage_may_be_quoted_without_headings_and_markers():
    found = [[CARD, GERMAN][item.passage][item.start : item.end] for item in quotes_of([CARD, GERMAN])]

    assert found == [
        "Run a generator outdoors.", "Keep 6 m to windows.", "Never run a generator in the cellar.",
        "Betreibe nie ein Aggregat im Keller.", "Warte z. B. nicht auf andere.",
    ]  # fmt: skip


@given(st.lists(st.sampled_from([CARD, GERMAN, "Ein Satz. Noch einer!", "One two three"]), min_size=1, max_size=3))
def test_what_may_be_quoted_is_found_again_by_its_words(passages):
    for item in quotes_of(passages):
        text = passages[item.passage][item.start : item.end]
        place = find_quote(text, passages)
        assert place is not None
        assert passages[place.passage][place.start : place.end] == text


def test_neighbouring_sentences_may_be_quoted_together():
    place = find_quote("Run a generator outdoors. Keep 6 m to windows.", ["other", CARD])

    assert (place.passage, CARD[place.start : place.end]) == (1, "Run a generator outdoors. Keep 6 m to windows.")


@pytest.mark.parametrize(
    "words",
    [
        "run a generator in the cellar.",  # the same words without their "never"
        "Never run a generator",
        "a generator outdoors.",
        "Run a generator in the cellar.",
        "Never run a generator in the cellar",
        "Do not",
        "",
        " ",
    ],
)
def test_a_part_of_a_sentence_is_no_quote(words):
    assert find_quote(words, [CARD]) is None


def test_an_answer_is_verbatim_only_if_every_sentence_is():
    assert is_verbatim("Keep 6 m to windows. Never run a generator in the cellar.", [CARD])
    assert not is_verbatim("Keep 6 m to windows. Yes, the cellar is safe.", [CARD])
    assert not is_verbatim("", [CARD])


@pytest.mark.parametrize(
    ("sentence", "words", "cited"),
    [
        ("Water is safe [1].", "Water is safe.", (1,)),
        ("Water is safe. [2]", "Water is safe.", (2,)),
        ("Boil [1] and wait [3, 1].", "Boil and wait.", (1, 3)),
        ("No mark here.", "No mark here.", ()),
        ("Brackets [sic] stay [12].", "Brackets [sic] stay.", (12,)),
    ],
)
def test_citations_are_told_from_words(sentence, words, cited):
    assert split_citations(sentence) == (words, cited)

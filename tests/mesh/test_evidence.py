"""Ranking sentences and choosing those that make a safe answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hearthnet.mesh.evidence import (
    FORBIDS_MAX,
    SENTENCES_MAX,
    choose_statements,
    rank_statements,
    statements_of,
)
from mesh.answer_samples import CO_CARD, CO_CARD_DE, PLAIN_CARD, make_passage

BALCONY = """## Do not
- Never run a petrol generator on a balcony or in a cellar.
- Do not fill petrol into a hot generator.
"""


def rank(question, *passages, near=None):
    return rank_statements(question, passages, statements_of(passages), near or {})


def test_a_sentence_knows_the_section_of_its_card_in_both_languages():
    sections = [item.section for item in statements_of([make_passage(CO_CARD), make_passage(CO_CARD_DE)])]

    assert sections == ["help", "do", "do", "never", "never", "why", "help", "do", "never"]


def test_a_document_has_no_sections_however_it_is_headed():
    assert {item.section for item in statements_of([make_passage(CO_CARD, card="")])} == {""}


def test_the_sentence_that_holds_the_words_of_the_question_ranks_first():
    assert rank("does carbon monoxide smell?", make_passage(CO_CARD))[0].text == "Carbon monoxide has no smell."


def test_meaning_outweighs_words():
    near = {item.text: 0.8 for item in statements_of([make_passage(CO_CARD)])}
    near["Do not trust an open window."] = 0.95

    assert rank("is the cellar ok for a generator", make_passage(CO_CARD), near=near)[0].text.startswith("Do not trust")


def test_a_german_compound_is_met_by_its_parts():
    text = "## Nicht tun\n- Steig nie ins Kellerwasser.\n- Pack den Rucksack nicht zu schwer.\n"

    assert rank("wasser im keller", make_passage(text, language="de"))[0].text == "Steig nie ins Kellerwasser."


def test_the_better_passage_wins_between_like_sentences():
    ranked = rank("radio", make_passage(PLAIN_CARD, score=0.8), make_passage(PLAIN_CARD, score=0.9, card="T31"))

    assert ranked[0].source == 1


def test_what_two_cards_forbid_alike_is_said_once():
    choice = choose_statements(
        rank("petrol generator cellar", make_passage(CO_CARD), make_passage(BALCONY, card="T12"))
    )

    said = [item.text for item in choice.fixed if "cellar" in item.text and item.section == "never"]
    assert len(said) == 1


def test_a_card_without_grave_sections_is_not_grave():
    assert not choose_statements(rank("radio", make_passage(PLAIN_CARD))).is_grave
    assert choose_statements(rank("generator", make_passage(CO_CARD))).is_grave


def test_no_passage_makes_no_choice():
    assert choose_statements([]).fixed == ()


headings = st.sampled_from(["Help first", "Do now", "Do not", "Why", "Get help when"])
lines = st.lists(
    st.tuples(headings, st.lists(st.sampled_from(
        ["Call 112 now.", "Never use water on fat.", "Wait for help.", "Drink clean water.", "Do not run away.", "Fire is hot."]
    ), min_size=1, max_size=5)), min_size=1, max_size=5,
)  # fmt: skip


@given(lines, st.text(max_size=40), st.data())
def test_any_card_gives_few_sentences_forbidding_before_allowing(sections, question, data):
    text = "".join(f"## {heading}\n" + "".join(f"- {line}\n" for line in found) for heading, found in sections)
    passage = make_passage(text)
    near = {item.text: data.draw(st.floats(0.7, 1.0)) for item in statements_of([passage])}

    choice = choose_statements(rank(question, passage, near=near))

    kinds = [item.section for item in choice.fixed]
    assert len(choice.fixed) + choice.room <= max(SENTENCES_MAX, len(choice.fixed))
    assert kinds.count("never") <= FORBIDS_MAX
    assert kinds == sorted(kinds[:1], key=lambda kind: kind != "help") + kinds[1:]
    assert "never" not in kinds or all(kind != "do" for kind in kinds[: kinds.index("never")])
    assert all(text[item.start : item.end] == item.text for item in (*choice.fixed, *choice.open))

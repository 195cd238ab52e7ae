"""Ranking sentences and choosing those that make a safe answer."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.mesh.evidence import (
    FORBIDS_MAX,
    SENTENCES_MAX,
    choose_statements,
    count_speakers,
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


BLEEDING = """## Help first
Call 112 for heavy bleeding.
Press a cloth hard on the bleeding wound.

## Do now
1. Lay the person down.
2. Put on a pressure bandage.

## Do not
- Never loosen a tourniquet.
"""


def test_the_act_beside_the_call_for_help_comes_before_everything_else():
    passage = make_passage(BLEEDING)
    near = {item.text: 0.85 for item in statements_of([passage])}

    choice = choose_statements(rank("how do i stop heavy bleeding", passage, near=near))

    assert [item.text for item in choice.fixed[:2]] == [
        "Call 112 for heavy bleeding.",
        "Press a cloth hard on the bleeding wound.",
    ]


def test_between_acts_as_near_the_one_that_the_card_sets_first_comes_first():
    passage = make_passage("## Do now\n1. Lay the person down.\n2. Put on a bandage.\n3. Write down the time.\n")
    near = {item.text: 0.85 for item in statements_of([passage])}

    choice = choose_statements(rank("what now", passage, near=near))

    assert [item.line for item in (*choice.fixed, *choice.open)] == [0, 1, 2]


def test_the_act_nearest_to_the_question_is_not_lost_far_down_a_card():
    text = (
        "## Do now\n" + "".join(f"{n}. Do the thing number {n}.\n" for n in range(1, 9)) + "9. Call Munich 089 19240.\n"
    )
    passage = make_passage(text)
    near = {item.text: 0.85 for item in statements_of([passage])} | {"Call Munich 089 19240.": 0.86}

    choice = choose_statements(rank("for bavaria", passage, near=near))

    assert "Call Munich 089 19240." in [item.text for item in (*choice.fixed, *choice.open)][:2]


def test_a_third_card_is_heard_only_where_it_forbids_what_is_asked():
    passages = [
        make_passage(PLAIN_CARD, score=0.9, card="T31"),
        make_passage(BLEEDING, score=0.7, card="T67"),
        make_passage(
            "## Do not\n- Never drink alcohol against cold.\n- Do not rub cold skin.\n", score=0.7, card="T13"
        ),
    ]
    statements = [msgspec.structs.replace(item, near=0.8) for item in statements_of(passages)]
    statements[-2] = msgspec.structs.replace(statements[-2], near=0.9)
    near = {item.text: item.near for item in statements}

    ranked = rank_statements("a schnapps against the cold", passages, statements, near)
    choice = choose_statements(ranked, count_speakers(passages))

    foreign = [item.text for item in (*choice.fixed, *choice.open) if item.source > 0]
    assert foreign == ["Never drink alcohol against cold."]
    assert choice.warns


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
    assert len(choice.fixed) + choice.room <= max(SENTENCES_MAX, len(choice.fixed) + 1)
    assert kinds.count("never") <= FORBIDS_MAX
    assert kinds == sorted(kinds[:1], key=lambda kind: kind != "help") + kinds[1:]
    assert "never" not in kinds or all(kind != "do" for kind in kinds[: kinds.index("never")])
    assert all(text[item.start : item.end] == item.text for item in (*choice.fixed, *choice.open))

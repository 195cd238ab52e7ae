"""Refusing on the final answer, on the even-numbered questions: the odd ones were used for tuning (issue 2, section 3)."""

from __future__ import annotations

import pytest

from library.answer_world import read_questions

pytestmark = pytest.mark.timeout(240)  # a hundred questions, on a loaded machine

REFUSED_FROM = 0.90  # of the unanswerable
LOST_MOST = 0.05  # of the answerable
CITED_FROM = 0.82  # of the answerable, the right card is among those quoted


async def ask_all(world, language, *, known):
    """Answers to the even-numbered questions of a kind, with the cards that they should cite."""
    items = [item for item in read_questions() if item[0] == language and item[1] % 2 == 0 and bool(item[3]) == known]
    return [(await world.ask(text), cards, text) for _, _, text, cards in items]


@pytest.mark.parametrize("language", ["en", "de"])
async def test_what_is_not_there_is_refused(answering, language):
    asked = await ask_all(answering, language, known=False)

    held = [text for answer, _, text in asked if answer.done.tier != "not_in_library"]
    assert len(asked) == 50
    assert len(held) / len(asked) <= 1 - REFUSED_FROM, held


@pytest.mark.parametrize("language", ["en", "de"])
async def test_what_is_there_is_answered_from_the_right_card(answering, language):
    asked = await ask_all(answering, language, known=True)

    lost = [text for answer, _, text in asked if answer.done.tier == "not_in_library"]
    beside = [text for answer, cards, text in asked if text not in lost and not answer.cards & cards]
    assert len(asked) >= 60
    assert len(lost) / len(asked) <= LOST_MOST, lost
    assert len(lost + beside) / len(asked) <= 1 - CITED_FROM, beside


@pytest.mark.parametrize(
    ("question", "words"),
    [("who won the world cup?", "That is not in my library."), ("wer hat die wahl gewonnen", "Das steht nicht in meiner Bibliothek.")],
)  # fmt: skip
async def test_a_refusal_of_something_far_away_is_short(answering, question, words):
    answer = await answering.ask(question)

    assert answer.text == words
    assert not answer.sources[-1].sources


async def test_a_refusal_names_the_cards_that_come_nearest(answering):
    answer = await answering.ask("wieviel kostet ein notstromaggregat")

    assert answer.done.tier == "not_in_library"
    assert "Stromerzeuger (Notstromaggregat) und Kraftstoff" in answer.text
    assert "T12" in {source.card_id for source in answer.sources[-1].sources}
    assert not answer.quotes  # nobody has to be called


async def test_a_question_about_medicine_gets_the_numbers_to_call(answering):
    answer = await answering.ask("which antibiotics dose for my tooth abscess")

    assert answer.done.tier == "not_in_library"
    assert any("116117" in quote for quote in answer.quotes)
    assert "T02" in answer.cards


async def test_a_follow_up_is_about_the_question_before_it(answering):
    first = "How much drinking water do I have to store?"

    answer = await answering.ask(first, "Store 14 litres of water per person for 10 days.", "and for the dog?")

    assert answer.done.tier == "quoted"
    assert {"T15", "T61"} & answer.cards


async def test_ten_thousand_characters_are_answered_or_refused_clearly(answering):
    question = "May I run a petrol generator in the cellar? " + "It is raining and cold and the power is out. " * 220

    answer = await answering.ask(question[:10_000])

    assert answer.done.tier in ("quoted", "not_in_library")
    assert not answer.strays()

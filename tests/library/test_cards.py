"""The rules of edge/library/README.md that a machine can check, for every card that ships."""

from __future__ import annotations

import re

import pytest

from hearthnet.mesh.cards import CARD_GROUPS, parse_card, shipped_library
from hearthnet.mesh.handbook import read_asked, read_cards
from hearthnet.wire.chunk import split_sentences

HEADINGS = {
    "en": ["Help first", "Do now", "Do not", "Why", "Get help when"],
    "de": ["Zuerst Hilfe", "Jetzt tun", "Nicht tun", "Warum", "Hilfe holen, wenn"],
}
CARDS = read_cards(shipped_library())
BY_KEY = {(card.head.id, card.head.lang): card for card in CARDS}
every_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.head.id}-{card.head.lang}")
every_pair = pytest.mark.parametrize("card_id", sorted({card.head.id for card in CARDS}))


def words(text):
    return len(re.findall(r"[^\W_]+(?:[-'’.,/][^\W_]+)*", text))


def sentences(card):
    return [card.body[span.start : span.end] for span in split_sentences(card.body)]


def headings(card):
    return re.findall(r"(?m)^## (.*)$", card.body)


def numbers(card):
    text = re.sub(r"(?m)^\d+\. ", "", card.body).replace(",", ".")
    return sorted(re.findall(r"\d+(?:\.\d+)*", text))


def test_the_hundred_topics_are_there_in_both_languages():
    wanted = {(f"T{number:02}", language) for number in range(1, 101) for language in ("de", "en")}
    assert set(BY_KEY) == wanted
    assert len(CARDS) == 200


def test_every_group_has_cards():
    assert {card.head.group for card in CARDS} == set(CARD_GROUPS)


def test_the_file_name_tells_topic_and_language():
    for path in (shipped_library() / "cards").glob("*.md"):
        head = parse_card(path.read_text(encoding="utf-8")).head
        assert re.fullmatch(rf"{head.id.lower()}-[a-z0-9-]+\.{head.lang}\.md", path.name), path.name


@every_card
def test_a_card_is_neither_too_short_nor_too_long(card):
    assert 80 <= words(re.sub(r"(?m)^##.*$", "", card.body)) <= 250


@every_card
def test_headings_are_the_known_ones_in_their_order(card):
    assert headings(card) == [heading for heading in HEADINGS[card.head.lang] if heading in headings(card)]
    assert headings(card)


@every_card
def test_a_sentence_has_at_most_twenty_words(card):
    assert [text for text in sentences(card) if words(text) > 20] == []


@every_card
def test_no_sentence_begins_by_pointing_backwards(card):
    pointing = r"(?:It|This|They|These|Those|Es|Das|Sie|Dies|Diese|Dieser)\b"
    assert [text for text in sentences(card) if re.match(pointing, text)] == []


@every_card
def test_text_is_plain_and_calm(card):
    assert not re.search(r"[!*|<>`\[\]]|https?:", card.body)


@every_card
def test_other_names_are_four_to_twelve_and_differ(card):
    assert 4 <= len(card.head.also) <= 12
    assert len({name.lower() for name in card.head.also}) == len(card.head.also)


@every_card
def test_german_says_du_without_gender_signs(card):
    if card.head.lang == "de":
        assert not re.search(r"\b(?:Ihnen|Ihre[nmrs]?)\b|\w[:*_]innen\b", card.body)


@every_card
def test_first_aid_begins_with_the_call(card):
    if card.head.group == "aid":
        assert "112" in card.body.split("\n")[1]


@every_pair
def test_twins_carry_the_same_numbers_headings_and_head(card_id):
    german, english = BY_KEY[card_id, "de"], BY_KEY[card_id, "en"]
    assert numbers(german) == numbers(english)
    assert [HEADINGS["de"].index(one) for one in headings(german)] == [
        HEADINGS["en"].index(one) for one in headings(english)
    ]
    for field in ("group", "date", "review"):
        assert getattr(german.head, field) == getattr(english.head, field)


def test_known_questions_belong_to_cards_row_by_row_in_both_languages():
    for card_id, by_language in read_asked(shipped_library()).items():
        assert (card_id, "en") in BY_KEY
        assert set(by_language) == {"en", "de"}
        assert len(by_language["en"]) == len(by_language["de"])

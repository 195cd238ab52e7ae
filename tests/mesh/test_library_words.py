"""Words of German and English: what a question and a text share although they are written differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.handbook import read_word_rules
from hearthnet.mesh.library_words import WordRules, guess_language, is_common, split_words, stem

RULES = WordRules(frozenset({"pump", "gart", "kell", "wass", "sturm", "warn", "zung", "hau", "krank"}))


def shared(question, text, language):
    wanted = {stem for stems in RULES.query_words(question).values() for stem in stems}
    return wanted & set(RULES.index_words(text, language).split())


@pytest.mark.parametrize(
    ("question", "text", "language"),
    [
        ("batteries", "a battery", "en"),
        ("boiling", "boil it", "en"),
        ("stopped", "stop the pump", "en"),
        ("Fenster öffnen", "öffne das Fenster", "de"),
        ("Hände", "die Hand", "de"),
        ("Reanimation", "reanimieren", "de"),
        ("Desinfizierung", "desinfizieren", "de"),
        ("Pumpe im Garten", "die Gartenpumpe", "de"),
        ("Gartenpumpe", "eine Pumpe", "de"),
        ("auspumpen", "die Pumpen laufen", "de"),
        ("Strasse", "auf der Straße", "de"),
        ("Krankenhaus", "im Haus", "de"),
        ("NINA", "die Warn-App NINA", "de"),
        ("5,5", "nach 5,5 Stunden", "de"),
    ],
)
def test_question_and_text_meet(question, text, language):
    assert shared(question, text, language)


@pytest.mark.parametrize(
    ("question", "text", "language"),
    [("Verletzung", "die Zunge", "de"), ("gas", "das ist gut", "de"), ("is the", "this is the end", "en")],
)
def test_what_only_looks_alike_stays_apart(question, text, language):
    telling = {w for w in shared(question, text, language) if not is_common(w)}
    assert not telling


def test_telling_words_next_to_each_other_are_pairs_in_the_stems_of_both_languages():
    assert RULES.query_pairs("setting up the file systems") == [("fil", "system")]
    assert RULES.query_pairs("file in system") == []
    assert set(RULES.query_pairs("nasse Wände")) == {(stem("nasse", one), stem("wande", one)) for one in ("en", "de")}


def test_common_words_count_only_when_there_is_nothing_else():
    assert list(RULES.query_words("where is the pump")) == ["pump"]
    assert list(RULES.query_words("what is it")) == ["what", "is", "it"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("is it safe to run a generator indoors", "en"),
        ("darf ich das aggregat im keller laufen lassen", "de"),
        ("wie viel wasser brauche ich", "de"),
        ("how much water", "en"),
        ("übung", "de"),
        ("123 456", ""),
        ("", ""),
    ],
)
def test_the_language_of_a_question_is_guessed(text, language):
    assert guess_language(text) == language


def test_rules_with_other_stems_have_another_version():
    assert WordRules(frozenset({"pump"})).version == WordRules(frozenset({"pump"})).version
    assert WordRules(frozenset({"pump"})).version != WordRules(frozenset({"pumpe"})).version


def test_the_stems_that_ship_cut_compounds_of_the_handbook():
    rules = read_word_rules(shipped_library())
    assert rules.parts("kellerpumpe") == ["pump", "kell"]
    assert rules.parts("trinkwasservorrat") == [stem("wasservorrat", "de"), stem("trinkwasser", "de")]


@given(st.text(max_size=200))
def test_any_text_gives_words_without_space_or_quotes(text):
    for word in [*split_words(text), *RULES.index_words(text, "de").split()]:
        assert word
        assert '"' not in word
        assert not any(sign.isspace() for sign in word)

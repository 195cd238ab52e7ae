"""Whether a passage carries what a model said: close wording passes, everything else does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.mesh.support import is_carried, nearest_sentence

CARD = [
    "Never run a petrol generator in a cellar or garage.",
    "Run a petrol generator only outdoors, at least 6 m from windows.",
    "Boil water for 3 minutes above 2000 m.",
    "Carbon monoxide has no smell.",
]
KARTE = [
    "Betreibe ein Notstromaggregat nie im Keller.",
    "Im Freien steht ein Notstromaggregat sicher.",
    "Koche Wasser 1 Minute sprudelnd.",
    "Trinke kein Meerwasser.",
]


@pytest.mark.parametrize("text", CARD)
def test_a_sentence_carries_itself(text):
    assert is_carried(text, [CARD], "en")


@pytest.mark.parametrize(
    "text",
    [
        "You should never run a petrol generator in the cellar.",
        "Run the petrol generator outdoors only.",
        "Above 2000 m you should boil the water for 3 minutes.",
        "Of carbon monoxide there is no smell.",
    ],
)
def test_close_wording_is_carried(text):
    assert is_carried(text, [CARD], "en")


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "Yes, that is safe.",
        "No smell.",
        "Only outdoors!",
        "Run a petrol generator in a cellar or garage.",
        "You can run a petrol generator in the cellar.",
        "A petrol generator in the cellar is no problem.",
        "Don't worry, run a petrol generator in a cellar.",
        "Never run a petrol generator outdoors.",
        "Never run a petrol generator outdoors, run a petrol generator in a cellar or garage.",
        "Run a petrol generator at least 2 m from windows.",
        "Boil water for 30 minutes above 2000 m.",
        "Do not boil water for 3 minutes above 2000 m.",
        "Carbon monoxide has a smell.",
        "Carbon monoxide in the garage is no danger.",
        "Never run a petrol generator in a tent, cellar or garage without a window.",
        "Carbon monoxide is harmless and has no smell of roses in spring.",
        "",
    ],
)
def test_what_the_passage_does_not_say_is_not_carried(text):
    assert not is_carried(text, [CARD], "en")


@pytest.mark.parametrize(
    ("text", "carried"),
    [
        ("Betreibe nie ein Notstromaggregat im Keller.", True),
        ("Du darfst das Notstromaggregat im Keller betreiben.", False),
        ("Das Wasser musst du 1 Minute sprudelnd kochen.", True),
        ("Trinke Meerwasser.", False),
        ("Ja, das ist sicher.", False),
    ],
)
def test_german_is_judged_alike(text, carried):
    assert is_carried(text, [KARTE], "de") is carried


def test_a_passage_that_is_not_cited_carries_nothing():
    assert not is_carried(CARD[0], [KARTE], "en")
    assert not is_carried(CARD[0], [], "en")


def test_the_sentence_that_was_bent_is_found():
    assert nearest_sentence("You can run a petrol generator in the cellar.", [CARD], "en") == CARD[0]
    assert nearest_sentence("The moon is made of cheese.", [CARD], "en") == ""


@given(st.sampled_from(CARD + KARTE), st.data())
def test_taking_the_negation_away_never_passes(text, data):
    words = text.split()
    negations = [place for place, word in enumerate(words) if word.lower() in {"never", "no", "nie", "kein"}]
    if not negations:
        return
    place = data.draw(st.sampled_from(negations))
    bent = " ".join([*words[:place], *words[place + 1 :]])

    assert not is_carried(bent, [CARD + KARTE], "en")

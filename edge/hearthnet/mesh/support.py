"""Whether a passage carries what a model said in its own words (M04, decision 22; pure functions).

Strict on purpose: a sentence passes only when one sentence of a passage that it cites holds nearly all of its telling
words and all of its numbers, says yes or no as it does, and none that says the opposite comes as near. Where something
is forbidden, by the sentence or by the passage, it may bring no telling word of its own at all. Short sentences ("Yes,
that is safe.") never pass: they could mean anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hearthnet.mesh.library_words import split_words
from hearthnet.mesh.word_shares import share_of, stems_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CARRIED_FROM: Final = 0.75  # share of the telling words
QUOTE_FROM: Final = 0.4  # below this a sentence is not even about the same
WORDS_LEAST: Final = 3  # telling words; with fewer a sentence says yes or no to whatever was asked

_CLAUSE: Final = re.compile(r"[;:,–—]|\s-\s|\b(?:but|and|or|if|aber|und|oder|wenn|sondern)\b", re.IGNORECASE)
_NEGATIONS: Final = frozenset(
    """not no never none nobody nothing neither nor cannot without nicht kein keine keinen keinem keiner keines nie
    niemals niemand nichts weder ohne""".split()  # noqa: SIM905  a list of words
)
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)?")


def is_carried(sentence: str, passages: Sequence[Sequence[str]], language: str) -> bool:
    """Whether the sentences of the cited passages carry this one, as a whole and clause by clause."""
    theirs = [text for passage in passages for text in passage]
    if len(stems_of(sentence, language)) < WORDS_LEAST or not _carried(sentence, theirs, language):
        return False
    clauses = [clause for clause in _CLAUSE.split(sentence) if len(stems_of(clause, language)) > 1]
    return all(_agrees(clause, theirs, language) for clause in clauses)


def nearest_sentence(sentence: str, passages: Sequence[Sequence[str]], language: str) -> str:
    """The sentence to quote instead; empty when none is about the same."""
    shares = [(_share(sentence, text, language), text) for passage in passages for text in passage]
    share, text = max(shares, key=lambda item: item[0], default=(0.0, ""))
    return text if share >= QUOTE_FROM else ""


def _carried(sentence: str, theirs: Sequence[str], language: str) -> bool:
    numbers = set(_NUMBER.findall(sentence))
    denies = _denies(sentence)
    same = [text for text in theirs if _denies(text) == denies and numbers <= set(_NUMBER.findall(text))]
    if not same:
        return False
    best = max(same, key=lambda text: _share(sentence, text, language))
    share, opposite = _share(sentence, best, language), _opposite(sentence, theirs, language)
    if (denies or opposite >= QUOTE_FROM) and _brings_words(sentence, best, language):
        return False
    return share >= CARRIED_FROM and share >= opposite


def _brings_words(sentence: str, text: str, language: str) -> bool:
    theirs = stems_of(text, language)
    return any(share_of(frozenset((word,)), theirs, {word: 1.0}) == 0.0 for word in stems_of(sentence, language))


def _agrees(clause: str, theirs: Sequence[str], language: str) -> bool:
    """Whether no sentence that says the opposite is nearer to the clause than those that say the same."""
    same = [text for text in theirs if _denies(text) == _denies(clause)]
    return max((_share(clause, text, language) for text in same), default=0.0) >= _opposite(clause, theirs, language)


def _opposite(sentence: str, theirs: Sequence[str], language: str) -> float:
    other = [text for text in theirs if _denies(text) != _denies(sentence)]
    return max((_share(sentence, text, language) for text in other), default=0.0)


def _share(sentence: str, text: str, language: str) -> float:
    wanted = stems_of(sentence, language)
    return share_of(wanted, stems_of(text, language), dict.fromkeys(wanted, 1.0))


def _denies(text: str) -> bool:
    plain = text.lower().replace("’", "'")
    return "n't" in plain or not _NEGATIONS.isdisjoint(split_words(plain))

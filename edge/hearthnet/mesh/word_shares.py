"""Which share of a question's telling words a text holds (M04, M05; pure functions)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hearthnet.mesh.library_words import is_common, split_words, stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def shares_of(question: str, texts: Sequence[str], languages: Sequence[str]) -> list[float]:
    """Which part of the question's telling words each text holds, in its language; rare words weigh more."""
    words = [stems_of(text, language) for text, language in zip(texts, languages, strict=True)]
    asked = {language: stems_of(question, language) for language in set(languages)}
    weights = {language: _weights(stems, words) for language, stems in asked.items()}
    return [share_of(asked[language], own, weights[language]) for own, language in zip(words, languages, strict=True)]


def stems_of(text: str, language: str) -> frozenset[str]:
    """The telling words of a text, without their endings."""
    words = split_words(text)
    telling = [word for word in words if not is_common(word)] or words
    return frozenset(stem(word, language) for word in telling)


def share_of(wanted: frozenset[str], held: frozenset[str], weights: Mapping[str, float]) -> float:
    """Which part of the wanted words, by weight, a text holds; parts of compound words count less."""
    total = sum(weights.values())
    if not total:
        return 0.0
    return sum(weights[word] * max((_overlap(word, own) for own in held), default=0.0) for word in wanted) / total


def _weights(wanted: frozenset[str], texts: Sequence[frozenset[str]]) -> dict[str, float]:
    """The rarer a word among the sentences at hand, the more it tells them apart."""
    weights = {}
    for word in wanted:
        holding = sum(any(_overlap(word, own) for own in text) for text in texts)
        weights[word] = math.log(1 + len(texts) / (1 + holding))
    return weights


def _overlap(wanted: str, own: str) -> float:
    if wanted == own:
        return 1.0
    shorter = min(len(wanted), len(own))
    if shorter >= 4 and (own.startswith(wanted) or wanted.startswith(own)):
        return 0.8
    return 0.7 if shorter >= 5 and (wanted in own or own in wanted) else 0.0

"""Weighing words against meaning, and how sure the library may be (M05; pure functions).

Fusion is chosen per query: the share of a query's telling words that a passage holds weighs in only as far as rare
words were found at all, so that a query in another language is ranked by meaning alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hearthnet.mesh.library_vectors import Dense

BM25_TOP: Final = 2.2  # the most a word can add per unit of its rarity (k1 = 1.2)
FINE_SHARE: Final = 0.6
RARITY_FLOOR: Final = 4.0  # telling words alone must be this rare together to weigh in fully
TWIN_SHARE: Final = 0.4
WORDS_WEIGHT: Final = 0.1  # of the lexical share, against cosines


class Lexical(Struct, frozen=True):
    """Result of a search by words."""

    scores: dict[int, float]  # chunk -> BM25, larger is better
    rarity: dict[str, float]  # telling word of the query -> how rare it is (0 = everywhere)

    @property
    def best_possible(self) -> float:
        """What a passage full of all words would score; more than that when only common words were asked."""
        return BM25_TOP * (sum(self.rarity.values()) + RARITY_FLOOR)


class Ranked(Struct, frozen=True):
    """A chunk and its parts of the score."""

    chunk: int
    score: float
    meaning: float
    words: float  # 0 to 1


def rarity(total: int, holding: int) -> float:
    """Inverse document frequency as FTS5 computes it."""
    return max(1e-6, math.log((total - holding + 0.5) / (holding + 0.5)))


def fuse(dense: Dense | None, lexical: Lexical, twins: Mapping[int, int]) -> list[Ranked]:
    """Chunks best first; by words alone when there is no dense result.

    `twins` tells of a card's chunk where the other language says the same: that bears witness too.
    """
    top = lexical.best_possible
    shares = {chunk: min(1.0, score / top) for chunk, score in lexical.scores.items()}
    if dense is None:
        ranked = [Ranked(chunk, share, 0.0, share) for chunk, share in shares.items()]
    else:
        ranked = []
        for chunk in dense.chunks.keys() | shares.keys():
            near = dense.chunks.get(chunk)
            meaning = near.value() if near else dense.mean
            twin = dense.chunks.get(twins[chunk]) if chunk in twins else None
            if near and twin:
                meaning = (meaning + TWIN_SHARE * twin.value()) / (1 + TWIN_SHARE)
            share = shares.get(chunk, 0.0)
            ranked.append(Ranked(chunk, meaning + WORDS_WEIGHT * share, meaning, share))
    return sorted(ranked, key=lambda item: (-item.score, item.chunk))


def refine(ranked: list[Ranked], fine: Mapping[int, float]) -> list[Ranked]:
    """The first chunks in a new order, by how near their sentences are too; the rest follows as it was."""
    first = [
        Ranked(item.chunk, item.score + shift, item.meaning + shift, item.words)
        for item in ranked
        if item.chunk in fine
        for shift in [FINE_SHARE * (fine[item.chunk] - item.meaning)]
    ]
    first.sort(key=lambda item: (-item.score, item.chunk))
    return first + [item for item in ranked if item.chunk not in fine]

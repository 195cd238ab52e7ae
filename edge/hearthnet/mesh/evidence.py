"""Sentences of the found passages, ranked by a question, and which of them make a safe answer (M04, decision 22).

Everything here is pure. Safety comes from the shape of the cards, not from words: a card says what is forbidden in a
section of its own, so what the question may be about to do is forbidden before anything is allowed.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from hearthnet.mesh.cards import SECTION_KINDS
from hearthnet.mesh.library_words import is_common, split_words, stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hearthnet.mesh.passages import Passage

SENTENCES_MAX: Final = 5
SENTENCES_MIN: Final = 3  # fewer are filled up from the best passage, unless the answer is a warning
FORBIDS_MAX: Final = 3  # prohibitions near to the question
FORBIDS_LEAST: Final = 2  # of a card that calls for help, near or not
WORDS_WEIGHT: Final = 0.1  # of the share of the question's words that a sentence holds, against cosines
PASSAGE_WEIGHT: Final = 2.0  # of a passage's distance to the best one
NEAR_ENOUGH: Final = 0.045  # so far below the best sentence one still belongs to the answer
ALIKE: Final = 0.7  # sentences that share so many words say the same

_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)


class Spanned(Protocol):
    """Anything that tells where a sentence stands."""

    @property
    def start(self) -> int:
        """First character."""

    @property
    def end(self) -> int:
        """Behind the last character."""


class Statement(Struct, frozen=True):
    """A sentence that may be quoted: `passages[source].text[start:end]`."""

    source: int
    start: int
    end: int
    text: str
    section: str  # of a card: help, do, never, why, when; of a document: empty
    score: float = 0.0


class Choice(Struct, frozen=True):
    """What an answer says for sure, in order, and what may follow it, best first."""

    fixed: tuple[Statement, ...]
    open: tuple[Statement, ...]
    room: int  # how many of the open ones fit
    warns: bool = False  # what the question is about is near to something forbidden

    @property
    def is_grave(self) -> bool:
        """Whether life may be at stake: a card speaks that calls for help or forbids."""
        return any(item.section in ("help", "never") for item in self.fixed)


def statements_of(passages: Sequence[Passage]) -> list[Statement]:
    """Every sentence of the passages."""
    return [
        item
        for source, passage in enumerate(passages)
        for item in cut_statements(passage.text, passage.sentences, source, is_card=bool(passage.metadata.card_id))
    ]


def cut_statements(text: str, spans: Iterable[Spanned], source: int = 0, *, is_card: bool) -> list[Statement]:
    """The sentences at these spans, each with the section of the card that it stands in."""
    headings = [(mark.start(), SECTION_KINDS.get(mark[1].strip(), "")) for mark in _HEADING.finditer(text)]
    found = []
    for span in spans:
        above = [kind for place, kind in headings if place < span.start] if is_card else []
        found.append(Statement(source, span.start, span.end, text[span.start : span.end], above[-1] if above else ""))
    return found


def rank_statements(
    question: str, passages: Sequence[Passage], statements: Sequence[Statement], near: Mapping[str, float]
) -> list[Statement]:
    """Statements best first; `near` is each text's cosine to the question, empty when nothing can be embedded."""
    languages = [passage.metadata.language for passage in passages]
    words = [stems_of(item.text, languages[item.source]) for item in statements]
    asked = {language: stems_of(question, language) for language in set(languages)}
    weights = {language: _weights(stems, words) for language, stems in asked.items()}
    best = max((passage.score for passage in passages), default=0.0)
    distance_weight = PASSAGE_WEIGHT if near else WORDS_WEIGHT  # without cosines both are shares of words
    ranked = []
    for item, own in zip(statements, words, strict=True):
        language = languages[item.source]
        share = share_of(asked[language], own, weights[language])
        distance = passages[item.source].score - best
        score = near.get(item.text, 0.0) + WORDS_WEIGHT * share + distance_weight * distance
        ranked.append(Statement(item.source, item.start, item.end, item.text, item.section, score))
    return sorted(ranked, key=lambda item: (-item.score, item.source, item.start))


def choose_statements(ranked: Sequence[Statement]) -> Choice:
    """Call first, then what is forbidden, then what to do; the rest is open.

    Where a card calls for help, at least one of its prohibitions is said, however far from the question.
    """
    if not ranked:
        return Choice((), (), 0)
    top = ranked[0].score
    main = min((item.source for item in ranked if item.score >= top - NEAR_ENOUGH), default=0)
    fixed = [item for item in _by_place(ranked) if item.section == "help" and item.source == main][:1]
    own = [item for item in ranked if item.section == "never" and item.source == main]
    near = [item for item in ranked if item.section == "never" and item.score >= top - NEAR_ENOUGH]
    close = [item for item in own if item.score >= top - 2 * NEAR_ENOUGH]
    own = (close or own)[:FORBIDS_LEAST] if fixed else close[:1]  # without a call for help it is a card for calm days
    forbids: list[Statement] = []
    for item in [*near, *own]:
        room = FORBIDS_MAX if item in near else FORBIDS_LEAST
        if not _said(item, forbids) and len(forbids) < room:
            forbids.append(item)
    fixed += sorted(forbids, key=lambda item: -item.score)
    others = [item for item in ranked if item.section != "never"]
    rest: list[Statement] = []
    for item in others:
        if item.score >= top - NEAR_ENOUGH and not _said(item, [*fixed, *rest]):
            rest.append(item)
    for item in others if not near else ():
        if len(fixed) + len(rest) < SENTENCES_MIN and item.source == main and not _said(item, [*fixed, *rest]):
            rest.append(item)
    fixed += rest[:1]
    return Choice(tuple(fixed), tuple(rest[1:]), max(0, SENTENCES_MAX - len(fixed)), warns=bool(near))


def join_documents(choice: Choice, documents: Sequence[Statement]) -> Choice:
    """What somebody's own documents say is open, behind the handbook; never where the handbook warns."""
    if choice.warns or not documents:
        return choice
    top = max(documents[0].score, *(item.score for item in (*choice.fixed, *choice.open)), 0.0)
    near = [item for item in documents if item.score >= top - NEAR_ENOUGH]
    joined = sorted([*near, *choice.open], key=lambda item: -item.score)
    return Choice(choice.fixed, tuple(joined), max(1, choice.room))


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


def _by_place(statements: Sequence[Statement]) -> list[Statement]:
    return sorted(statements, key=lambda item: (item.source, item.start))


def _said(item: Statement, chosen: Sequence[Statement]) -> bool:
    own = stems_of(item.text, "")
    for other in chosen:
        said = stems_of(other.text, "")
        if len(own & said) >= ALIKE * min(len(own), len(said)):
            return True
    return False

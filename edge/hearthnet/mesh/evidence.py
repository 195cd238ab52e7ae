"""Sentences of the found passages, ranked by a question, and which of them make a safe answer (M04, decision 22).

Everything here is pure. Safety comes from the shape of the cards, not from words: a card says what is forbidden in a
section of its own, so what the question may be about to do is forbidden before anything is allowed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from msgspec import Struct

from hearthnet.mesh.cards import SECTION_KINDS
from hearthnet.mesh.word_shares import shares_of, stems_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hearthnet.mesh.passages import Passage

SENTENCES_MAX: Final = 5
SENTENCES_MIN: Final = 4  # fewer are filled up with acts of the first card
FORBIDS_MAX: Final = 3
WARNED_PLACE: Final = 2.0  # behind a prohibition the place of an act counts more: the one set first is the safe way
WORDS_WEIGHT: Final = 0.1  # of the share of the question's words that a sentence holds, against cosines
COMPANION_WEIGHT: Final = 0.5  # of the distance between the second card and the first
COMPANION_NEAR: Final = 0.012  # a second card that fits nearly as well may speak too
COMPANION_SAID: Final = 2  # sentences of it
NEAR_ENOUGH: Final = 0.045  # so far below the best sentence one still belongs to the answer
HELP_NEAR: Final = 0.03  # the same for the act that a card sets beside its call for help
FOREIGN_LEAD: Final = 0.02  # a prohibition of a further card has to be nearer by as much
SECOND_FORBID: Final = 0.02  # behind the nearest prohibition a further one is said only if it is as near
FORBIDDEN_FROM: Final = 0.84  # cosine to a prohibition from which a question is about something forbidden
ALIKE: Final = 0.7  # sentences that share so many words say the same

# Cards set the most important act first: their order is a better judge of use than a cosine (docs/benchmarks.md).
HELP_PRIOR: Final = 0.02
REMARK_PRIOR: Final = -0.03  # reasons and signs answer few questions alone
PLACE_LAST: Final = 3  # further down all lines are alike: there cards list
PLACE_PRIOR: Final = {"do": -0.006, "help": -0.006, "never": -0.003}  # a line further down

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
    line: int = 0  # of its section, from 0
    near: float = 0.0  # cosine to the question as a passage; 0 = not known


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
        msgspec.structs.replace(item, near=span.score)
        for source, passage in enumerate(passages)
        for item, span in zip(
            cut_statements(passage.text, passage.sentences, source, is_card=bool(passage.metadata.card_id)),
            passage.sentences,
            strict=True,
        )
    ]


def cut_statements(text: str, spans: Iterable[Spanned], source: int = 0, *, is_card: bool) -> list[Statement]:
    """The sentences at these spans, each with the section and line of the card that it stands in."""
    headings = [(mark.end(), SECTION_KINDS.get(mark[1].strip(), "")) for mark in _HEADING.finditer(text)]
    found = []
    for span in spans:
        above = [(place, kind) for place, kind in headings if place <= span.start] if is_card else []
        place, kind = above[-1] if above else (span.start, "")
        line = len([row for row in text[place : span.start].split("\n")[:-1] if row.strip()])
        found.append(Statement(source, span.start, span.end, text[span.start : span.end], kind, line=line))
    return found


def rank_statements(
    question: str, passages: Sequence[Passage], statements: Sequence[Statement], near: Mapping[str, float]
) -> list[Statement]:
    """Statements best first; `near` is each text's cosine to the question, empty when nothing can be embedded."""
    languages = [passages[item.source].metadata.language for item in statements]
    shares = shares_of(question, [item.text for item in statements], languages)
    best = max((passage.score for passage in passages), default=0.0)
    ranked = []
    for item, share in zip(statements, shares, strict=True):
        meaning = near.get(item.text, 0.0)
        meaning = (2 * meaning + item.near) / 3 if item.near and meaning else meaning
        distance = passages[item.source].score - best
        score = meaning + WORDS_WEIGHT * share + COMPANION_WEIGHT * distance + (_prior(item) if near else 0.0)
        ranked.append(msgspec.structs.replace(item, score=score))
    return sorted(ranked, key=lambda item: (-item.score, item.source, item.start))


def count_speakers(passages: Sequence[Passage]) -> int:
    """How many of the cards an answer is built from: the first, and the next if it fits nearly as well.

    More do not belong together; of the others only a prohibition is heard that is nearer than all of theirs.
    """
    return 1 + sum(item.score >= passages[0].score - COMPANION_NEAR for item in passages[1:2])


def choose_statements(ranked: Sequence[Statement], speakers: int = 2) -> Choice:
    """The call for help of the first card and the act beside it, what is forbidden near to the question, then acts.

    `speakers` as `count_speakers` gives it.
    """
    spoken = [item for item in ranked if item.source < speakers]
    if not spoken:
        return Choice((), (), 0)
    top = max(item.score for item in spoken)
    main = min(item.source for item in spoken)
    helps = [item for item in spoken if item.section == "help" and item.source == main]
    first = min(helps, key=lambda item: item.start, default=None)
    fixed = [first] if first else []
    fixed += [item for item in helps if item is not first and item.score >= top - HELP_NEAR]
    forbids = _forbids(ranked, spoken, top)
    fixed += [item for item in forbids if not _said(item, fixed)]
    rest = _acts(spoken, fixed, top, warned=bool(forbids))
    fixed += rest[:1]
    room = max(1, SENTENCES_MAX - len(fixed))  # the act nearest to the question may be the second
    if forbids and forbids[0].score >= max((item.score for item in rest), default=0.0):
        room = 0  # what is asked is what is forbidden: one safe way is enough
    return Choice(tuple(fixed), tuple(rest[1:]), room, warns=bool(forbids))


def _acts(spoken: Sequence[Statement], fixed: Sequence[Statement], top: float, *, warned: bool) -> list[Statement]:
    """What to do, and reasons, best first; the act nearest to the question is never further back than second."""
    main = min(item.source for item in spoken)
    rest: list[Statement] = []
    for item in sorted(spoken, key=lambda item: -item.score - WARNED_PLACE * _place(item)) if warned else spoken:
        aside = item.source != main and (item.section == "help" or _count(rest, item.source) >= COMPANION_SAID)
        if item.section == "never" or aside or _said(item, [*fixed, *rest]):
            continue
        few = item.source == main and item.section == "do" and len(fixed) + len(rest) < SENTENCES_MIN
        if item.score >= top - NEAR_ENOUGH or few or not rest:
            rest.append(item)
    acts = [item for item in spoken if item.source == main and item.section in ("do", "") and not _said(item, fixed)]
    nearest = max(acts, key=lambda item: item.score - _prior(item), default=None)
    if nearest in rest[2:] or (nearest and not _said(nearest, rest)):
        rest = [item for item in rest if item is not nearest]
        rest.insert(1, nearest)
    return rest


def _forbids(ranked: Sequence[Statement], spoken: Sequence[Statement], top: float) -> list[Statement]:
    """The prohibitions that the question comes near to, nearest first; of a card that does not speak at most one."""
    own = [item for item in spoken if item.section == "never"]
    near = [item for item in own if item.score >= top - NEAR_ENOUGH or item.near >= FORBIDDEN_FROM]
    least = max((item.score + FOREIGN_LEAD for item in own), default=0.0)
    foreign = [item for item in ranked if item.section == "never" and item.source not in {one.source for one in spoken}]
    foreign = [item for item in foreign if item.score >= least and item.near >= FORBIDDEN_FROM][:1]
    best = max((item.score for item in (*near, *foreign)), default=0.0)
    said: list[Statement] = []
    for item in sorted((*near, *foreign), key=lambda item: (item.source, -item.score)):  # of two alike the first card's
        if item.score >= best - SECOND_FORBID and len(said) < FORBIDS_MAX and not _said(item, said):
            said.append(item)
    return sorted(said, key=lambda item: -item.score)


def _count(statements: Sequence[Statement], source: int) -> int:
    return sum(item.source == source for item in statements)


def _prior(item: Statement) -> float:
    kind = HELP_PRIOR if item.section == "help" else REMARK_PRIOR if item.section in ("why", "when") else 0.0
    return kind + _place(item)


def _place(item: Statement) -> float:
    return min(item.line, PLACE_LAST) * PLACE_PRIOR.get(item.section, 0.0)


def _said(item: Statement, chosen: Sequence[Statement]) -> bool:
    own = stems_of(item.text, "")
    for other in chosen:
        said = stems_of(other.text, "")
        if len(own & said) >= ALIKE * min(len(own), len(said)):
            return True
    return False

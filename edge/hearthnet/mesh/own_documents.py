"""What somebody's own documents say to a question, and whether that is an answer at all (M04, M05).

Own documents are about anything, so what people ask elsewhere does not count. Three signs are weighed: how near the
nearest line is in meaning, which share of the question's words the best line holds, and which share its passage holds.
The numbers ship as data, fitted by `tests/library/fit_documents.py`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from operator import mul
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.base.errors import Unavailable
from hearthnet.mesh.document_lines import lines_of
from hearthnet.mesh.evidence import FORBIDDEN_FROM, WORDS_WEIGHT, Choice, Statement
from hearthnet.mesh.scope import HELD_FROM
from hearthnet.mesh.word_shares import share_of, shares_of, stems_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hearthnet.mesh.likeness import Likeness
    from hearthnet.mesh.passages import Passage

log = logging.getLogger(__name__)

MODEL_FILE: Final = "documents.json"
LINES_EMBEDDED: Final = 24  # a question; on a small board each costs some 20 ms the first time
LINES_SAID: Final = 3
LINES_NEAR: Final = 0.035  # so far below the best line one still belongs to the answer
LEAD: Final = 0.02  # a line that leads the handbook by as much is the better answer, however unsure
FORBIDDEN_STRONG: Final = 0.9  # score of a prohibition from which documents are not heard
FORBIDDEN_NEAR: Final = 0.03  # the same where no line leads it by as much
FORBIDDEN_FIRST: Final = 0.08  # where no line leads it by as much, the prohibition stands before the line


class DocumentSigns(Struct, frozen=True):
    """What is weighed; each is 0 to 1."""

    near: float
    words: float
    held: float


class DocumentModel(Struct, frozen=True):
    """What ships: a weight a sign, in the order of `DocumentSigns`."""

    provenance: str
    embedding_model: str
    weights: tuple[float, float, float]
    bias: float


class Finding(Struct, frozen=True):
    """Lines of documents, best first, and the probability that they answer."""

    probability: float
    statements: tuple[Statement, ...]

    @property
    def best(self) -> float:
        """Score of the best line: cosine and words."""
        return self.statements[0].score if self.statements else 0.0


class OwnDocuments:
    """Judges passages of documents; without its model or an embedder the search decides."""

    def __init__(self, folder: Path, embedding_model: str, likeness: Likeness) -> None:
        self._folder = folder
        self._embedding_model = embedding_model
        self._likeness = likeness
        self._model: DocumentModel | None = None
        self._read = False

    async def judge(self, question: str, confidence: float, passages: Sequence[Passage]) -> Finding:
        """What these passages say; `confidence` is that of the search that found them."""
        statements = await self.rank(question, passages)
        model = await self._open()
        if not statements:
            return Finding(0.0, ())
        if model is None or not statements[0].near:
            return Finding(confidence, statements)
        return Finding(weigh_document(model, signs_of(question, passages, statements)), statements)

    async def rank(self, question: str, passages: Sequence[Passage]) -> tuple[Statement, ...]:
        """Lines best first; `near` is the cosine of a line to the question, 0 where nothing can be embedded."""
        rough = plain_scores(question, passages, lines_of(passages))
        kept = sorted(rough, key=lambda line: -line.score)[:LINES_EMBEDDED]
        try:
            near = await self._likeness.passages_near(question, list(dict.fromkeys(line.text for line in kept)))
        except Unavailable:
            near = {}
        ranked = []
        for line in kept:
            meaning = near.get(line.text, 0.0)
            ranked.append(msgspec.structs.replace(line, near=meaning, score=line.score - line.near + meaning))
        return tuple(sorted(ranked, key=lambda line: (-line.score, line.source, line.start)))

    async def _open(self) -> DocumentModel | None:
        if not self._read:
            model = await asyncio.to_thread(_read_model, self._folder)
            self._model = model if model and model.embedding_model == self._embedding_model else None
            self._read = True
        return self._model


def signs_of(question: str, passages: Sequence[Passage], ranked: Sequence[Statement]) -> DocumentSigns:
    """The signs of ranked lines; `ranked` is not empty."""
    best = ranked[0]
    passage = passages[best.source]
    asked = stems_of(question, passage.metadata.language)
    held = share_of(asked, stems_of(passage.text, passage.metadata.language), dict.fromkeys(asked, 1.0))
    return DocumentSigns(
        near=max(line.near for line in ranked), words=(best.score - best.near) / WORDS_WEIGHT, held=held
    )


def weigh_document(model: DocumentModel, signs: DocumentSigns) -> float:
    """The signs as one probability."""
    weighed = model.bias + sum(map(mul, model.weights, (signs.near, signs.words, signs.held)))
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, weighed))))


def choose_lines(finding: Finding) -> Choice:
    """The best line, and a few that are as near."""
    near = [line for line in finding.statements if line.score >= finding.best - LINES_NEAR][:LINES_SAID]
    return Choice(tuple(near[:1]), tuple(near[1:]), max(0, len(near) - 1))


def join_lines(choice: Choice, cards: Sequence[Statement], finding: Finding) -> Choice:
    """Handbook and documents both hold something: whose is nearer speaks; never a document where the handbook warns.

    `cards` have the score that lines have: cosine and words, without the weight of their place.
    """
    own = choose_lines(finding)
    handbook = max((item.score for item in cards), default=0.0)
    if finding.probability < HELD_FROM and finding.best < handbook + LEAD:
        return choice
    forbids = sorted((item for item in cards if item.section == "never"), key=lambda item: -item.score)[:1]
    forbidden = max((item.score for item in forbids), default=0.0)
    if choice.warns and not finding.statements[0].near:
        return choice
    if forbidden >= FORBIDDEN_STRONG or forbidden >= finding.best - FORBIDDEN_NEAR:
        return choice
    if handbook > finding.best:
        return choice if choice.warns else Choice(choice.fixed, (*own.fixed, *choice.open), max(1, choice.room))
    first = [item for item in forbids if item.near >= FORBIDDEN_FROM and item.score >= finding.best - FORBIDDEN_FIRST]
    return Choice((*first, *own.fixed), own.open, own.room, warns=bool(first))


def plain_scores(question: str, passages: Sequence[Passage], statements: Sequence[Statement]) -> list[Statement]:
    """Statements scored by meaning and words alone, as lines of documents are."""
    languages = [passages[item.source].metadata.language for item in statements]
    shares = shares_of(question, [item.text for item in statements], languages)
    return [
        msgspec.structs.replace(item, score=item.near + WORDS_WEIGHT * share)
        for item, share in zip(statements, shares, strict=True)
    ]


def _read_model(folder: Path) -> DocumentModel | None:
    try:
        return msgspec.json.decode((folder / MODEL_FILE).read_bytes(), type=DocumentModel)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.warning("%s: %s", MODEL_FILE, error)
        return None

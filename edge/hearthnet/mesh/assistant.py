"""The grounded assistant: what it says stands in the library, or it says that it does not (M04, decisions 22 and 33).

With a small model, or none, the answer is sentences of the library, word for word: the call for help, what is
forbidden, what to do. Where several fit equally well, the model chooses among them by a grammar that allows nothing
else. A larger model may add its own wording below, each sentence checked against the passage that it cites.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.base.errors import EngineDied, NotFound, Unavailable
from hearthnet.base.types import Tier
from hearthnet.mesh.answers import Progress, Token
from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.evidence import (
    Choice,
    Statement,
    choose_statements,
    count_speakers,
    rank_statements,
    statements_of,
)
from hearthnet.mesh.grounding import Question, Retrieval, read_question, source_of
from hearthnet.mesh.likeness import Likeness, read_likeness
from hearthnet.mesh.own_documents import Finding, OwnDocuments, choose_lines, join_lines, plain_scores
from hearthnet.mesh.recital import Chooser, Recital
from hearthnet.mesh.scope import HELD_FROM, Scope, Verdict
from hearthnet.mesh.wording import Wording
from hearthnet.wire.quote import find_quote

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import TypeAlias

    from hearthnet.mesh.answers import ChatInput, ChatParams, Frame
    from hearthnet.mesh.capability import Call
    from hearthnet.mesh.passages import Passage
    from hearthnet.mesh.services import Services
    from hearthnet.ports import ModelInfo

    Cards: TypeAlias = tuple[Passage, ...]

CARDS_READ: Final = 3  # cards that are looked at, and that a refusal shows
DOCUMENTS_READ: Final = 3
NEAREST_FROM: Final = 0.25  # probability below which not even the nearest cards are worth showing
NOTHING: Final = Choice((), (), 0)
LANGUAGES: Final = ("de", "en")


class _Ground(Struct, frozen=True):
    """What an answer stands on."""

    question: Question
    language: str
    passages: tuple[Passage, ...]
    choice: Choice
    verdict: Verdict


class Assistant:
    """Answers questions from the library of this node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        chosen = services.config.rag.library_dir
        folder = Path(chosen) if chosen else shipped_library()
        self._likeness = Likeness(services.engines, services.config.embedding.model, read_likeness(folder))
        self._scope = Scope(folder, services.config.embedding.model, self._likeness)
        self._documents = OwnDocuments(folder, services.config.embedding.model, self._likeness)
        self._retrieval = Retrieval(services.bus, services.clock)

    async def answer(
        self, call: Call, params: ChatParams, request: ChatInput, model: ModelInfo | None
    ) -> AsyncGenerator[Frame, None]:
        """Frames of a grounded answer, ending with Done; raises Unavailable before words when there is no library."""
        clock = self._services.clock
        began = clock.monotonic()
        yield Progress("retrieve")
        ground = await self._ground(call, params, request)
        recital = Recital([source_of(number, passage) for number, passage in enumerate(ground.passages, 1)])
        if not ground.verdict.held:
            making = self._refuse(call, ground, recital)
        elif model is not None and model.tier == Tier.LARGE_MODEL.value and self._services.config.llm.free_wording:
            making = self._word(ground, recital, request, model)
        else:
            making = self._quote(ground, recital, request, model)
        async with aclosing(making) as frames:
            async for frame in frames:
                yield frame
        yield recital.sources()
        yield recital.done(round((clock.monotonic() - began) * 1000), ground.verdict.probability)

    # ---- what it stands on ------------------------------------------------------------------------------------

    async def _ground(self, call: Call, params: ChatParams, request: ChatInput) -> _Ground:
        question = read_question(request.messages)
        found = await self._retrieval.find(call, question)
        language = found.language if found.language in LANGUAGES else params.language
        language = language or self._services.config.node.language
        cards = found.handbook[:CARDS_READ]
        twins = await self._retrieval.read_twins(call, cards)
        texts = [item.text for item in statements_of(cards)]
        verdict = await self._scope.judge(
            question.text, language, found.handbook_confidence, texts, [text for twin in twins for text in twin]
        )
        documents = found.documents[:DOCUMENTS_READ]
        finding = await self._documents.judge(question.search, found.documents_confidence, documents)
        if not verdict.held and finding.probability >= HELD_FROM:
            return _Ground(question, language, documents, choose_lines(finding), Verdict(finding.probability))
        if not verdict.held or not finding.statements:
            return await self._from_cards(question, language, cards, twins, verdict)
        return await self._from_both(question, language, (cards, documents), twins, verdict, finding)

    async def _from_cards(
        self, question: Question, language: str, cards: Cards, twins: Sequence[Sequence[str]], verdict: Verdict
    ) -> _Ground:
        if not verdict.held:
            return _Ground(question, language, cards if verdict.probability >= NEAREST_FROM else (), NOTHING, verdict)
        near = await self._near(question, cards, twins)
        ranked = rank_statements(question.search, cards, statements_of(cards), near)
        return _Ground(question, language, cards, choose_statements(ranked, count_speakers(cards)), verdict)

    async def _from_both(
        self, question: Question, language: str, passages: tuple[Cards, Cards], twins: Sequence[Sequence[str]],
        verdict: Verdict, finding: Finding,
    ) -> _Ground:  # fmt: skip
        """The handbook's own answer, and the lines of documents behind or instead of it."""
        cards, documents = passages
        handbook = await self._from_cards(question, language, cards, twins, verdict)
        first = len(handbook.passages)
        lines = tuple(msgspec.structs.replace(line, source=line.source + first) for line in finding.statements)
        plain = plain_scores(question.search, handbook.passages, statements_of(handbook.passages))
        choice = join_lines(handbook.choice, plain, Finding(finding.probability, lines))
        probability = max(finding.probability, verdict.probability)
        return _Ground(question, language, (*handbook.passages, *documents), choice, Verdict(probability))

    async def _near(
        self, question: Question, passages: Sequence[Passage], twins: Sequence[Sequence[str]]
    ) -> dict[str, float]:
        """Cosines to the question, of a sentence and its twin; a follow-up is held against both questions."""
        pairs: dict[str, str] = {}
        for passage, twin in zip(passages, twins, strict=False):
            own = [item.text for item in statements_of([passage])]
            pairs |= zip(own, twin if len(twin) == len(own) else own, strict=True)
        asked = dict.fromkeys((question.text, question.search))
        try:
            found = [await self._likeness.near(text, [*pairs.keys(), *pairs.values()]) for text in asked if pairs]
        except Unavailable:
            return {}
        return {own: sum(near[own] + near[twin] for near in found) / (2 * len(found)) for own, twin in pairs.items()}

    # ---- what it says -----------------------------------------------------------------------------------------

    async def _quote(
        self, ground: _Ground, recital: Recital, request: ChatInput, model: ModelInfo | None
    ) -> AsyncGenerator[Frame, None]:
        """Sentences of the library; what keeps people safe is said whatever limits the request has."""
        services = self._services
        choice = ground.choice
        chooser = Chooser(services.engines, services.clock, model.name if model else "", request.seed)
        yield recital.sources()
        if self._is_foreign(ground, choice.fixed):
            yield Token(f"{services.phrase(ground.language, 'answer.other_language')}\n\n")
        for item in choice.fixed:
            yield recital.quote(item)
        left, waits = list(choice.open), False
        for _ in range(choice.room):
            if not left:
                return
            if model is not None and not waits and chooser.tied(left):
                waits = True
                yield Progress("generate" if model.loaded else "load")
            item = await chooser.choose(ground.question.search, left)
            recital.model = chooser.model if chooser.used else ""
            left.remove(item)
            if not recital.has_room(item.text, request.max_tokens, request.stop):
                return
            yield recital.quote(item)

    async def _word(
        self, ground: _Ground, recital: Recital, request: ChatInput, model: ModelInfo
    ) -> AsyncGenerator[Frame, None]:
        """A larger model's own wording, checked; where life may be at stake the library's words stand above it."""
        services = self._services
        choice, passages = ground.choice, ground.passages
        yield recital.sources()
        if choice.is_grave:
            passages = tuple(passage for passage in passages if passage.metadata.card_id)
            for item in choice.fixed:
                yield recital.quote(item)
        wording = Wording(services.engines, model.name, passages, ground.language)
        yield Progress("generate" if model.loaded else "load")
        broken = False
        try:
            async with aclosing(wording.speak(request, ground.question.text, recital.said)) as tokens:
                async for token in tokens:
                    if not token.quoted and recital.tier is Tier.QUOTED:
                        recital.tier, recital.model = Tier.LARGE_MODEL, model.name
                        by = services.phrase(ground.language, "answer.worded_by")
                        yield Token(f"{by} {model.name}:\n\n")
                    yield recital.note(token)
        except (EngineDied, Unavailable, NotFound):  # what was said stays; the library's words go on
            broken = True
        recital.tokens_in, recital.stop_reason = wording.tokens_in, wording.stop_reason
        for item in choice.fixed if broken or not recital.said else ():
            if item.text not in recital.said:
                yield recital.quote(item)

    async def _refuse(self, call: Call, ground: _Ground, recital: Recital) -> AsyncGenerator[Frame, None]:
        """Say that it is not here and what comes nearest; only where life or health may be at stake, whom to call."""
        recital.tier = Tier.NOT_IN_LIBRARY
        verdict = ground.verdict
        card = await self._retrieval.read_card(call, verdict.card, ground.language) if verdict.card else None
        place = recital.add_source(card) if card else 0
        yield recital.sources()
        phrase, places = self._services.phrase, range(1, len(ground.passages) + 1)
        titles = "; ".join(dict.fromkeys(passage.metadata.doc_title for passage in ground.passages))
        named = f" {phrase(ground.language, 'ask.nearest')} {titles}." if titles else ""
        yield Token(f"{phrase(ground.language, 'ask.missing')}{named}", tuple(places))
        for step in verdict.steps:
            found = find_quote(step, [card.text]) if card else None
            if found is not None:
                yield recital.quote(Statement(place, found.start, found.end, step, "help"))

    @staticmethod
    def _is_foreign(ground: _Ground, items: Sequence[Statement]) -> bool:
        spoken = {ground.passages[item.source].metadata.language for item in items}
        return bool(spoken) and ground.language not in spoken and "" not in spoken

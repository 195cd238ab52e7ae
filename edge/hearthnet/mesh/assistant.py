"""The grounded assistant: what it says stands in the library, or it says that it does not (M04, decisions 22 and 33).

With a small model, or none, the answer is sentences of the library, word for word: the call for help, what is
forbidden, what to do. Where several fit equally well, the model chooses among them by a grammar that allows nothing
else. A larger model may add its own wording below, each sentence checked against the passage that it cites.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import EngineDied, NotFound, Unavailable
from hearthnet.base.types import Tier
from hearthnet.mesh.answers import Progress, Token
from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.evidence import Choice, Statement, choose_statements, join_documents, rank_statements, statements_of
from hearthnet.mesh.grounding import Question, Retrieval, read_question, source_of
from hearthnet.mesh.likeness import Likeness, read_likeness
from hearthnet.mesh.recital import Chooser, Recital
from hearthnet.mesh.scope import HELD_FROM, Scope, Verdict, document_probability
from hearthnet.mesh.wording import Wording
from hearthnet.wire.quote import find_quote

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from hearthnet.mesh.answers import ChatInput, ChatParams, Frame
    from hearthnet.mesh.capability import Call
    from hearthnet.mesh.grounding import Found
    from hearthnet.mesh.passages import Passage
    from hearthnet.mesh.services import Services
    from hearthnet.ports import ModelInfo

CARDS_READ: Final = 3  # cards that an answer quotes from, and that a refusal shows
DOCUMENTS_READ: Final = 2
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
        verdict, passages = await self._weigh(call, question, found, language)
        statements = statements_of(passages)
        ranked = rank_statements(question.search, passages, statements, await self._near(question, statements))
        cards = [item for item in ranked if passages[item.source].metadata.card_id]
        documents = [item for item in ranked if not passages[item.source].metadata.card_id]
        choice = join_documents(choose_statements(cards), documents) if cards else choose_statements(documents)
        return _Ground(question, language, passages, choice, verdict)

    async def _weigh(
        self, call: Call, question: Question, found: Found, language: str
    ) -> tuple[Verdict, tuple[Passage, ...]]:
        """Whether the handbook, other documents, both or none hold an answer, and the passages to answer from."""
        cards, documents = found.handbook[:CARDS_READ], found.documents[:DOCUMENTS_READ]
        sentences = [item.text for item in statements_of(cards)]
        twins = await self._retrieval.read_twins(call, cards)
        handbook = await self._scope.judge(question.text, language, found.handbook_confidence, sentences, twins)
        other = 0.0
        if documents:
            other = document_probability(
                found.documents_confidence, await self._near(question, statements_of(documents))
            )
        if other < HELD_FROM:
            return handbook, cards
        if not handbook.held:
            return Verdict(other), documents
        return Verdict(max(other, handbook.probability)), cards + documents

    async def _near(self, question: Question, statements: Sequence[Statement]) -> dict[str, float]:
        """Cosines to the question; a follow-up is held against its own words and against both questions."""
        texts = list(dict.fromkeys(item.text for item in statements))
        if not texts:
            return {}
        try:
            near = await self._likeness.near(question.text, texts)
            if question.search != question.text:
                whole = await self._likeness.near(question.search, texts)
                near = {text: (near[text] + whole[text]) / 2 for text in texts}
        except Unavailable:
            return {}
        return near

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
        """Say that it is not here, and what the nearest helpful card says first."""
        recital.tier = Tier.NOT_IN_LIBRARY
        verdict = ground.verdict
        card = await self._retrieval.read_card(call, verdict.card, ground.language) if verdict.card else None
        place = recital.add_source(card) if card else 0
        yield recital.sources()
        yield Token(self._services.phrase(ground.language, "ask.missing"))
        for step in verdict.steps:
            found = find_quote(step, [card.text]) if card else None
            if found is not None:
                yield recital.quote(Statement(place, found.start, found.end, step, "help"))

    @staticmethod
    def _is_foreign(ground: _Ground, items: Sequence[Statement]) -> bool:
        spoken = {ground.passages[item.source].metadata.language for item in items}
        return bool(spoken) and ground.language not in spoken and "" not in spoken

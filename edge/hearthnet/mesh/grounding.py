"""From a question to the passages that may answer it; a follow-up leans on the question before it (M04)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from hearthnet.base.errors import CapacityExceeded, NotFound, Unavailable
from hearthnet.mesh.answers import Source
from hearthnet.mesh.capability import NoParams
from hearthnet.mesh.library_words import is_common, split_words
from hearthnet.mesh.passages import CORPUS_SYSTEM, Passage, QueryInput, QueryOutput
from hearthnet.mesh.scope import TWIN
from hearthnet.wire.chunk import split_sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearthnet.mesh.answers import Message
    from hearthnet.mesh.capability import Call
    from hearthnet.mesh.services import Bus
    from hearthnet.ports import Clock

FOLLOW_UP_WORDS: Final = 3  # a question with no more telling words than this leans on the one before
GIST_CHARS: Final = 1600  # the embedder reads no further
CORPORA_MAX: Final = 8
PASSAGES_WANTED: Final = 6
_TRIES: Final = 20
_RETRY_S: Final = 0.1


class Question(Struct, frozen=True):
    """What is asked: the words of this turn, and the words to search with."""

    text: str
    search: str


class Found(Struct, frozen=True):
    """Passages of the handbook and of other corpora, best first, each with the confidence of its search."""

    language: str  # of the question, as the search read it; may be empty
    handbook: tuple[Passage, ...]
    documents: tuple[Passage, ...]
    handbook_confidence: float
    documents_confidence: float


def read_question(messages: Sequence[Message]) -> Question:
    """The last turn; when it is short, the question before it is searched with it."""
    asked = [_gist(message.content) for message in messages if message.role == "user"]
    text = asked[-1]
    telling = [word for word in split_words(text) if not is_common(word)]
    if len(asked) > 1 and len(telling) <= FOLLOW_UP_WORDS:
        return Question(text, f"{asked[-2]} {text}")
    return Question(text, text)


def _gist(text: str) -> str:
    """A long story is searched by its beginning and its end: that is where people ask."""
    text = text.strip()
    half = GIST_CHARS // 2
    return text if len(text) <= GIST_CHARS else f"{text[:half]} {text[-half:]}"


class Retrieval:
    """Searches every corpus that the caller may see."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def find(self, call: Call, question: Question) -> Found:
        """The best passages; raises Unavailable when no library is offered."""
        corpora = await self._corpora(call)
        replies = await asyncio.gather(*(self._query(call, corpus, question.search) for corpus in corpora))
        by_corpus = {name: reply for name, reply in zip(corpora, replies, strict=True) if reply is not None}
        handbook = by_corpus.pop(CORPUS_SYSTEM, None)
        others = list(by_corpus.values())
        language = next((reply.meta.language for reply in (handbook, *others) if reply and reply.meta.language), "")
        return Found(
            language=language,
            handbook=handbook.chunks if handbook else (),
            documents=_best(passage for reply in others for passage in reply.chunks),
            handbook_confidence=handbook.meta.confidence if handbook else 0.0,
            documents_confidence=max((reply.meta.confidence for reply in others), default=0.0),
        )

    async def read_card(self, call: Call, card_id: str, language: str) -> Source | None:
        """A whole card as a source; None when the library has it not."""
        wanted = {"card_id": card_id, "language": language}
        try:
            found = await self._call("rag.read@1.0", {"corpus": CORPUS_SYSTEM}, wanted, call)
        except NotFound:
            return None
        part, document = found.parts[0], found.document
        return Source(
            number=0, title=document.title, text=part.text, corpus=CORPUS_SYSTEM, doc_cid=document.doc_cid,
            chunk_id=f"{document.doc_cid}#{part.number}", language=document.language, card_id=document.card_id,
            authorities=found.authorities, date=found.date,
        )  # fmt: skip

    async def read_twins(self, call: Call, passages: Sequence[Passage]) -> list[tuple[str, ...]]:
        """The sentences of each of these cards in the other language; of a card without twin there are none."""
        return list(await asyncio.gather(*(self._read_twin(call, passage) for passage in passages)))

    async def _read_twin(self, call: Call, passage: Passage) -> tuple[str, ...]:
        wanted = (passage.metadata.card_id, TWIN.get(passage.metadata.language, ""))
        card = await self.read_card(call, *wanted) if all(wanted) else None
        if card is None or (card.card_id, card.language) != wanted:
            return ()
        return tuple(card.text[span.start : span.end] for span in split_sentences(card.text))

    async def _corpora(self, call: Call) -> list[str]:
        try:
            listed = await self._call("rag.list_corpora@1.0", NoParams(), {}, call)
        except NotFound as error:
            raise Unavailable("this node has no library", fix="set rag.enabled") from error
        names = [corpus.name for corpus in listed.corpora if corpus.docs]
        return sorted(names, key=lambda name: name != CORPUS_SYSTEM)[:CORPORA_MAX]

    async def _query(self, call: Call, corpus: str, text: str) -> QueryOutput | None:
        request = QueryInput(query=text, k=PASSAGES_WANTED)
        try:
            found: QueryOutput = await self._call("rag.query@1.0", {"corpus": corpus}, request, call)
        except (NotFound, Unavailable):
            if corpus == CORPUS_SYSTEM:
                raise
            return None  # a corpus that went away, or waits for its vectors, does not cost the answer
        return found

    async def _call(
        self, name: str, params: Struct | dict[str, Any], request: Struct | dict[str, Any], call: Call
    ) -> Any:
        for _ in range(_TRIES):
            try:
                return await self._bus.call(name, params, request, caller=call.caller, within=call)
            except CapacityExceeded as error:
                await self._clock.sleep(max(_RETRY_S, (error.retry_after_ms or 0) / 1000))
        return await self._bus.call(name, params, request, caller=call.caller, within=call)


def source_of(number: int, passage: Passage, quotes: Iterable[tuple[int, int]] = ()) -> Source:
    """A passage as a numbered source."""
    known = passage.metadata
    return Source(
        number=number, title=known.doc_title, text=passage.text, corpus=known.corpus, doc_cid=known.doc_cid,
        chunk_id=known.chunk_id, language=known.language, card_id=known.card_id, page=known.page,
        authorities=known.authorities, date=known.date, quotes=tuple(sorted(quotes)), score=passage.score,
    )  # fmt: skip


def _best(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    return tuple(sorted(passages, key=lambda passage: -passage.score)[:PASSAGES_WANTED])

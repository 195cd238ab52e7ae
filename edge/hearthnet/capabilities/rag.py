"""The library: ask it, add to it, see what it holds (M05)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from hearthnet.base.errors import HearthNetError, NotFound, Unauthorized, Unavailable
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.capability import Call, NoParams, Offer, capability
from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.handbook import load_handbook, read_seeds, read_word_rules
from hearthnet.mesh.ingestion import Ingestion, Source
from hearthnet.mesh.library_catalogue import (
    CorpusSummary,
    DocumentInput,
    DocumentSummary,
    DocumentText,
    read_document,
    summarise_corpora,
    summarise_documents,
)
from hearthnet.mesh.library_confidence import read_confidence
from hearthnet.mesh.library_embedding import Embedding
from hearthnet.mesh.library_index import Corpus, LibraryIndex
from hearthnet.mesh.library_passages import QueryVector
from hearthnet.mesh.library_search import LibrarySearch
from hearthnet.mesh.passages import CORPUS_PERSONAL, CORPUS_SYSTEM, CorpusName, QueryInput, QueryOutput
from hearthnet.wire.cid import parse_cid

if TYPE_CHECKING:
    from hearthnet.mesh.services import Services


class CorpusParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Which corpus."""

    corpus: CorpusName


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """A request without fields."""


class IngestInput(Struct, frozen=True, forbid_unknown_fields=True):
    """A stored blob to take in; `metadata` may carry `filename` and `media_type`."""

    doc_cid: Annotated[str, Meta(max_length=80)]
    title: Annotated[str, Meta(max_length=500)] = ""
    language: Annotated[str, Meta(pattern="^(|[a-z]{2})$", description="Empty = found by its words")] = ""
    metadata: dict[str, Any] = {}


class IngestMeta(Struct, frozen=True):
    """The event that told the community; empty for personal documents."""

    ingest_event_id: str


class IngestOutput(Struct, frozen=True):
    """The document can be found by words now; vectors follow in the background."""

    doc_cid: str
    chunks_indexed: int
    tokens_indexed: int
    vectors_pending: int
    meta: IngestMeta


class CorporaOutput(Struct, frozen=True):
    """What the library holds."""

    corpora: tuple[CorpusSummary, ...]


class DocumentsOutput(Struct, frozen=True):
    """What a corpus holds."""

    documents: tuple[DocumentSummary, ...]


class ReindexOutput(Struct, frozen=True):
    """Vectors are being made anew."""

    vectors_pending: int


class DeleteOutput(Struct, frozen=True):
    """The document and everything made from it is gone."""

    doc_cid: str


class Library:
    """Corpora of this node; `start` loads the handbook, calls wait for it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        config = services.config
        self._model = config.embedding.model
        self._folder = Path(config.rag.library_dir) if config.rag.library_dir else shipped_library()
        self._rules = read_word_rules(shipped_library())
        self._index = LibraryIndex(services.store, self._rules)
        self._search = LibrarySearch(
            services.store, services.vectors, self._rules, read_confidence(shipped_library(), services.vectors)
        )
        self._embedding = Embedding(
            self._index, self._search, services.engines, services.clock, read_seeds(self._folder)
        )
        self._ingestion = Ingestion(self._index, services.blobs, services.reader, services.clock, services.events)
        self._starting = asyncio.Lock()
        self._started = False
        self._names: set[str] = set()
        self._taking: dict[tuple[int, str], asyncio.Future[None]] = {}

    def offer_of(self, name: str) -> Offer | None:
        """Corpora that others may ask for; what is personal is never among them."""
        return Offer(lambda: {"corpora": sorted(self._names - {CORPUS_PERSONAL})}, lambda _offered, _requested: True)

    async def start(self) -> None:
        """Load the handbook if it changed, then take up what was left half. Idempotent."""
        async with self._starting:
            if self._started:
                return
            handbook = await load_handbook(self._folder, self._index, self._model, self._services.clock)
            if handbook.model != self._model:
                handbook = await self._index.renew(handbook, self._model)
            await self._embedding.plant(handbook)
            for corpus in await self._index.corpora():
                self._names.add(corpus.name)
                if corpus.analyser != self._rules.version:
                    await self._index.renew_words(corpus)
            self._started = True
            self._services.spawn("library vectors", self._embedding.run())
            self._services.spawn("library documents", self._resume())

    @capability("rag.query@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=10, max_concurrent=4)
    async def query(self, call: Call, params: CorpusParams, request: QueryInput) -> QueryOutput:
        """Passages that answer a question."""
        corpus = await self._corpus(call, params.corpus)
        if corpus.model != self._model:
            raise Unavailable(
                f"the vectors of {corpus.name} were made by {corpus.model}, not by {self._model}",
                fix=f"hearthnet rag reindex --corpus {corpus.name}",
            )
        return await self._search.query(corpus, request, await self._vector(request.query))

    @capability("rag.ingest@1.0", trust=TrustLevel.TRUSTED, idempotent=True, timeout_s=300, max_concurrent=2)
    async def ingest(self, call: Call, params: CorpusParams, request: IngestInput) -> IngestOutput:
        """Take a stored blob into a corpus."""
        await self.start()
        self._refuse_read_only(params.corpus)
        _refuse_foreign(call, params.corpus)
        doc_cid = parse_cid(request.doc_cid)
        await self._services.blobs.size(doc_cid)
        corpus = await self._index.make_corpus(params.corpus, self._model)
        self._names.add(corpus.name)
        if (await self._index.documents(corpus)).get(doc_cid, ("", {}))[0] != "ready":
            await self._take(corpus, Source(doc_cid, request.title, request.language, request.metadata))
        found = (await read_document(self._services.store, corpus.id, DocumentInput(doc_cid=doc_cid, count=1))).document
        return IngestOutput(
            doc_cid, found.chunks, found.tokens, found.vectors_total - found.vectors_done, IngestMeta(found.event_id)
        )

    @capability("rag.list_corpora@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=10, max_concurrent=4)
    async def list_corpora(self, call: Call, params: NoParams, request: Nothing) -> CorporaOutput:
        """What the library holds."""
        await self.start()
        found = await summarise_corpora(self._services.store)
        return CorporaOutput(tuple(item for item in found if item.name != CORPUS_PERSONAL or _is_own(call)))

    @capability("rag.list_documents@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=10, max_concurrent=4)
    async def list_documents(self, call: Call, params: CorpusParams, request: Nothing) -> DocumentsOutput:
        """What a corpus holds, and how far its documents are."""
        corpus = await self._corpus(call, params.corpus)
        return DocumentsOutput(tuple(await summarise_documents(self._services.store, corpus.id)))

    @capability("rag.read@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=10, max_concurrent=4)
    async def read(self, call: Call, params: CorpusParams, request: DocumentInput) -> DocumentText:
        """The text of a document or card."""
        corpus = await self._corpus(call, params.corpus)
        return await read_document(self._services.store, corpus.id, request)

    @capability("rag.delete@1.0", trust=TrustLevel.SELF, idempotent=True, timeout_s=60, max_concurrent=2)
    async def delete(self, call: Call, params: CorpusParams, request: DocumentInput) -> DeleteOutput:
        """Remove a document and everything made from it."""
        self._refuse_read_only(params.corpus)
        corpus = await self._corpus(call, params.corpus)
        doc_cid = parse_cid(request.doc_cid)
        if not await self._index.remove(corpus, doc_cid):
            raise NotFound(f"no document {doc_cid}")
        self._search.forget(corpus.id)
        await self._ingestion.release(doc_cid)
        return DeleteOutput(doc_cid)

    @capability("rag.reindex@1.0", trust=TrustLevel.SELF, idempotent=True, timeout_s=300, max_concurrent=1)
    async def reindex(self, call: Call, params: CorpusParams, request: Nothing) -> ReindexOutput:
        """Make all vectors of a corpus anew, by the embedder that is configured now."""
        corpus = await self._corpus(call, params.corpus)
        renewed = await self._index.renew(corpus, self._model)
        self._search.forget(corpus.id)
        await self._embedding.plant(renewed)
        self._embedding.wake()
        found = [item for item in await summarise_corpora(self._services.store) if item.name == corpus.name]
        return ReindexOutput(found[0].pending)

    async def _corpus(self, call: Call, name: str) -> Corpus:
        await self.start()
        _refuse_foreign(call, name)
        corpus = await self._index.corpus(name)
        if corpus is None:
            raise NotFound(f"no corpus {name}")
        return corpus

    async def _vector(self, query: str) -> QueryVector | None:
        try:
            found = await self._services.engines.embed([query], query=True)
        except Unavailable:
            return None
        return QueryVector(found.dim, found.data)

    async def _take(self, corpus: Corpus, source: Source) -> None:
        """Ingest once, however many ask; it goes on when the caller leaves."""
        key = (corpus.id, source.doc_cid)
        job = self._taking.get(key)
        if job is None:
            job = self._taking[key] = asyncio.get_running_loop().create_future()
            self._services.spawn("library document", self._take_now(key, job, corpus, source))
        await asyncio.shield(job)

    async def _take_now(self, key: tuple[int, str], job: asyncio.Future[None], corpus: Corpus, source: Source) -> None:
        try:
            await self._ingestion.take(corpus, source)
        except HearthNetError as error:
            job.set_exception(error)
            job.exception()  # seen, even if nobody waits any more
        else:
            job.set_result(None)
        finally:
            del self._taking[key]
            self._search.forget(corpus.id)
            self._embedding.wake()
            if not job.done():
                job.cancel()

    async def _resume(self) -> None:
        await self._ingestion.resume()
        self._embedding.wake()

    def _refuse_read_only(self, corpus: str) -> None:
        if corpus == CORPUS_SYSTEM:
            raise Unauthorized("the handbook is read-only", fix="use another corpus, for example personal")


def _is_own(call: Call) -> bool:
    return call.caller.trust is TrustLevel.SELF


def _refuse_foreign(call: Call, corpus: str) -> None:
    """`personal` does not exist for anybody but this household."""
    if corpus == CORPUS_PERSONAL and not _is_own(call):
        raise NotFound(f"no corpus {corpus}")

"""Taking a document into the library: read, cut, stored, found by words at once, by meaning soon (M05)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hearthnet.base.errors import BadRequest, HearthNetError, NotFound
from hearthnet.base.types import CID
from hearthnet.mesh.library_documents import chunks_of_pages, clean_title, language_of_pages
from hearthnet.mesh.library_index import NewDocument
from hearthnet.mesh.passages import CORPUS_PERSONAL
from hearthnet.wire.chunk import guess_tokens
from hearthnet.wire.event_types import DocumentIngested

if TYPE_CHECKING:
    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.library_index import Corpus, LibraryIndex
    from hearthnet.ports import Blobs, Clock, DocumentReader

log = logging.getLogger(__name__)


class Source(Struct, frozen=True):
    """A document to take in, as its owner describes it."""

    doc_cid: CID
    title: str
    language: str
    metadata: dict[str, Any]

    @property
    def media_type(self) -> str:
        """What its owner says it is; the reader judges by its bytes."""
        return str(self.metadata.get("media_type", ""))


class Ingestion:
    """Writes documents into corpora; a document that a crash left half is written anew by `resume`."""

    def __init__(
        self, index: LibraryIndex, blobs: Blobs, reader: DocumentReader, clock: Clock, events: EventLog | None
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._reader = reader
        self._clock = clock
        self._events = events

    async def take(self, corpus: Corpus, source: Source) -> None:
        """Read, cut and store; afterwards the document is found by words. Raises NotFound, BadRequest, DiskFull.

        The blob stays pinned while a document is made from it, so that `resume` and the page find it.
        """
        size = await self._blobs.size(source.doc_cid)
        await self._blobs.pin(source.doc_cid)
        filename = clean_title(str(source.metadata.get("filename", "")))
        document = NewDocument(
            doc_cid=source.doc_cid,
            title=clean_title(source.title) or filename,
            language=source.language,
            media_type=source.media_type,
            size_bytes=size,
            metadata=source.metadata,
        )
        doc = await self._index.begin(corpus, document, self._clock.now())
        try:
            reading = await self._reader.read(self._blobs.read(source.doc_cid), source.media_type)
        except HearthNetError as error:
            await self._index.fail(doc, str(error))
            await self.release(source.doc_cid)
            raise
        title = clean_title(source.title) or clean_title(reading.title) or filename
        chunks = list(chunks_of_pages(reading.pages, title))
        whole = NewDocument(
            doc_cid=document.doc_cid,
            title=title or source.doc_cid[-8:],
            language=source.language or language_of_pages(reading.pages),
            media_type=reading.media_type,
            size_bytes=size,
            metadata=source.metadata,
            tokens=sum(guess_tokens(len(page.text)) for page in reading.pages),
        )
        await self._index.write(corpus, doc, whole, chunks)
        await self.announce(corpus, whole, len(chunks))

    async def announce(self, corpus: Corpus, document: NewDocument, chunks: int) -> None:
        """Tell the community of a document; what is personal stays here."""
        if self._events is None or corpus.name == CORPUS_PERSONAL:
            return
        told = await self._events.append(
            DocumentIngested(corpus.name, CID(document.doc_cid), document.title, document.language, chunks)
        )
        await self._index.note_event(corpus, document.doc_cid, told.event.event_id)

    async def resume(self) -> None:
        """Take in again what was `reading` when the node stopped."""
        for corpus, document in await self._index.unfinished():
            source = Source(CID(document.doc_cid), document.title, document.language, document.metadata)
            try:
                await self.take(corpus, source)
            except (BadRequest, NotFound) as error:
                log.warning("document cannot be taken in: %s", error)

    async def release(self, doc_cid: CID) -> None:
        """Let the blob go when no corpus needs it any more."""
        if not await self._index.is_held(doc_cid):
            await self._blobs.pin(doc_cid, pinned=False)

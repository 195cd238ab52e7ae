"""What the library holds, as rows: documents in, documents out, vectors that are still to be made (M05).

Every function here is one transaction or one read. A document is written in slices, its state tells whether it is
whole; whatever a crash leaves half is `reading` and is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from hearthnet.mesh import library_schema as schema

if TYPE_CHECKING:
    from hearthnet.mesh.library_words import WordRules
    from hearthnet.ports import Row, Store, Transaction

SLICE_CHUNKS: Final = 64

UNIT_ALSO, UNIT_SENTENCE, UNIT_WINDOW, UNIT_FINE = range(4)  # fine units of documents stay out of memory


class Unit(Struct, frozen=True):
    """A piece of a chunk that has a vector; `label` replaces its text where it is not in the chunk."""

    kind: int
    start: int
    stop: int
    label: str = ""
    heading: str = ""  # under which it stands; embedded with it


class NewChunk(Struct, frozen=True):
    """A chunk to store; offsets count in the page's text."""

    page: int
    start: int
    stop: int
    text: str
    units: tuple[Unit, ...]
    also: str = ""  # further words under which it is found


class NewDocument(Struct, frozen=True):
    """A document to store."""

    doc_cid: str
    title: str
    language: str
    media_type: str
    size_bytes: int
    metadata: dict[str, Any]
    tokens: int = 0


class Pending(Struct, frozen=True):
    """A unit without vector and the text to embed; other names are short like questions and embedded like them."""

    unit: int
    chunk: int
    kind: int
    start: int
    text: str

    @property
    def as_query(self) -> bool:
        """Whether it is embedded as a question, not as a passage."""
        return self.kind == UNIT_ALSO


class Corpus(Struct, frozen=True):
    """One corpus as stored."""

    id: int
    name: str
    model: str
    analyser: int


_WORDS_OF_CHUNKS: Final = (
    "SELECT c.id, d.language, d.title,"
    " coalesce((SELECT group_concat(value, '; ') FROM json_each(d.metadata, '$.also')),"
    " (SELECT group_concat(heading, '; ') FROM (SELECT heading FROM library_units WHERE chunk = c.id AND heading <> ''"
    " GROUP BY heading ORDER BY min(id))), ''), c.text"
    " FROM library_chunks c JOIN library_docs d ON d.id = c.doc WHERE d.corpus = ? AND c.id > ?"
    " ORDER BY c.id LIMIT ?"
)


class LibraryIndex:
    """The library's tables."""

    def __init__(self, store: Store, rules: WordRules) -> None:
        self._store = store
        self._rules = rules

    async def corpus(self, name: str) -> Corpus | None:
        """The corpus of this name."""
        rows = await self._store.query("SELECT id, name, model, analyser FROM library_corpora WHERE name = ?", (name,))
        return Corpus(*rows[0]) if rows else None

    async def corpora(self) -> list[Corpus]:
        """All corpora, by name."""
        rows = await self._store.query("SELECT id, name, model, analyser FROM library_corpora ORDER BY name")
        return [Corpus(*row) for row in rows]

    async def make_corpus(self, name: str, model: str) -> Corpus:
        """The corpus of this name, made if there is none."""
        version = self._rules.version

        def work(tx: Transaction) -> Corpus:
            rows = tx.query("SELECT id, name, model, analyser FROM library_corpora WHERE name = ?", (name,))
            if rows:
                return Corpus(*rows[0])
            tx.execute("INSERT INTO library_corpora (name, model, analyser) VALUES (?, ?, ?)", (name, model, version))
            ((key,),) = tx.query("SELECT last_insert_rowid()")
            for statement in schema.make_word_index(key):
                tx.execute(statement)
            return Corpus(key, name, model, version)

        return await self._store.transact(work)

    async def renew(self, corpus: Corpus, model: str) -> Corpus:
        """Forget all vectors of a corpus; they are to be made by `model`."""

        def work(tx: Transaction) -> None:
            tx.execute("UPDATE library_units SET vector = NULL WHERE corpus = ?", (corpus.id,))
            tx.execute("UPDATE library_corpora SET model = ? WHERE id = ?", (model, corpus.id))

        await self._store.transact(work)
        return Corpus(corpus.id, corpus.name, model, corpus.analyser)

    async def renew_words(self, corpus: Corpus) -> None:
        """Make the word index of a corpus anew by the rules of today, in slices; a stop in between begins again."""
        await self._store.transact(lambda tx: [tx.execute(one) for one in schema.make_word_index(corpus.id)])
        after = 0
        while rows := await self._store.query(_WORDS_OF_CHUNKS, (corpus.id, after, SLICE_CHUNKS)):
            after = rows[-1][0]
            await self._store.transact(lambda tx, rows=rows: self._write_words(tx, corpus, rows))  # type: ignore[misc]
        await self._store.transact(
            lambda tx: tx.execute(
                "UPDATE library_corpora SET analyser = ? WHERE id = ?", (self._rules.version, corpus.id)
            )
        )

    def _write_words(self, tx: Transaction, corpus: Corpus, rows: Sequence[Row]) -> None:
        for chunk, *texts in rows:
            _index_words(tx, self._rules, corpus.id, chunk, (texts[0], texts[1], texts[2], texts[3]))

    async def begin(self, corpus: Corpus, document: NewDocument, now: float) -> int:
        """Enter a document as `reading` without chunks, replacing what was there under its id; returns its key."""

        def work(tx: Transaction) -> int:
            _remove(tx, corpus, document.doc_cid)
            tx.execute(
                "INSERT INTO library_docs (corpus, doc_cid, title, language, media_type, size_bytes, metadata, state,"
                " added_at, tokens) VALUES (?, ?, ?, ?, ?, ?, ?, 'reading', ?, ?)",
                (
                    corpus.id, document.doc_cid, document.title, document.language, document.media_type,
                    document.size_bytes, msgspec.json.encode(document.metadata).decode(), now, document.tokens,
                ),
            )  # fmt: skip
            ((key,),) = tx.query("SELECT last_insert_rowid()")
            return int(key)

        return await self._store.transact(work)

    async def write(self, corpus: Corpus, doc: int, document: NewDocument, chunks: Sequence[NewChunk]) -> None:
        """Store the chunks in slices, then mark the document `ready`."""
        for first in range(0, len(chunks), SLICE_CHUNKS):
            part = chunks[first : first + SLICE_CHUNKS]
            await self._store.transact(
                lambda tx, first=first, part=part: _write_slice(tx, self._rules, corpus, doc, document, first, part)  # type: ignore[misc]  # bound at once
            )
        await self._store.transact(
            lambda tx: tx.execute(
                "UPDATE library_docs SET state = 'ready', title = ?, language = ?, media_type = ?, tokens = ?"
                " WHERE id = ?",
                (document.title, document.language, document.media_type, document.tokens, doc),
            )
        )

    async def note_event(self, corpus: Corpus, doc_cid: str, event_id: str) -> None:
        """Remember the event that told the community of a document."""
        await self._store.transact(
            lambda tx: tx.execute(
                "UPDATE library_docs SET event_id = ? WHERE corpus = ? AND doc_cid = ?", (event_id, corpus.id, doc_cid)
            )
        )

    async def fail(self, doc: int, error: str) -> None:
        """Remember why a document could not be read; its chunks go."""

        def work(tx: Transaction) -> None:
            tx.execute("UPDATE library_docs SET state = 'failed', error = ? WHERE id = ?", (error[:500], doc))

        await self._store.transact(work)

    async def remove(self, corpus: Corpus, doc_cid: str) -> bool:
        """Delete a document with everything made from it; False when it is not there."""
        return await self._store.transact(lambda tx: _remove(tx, corpus, doc_cid))

    async def unfinished(self) -> list[tuple[Corpus, NewDocument]]:
        """Documents that a stop left half, as they were asked for."""
        rows = await self._store.query(
            "SELECT p.id, p.name, p.model, p.analyser, d.doc_cid, d.title, d.language, d.media_type, d.size_bytes,"
            " d.metadata FROM library_docs d JOIN library_corpora p ON p.id = d.corpus WHERE d.state = 'reading'"
        )
        return [
            (Corpus(*row[:4]), NewDocument(row[4], row[5], row[6], row[7], row[8], msgspec.json.decode(row[9])))
            for row in rows
        ]

    async def is_held(self, doc_cid: str) -> bool:
        """Whether any corpus holds this document, or is about to."""
        sql = "SELECT 1 FROM library_docs WHERE doc_cid = ? AND state <> 'failed' LIMIT 1"
        return bool(await self._store.query(sql, (doc_cid,)))

    async def documents(self, corpus: Corpus) -> dict[str, tuple[str, dict[str, Any]]]:
        """State and metadata of every document, by content id."""
        rows = await self._store.query(
            "SELECT doc_cid, state, metadata FROM library_docs WHERE corpus = ?", (corpus.id,)
        )
        return {doc_cid: (state, msgspec.json.decode(metadata)) for doc_cid, state, metadata in rows}

    async def pending(self, corpus: Corpus, count: int, after: int = 0) -> list[Pending]:
        """The next units that need a vector, in order of their keys."""
        rows = await self._store.query(
            "SELECT u.id, u.chunk, u.kind, u.start, d.title, u.heading, u.label,"
            " substr(c.text, u.start + 1, u.stop - u.start)"
            " FROM library_units u JOIN library_chunks c ON c.id = u.chunk JOIN library_docs d ON d.id = c.doc"
            " WHERE u.corpus = ? AND u.vector IS NULL AND u.id > ? AND d.state = 'ready' ORDER BY u.id LIMIT ?",
            (corpus.id, after, count),
        )
        return [
            Pending(unit, chunk, kind, start, unit_text(title, kind, label or text, heading))
            for unit, chunk, kind, start, title, heading, label, text in rows
        ]

    async def store_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Give units their vectors, half floats; units that are gone meanwhile are skipped."""
        await self._store.transact(
            lambda tx: tx.executemany(
                "UPDATE library_units SET vector = ? WHERE id = ?", [(vector, unit) for unit, vector in vectors]
            )
        )


def unit_text(title: str, kind: int, text: str, heading: str = "") -> str:
    """What is embedded for a unit: a piece alone does not know its topic, the title and the headings do."""
    flat = " ".join(text.split())
    return flat if kind == UNIT_ALSO else ": ".join(part for part in (title, heading, flat) if part)


def _write_slice(
    tx: Transaction,
    rules: WordRules,
    corpus: Corpus,
    doc: int,
    document: NewDocument,
    first: int,
    chunks: Sequence[NewChunk],
) -> None:
    for number, chunk in enumerate(chunks, first):
        tx.execute(
            "INSERT INTO library_chunks (doc, number, page, start, stop, text) VALUES (?, ?, ?, ?, ?, ?)",
            (doc, number, chunk.page, chunk.start, chunk.stop, chunk.text),
        )
        ((key,),) = tx.query("SELECT last_insert_rowid()")
        _index_words(tx, rules, corpus.id, key, (document.language, document.title, chunk.also, chunk.text))
        tx.executemany(
            "INSERT INTO library_units (chunk, corpus, kind, start, stop, label, heading) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(key, corpus.id, unit.kind, unit.start, unit.stop, unit.label, unit.heading) for unit in chunk.units],
        )


def _index_words(tx: Transaction, rules: WordRules, corpus: int, chunk: int, texts: tuple[str, str, str, str]) -> None:
    language, title, also, body = texts
    tx.execute(
        f"INSERT INTO {schema.word_index(corpus)} (rowid, title, also, body) VALUES (?, ?, ?, ?)",  # noqa: S608
        (chunk, *(rules.index_words(text, language) for text in (title, also, body))),
    )


def _remove(tx: Transaction, corpus: Corpus, doc_cid: str) -> bool:
    rows = tx.query("SELECT id FROM library_docs WHERE corpus = ? AND doc_cid = ?", (corpus.id, doc_cid))
    if not rows:
        return False
    (doc,) = rows[0]
    tx.execute(
        f"DELETE FROM {schema.word_index(corpus.id)} WHERE rowid IN (SELECT id FROM library_chunks WHERE doc = ?)",  # noqa: S608
        (doc,),
    )
    tx.execute("DELETE FROM library_docs WHERE id = ?", (doc,))
    return True

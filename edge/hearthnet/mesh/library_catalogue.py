"""What stands in the library: corpora and documents with their state, and the text of one (M05)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import NotFound

if TYPE_CHECKING:
    from hearthnet.ports import Store


class CorpusSummary(Struct, frozen=True):
    """One corpus of the list."""

    name: str
    docs: int
    chunks: int
    size_bytes: int
    language_majority: str
    pending: int = 0  # pieces whose vectors are still being made


class DocumentSummary(Struct, frozen=True):
    """One document of a corpus; `state` is reading, ready or failed."""

    doc_cid: str
    title: str
    language: str
    media_type: str
    size_bytes: int
    state: str
    error: str
    added_at: float
    chunks: int
    tokens: int
    vectors_done: int
    vectors_total: int
    event_id: str = ""
    card_id: str = ""
    group: str = ""


class DocumentInput(Struct, frozen=True, forbid_unknown_fields=True):
    """A document by its id, or a card by its number and language."""

    doc_cid: Annotated[str, Meta(max_length=80)] = ""
    card_id: Annotated[str, Meta(pattern="^(|T[0-9]{2,3})$")] = ""
    language: Annotated[str, Meta(pattern="^(|[a-z]{2})$")] = ""
    first: Annotated[int, Meta(ge=0, description="First chunk to return")] = 0
    count: Annotated[int, Meta(ge=1, le=100)] = 20


class Part(Struct, frozen=True):
    """A chunk of a document; neighbours overlap, the offsets tell by how much."""

    number: int
    page: int
    start: int
    end: int
    text: str


class DocumentText(Struct, frozen=True):
    """A document with some of its chunks, and the languages its card is there in."""

    document: DocumentSummary
    parts: tuple[Part, ...]
    authorities: tuple[str, ...] = ()
    date: str = ""
    review: str = ""
    languages: tuple[str, ...] = ()


_SUMMARY: Final = (
    "SELECT d.doc_cid, d.title, d.language, d.media_type, d.size_bytes, d.state, d.error, d.added_at,"
    " (SELECT count(*) FROM library_chunks c WHERE c.doc = d.id), d.tokens,"
    " (SELECT count(u.vector) FROM library_chunks c JOIN library_units u ON u.chunk = c.id WHERE c.doc = d.id),"
    " (SELECT count(*) FROM library_chunks c JOIN library_units u ON u.chunk = c.id WHERE c.doc = d.id),"
    " d.event_id, d.metadata, d.id FROM library_docs d WHERE d.corpus = ?"
)


async def summarise_corpora(store: Store) -> list[CorpusSummary]:
    """All corpora, by name; documents that could not be read are not counted."""
    rows = await store.query(
        "SELECT p.name, count(d.id), coalesce(sum(d.size_bytes), 0),"
        " (SELECT count(*) FROM library_chunks c JOIN library_docs x ON x.id = c.doc WHERE x.corpus = p.id),"
        " coalesce((SELECT x.language FROM library_docs x WHERE x.corpus = p.id"
        "   GROUP BY x.language ORDER BY count(*) DESC, x.language LIMIT 1), ''),"
        " (SELECT count(*) FROM library_units u WHERE u.corpus = p.id AND u.vector IS NULL)"
        " FROM library_corpora p LEFT JOIN library_docs d ON d.corpus = p.id AND d.state <> 'failed'"
        " GROUP BY p.id ORDER BY p.name"
    )
    return [
        CorpusSummary(name, docs, chunks, size, language, pending)
        for name, docs, size, chunks, language, pending in rows
    ]


async def summarise_documents(store: Store, corpus: int) -> list[DocumentSummary]:
    """Documents of a corpus, cards in their order, then by title."""
    found = [_summary(row) for row in await store.query(_SUMMARY, (corpus,))]
    return sorted(found, key=lambda item: (int(item.card_id[1:] or 0), item.title.lower(), item.language, item.doc_cid))


async def read_document(store: Store, corpus: int, wanted: DocumentInput) -> DocumentText:
    """A document and its chunks from `first` on; raises NotFound."""
    sql, key = f"{_SUMMARY} AND d.doc_cid = ?", wanted.doc_cid
    if wanted.card_id:
        sql, key = f"{_SUMMARY} AND json_extract(d.metadata, '$.card_id') = ?", wanted.card_id
    rows = await store.query(sql, (corpus, key))
    chosen = [row for row in rows if row[2] == wanted.language] or rows
    if not chosen:
        raise NotFound(f"no document {key or '(none named)'}")
    row = chosen[0]
    known = _metadata(row)
    parts = await store.query(
        "SELECT number, page, start, stop, text FROM library_chunks WHERE doc = ? AND number >= ?"
        " ORDER BY number LIMIT ?",
        (row[14], wanted.first, wanted.count),
    )
    return DocumentText(
        document=_summary(row),
        parts=tuple(Part(*part) for part in parts),
        authorities=tuple(known.get("authorities", ())),
        date=known.get("date", ""),
        review=known.get("review", ""),
        languages=tuple(sorted({item[2] for item in rows if item[2]})),
    )


def _summary(row: tuple[Any, ...]) -> DocumentSummary:
    known = _metadata(row)
    return DocumentSummary(
        **dict(zip(DocumentSummary.__struct_fields__, row[:13], strict=False)),
        card_id=known.get("card_id", ""),
        group=known.get("group", ""),
    )


def _metadata(row: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(row[13])
    return found

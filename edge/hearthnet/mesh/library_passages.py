"""Passages as a search returns them, read from the store (M05)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.mesh.passages import Passage, PassageMetadata, Sentence
from hearthnet.wire.chunk import split_sentences

if TYPE_CHECKING:
    from hearthnet.mesh.library_index import Corpus
    from hearthnet.mesh.library_rank import Ranked
    from hearthnet.mesh.library_vectors import FineUnits
    from hearthnet.ports import Row, Store

_CHUNKS: Final = (
    "SELECT c.id, c.number, c.page, c.start, c.stop, c.text, d.doc_cid, d.title, d.language, d.metadata"
    " FROM library_chunks c JOIN library_docs d ON d.id = c.doc WHERE c.id IN (SELECT value FROM json_each(?))"
)


class QueryVector(Struct, frozen=True):
    """A query's embedding: float32, normalised."""

    dim: int
    data: bytes


async def read_passages(
    store: Store,
    corpus: Corpus,
    best: list[Ranked],
    near: FineUnits,
    *,
    include_text: bool,
) -> tuple[Passage, ...]:
    """The ranked chunks with their text; what was removed while we searched is left out."""
    keys = msgspec.json.encode([item.chunk for item in best]).decode()
    stored = {row[0]: row for row in await store.query(_CHUNKS, (keys,))}
    passages: list[Passage] = []
    for item in best:
        if item.chunk in stored:
            row = stored[item.chunk]
            passages.append(
                Passage(
                    rank=len(passages) + 1,
                    score=round(item.score, 4),
                    text=row[5] if include_text else "",
                    metadata=_metadata(corpus, row),
                    sentences=_sentences(row[5], near.get(item.chunk, [])),
                )
            )
    return tuple(passages)


def _sentences(text: str, near: list[tuple[int, int, float]]) -> tuple[Sentence, ...]:
    """Sentences with the cosine of the unit in which they stand."""
    units = iter(sorted(near))
    start, stop, score = next(units, (0, 0, 0.0))
    found = []
    for span in split_sentences(text):
        while stop <= span.start and stop:
            start, stop, score = next(units, (0, 0, 0.0))
        inside = start <= span.start < stop
        found.append(Sentence(span.start, span.end, round(score, 4) if inside else 0.0))
    return tuple(found)


def _metadata(corpus: Corpus, row: Row) -> PassageMetadata:
    _, number, page, start, stop, _, doc_cid, title, language, metadata = row
    known = msgspec.json.decode(metadata)
    return PassageMetadata(
        doc_cid=doc_cid,
        doc_title=title,
        page=page,
        chunk_id=f"{doc_cid}#{number}",
        chunk_index=number,
        corpus=corpus.name,
        start=start,
        end=stop,
        language=language,
        card_id=known.get("card_id", ""),
        group=known.get("group", ""),
        authorities=tuple(known.get("authorities", ())),
        date=known.get("date", ""),
    )

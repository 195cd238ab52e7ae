"""Request and reply of a search in the library (M05, contract chapter 5).

A reply's `meta` field travels as the `meta` of the reply body. Offsets count characters of `Passage.text`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hearthnet.base.constants import QUESTION_MAX_CHARS, RAG_DEFAULT_K, RAG_MAX_K

CORPUS_SYSTEM = "system"
CORPUS_PERSONAL = "personal"
CorpusName = Annotated[str, Meta(pattern="^[a-z0-9-]{1,64}$", description="Corpus; `system` is the handbook")]


class QueryFilter(Struct, frozen=True, forbid_unknown_fields=True):
    """Narrow a search; empty fields do not narrow."""

    language: Annotated[str, Meta(pattern="^(|[a-z]{2})$", description="Only passages in this language")] = ""
    doc_cid: Annotated[str, Meta(max_length=80, description="Only passages of this document")] = ""


class QueryInput(Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for."""

    query: Annotated[str, Meta(min_length=1, max_length=QUESTION_MAX_CHARS)]
    k: Annotated[int, Meta(ge=1, le=RAG_MAX_K)] = RAG_DEFAULT_K
    filter: QueryFilter = QueryFilter()
    include_text: bool = True
    language: Annotated[
        str, Meta(pattern="^(|[a-z]{2})$", description="Preferred among twins of a card; empty = the query's")
    ] = ""


class Sentence(Struct, frozen=True):
    """A sentence of a passage: where it stands and how near its meaning is to the query (cosine, 0 = not known)."""

    start: int
    end: int
    score: float = 0.0


class PassageMetadata(Struct, frozen=True):
    """Where a passage comes from, enough to open it at the right place."""

    doc_cid: str
    doc_title: str
    page: int  # from 1; 0 = the document has no pages
    chunk_id: str
    chunk_index: int
    corpus: str
    start: int  # offset of the passage in the text of its document (or of its page)
    end: int
    language: str = ""
    card_id: str = ""  # "T10" for a handbook card
    group: str = ""
    authorities: tuple[str, ...] = ()
    date: str = ""


class Passage(Struct, frozen=True):
    """One hit, best first. `sentences` are those of `text`, in order of appearance."""

    rank: int
    score: float
    text: str
    metadata: PassageMetadata
    sentences: tuple[Sentence, ...] = ()


class QueryMeta(Struct, frozen=True):
    """How the search was made."""

    embedding_model: str  # empty = by words only: no embedder, or its vectors are still being made
    confidence: float  # calibrated probability that these passages answer the query
    language: str  # of the query
    method: str  # words | meaning | both
    pending: int = 0  # passages whose vectors are still being made


class QueryOutput(Struct, frozen=True):
    """The best passages, one per card or place."""

    chunks: tuple[Passage, ...]
    meta: QueryMeta

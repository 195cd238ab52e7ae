"""The vectors of one corpus in memory: whose row is whose, and how near a chunk is to a query (M05)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.mesh.library_index import UNIT_FINE, UNIT_SENTENCE, UNIT_WINDOW

if TYPE_CHECKING:
    from hearthnet.ports import Store, VectorIndex

FineUnits = dict[int, list[tuple[int, int, float]]]  # chunk -> start, stop, cosine to the query

NEAREST_ROWS: Final = 128
BEST_PIECE: Final = 0.7
OPENING_SHARE: Final = 0.3  # a text says what it is about where it begins


class Place(Struct, frozen=True):
    """What ranking has to know of a chunk without reading it."""

    doc: int
    language: str
    card_id: str
    doc_cid: str


class Nearness(Struct):
    """Cosines of a chunk to a query, by kind of unit: the best other name, the best sentence, its windows."""

    also: float = 0.0
    sentence: float = 0.0
    window: float = 0.0
    window_sum: float = 0.0
    windows: int = 0

    def note(self, kind: int, score: float) -> None:
        """Take in one unit."""
        if kind == UNIT_WINDOW:
            self.window = max(self.window, score)
            self.window_sum += score
            self.windows += 1
        elif kind == UNIT_SENTENCE:
            self.sentence = max(self.sentence, score)
        else:
            self.also = max(self.also, score)

    def value(self) -> float:
        """Mean over the kinds that the chunk has."""
        found, kinds = 0.0, 0
        if self.windows:
            found, kinds = blend(self.window, self.window_sum / self.windows), 1
        for score in (self.also, self.sentence):
            if score:
                found, kinds = found + score, kinds + 1
        return found / kinds if kinds else 0.0


def blend(best: float, mean: float) -> float:
    """One cosine for several pieces of a chunk: the best counts most, but all count."""
    return BEST_PIECE * best + (1 - BEST_PIECE) * mean


def blend_fine(near: Sequence[float]) -> float:
    """One cosine for the fine units of a chunk, in the order of the text."""
    every = blend(max(near), sum(near) / len(near))
    return OPENING_SHARE * near[0] + (1 - OPENING_SHARE) * every


class Dense(Struct, frozen=True):
    """Result of a search by meaning."""

    chunks: dict[int, Nearness]
    mean: float  # of all rows


class CorpusVectors:
    """Rows of a corpus; grows while vectors are made, is dropped and read again when a document goes."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        self._lock = Lock()  # searches run in threads while vectors arrive
        self._chunk_of = array("q")
        self._kind_of = array("b")
        self._start_of = array("q")
        self._rows_of: dict[int, list[int]] = {}
        self.places: dict[int, Place] = {}
        self.twins: dict[str, dict[str, int]] = {}  # card id -> language -> chunk
        self.twin_of: dict[int, int] = {}
        self.holding: dict[str, int] = {}  # stem -> chunks that hold it, as far as it was asked

    def add_places(self, rows: Iterable[tuple[int, int, str, str, str]]) -> None:
        """Learn of chunks: (chunk, doc, language, metadata JSON, doc_cid)."""
        for chunk, doc, language, metadata, doc_cid in rows:
            card_id = str(msgspec.json.decode(metadata).get("card_id", ""))
            self.places[chunk] = Place(doc, language, card_id, doc_cid)
            if card_id:
                twins = self.twins.setdefault(card_id, {})
                twins[language] = chunk
                for one, other in permutations(twins.values(), 2):
                    self.twin_of[one] = other

    def add_units(self, rows: Sequence[tuple[int, int, int, bytes]]) -> None:
        """Add units that have vectors: (chunk, kind, start, vector)."""
        kept = [row for row in rows if row[1] != UNIT_FINE]
        with self._lock:
            self._index.append([vector for _, _, _, vector in kept])
            for chunk, kind, start, _ in kept:
                self._rows_of.setdefault(chunk, []).append(len(self._chunk_of))
                self._chunk_of.append(chunk)
                self._kind_of.append(kind)
                self._start_of.append(start)

    def near(self, query: bytes, allowed: Callable[[int], bool] | None = None) -> Dense:
        """Chunks that own the nearest rows, each with the best cosine of every kind."""
        with self._lock:
            rows = None
            if allowed is not None:
                rows = [row for chunk, own in self._rows_of.items() if allowed(chunk) for row in own]
            hits = self._index.nearest(query, NEAREST_ROWS, rows)
            chunks = {self._chunk_of[row] for row in hits.rows}
        return Dense(self.nearness(query, self.with_twins(chunks)), hits.mean)

    def with_twins(self, chunks: Iterable[int]) -> set[int]:
        """These chunks and their twins in the other language."""
        found = set(chunks)
        return found | {self.twin_of[chunk] for chunk in found if chunk in self.twin_of}

    def nearness(self, query: bytes, chunks: Iterable[int]) -> dict[int, Nearness]:
        """Cosines of these chunks."""
        found: dict[int, Nearness] = {}
        with self._lock:
            rows = [row for chunk in chunks for row in self._rows_of.get(chunk, ())]
            for row, score in zip(rows, self._index.scores(query, rows), strict=True):
                found.setdefault(self._chunk_of[row], Nearness()).note(self._kind_of[row], score)
        return found

    def sentence_scores(self, query: bytes, chunk: int) -> list[tuple[int, int, float]]:
        """Cosine of every sentence of a card, by its start."""
        with self._lock:
            rows = [row for row in self._rows_of.get(chunk, ()) if self._kind_of[row] == UNIT_SENTENCE]
            near = self._index.scores(query, rows)
        return [(start, start + 1, score) for start, score in zip((self._start_of[r] for r in rows), near, strict=True)]

    def __len__(self) -> int:
        return len(self._chunk_of)


_PLACES: Final = (
    "SELECT c.id, d.id, d.language, d.metadata, d.doc_cid FROM library_docs d JOIN library_chunks c ON c.doc = d.id"
    " WHERE d.corpus = ? AND d.state = 'ready'"
)
_FINE: Final = (
    "SELECT chunk, start, stop, vector FROM library_units"
    " WHERE chunk IN (SELECT value FROM json_each(?)) AND kind = ? AND vector IS NOT NULL ORDER BY id"
)
_UNITS: Final = (
    "SELECT chunk, kind, start, vector FROM library_units"
    " WHERE corpus = ? AND kind <> ? AND vector IS NOT NULL ORDER BY id"
)


async def load_vectors(store: Store, corpus: int, make: Callable[[int], VectorIndex], dim: int) -> CorpusVectors:
    """Read a corpus into memory; units of documents that are not ready yet are left out.

    With `dim` 0, while nothing can embed a query, only places are read: the search goes by words.
    """
    loaded = CorpusVectors(make(dim))
    loaded.add_places(await store.query(_PLACES, (corpus,)))
    if not dim:
        return loaded
    rows = await store.query(_UNITS, (corpus, UNIT_FINE)) if dim else []
    loaded.add_units([row for row in rows if row[0] in loaded.places])
    return loaded


async def read_fine_units(store: Store, chunks: Sequence[int]) -> list[tuple[int, int, int, bytes]]:
    """Fine units of chunks that have vectors, in the order of the text: (chunk, start, stop, vector)."""
    rows = await store.query(_FINE, (msgspec.json.encode(chunks).decode(), UNIT_FINE))
    return [(chunk, start, stop, vector) for chunk, start, stop, vector in rows]

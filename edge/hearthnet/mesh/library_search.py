"""Finding passages: by words and by meaning, twins of a card merged, with the confidence of the find (M05)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.mesh.library_confidence import CARDS, DOCUMENTS, WORDS, Confidence, features_of, subtract
from hearthnet.mesh.library_passages import QueryVector, read_passages
from hearthnet.mesh.library_rank import Lexical, Ranked, fuse, rarity, refine
from hearthnet.mesh.library_schema import word_index
from hearthnet.mesh.library_vectors import (
    CorpusVectors,
    Dense,
    FineUnits,
    blend_fine,
    load_vectors,
    read_fine_units,
)
from hearthnet.mesh.library_words import WordRules, guess_language
from hearthnet.mesh.passages import QueryFilter, QueryInput, QueryMeta, QueryOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.mesh.library_index import Corpus
    from hearthnet.ports import Store, VectorIndex

FIRST_CHUNKS: Final = 16
WORD_HITS: Final = 32
QUERY_WORDS: Final = 24  # more telling words than this do not make a search better, only slower
MOST_ROWS: Final = 1200  # chunks that the words of a query may hold together; ranking them takes about a millisecond
MOST_KNOWN: Final = 10_000  # stems whose counts are kept, about a megabyte
MEAN_SHARE: Final = 0.5
WEIGHTS: Final = "4.0, 4.0, 1.0"  # title, also, body


class Found(Struct, frozen=True):
    """Result of one search before passages are read."""

    loaded: CorpusVectors
    dense: Dense | None
    lexical: Lexical
    ranked: list[Ranked]
    language: str
    kind: str  # which confidence model applies
    features: dict[str, float]
    fine: FineUnits


class LibrarySearch:
    """Searches in one store; vectors of a corpus are read at its first search."""

    def __init__(
        self, store: Store, make_index: Callable[[int], VectorIndex], rules: WordRules, confidence: Confidence
    ) -> None:
        self._store = store
        self._confidence = confidence
        self._rules = rules
        self._make = make_index
        self._loaded: dict[tuple[int, int], CorpusVectors] = {}  # by corpus and dimension; 0 = places only
        self._loading: dict[int, asyncio.Lock] = {}

    def forget(self, corpus: int) -> None:
        """Read the corpus again at the next search: documents went or came."""
        for key in [key for key in self._loaded if key[0] == corpus]:
            del self._loaded[key]

    def add_units(self, corpus: int, rows: Sequence[tuple[int, int, int, bytes]]) -> None:
        """Vectors that were just stored."""
        for (owner, dim), loaded in self._loaded.items():
            if owner == corpus and dim:
                loaded.add_units([row for row in rows if row[0] in loaded.places])

    async def query(self, corpus: Corpus, request: QueryInput, vector: QueryVector | None) -> QueryOutput:
        """The best passages of a corpus for a query, with or without its embedding."""
        found = await self.find(corpus, request, vector)
        best = found.ranked[: request.k]
        near = found.fine
        if vector is not None:
            near = {item.chunk: found.loaded.sentence_scores(vector.data, item.chunk) for item in best} | found.fine
        chunks = await read_passages(self._store, corpus, best, near, include_text=request.include_text)
        method = "words"
        if found.dense is not None:
            method = "both" if found.lexical.scores else "meaning"
        model = corpus.model if found.dense is not None else ""
        confidence = self._confidence.estimate(found.kind, found.features) if best else 0.0
        return QueryOutput(chunks, QueryMeta(model, round(confidence, 4), found.language, method))

    async def find(self, corpus: Corpus, request: QueryInput, vector: QueryVector | None) -> Found:
        """Ranked chunks, twins merged, and what the confidence looks at."""
        loaded = await self._load(corpus, vector.dim if vector else 0)
        allowed = _allowed(loaded, request.filter)
        language = guess_language(request.query)
        words = self._by_words(corpus, request.query, loaded)
        dense = None
        query = b""
        if vector is None or not len(loaded):
            lexical = await words
        else:
            query = self._shift(corpus.model, vector.data, language)
            lexical, dense = await asyncio.gather(words, asyncio.to_thread(loaded.near, query, allowed))
            dense.chunks.update(loaded.nearness(query, loaded.with_twins(lexical.scores) - dense.chunks.keys()))
        ranked = [item for item in fuse(dense, lexical, loaded.twin_of) if item.chunk in loaded.places]
        if allowed is not None:
            ranked = [item for item in ranked if allowed(item.chunk)]
        fine: FineUnits = {}
        if dense is not None:
            ranked, fine = await self._refine(loaded, ranked, query, vector.data if vector else b"")
        language = request.language or language or _language_of(loaded, ranked)
        ranked = _merge_twins(loaded, ranked, language, allowed)
        if not ranked:
            return Found(loaded, dense, lexical, [], language, WORDS, {}, {})
        features = features_of(dense, lexical, ranked)
        kind = WORDS if dense is None else CARDS if loaded.places[ranked[0].chunk].card_id else DOCUMENTS
        if kind is CARDS and vector is not None:
            features["likeness"] = self._confidence.likeness(corpus.model, vector.data, guess_language(request.query))
        return Found(loaded, dense, lexical, ranked, language, kind, features, fine)

    async def _refine(
        self, loaded: CorpusVectors, ranked: list[Ranked], query: bytes, vector: bytes
    ) -> tuple[list[Ranked], FineUnits]:
        """Compare the first chunks of documents again, by their fine units, which are read now."""
        keys = [item.chunk for item in ranked[:FIRST_CHUNKS] if not loaded.places[item.chunk].card_id]
        rows = await read_fine_units(self._store, keys) if keys else []
        index = self._make(len(query) // 4)
        index.append([found for *_, found in rows])
        every = range(len(rows))
        shifts: dict[int, list[float]] = {}
        fine: FineUnits = {}
        for (chunk, start, stop, _), shifted, plain in zip(
            rows, index.scores(query, every), index.scores(vector, every), strict=True
        ):
            shifts.setdefault(chunk, []).append(shifted)
            fine.setdefault(chunk, []).append((start, stop, plain))
        return refine(ranked, {chunk: blend_fine(near) for chunk, near in shifts.items()}), fine

    def _shift(self, model: str, vector: bytes, language: str) -> bytes:
        """The query less part of the mean question: what is near to every question gains nothing by it any more."""
        mean = self._confidence.mean_question(model, language)
        return vector if mean is None or len(vector) != 4 * len(mean) else subtract(vector, mean, MEAN_SHARE)

    async def _load(self, corpus: Corpus, dim: int) -> CorpusVectors:
        async with self._loading.setdefault(corpus.id, asyncio.Lock()):
            loaded = self._loaded.get((corpus.id, dim))
            if loaded is None:
                loaded = self._loaded[corpus.id, dim] = await load_vectors(self._store, corpus.id, self._make, dim)
        return loaded

    async def _by_words(self, corpus: Corpus, query: str, loaded: CorpusVectors) -> Lexical:
        words = dict(list(self._rules.query_words(query).items())[:QUERY_WORDS])
        stems = list(dict.fromkeys(stem for stems in words.values() for stem in stems))
        if not stems:
            return Lexical({}, {})
        counts = await self._count(corpus, stems, loaded.holding)
        total = len(loaded.places)
        rare = {word: min(rarity(total, counts[s]) for s in stems) for word, stems in words.items()}
        wanted = _affordable({stem: counts[stem] for stem in stems if counts[stem]})
        if not wanted:
            return Lexical({}, rare)
        if not loaded.twins:  # cards are found by their titles and other names, documents by their wording
            wanted += [f"{one} {next_}" for one, next_ in self._rules.query_pairs(query) if {one, next_} <= {*wanted}]
        table = word_index(corpus.id)
        match = " OR ".join(f'"{phrase}"' for phrase in wanted)
        rows = await self._store.query(
            f"SELECT rowid, -bm25({table}, {WEIGHTS}) FROM {table} WHERE {table} MATCH ?"  # noqa: S608
            f" ORDER BY 2 DESC LIMIT {WORD_HITS}",
            (match,),
        )
        return Lexical(dict(rows), rare)

    async def _count(self, corpus: Corpus, stems: list[str], known: dict[str, int]) -> dict[str, int]:
        """How many chunks hold each stem; `known` keeps the answers, because counting a common word takes long."""
        counts = {stem: known[stem] for stem in stems if stem in known}
        missing = [stem for stem in stems if stem not in counts]
        if missing:
            rows = await self._store.query(
                f"SELECT term, doc FROM {word_index(corpus.id)}_counts WHERE term IN (SELECT value FROM json_each(?))",  # noqa: S608
                (msgspec.json.encode(missing).decode(),),
            )
            found = dict.fromkeys(missing, 0) | dict(rows)
            if len(known) + len(found) > MOST_KNOWN:
                known.clear()
            known.update(found)
            counts |= found
        return counts


def _affordable(counts: dict[str, int]) -> list[str]:
    """The rarest words, as many as can be looked up in good time; at least one."""
    chosen: list[str] = []
    rows = 0
    for stem, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        rows += count
        if chosen and rows > MOST_ROWS:
            break
        chosen.append(stem)
    return chosen


def _allowed(loaded: CorpusVectors, wanted: QueryFilter) -> Callable[[int], bool] | None:
    if not wanted.language and not wanted.doc_cid:
        return None

    def allowed(chunk: int) -> bool:
        place = loaded.places.get(chunk)
        return place is not None and wanted.language in ("", place.language) and wanted.doc_cid in ("", place.doc_cid)

    return allowed


def _language_of(loaded: CorpusVectors, ranked: list[Ranked]) -> str:
    languages = [loaded.places[item.chunk].language for item in ranked[:5]]
    return max(set(languages), key=languages.count) if languages else ""


def _merge_twins(
    loaded: CorpusVectors, ranked: list[Ranked], language: str, allowed: Callable[[int], bool] | None
) -> list[Ranked]:
    """Of a card's twins keep the one in this language, at its own place, or at the other's where it was not found."""
    if not loaded.twins:
        return ranked
    kept: list[Ranked] = []
    seen: set[str] = set()
    there = {item.chunk for item in ranked}
    for item in ranked:
        card = loaded.places[item.chunk].card_id
        wanted = loaded.twins.get(card, {}).get(language, item.chunk)
        if card in seen or (wanted != item.chunk and wanted in there):
            continue
        if card:
            seen.add(card)
        moved = wanted != item.chunk and (allowed is None or allowed(wanted))
        kept.append(Ranked(wanted, item.score, item.meaning, item.words) if moved else item)
    return kept

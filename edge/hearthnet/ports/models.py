"""Ports for what understands text: model engines, vectors, document readers (M04, M05, M11)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class GenerateRequest(Struct, frozen=True):
    """One text generation; only these fields ever reach an engine."""

    messages: tuple[tuple[str, str], ...]  # (role, content)
    max_tokens: int
    temperature: float = 0.7
    top_p: float = 0.95
    stop: tuple[str, ...] = ()
    seed: int | None = None
    grammar: str = ""  # GBNF; empty = free text
    json_schema: str = ""  # JSON text; empty = none
    raw_prompt: str = ""  # for completion without chat template; then messages is empty
    session: str = ""  # keeps the prompt state of a conversation warm


class TextDelta(Struct, frozen=True):
    """A piece of generated text; the last one has a stop reason."""

    text: str = ""
    stop_reason: str = ""  # end | max_tokens | stop_sequence
    tokens_in: int = 0
    tokens_out: int = 0


class ModelInfo(Struct, frozen=True):
    """One model that an engine can run now."""

    name: str
    backend: str
    tier: str  # Tier value of free wording by this model
    context_tokens: int
    requires_internet: bool = False
    loaded: bool = False


class Vectors(Protocol):
    """Embedding vectors: float32 little-endian, row-major, normalised."""

    @property
    def dim(self) -> int:
        """Length of each vector."""

    @property
    def data(self) -> bytes:
        """All vectors, one after another."""


class EngineStatus(Struct, frozen=True):
    """What an engine process is doing, for status and doctor."""

    name: str
    state: str  # absent | idle | starting | ready | backing_off
    detail: str = ""
    fix: str = ""  # the one command that mends it, when absent
    pid: int = 0
    rss_bytes: int = 0
    restarts: int = 0


class Engines(Protocol):
    """Model engines, each a child process started on first use (M04, M11)."""

    def models(self) -> list[ModelInfo]:
        """Text models that can answer now, preferred first."""

    def generate(self, model: str, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream text; closing the iterator frees the slot within 200 ms.

        Raises NotFound (model), EngineDied, Unavailable.
        """

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Vectors of the texts, as queries or as passages; raises Unavailable."""

    async def infer(self, model: str, inputs: Mapping[str, bytes], *, session: str = "") -> Mapping[str, bytes]:
        """Run a tensor model (TFLite) that passed its known-answer self-test; raises Unavailable, BadRequest.

        An input may hold several steps. Without a session each run starts from the model's first state; runs of a
        named session go on where the last one ended.
        """

    def status(self) -> list[EngineStatus]:
        """State of every engine."""

    async def close(self) -> None:
        """End all children."""


class VectorHits(Struct, frozen=True):
    """Rows nearest to a query, best first."""

    rows: list[int]
    scores: list[float]  # cosine
    mean: float = 0.0  # of all rows


class VectorIndex(Protocol):
    """Normalised vectors in memory, found by cosine; rows are numbered from 0 in the order they were added."""

    def append(self, vectors: Sequence[bytes]) -> None:
        """Add rows: little-endian half floats; raises BadRequest when one has another dimension."""

    def nearest(self, query: bytes, count: int, rows: Sequence[int] | None = None) -> VectorHits:
        """The best rows for a float32 query, among `rows` only if given; blocking, short."""

    def scores(self, query: bytes, rows: Sequence[int]) -> list[float]:
        """Cosines of these rows."""

    def __len__(self) -> int:
        """Number of rows."""


class Page(Struct, frozen=True):
    """Text of one page; number 0 = the document has no pages."""

    number: int
    text: str


class Reading(Struct, frozen=True):
    """What a document says."""

    pages: tuple[Page, ...]
    media_type: str  # as found by its bytes
    title: str = ""  # as the document names itself


class DocumentReader(Protocol):
    """Text of documents from outside, read in a bounded child process (M05)."""

    async def read(self, content: AsyncIterator[bytes], media_type: str = "") -> Reading:
        """Pages with text; raises BadRequest (kind unknown, no text, broken, too large, takes too long)."""

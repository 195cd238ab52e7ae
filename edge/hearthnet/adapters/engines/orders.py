"""What the node asks its engines' children, as typed messages; imported by both sides (M04, M11)."""

from __future__ import annotations

from msgspec import Struct


class ServerOptions(Struct, frozen=True):
    """Start of a text engine."""

    path: str
    slots: int
    context_tokens: int  # of each slot
    threads: int
    batch_threads: int
    cache_mib: int = 0  # prompt states kept in memory beside the slots


class ServerAddress(Struct, frozen=True):
    """Where a text engine listens, on loopback, and the key that opens it."""

    url: str
    key: str


class EmbedOrder(Struct, frozen=True):
    """Texts to embed."""

    texts: tuple[str, ...]


class EmbedResult(Struct, frozen=True):
    """Their vectors: float32, row-major, normalised."""

    dim: int
    data: bytes


class InferOrder(Struct, frozen=True):
    """One run of a tensor model; each input holds one or more steps."""

    path: str
    sha256: str
    inputs: dict[str, bytes]
    session: str = ""
    answer_in: bytes = b""
    answer_out: bytes = b""
    tolerance: int = 0


class TextOrder(Struct, frozen=True):
    """One generation by an engine that answers over the pipe."""

    prompt: str
    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    grammar: str
    json_schema: str

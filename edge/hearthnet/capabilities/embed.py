"""Vectors of texts, for comparing them by meaning (M11)."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from hearthnet.base.constants import EMBED_MAX_CHARS, EMBED_MAX_TEXTS
from hearthnet.base.errors import NotFound
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.capability import Call, capability

if TYPE_CHECKING:
    from hearthnet.mesh.services import Services

_BATCH: Final = 16  # texts handed to the engine at once: between batches others get their turn
_DIGITS: Final = 7  # as many as float32 holds

Text = Annotated[str, Meta(max_length=EMBED_MAX_CHARS)]


class EmbedParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Which model, and what the texts are: the model tells questions and passages apart."""

    model: Annotated[str, Meta(max_length=128, description="Empty = the node's embedding model")] = ""
    input_type: Annotated[str, Meta(pattern="^(passage|query)$", description="passage or query")] = "passage"


class EmbedInput(Struct, frozen=True, forbid_unknown_fields=True):
    """The texts; `normalize: false` changes nothing, because the model's own vectors have length one."""

    texts: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=EMBED_MAX_TEXTS)]
    normalize: bool = True


class EmbedMeta(Struct, frozen=True):
    """How the vectors were made; only vectors of one model can be compared."""

    model: str
    ms: float


class EmbedOutput(Struct, frozen=True):
    """One vector for each text, in order."""

    embeddings: tuple[tuple[float, ...], ...]
    dim: int
    meta: EmbedMeta


class Embed:
    """The embedding engine as a capability."""

    def __init__(self, services: Services) -> None:
        self._engines = services.engines
        self._clock = services.clock
        self._model = services.config.embedding.model

    @capability("embed.text@1.0", trust=TrustLevel.MEMBER, timeout_s=15, max_concurrent=8, idempotent=True)
    async def text(self, call: Call, params: EmbedParams, request: EmbedInput) -> EmbedOutput:
        """Vectors of texts; raises NotFound (model) and Unavailable (no engine)."""
        if params.model not in ("", self._model):
            raise NotFound(f"no embedding model {params.model[:64]!r}", fix=f"use {self._model}")
        began = self._clock.monotonic()
        rows: list[tuple[float, ...]] = []
        dim = 0
        for start in range(0, len(request.texts), _BATCH):
            texts = request.texts[start : start + _BATCH]
            made = await self._engines.embed(texts, query=params.input_type == "query")
            dim = made.dim
            rows += _rows(made.data, dim)
        took_ms = (self._clock.monotonic() - began) * 1000
        return EmbedOutput(tuple(rows), dim, EmbedMeta(self._model, round(took_ms, 3)))


def _rows(data: bytes, dim: int) -> list[tuple[float, ...]]:
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return [tuple(round(value, _DIGITS) for value in values[at : at + dim]) for at in range(0, len(values), dim)]

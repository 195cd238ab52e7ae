"""Making the vectors that are still missing, in the background (M05, M11)."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import TYPE_CHECKING, Final, Protocol

from hearthnet.base.errors import DiskFull, Unavailable
from hearthnet.mesh.library_seed import seed_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.mesh.library_index import Corpus, LibraryIndex, Pending
    from hearthnet.mesh.library_search import LibrarySearch
    from hearthnet.ports import Clock, Engines

log = logging.getLogger(__name__)

BATCH: Final = 16
SEED_BATCH: Final = 512
RETRY_S: Final = 60.0


class Seeds(Protocol):
    """Vectors that ship with the library."""

    def find(self, model: str, text: str) -> bytes | None:
        """Half floats of a text, if they ship."""


class Embedding:
    """The one worker that gives units their vectors; wakes when documents come."""

    def __init__(
        self, index: LibraryIndex, search: LibrarySearch, engines: Engines, clock: Clock, seeds: Seeds
    ) -> None:
        self._index = index
        self._search = search
        self._engines = engines
        self._clock = clock
        self._seeds = seeds
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be new units."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; an absent engine or a full disk is tried again later."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                for corpus in await self._index.corpora():
                    await self.embed(corpus)
            except (Unavailable, DiskFull) as error:
                log.info("vectors wait: %s", error)
                self._wake.set()
                await self._clock.sleep(RETRY_S)

    async def embed(self, corpus: Corpus) -> None:
        """Give every pending unit of a corpus its vector; raises Unavailable when the embedder is not there."""
        await self.plant(corpus)
        while units := await self._index.pending(corpus, BATCH):
            for as_query in (False, True):
                batch = [unit for unit in units if unit.as_query is as_query]
                if batch:
                    found = await self._engines.embed([unit.text for unit in batch], query=as_query)
                    size = 4 * found.dim
                    floats = [found.data[place : place + size] for place in range(0, len(found.data), size)]
                    await self._store(corpus, list(zip(batch, map(half_floats, floats), strict=True)))

    async def plant(self, corpus: Corpus) -> None:
        """Take the vectors that ship; needs no embedder."""
        after = 0
        while units := await self._index.pending(corpus, SEED_BATCH, after):
            after = units[-1].unit
            found = [
                (unit, self._seeds.find(corpus.model, seed_text(unit.text, as_query=unit.as_query))) for unit in units
            ]
            await self._store(corpus, [(unit, vector) for unit, vector in found if vector is not None])

    async def _store(self, corpus: Corpus, made: Sequence[tuple[Pending, bytes]]) -> None:
        if made:
            await self._index.store_vectors([(unit.unit, vector) for unit, vector in made])
            self._search.add_units(corpus.id, [(unit.chunk, unit.kind, unit.start, vector) for unit, vector in made])


def half_floats(vector: bytes) -> bytes:
    """Float32 to half floats, little-endian."""
    count = len(vector) // 4
    return struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", vector))

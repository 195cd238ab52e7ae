"""How near in meaning sentences are to a question; the handbook's vectors ship with it (M04, M11).

Both sides are embedded as questions: for single sentences that tells what answers a question, and what does not, far
better than question against passage (docs/benchmarks.md).
"""

from __future__ import annotations

import logging
import struct
from array import array
from collections import OrderedDict
from operator import mul
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import BadRequest
from hearthnet.mesh.library_seed import SeedVectors, map_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TypeAlias

    from hearthnet.ports import Engines

    Vector: TypeAlias = array[float]

log = logging.getLogger(__name__)

LIKENESS_FILE: Final = "likeness.bin"  # made by tests/library/make_likeness.py
KEPT_VECTORS: Final = 4096
TEXT_CHARS: Final = 2000  # the embedder reads no further
_BATCH: Final = 64


class Likeness:
    """Cosines between texts; the least used vectors are forgotten first."""

    def __init__(self, engines: Engines, model: str, shipped: SeedVectors) -> None:
        self._engines = engines
        self._model = likeness_model(model)
        self._shipped = shipped
        self._vectors: OrderedDict[tuple[str, bool], Vector] = OrderedDict()

    async def near(self, question: str, texts: Sequence[str]) -> dict[str, float]:
        """The cosine of each text to the question; raises Unavailable when there is no embedder."""
        vectors = await self.vectors([question, *texts])
        return {text: sum(map(mul, vectors[question], vectors[text])) for text in texts}

    async def passages_near(self, question: str, texts: Sequence[str]) -> dict[str, float]:
        """The same with the texts embedded as passages: what answers it, not what asks alike; raises Unavailable."""
        asked = (await self.vectors([question]))[question]
        vectors = await self.vectors(texts, as_question=False)
        return {text: sum(map(mul, asked, vectors[text])) for text in texts}

    async def vectors(self, texts: Sequence[str], *, as_question: bool = True) -> dict[str, Vector]:
        """The vector of each text, normalised; raises Unavailable when there is no embedder."""
        found: dict[str, Vector] = {}
        for text in texts:
            vector = self._vectors.get((text, as_question)) or (self._read_shipped(text) if as_question else None)
            if vector is not None:
                found[text] = vector
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        for first in range(0, len(missing), _BATCH):
            batch = missing[first : first + _BATCH]
            made = await self._engines.embed([text[:TEXT_CHARS] for text in batch], query=as_question)
            floats = array("f", made.data)
            for number, text in enumerate(batch):
                found[text] = floats[number * made.dim : (number + 1) * made.dim]
        self._keep(found, as_question)
        return found

    def _keep(self, vectors: dict[str, Vector], as_question: bool) -> None:
        for text, vector in vectors.items():
            self._vectors[text, as_question] = vector
            self._vectors.move_to_end((text, as_question))
        while len(self._vectors) > KEPT_VECTORS:
            self._vectors.popitem(last=False)

    def _read_shipped(self, text: str) -> Vector | None:
        packed = self._shipped.find(self._model, text)
        return None if packed is None else array("f", struct.unpack(f"<{len(packed) // 2}e", packed))


def likeness_model(model: str) -> str:
    """The name under which vectors of questions ship; those of passages are others."""
    return f"{model}?"


def read_likeness(folder: Path) -> SeedVectors:
    """The vectors that ship with a library; without them they are made when they are needed."""
    try:
        return map_seeds(folder / LIKENESS_FILE)
    except FileNotFoundError:
        return SeedVectors()
    except BadRequest as error:
        log.warning("%s: %s", LIKENESS_FILE, error)
        return SeedVectors()

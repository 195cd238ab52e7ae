"""Vector search in plain Python, for tests; `history` lists the searches."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hearthnet.base.errors import BadRequest
from hearthnet.ports import VectorHits

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeVectors:
    """See `hearthnet.ports.VectorIndex`."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._rows: list[tuple[float, ...]] = []
        self.history: list[int] = []

    def append(self, vectors: Sequence[bytes]) -> None:
        """Add rows; all or none."""
        if any(len(vector) != 2 * self._dim for vector in vectors):
            raise BadRequest(f"a vector does not have {self._dim} dimensions")
        self._rows += [struct.unpack(f"<{self._dim}e", vector) for vector in vectors]

    def nearest(self, query: bytes, count: int, rows: Sequence[int] | None = None) -> VectorHits:
        """Best rows by cosine, best first; ties by row number."""
        self.history.append(count)
        everything = self.scores(query, range(len(self._rows)))
        if not everything or count < 1:
            return VectorHits([], [])
        mean = sum(everything) / len(everything)
        names = range(len(everything)) if rows is None else rows
        best = sorted(names, key=lambda row: (-everything[row], row))[:count]
        return VectorHits(best, [everything[row] for row in best], mean)

    def scores(self, query: bytes, rows: Sequence[int]) -> list[float]:
        """Cosines of these rows."""
        if len(query) != 4 * self._dim:
            raise BadRequest(f"the query does not have {self._dim} dimensions")
        wanted = struct.unpack(f"<{self._dim}f", query)
        return [sum(a * b for a, b in zip(self._rows[row], wanted, strict=True)) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

"""Vector search as one matrix product (M05, M11): exact, under a millisecond for ten thousand rows.

Rows are kept as float32, because half floats multiply slowly; the matrix grows by half when it is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hearthnet.base.errors import BadRequest
from hearthnet.ports import VectorHits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class NumpyVectors:
    """See `hearthnet.ports.VectorIndex`."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._rows: NDArray[np.float32] = np.zeros((0, dim), dtype=np.float32)

    def append(self, vectors: Sequence[bytes]) -> None:
        """Add rows; all or none."""
        if not vectors:
            return
        if any(len(vector) != 2 * self._dim for vector in vectors):
            raise BadRequest(f"a vector does not have {self._dim} dimensions")
        new = np.frombuffer(b"".join(vectors), dtype="<f2").reshape(len(vectors), self._dim)
        needed = self._count + len(vectors)
        if needed > len(self._rows):
            grown = np.empty((max(needed, len(self._rows) * 3 // 2), self._dim), dtype=np.float32)
            grown[: self._count] = self._rows[: self._count]
            self._rows = grown
        self._rows[self._count : needed] = new
        self._count = needed

    def nearest(self, query: bytes, count: int, rows: Sequence[int] | None = None) -> VectorHits:
        """Best rows by cosine, best first; ties by row number."""
        if not self._count or count < 1:
            return VectorHits([], [])
        found = self._rows[: self._count] @ self._query(query)
        mean = float(found.mean())
        if rows is not None:
            kept = np.asarray(rows, dtype=np.int64)
            found, names = found[kept], kept
        else:
            names = np.arange(self._count)
        if count < len(found):
            best = np.argpartition(-found, count)[:count]
            found, names = found[best], names[best]
        order = np.lexsort((names, -found))
        return VectorHits(names[order].tolist(), found[order].tolist(), mean)

    def scores(self, query: bytes, rows: Sequence[int]) -> list[float]:
        """Cosines of these rows."""
        if not rows:
            return []
        found: list[float] = (self._rows[np.asarray(rows, dtype=np.int64)] @ self._query(query)).tolist()
        return found

    def __len__(self) -> int:
        return self._count

    def _query(self, query: bytes) -> NDArray[np.float32]:
        if len(query) != 4 * self._dim:
            raise BadRequest(f"the query does not have {self._dim} dimensions")
        return np.frombuffer(query, dtype="<f4")

"""Vector search as a scan of one matrix (M05, M11): every row is compared, about a millisecond for 18,000 rows.

Rows are kept as int8 with a scale each, a quarter of float32; a cosine is off by about 0.0005 (384 dimensions). The
scan widens a block at a time into a buffer that stays in the cache: as fast as a product with a float32 matrix. The
matrix grows by half when it is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from hearthnet.base.errors import BadRequest
from hearthnet.ports import VectorHits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

BLOCK_ROWS: Final = 512
_LARGEST: Final = 127


class NumpyVectors:
    """See `hearthnet.ports.VectorIndex`."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._count = 0
        self._rows: NDArray[np.int8] = np.zeros((0, dim), dtype=np.int8)
        self._scales: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def append(self, vectors: Sequence[bytes]) -> None:
        """Add rows; all or none."""
        if {*map(len, vectors)} - {2 * self._dim}:
            raise BadRequest(f"a vector does not have {self._dim} dimensions")
        needed = self._count + len(vectors)
        if needed > len(self._rows):
            room = max(needed, len(self._rows) * 3 // 2)
            self._rows = _grown(self._rows, self._count, (room, self._dim))
            self._scales = _grown(self._scales, self._count, (room,))
        for first in range(0, len(vectors), BLOCK_ROWS):
            part = vectors[first : first + BLOCK_ROWS]
            place = slice(self._count + first, self._count + first + len(part))
            new = np.frombuffer(b"".join(part), dtype="<f2").reshape(len(part), self._dim).astype(np.float32)
            scales = np.abs(new).max(axis=1) / _LARGEST
            new /= np.where(scales > 0, scales, 1)[:, None]
            self._rows[place] = np.rint(new)
            self._scales[place] = scales
        self._count = needed

    def nearest(self, query: bytes, count: int, rows: Sequence[int] | None = None) -> VectorHits:
        """Best rows by cosine, best first; ties by row number."""
        if not self._count or count < 1:
            return VectorHits([], [])
        found = self._scan(self._rows[: self._count], self._query(query)) * self._scales[: self._count]
        mean = float(found.mean())
        if rows is not None:
            names = np.asarray(rows, dtype=np.int64)
            found = found[names]
        else:
            names = np.arange(self._count)
        if count < len(found):
            best = np.argpartition(found, len(found) - count)[len(found) - count :]
            found, names = found[best], names[best]
        order = np.lexsort((names, -found))
        return VectorHits(names[order].tolist(), found[order].tolist(), mean)

    def scores(self, query: bytes, rows: Sequence[int]) -> list[float]:
        """Cosines of these rows."""
        if not rows:
            return []
        names = np.asarray(rows, dtype=np.int64)
        found: list[float] = (self._scan(self._rows[names], self._query(query)) * self._scales[names]).tolist()
        return found

    def __len__(self) -> int:
        return self._count

    def _query(self, query: bytes) -> NDArray[np.float32]:
        if len(query) != 4 * self._dim:
            raise BadRequest(f"the query does not have {self._dim} dimensions")
        return np.frombuffer(query, dtype="<f4")

    def _scan(self, rows: NDArray[np.int8], query: NDArray[np.float32]) -> NDArray[np.float32]:
        found = np.empty(len(rows), dtype=np.float32)
        wide = np.empty((min(BLOCK_ROWS, len(rows)), self._dim), dtype=np.float32)
        for first in range(0, len(rows), BLOCK_ROWS):
            part = rows[first : first + BLOCK_ROWS]
            wide[: len(part)] = part
            np.dot(wide[: len(part)], query, out=found[first : first + len(part)])
        return found


def _grown(old: NDArray[T], count: int, shape: tuple[int, ...]) -> NDArray[T]:
    new = np.empty(shape, dtype=old.dtype)
    new[:count] = old[:count]
    return new

"""Vectors that ship with the handbook, so that a fresh node answers at once (M05, M11).

File: magic, model name, dimension, then keys in order (BLAKE3 of model and text, cut to 16 bytes), then one row a key:
scale as float32 and signed bytes. Keys depend on the text alone, so a changed card misses its vector and nothing else.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from hearthnet.base.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAGIC: Final = b"HNVEC\x001\n"
KEY_BYTES: Final = 16
_HEAD = struct.Struct("<8sHII")  # magic, length of the model name, dimension, rows


class SeedVectors:
    """Vectors by text; empty when the file is absent. The file may be mapped: only what is looked up is read."""

    def __init__(self, data: bytes | mmap = b"") -> None:
        self.model = ""
        self._dim = 0
        self._count = 0
        self._keys = 0  # where the keys begin
        self._data = data
        if len(data):
            self._read_head(data)

    def find(self, model: str, text: str) -> bytes | None:
        """Half floats of a text, if they ship for this model."""
        if model != self.model:
            return None
        key = seed_key(model, text)
        row = bisect_left(range(self._count), key, key=self._key_at)
        return self._read_row(row) if row < self._count and self._key_at(row) == key else None

    def rows(self) -> list[bytes]:
        """All vectors as half floats, in the order of their keys."""
        return [self._read_row(row) for row in range(self._count)]

    def _key_at(self, row: int) -> bytes:
        start = self._keys + row * KEY_BYTES
        return self._data[start : start + KEY_BYTES]

    def _read_row(self, row: int) -> bytes:
        place = self._keys + self._count * KEY_BYTES + row * (4 + self._dim)
        (scale,) = struct.unpack_from("<f", self._data, place)
        signed = struct.unpack_from(f"<{self._dim}b", self._data, place + 4)
        return struct.pack(f"<{self._dim}e", *[scale * value for value in signed])

    def __len__(self) -> int:
        return self._count

    def _read_head(self, data: bytes | mmap) -> None:
        if len(data) < _HEAD.size:
            raise BadRequest("not a file of vectors")
        magic, name_bytes, dim, rows = _HEAD.unpack_from(data)
        keys = _HEAD.size + name_bytes
        if magic != MAGIC or len(data) != keys + rows * (KEY_BYTES + 4 + dim):
            raise BadRequest("not a file of vectors, or cut off")
        self.model = data[_HEAD.size : keys].decode()
        self._dim, self._count, self._keys = dim, rows, keys


def map_seeds(path: Path) -> SeedVectors:
    """The vectors of a file; raises FileNotFoundError, BadRequest."""
    with path.open("rb") as file:
        try:
            return SeedVectors(mmap(file.fileno(), 0, access=ACCESS_READ))
        except ValueError:  # an empty file cannot be mapped
            raise BadRequest("not a file of vectors, it is empty") from None


def seed_text(text: str, *, as_query: bool) -> str:
    """A text as its vector is named by: the same words have one vector as question and one as passage."""
    return f"query: {text}" if as_query else f"passage: {text}"


def seed_key(model: str, text: str) -> bytes:
    """Name of a text's vector."""
    return blake3(f"{model}\n{text}".encode()).digest()[:KEY_BYTES]


def write_seeds(model: str, vectors: Mapping[str, bytes]) -> bytes:
    """The file for these texts; vectors are float32, normalised."""
    dim = len(next(iter(vectors.values()))) // 4
    rows = sorted((seed_key(model, text), vector) for text, vector in vectors.items())
    name = model.encode()
    parts = [_HEAD.pack(MAGIC, len(name), dim, len(rows)), name, *(key for key, _ in rows)]
    for _, vector in rows:
        floats = struct.unpack(f"<{dim}f", vector)
        scale = max(abs(value) for value in floats) / 127 or 1.0
        parts.append(struct.pack(f"<f{dim}b", scale, *(round(value / scale) for value in floats)))
    return b"".join(parts)

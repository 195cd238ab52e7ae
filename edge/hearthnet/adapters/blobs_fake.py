"""Blobs in memory that fail on demand: full disk, flipped byte (M07)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hearthnet.base.constants import BLOB_GC_DISK_TARGET, BLOB_GC_DISK_THRESHOLD, CHUNK_SIZE_BYTES
from hearthnet.base.errors import DiskFull, HashMismatch, NotFound
from hearthnet.base.types import CID
from hearthnet.wire.cid import cid_of, make_blob_manifest, parse_cid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hearthnet.wire.cid import BlobManifest


class FakeBlobs:
    """The `Blobs` port over a dictionary on a disk of `disk_bytes`; `history` lists what was stored and removed."""

    def __init__(self, disk_bytes: int = 1 << 40) -> None:
        self._disk_bytes = disk_bytes
        self._limit = disk_bytes
        self._stored: dict[CID, bytes] = {}  # least recently used first
        self._manifests: dict[CID, BlobManifest] = {}  # by the id of the blob
        self._pinned: set[CID] = set()
        self.history: list[tuple[str, CID]] = []

    @asynccontextmanager
    async def writer(self, expected: CID | None = None) -> AsyncGenerator[_FakeWriter]:
        """Start a blob."""
        if expected is not None:
            parse_cid(expected)
        yield _FakeWriter(self, expected)

    async def read(self, cid: CID) -> AsyncGenerator[bytes]:
        """Checked chunks of 256 KiB."""
        manifest = await self.manifest(cid)
        data = self._stored[cid]
        self._stored[cid] = self._stored.pop(cid)
        for index, chunk in enumerate(manifest.chunks):
            yield _checked(data[index * CHUNK_SIZE_BYTES :][:CHUNK_SIZE_BYTES], chunk)

    async def has(self, cid: CID) -> bool:
        """Whether the blob is here."""
        await asyncio.sleep(0)
        return parse_cid(cid) in self._stored

    async def size(self, cid: CID) -> int:
        """Size in bytes."""
        await asyncio.sleep(0)
        return len(self._get(cid))

    async def find(self, cid: CID) -> CID:
        """The blob that an id stands for."""
        await asyncio.sleep(0)
        if parse_cid(cid) in self._stored:
            return cid
        for blob, manifest in self._manifests.items():
            if cid == manifest.cid or cid in manifest.chunks:
                return blob
        raise NotFound(f"{cid} is not here")

    async def manifest(self, cid: CID) -> BlobManifest:
        """Chunk list by the blob's id or its own."""
        await asyncio.sleep(0)
        parse_cid(cid)
        for blob, manifest in self._manifests.items():
            if cid in {blob, manifest.cid}:
                return manifest
        raise NotFound(f"{cid} is not here")

    async def chunk(self, cid: CID) -> bytes:
        """One chunk by its own id."""
        await asyncio.sleep(0)
        parse_cid(cid)
        for blob, manifest in self._manifests.items():
            if cid in manifest.chunks:
                start = manifest.chunks.index(cid) * CHUNK_SIZE_BYTES
                return _checked(self._stored[blob][start : start + CHUNK_SIZE_BYTES], cid)
        raise NotFound(f"{cid} is not here")

    async def room(self) -> int:
        """Bytes that may still be stored."""
        await asyncio.sleep(0)
        return max(0, self._limit - self._used_bytes())

    async def delete(self, cid: CID) -> bool:
        """Remove an unpinned blob."""
        await asyncio.sleep(0)
        if parse_cid(cid) in self._pinned or cid not in self._stored:
            return False
        del self._stored[cid], self._manifests[cid]
        self.history.append(("removed", cid))
        return True

    async def pin(self, cid: CID, pinned: bool = True) -> None:
        """Protect or release."""
        await asyncio.sleep(0)
        (self._pinned.add if pinned else self._pinned.discard)(parse_cid(cid))

    async def list(self, prefix: str = "") -> list[CID]:
        """Ids that begin with the prefix, in order."""
        await asyncio.sleep(0)
        return sorted(cid for cid in self._stored if cid.startswith(prefix))

    async def collect_garbage(self) -> int:
        """Clean by the rule of the real store."""
        freed = 0
        if self._used_bytes() > self._disk_bytes * BLOB_GC_DISK_THRESHOLD:
            for cid in list(self._stored):
                size = len(self._stored[cid])
                if self._used_bytes() >= self._disk_bytes * BLOB_GC_DISK_TARGET and await self.delete(cid):
                    freed += size
        return freed

    def fill_disk(self, after_bytes: int = 0) -> None:
        """Refuse to grow by more than `after_bytes`."""
        self._limit = self._used_bytes() + after_bytes

    def free_disk(self) -> None:
        """Space has returned."""
        self._limit = self._disk_bytes

    def flip_byte(self, cid: CID, offset: int) -> None:
        """Damage one stored byte."""
        data = bytearray(self._get(cid))
        data[offset] ^= 0xFF
        self._stored[cid] = bytes(data)

    def add(self, data: bytes, expected: CID | None = None) -> CID:
        """Store at once; what a committed writer does."""
        cid = cid_of(data)
        if expected not in {None, cid}:
            raise HashMismatch(f"expected {expected}, the bytes are {cid}")
        chunks = tuple(
            cid_of(data[start : start + CHUNK_SIZE_BYTES]) for start in range(0, len(data), CHUNK_SIZE_BYTES)
        )
        self._stored[cid] = data
        self._manifests[cid] = make_blob_manifest(chunks, len(data))
        self.history.append(("stored", cid))
        return cid

    def refuse_growth(self, size_bytes: int) -> None:
        """Raise DiskFull when so many bytes more do not fit."""
        if self._used_bytes() + size_bytes > self._limit:
            raise DiskFull("the fake disk is full", fix="call free_disk")

    def _get(self, cid: CID) -> bytes:
        if parse_cid(cid) not in self._stored:
            raise NotFound(f"{cid} is not here")
        return self._stored[cid]

    def _used_bytes(self) -> int:
        return sum(map(len, self._stored.values()))


class _FakeWriter:
    def __init__(self, blobs: FakeBlobs, expected: CID | None) -> None:
        self._blobs = blobs
        self._expected = expected
        self._data = bytearray()

    async def write(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self._blobs.refuse_growth(len(self._data) + len(data))
        self._data += data

    async def commit(self) -> CID:
        await asyncio.sleep(0)
        return self._blobs.add(bytes(self._data), self._expected)


def _checked(data: bytes, cid: CID) -> bytes:
    if cid_of(data) != cid:
        raise HashMismatch(f"the stored bytes of {cid} are damaged")
    return data

"""Content-addressed blobs in a folder: verified both ways, streamed, cleaned by age (M07)."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from hearthnet.adapters.blob_index import BlobIndex
from hearthnet.adapters.blob_layout import PREFIX, BlobFile, BlobLayout
from hearthnet.adapters.blob_part import BlobPart
from hearthnet.adapters.disk import FIX_ROOM, DiskSpace, measure_space, sync, translate_os
from hearthnet.base.constants import BLOB_GC_DISK_TARGET, BLOB_GC_DISK_THRESHOLD, BLOB_MIN_FREE_BYTES, CHUNK_SIZE_BYTES
from hearthnet.base.errors import DiskFull, HashMismatch, HearthNetError, NotFound
from hearthnet.wire.cid import parse_cid

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from hearthnet.base.types import CID
    from hearthnet.ports import Clock
    from hearthnet.wire.cid import BlobManifest

T = TypeVar("T")

_BLOCK_BYTES = 2_097_152  # written in one go


class BlobStore:
    """The `Blobs` port over `<root>/<aa>/<rest>.bin`; parts left by a crash are removed when it is made."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        *,
        min_free_bytes: int = BLOB_MIN_FREE_BYTES,
        gc_threshold: float = BLOB_GC_DISK_THRESHOLD,
        gc_target: float = BLOB_GC_DISK_TARGET,
        measure: Callable[[Path], DiskSpace] = measure_space,
    ) -> None:
        self._layout = BlobLayout(root)
        self._index = BlobIndex(self._layout)
        self._clock = clock
        self._min_free_bytes = min_free_bytes
        self._gc_threshold = gc_threshold
        self._gc_target = min(gc_target, gc_threshold)
        self._measure = measure
        self._lock = threading.Lock()  # pins and removal
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._layout.parts, ignore_errors=True)
        self._layout.parts.mkdir()
        self._pinned = _read_pins(self._layout.pins)

    @asynccontextmanager
    async def writer(self, expected: CID | None = None) -> AsyncGenerator[_Writer]:
        """Start a blob; see `Blobs.writer`."""
        if expected is not None:
            parse_cid(expected)
        part = await asyncio.to_thread(BlobPart, self._layout, expected, self._reserve)
        writer = _Writer(part, self._commit)
        try:
            yield writer
        finally:
            writer.abandon()
            await asyncio.get_running_loop().run_in_executor(None, part.close)

    async def read(self, cid: CID) -> AsyncGenerator[bytes]:
        """Checked chunks of 256 KiB; the next block is read while the caller uses this one."""
        loop = asyncio.get_running_loop()
        file = await asyncio.to_thread(BlobFile, self._layout, cid, self._clock.now())
        ahead = loop.run_in_executor(None, file.read_block)
        try:
            while block := await ahead:
                ahead = loop.run_in_executor(None, file.read_block)
                for chunk in block:
                    yield chunk
        finally:
            file.close()
            _forget(ahead)

    async def has(self, cid: CID) -> bool:
        """Whether the blob is here."""
        return await asyncio.to_thread(self._layout.path(cid).is_file)

    async def size(self, cid: CID) -> int:
        """Size in bytes; raises NotFound."""
        return await asyncio.to_thread(self._layout.size, cid)

    async def find(self, cid: CID) -> CID:
        """The blob that an id stands for."""
        return await asyncio.to_thread(self._find, cid)

    async def manifest(self, cid: CID) -> BlobManifest:
        """Chunk list by the blob's id or its own."""
        return await asyncio.to_thread(self._find_manifest, cid)

    async def chunk(self, cid: CID) -> bytes:
        """One chunk by its own id."""
        return await asyncio.to_thread(self._find_chunk, cid)

    async def room(self) -> int:
        """Bytes that may still be stored."""
        space = await asyncio.to_thread(self._measure, self._layout.root)
        return max(0, space.free_bytes - self._min_free_bytes)

    async def delete(self, cid: CID) -> bool:
        """Remove an unpinned blob."""
        freed = await asyncio.to_thread(self._remove, cid)
        if freed is not None:
            await asyncio.to_thread(self._index.remove, {cid})
        return freed is not None

    async def pin(self, cid: CID, pinned: bool = True) -> None:
        """Protect or release; survives a restart. A blob may be pinned before it arrives."""
        await asyncio.to_thread(self._pin, parse_cid(cid), pinned)

    async def list(self, prefix: str = "") -> list[CID]:
        """Ids that begin with the prefix, in order; nothing when no id can begin so."""
        if not re.fullmatch(r"blake3:[0-9a-f]{0,64}", prefix) and not PREFIX.startswith(prefix):
            return []
        return await asyncio.to_thread(lambda: [*self._layout.list_blobs(prefix.removeprefix(PREFIX)[:64])])

    async def collect_garbage(self) -> int:
        """Clean from above the threshold to below the target; bytes freed."""
        return await asyncio.to_thread(self._collect)

    # ---- blocking ---------------------------------------------------------------------------------------------

    def _find(self, cid: CID) -> CID:
        if self._layout.path(cid).is_file():
            return cid
        blob = self._index.find_manifest(cid)
        if blob is None:
            blob = next((place[0] for place in self._index.find_chunk(cid)), None)
        if blob is None:
            raise NotFound(f"{cid} is not here")
        return blob

    def _find_manifest(self, cid: CID) -> BlobManifest:
        known = self._layout.path(cid).is_file()
        blob = cid if known else self._index.find_manifest(cid)
        if blob is None:
            raise NotFound(f"{cid} is not here")
        return self._layout.manifest(blob)

    def _find_chunk(self, cid: CID) -> bytes:
        path = self._layout.path(cid)
        alone = path.is_file() and path.stat().st_size <= CHUNK_SIZE_BYTES
        places = ((cid, 0),) if alone else self._index.find_chunk(cid)
        fault: HearthNetError = NotFound(f"{cid} is not here")
        for blob, index in places:
            try:
                return self._read_chunk(blob, index)
            except (NotFound, HashMismatch) as error:  # another blob may hold the same chunk in good order
                fault = error
        raise fault

    def _read_chunk(self, blob: CID, index: int) -> bytes:
        file = BlobFile(self._layout, blob, self._clock.now())
        try:
            return file.read_at(index)
        finally:
            file.close()

    def _commit(self, part: BlobPart) -> CID:
        cid = part.commit(self._clock.now())
        self._index.add(cid)
        return cid

    def _reserve(self, size_bytes: int) -> None:
        if self._measure(self._layout.root).free_bytes - size_bytes >= self._min_free_bytes:
            return
        self._collect()
        if self._measure(self._layout.root).free_bytes - size_bytes < self._min_free_bytes:
            raise DiskFull(f"less than {self._min_free_bytes} bytes would stay free", fix=FIX_ROOM)

    def _remove(self, cid: CID) -> int | None:
        with self._lock:
            if cid in self._pinned or not self._layout.path(cid).is_file():
                return None
            return self._layout.remove(cid)

    def _pin(self, cid: CID, pinned: bool) -> None:
        with self._lock:
            wanted = self._pinned | {cid} if pinned else self._pinned - {cid}
            if wanted == self._pinned:
                return
            part = self._layout.parts / "pinned.txt"
            try:
                part.write_text("".join(f"{item}\n" for item in sorted(wanted)))
                sync(part)
                part.replace(self._layout.pins)
                sync(self._layout.root)
            except OSError as error:
                raise translate_os(error, self._layout.pins) from error
            self._pinned = wanted

    def _collect(self) -> int:
        space = self._measure(self._layout.root)
        if space.used <= self._gc_threshold:
            return 0
        removed: set[CID] = set()
        freed = 0
        for cid in sorted(self._layout.list_blobs(), key=self._used_at):
            if DiskSpace(space.total_bytes, space.free_bytes + freed).used < self._gc_target:
                break
            gone = self._remove(cid)
            if gone is not None:
                removed.add(cid)
                freed += gone
        self._index.remove(removed)
        return freed

    def _used_at(self, cid: CID) -> float:
        try:
            return self._layout.path(cid).stat().st_mtime
        except FileNotFoundError:
            return 0.0


class _Writer:
    """Collects blocks and writes one while the caller makes the next."""

    def __init__(self, part: BlobPart, commit: Callable[[BlobPart], CID]) -> None:
        self._part = part
        self._commit = commit
        self._pieces: list[bytes] = []
        self._pending_bytes = 0
        self._writing: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _BLOCK_BYTES:
            await self._flush()

    async def commit(self) -> CID:
        await self._flush()
        await self._settle()
        return await asyncio.to_thread(self._commit, self._part)

    def abandon(self) -> None:
        if self._writing is not None:
            _forget(self._writing)

    async def _flush(self) -> None:
        await self._settle()
        pieces, self._pieces, self._pending_bytes = self._pieces, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._part.append, pieces)

    async def _settle(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None


def _forget(work: asyncio.Future[T]) -> None:
    """Nobody waits for this any more; its error, if any, was for the one who left."""
    if not work.cancel() and not work.cancelled():
        work.exception()


def _read_pins(path: Path) -> frozenset[CID]:
    if not path.is_file():
        return frozenset()
    return frozenset(parse_cid(line) for line in path.read_text().split())

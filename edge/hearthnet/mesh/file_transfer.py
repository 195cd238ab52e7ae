"""Receiving a file chunk by chunk, resumable and verified (M07).

Chunks arrive in any order and lie as blobs of their own until the last one is here; then the file is put together
and they go. The chunk list lies as a blob under the manifest's id, so that a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import BadRequest, DiskFull, HashMismatch, HearthNetError, NotFound
from hearthnet.base.types import CID
from hearthnet.wire import canonical
from hearthnet.wire.cid import BlobManifest, make_blob_manifest

if TYPE_CHECKING:
    from hearthnet.ports import Blobs

_TRANSFERS_KEPT: Final = 16  # in memory; others are read again from their manifest
_MANIFEST_BYTES_MAX: Final = 4 * 1_048_576


class ChunkData(Struct, frozen=True):
    """A chunk as it came."""

    cid: CID
    data: bytes


class Transfer:
    """A file on its way; `needed` are the chunks that are not here."""

    def __init__(self, manifest: BlobManifest, needed: list[CID]) -> None:
        self.manifest = manifest
        self.needed = dict.fromkeys(needed)
        self.content = ""
        self.stored: set[CID] = set()
        self.lock = asyncio.Lock()


class Transfers:
    """Files on their way to this node."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._open: OrderedDict[CID, Transfer] = OrderedDict()

    async def begin(self, manifest: BlobManifest) -> Transfer:
        """Take up a file; raises BadRequest for a manifest that is none, DiskFull when the file has no room."""
        expected = make_blob_manifest(manifest.chunks, manifest.size_bytes)
        count = -(-manifest.size_bytes // CHUNK_SIZE_BYTES)
        if len(manifest.chunks) != count or expected != manifest:
            raise BadRequest("the chunks, the sizes and the manifest's id do not belong together")
        known = self._open.get(manifest.cid)
        if known is not None:
            return known
        if not await self._blobs.has(manifest.cid):
            done = await self._find_done(manifest.cid)
            if done is not None:
                return done
            if manifest.size_bytes > await self._blobs.room():
                raise DiskFull(f"{manifest.size_bytes} bytes have no room here", fix="free some space on that node")
            async with self._blobs.writer(manifest.cid) as writer:
                await writer.write(_list_bytes(manifest))
                await writer.commit()
        return await self._take_up(manifest)

    async def resume(self, cid: CID) -> Transfer:
        """A file that was begun, also before a restart; raises NotFound."""
        known = self._open.get(cid)
        if known is not None:
            self._open.move_to_end(cid)
            return known
        if await self._blobs.has(cid) and await self._blobs.size(cid) <= _MANIFEST_BYTES_MAX:
            return await self._take_up(await self._read_list(cid))
        done = await self._find_done(cid)
        if done is None:
            raise NotFound("this file was not begun here", fix="begin with the manifest")
        return done

    async def take(self, transfer: Transfer, chunk: ChunkData) -> None:
        """Store a chunk; one that is here already changes nothing. Raises BadRequest, DiskFull."""
        if chunk.cid not in transfer.manifest.chunks:
            raise BadRequest("the chunk is not of this file")
        if chunk.cid not in transfer.needed:
            return
        async with self._blobs.writer(chunk.cid) as writer:
            await writer.write(chunk.data)
            try:
                await writer.commit()
            except HashMismatch as error:
                raise BadRequest("the chunk's bytes do not hash to its id") from error
        transfer.stored.add(chunk.cid)
        transfer.needed.pop(chunk.cid, None)

    async def finish(self, transfer: Transfer) -> str:
        """Put the file together; its id, or nothing when a chunk went missing meanwhile."""
        async with transfer.lock:
            if not transfer.content:
                await self._assemble(transfer)
            return transfer.content

    async def _assemble(self, transfer: Transfer) -> None:
        manifest = transfer.manifest
        async with self._blobs.writer() as writer:
            for cid in manifest.chunks:
                try:
                    await writer.write(await self._blobs.chunk(cid))
                except (NotFound, HashMismatch):
                    transfer.needed[cid] = None
                    return
            content = await writer.commit()
        transfer.content = content
        self._open.pop(manifest.cid, None)
        for cid in (*transfer.stored, manifest.cid):
            if cid != content:
                await self._blobs.delete(cid)

    async def _take_up(self, manifest: BlobManifest) -> Transfer:
        needed = [cid for cid in dict.fromkeys(manifest.chunks) if not await self._is_here(cid)]
        transfer = self._open.setdefault(manifest.cid, Transfer(manifest, needed))
        while len(self._open) > _TRANSFERS_KEPT:
            self._open.popitem(last=False)
        return transfer

    async def _find_done(self, cid: CID) -> Transfer | None:
        """A file that is whole already, by its manifest's id."""
        try:
            content = await self._blobs.find(cid)
            manifest = await self._blobs.manifest(content)
        except NotFound:
            return None
        if manifest.cid != cid:
            return None
        done = Transfer(manifest, [])
        done.content = content
        return done

    async def _read_list(self, cid: CID) -> BlobManifest:
        data = b"".join([chunk async for chunk in self._blobs.read(cid)])
        try:
            told = canonical.decode_as(data, _ChunkList, max_bytes=_MANIFEST_BYTES_MAX)
        except HearthNetError as error:
            raise NotFound("this is no manifest", fix="begin with the manifest") from error
        return make_blob_manifest(told.chunks, told.size_bytes)

    async def _is_here(self, cid: CID) -> bool:
        try:
            await self._blobs.find(cid)
        except NotFound:
            return False
        return True


class _ChunkList(Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest's id is the hash of."""

    chunk_size_bytes: int
    chunks: tuple[CID, ...]
    size_bytes: int


def _list_bytes(manifest: BlobManifest) -> bytes:
    return canonical.encode(_ChunkList(manifest.chunk_size_bytes, manifest.chunks, manifest.size_bytes))

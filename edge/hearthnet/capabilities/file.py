"""Files by content: read, list, advertise, put (M07).

The specification's `file.put` is a two-way stream. Here it is a row of calls, each idempotent: the first brings the
manifest and is told which chunks are needed, the following bring at most two chunks each; the last one answers with
the file's own id. A broken transfer goes on where it stopped, also after a restart.
A neighbour sees only what this node advertised to the community; this node's own people see everything.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import BadRequest, NotFound
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.capability import Call, NoParams, capability
from hearthnet.mesh.file_transfer import ChunkData, Transfers
from hearthnet.mesh.shared_files import HoldersView
from hearthnet.wire.cid import BlobManifest, parse_cid
from hearthnet.wire.event_types import CidAdvertised
from hearthnet.wire.identity import short_id

if TYPE_CHECKING:
    from hearthnet.base.types import CID
    from hearthnet.mesh.services import Services

_LIST_MAX: Final = 5000
_SIZES_MAX: Final = 4096  # an advertisement of more chunks names the sum only
_HOLDERS_NAMED: Final = 5
_NEEDED_MAX: Final = 4096
_PUT_CHUNKS_MAX: Final = 2  # two chunks in base64 fit into a request
_CHUNK_CHARS_MAX: Final = -(-CHUNK_SIZE_BYTES * 4 // 3)

CidText = Annotated[str, Meta(pattern="^blake3:[0-9a-f]{64}$", max_length=71)]
Base64Url = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]*$", max_length=_CHUNK_CHARS_MAX)]


class ReadInput(Struct, frozen=True, forbid_unknown_fields=True):
    """A chunk, a file or a manifest, by its id."""

    cid: CidText


class ManifestFrame(Struct, frozen=True, tag="manifest", tag_field="event"):
    """What follows, when it is more than one chunk."""

    cid: str
    size_bytes: int
    chunk_size_bytes: int
    chunks: tuple[str, ...]


class ChunkFrame(Struct, frozen=True, tag="chunk", tag_field="event"):
    """One chunk, in base64url without padding."""

    i: int
    cid: str
    size_bytes: int
    data_b64: str


class ReadDone(Struct, frozen=True, tag="done", tag_field="event"):
    """Everything was sent."""

    chunks: int
    ms: int


class ListInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Ids that begin so; empty = all."""

    prefix: Annotated[str, Meta(max_length=71)] = ""


class ListOutput(Struct, frozen=True):
    """Files here that the caller may read; `truncated` when there are more."""

    cids: tuple[str, ...]
    truncated: bool = False


class AdvertiseInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Files that the caller holds."""

    cids: Annotated[tuple[CidText, ...], Meta(min_length=1, max_length=256)]


class AdvertiseOutput(Struct, frozen=True):
    """How many of them are known to be held now."""

    recorded: int


class PutManifest(Struct, frozen=True, forbid_unknown_fields=True):
    """The chunk list of a file to come."""

    cid: CidText
    size_bytes: Annotated[int, Meta(ge=0, le=2**40)]
    chunks: Annotated[tuple[CidText, ...], Meta(max_length=13_000)]
    chunk_size_bytes: int = CHUNK_SIZE_BYTES


class PutChunk(Struct, frozen=True, forbid_unknown_fields=True):
    """One chunk, in base64url without padding."""

    cid: CidText
    data_b64: Base64Url


class PutInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Either the manifest, or its id and chunks."""

    manifest: PutManifest | None = None
    cid: Annotated[str, Meta(pattern="^(|blake3:[0-9a-f]{64})$", max_length=71)] = ""
    chunks: Annotated[tuple[PutChunk, ...], Meta(max_length=_PUT_CHUNKS_MAX)] = ()


class PutOutput(Struct, frozen=True):
    """Chunks still needed, the first 4096 of `missing`; when none is, the file's own id."""

    needed: tuple[str, ...]
    missing: int
    received: int
    content_cid: str
    ms: int


class Files:
    """Blobs of this node, for its people and its neighbours."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._blobs = services.blobs
        self._transfers = Transfers(services.blobs)
        self._holders = HoldersView()
        self._attaching = asyncio.Lock()
        self._attached = False

    async def start(self) -> None:
        """Learn from the log who holds what. Idempotent."""
        async with self._attaching:
            if not self._attached and self._services.events is not None:
                await self._services.events.attach(self._holders)
                self._attached = True

    @capability("file.read@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=300, max_concurrent=8)
    async def read(
        self, call: Call, params: NoParams, request: ReadInput
    ) -> AsyncIterator[ManifestFrame | ChunkFrame | ReadDone]:
        """A chunk, or a whole file chunk by chunk."""
        began = self._services.clock.monotonic()
        cid = parse_cid(request.cid)
        chunks: tuple[CID, ...] = (cid,)
        manifest = await self._resolve(call, cid)
        if manifest is not None:
            chunks = manifest.chunks
            yield ManifestFrame(manifest.cid, manifest.size_bytes, manifest.chunk_size_bytes, chunks)
        for index, chunk in enumerate(chunks):
            data = await self._blobs.chunk(chunk)
            yield ChunkFrame(index, chunk, len(data), urlsafe_b64encode(data).decode().rstrip("="))
        yield ReadDone(len(chunks), self._ms_since(began))

    @capability("file.list@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=5, max_concurrent=4)
    async def list(self, call: Call, params: NoParams, request: ListInput) -> ListOutput:
        """Files of this node."""
        await self.start()
        cids = [cid for cid in await self._blobs.list(request.prefix) if self._may_see(call, cid)]
        return ListOutput(tuple(cids[:_LIST_MAX]), len(cids) > _LIST_MAX)

    @capability("file.advertise@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=5, max_concurrent=16)
    async def advertise(self, call: Call, params: NoParams, request: AdvertiseInput) -> AdvertiseOutput:
        """Tell who holds files: this node's people tell the community, a neighbour tells this node."""
        await self.start()
        cids = [parse_cid(cid) for cid in request.cids]
        if call.caller.node_id is not None:
            for cid in cids:
                self._holders.add_hint(cid, call.caller.node_id)
            return AdvertiseOutput(len(cids))
        held = [cid for cid in cids if await self._blobs.has(cid)]
        for cid in held:
            await self._share(cid)
        return AdvertiseOutput(len(held))

    @capability("file.put@1.0", trust=TrustLevel.TRUSTED, idempotent=True, timeout_s=600, max_concurrent=2)
    async def put(self, call: Call, params: NoParams, request: PutInput) -> PutOutput:
        """Store a file, chunk by chunk over several calls."""
        await self.start()
        began = self._services.clock.monotonic()
        if request.manifest is not None:
            told = request.manifest
            chunks = tuple(parse_cid(chunk) for chunk in told.chunks)
            manifest = BlobManifest(parse_cid(told.cid), told.size_bytes, chunks, told.chunk_size_bytes)
            transfer = await self._transfers.begin(manifest)
        elif request.cid:
            transfer = await self._transfers.resume(parse_cid(request.cid))
        else:
            raise BadRequest("neither a manifest nor its id", fix="begin with the manifest")
        for chunk in request.chunks:
            await self._transfers.take(transfer, ChunkData(parse_cid(chunk.cid), _decode(chunk.data_b64)))
        content = "" if transfer.needed else await self._transfers.finish(transfer)
        if content and call.caller.node_id is not None:
            await self._share(parse_cid(content))  # who brought it, and the community, may fetch it back
        needed = tuple(transfer.needed)
        received = len(request.chunks)
        return PutOutput(needed[:_NEEDED_MAX], len(needed), received, content, self._ms_since(began))

    async def _resolve(self, call: Call, cid: CID) -> BlobManifest | None:
        """The manifest to send first, None for a single chunk; raises NotFound."""
        await self.start()
        try:
            content = await self._blobs.find(cid)
        except NotFound:
            content = None
        if content is None or not self._may_see(call, content):  # the same answer: nobody learns what is private here
            raise NotFound(f"{cid} is not here", fix=self._others(cid))
        manifest = await self._blobs.manifest(content)
        return None if cid in manifest.chunks else manifest

    async def _share(self, cid: CID) -> None:
        """Tell the community that this node holds the file, once."""
        events = self._services.events
        if events is None or self._holders.is_shared(cid, events.node_id):
            return
        manifest = await self._blobs.manifest(cid)
        size, chunk = manifest.size_bytes, manifest.chunk_size_bytes
        sizes = tuple(min(chunk, size - start) for start in range(0, size, chunk)) or (0,)
        await events.append(CidAdvertised(cid, sizes if len(sizes) <= _SIZES_MAX else (size,)))

    def _may_see(self, call: Call, content: CID) -> bool:
        if call.caller.node_id is None:
            return True
        events = self._services.events
        return events is not None and self._holders.is_shared(content, events.node_id)

    def _others(self, cid: CID) -> str:
        names = [short_id(node_id) for node_id in self._holders.holders(cid)[:_HOLDERS_NAMED]]
        return f"ask {', '.join(names)}" if names else ""

    def _ms_since(self, began: float) -> int:
        return round((self._services.clock.monotonic() - began) * 1000)


def _decode(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise BadRequest(f"not base64url: {error}") from error

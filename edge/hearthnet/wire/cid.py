"""Content ids: BLAKE3-256 of the bytes, and of the chunk list of a large blob (M07)."""

from __future__ import annotations

import re

from blake3 import blake3
from msgspec import Struct

from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import BadRequest, HashMismatch
from hearthnet.base.types import CID
from hearthnet.wire import canonical

_PREFIX = "blake3:"
_CID = re.compile(r"blake3:[0-9a-f]{64}", re.ASCII)


def cid_of(data: bytes) -> CID:
    """The content id of bytes in memory."""
    return CID(_PREFIX + blake3(data).hexdigest())


def parse_cid(text: str) -> CID:
    """Check a content id from outside; raises BadRequest. The result is safe as part of a path."""
    if not _CID.fullmatch(text):
        raise BadRequest("not a content id", fix="write blake3: and 64 lowercase hexadecimal digits")
    return CID(text)


class CidHasher:
    """Content id of bytes that arrive in pieces; memory does not grow."""

    def __init__(self) -> None:
        self._hash = blake3()
        self.size_bytes = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next bytes."""
        self._hash.update(data)
        self.size_bytes += memoryview(data).nbytes

    def cid(self) -> CID:
        """The content id of everything so far."""
        return CID(_PREFIX + self._hash.hexdigest())


class BlobManifest(Struct, frozen=True, forbid_unknown_fields=True):
    """A large blob as the list of its chunks; media type and file name advise and are not hashed."""

    cid: CID
    size_bytes: int
    chunks: tuple[CID, ...]
    chunk_size_bytes: int = CHUNK_SIZE_BYTES
    mime_type: str = ""
    filename: str = ""


def make_blob_manifest(
    chunks: tuple[CID, ...], size_bytes: int, *, mime_type: str = "", filename: str = ""
) -> BlobManifest:
    """The manifest of a blob that was cut into chunks of 256 KiB, the last one shorter."""
    cid = _manifest_cid(chunks, size_bytes, CHUNK_SIZE_BYTES)
    return BlobManifest(cid, size_bytes, chunks, mime_type=mime_type, filename=filename)


def read_blob_manifest(data: bytes) -> BlobManifest:
    """A manifest from outside; raises BadRequest when its figures disagree, HashMismatch when its cid does."""
    manifest = canonical.decode_as(data, BlobManifest)
    for chunk in manifest.chunks:
        parse_cid(chunk)
    size, chunk_size = manifest.size_bytes, manifest.chunk_size_bytes
    if size < 0 or chunk_size < 1 or len(manifest.chunks) != -(-size // chunk_size):
        raise BadRequest(f"{len(manifest.chunks)} chunks of {chunk_size} bytes do not make {size} bytes")
    if _manifest_cid(manifest.chunks, size, chunk_size) != manifest.cid:
        raise HashMismatch("the chunk list does not hash to the manifest's cid")
    return manifest


def _manifest_cid(chunks: tuple[CID, ...], size_bytes: int, chunk_size_bytes: int) -> CID:
    hashed = {"chunk_size_bytes": chunk_size_bytes, "chunks": chunks, "size_bytes": size_bytes}
    return cid_of(canonical.encode(hashed))

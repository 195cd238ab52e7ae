"""Where a blob lies and how its bytes are checked on the way out (M07).

`<aa>/<rest>.bin` holds the bytes, `<aa>/<rest>.manifest.json` the chunk list when there is more than one chunk.
The list names its blob and hashes to its own id; when it is missing or torn it is made again from the bytes, which
then must hash to the blob's name. So garbage, a torn write or swapped files are found before a byte is given out.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

import msgspec
from blake3 import blake3

from hearthnet.adapters.disk import translate_os
from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import HashMismatch, HearthNetError, NotFound
from hearthnet.base.types import CID
from hearthnet.wire.cid import BlobManifest, cid_of, make_blob_manifest, parse_cid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX: Final = "blake3:"
_BLOCK_CHUNKS: Final = 8  # read and checked in one go
_TOUCH_AFTER_S: Final = 3600.0  # a read renews the time of use at most this often


class StoredManifest(msgspec.Struct, frozen=True):
    """A chunk list as it lies on the disk."""

    content: CID
    manifest: BlobManifest


class BlobLayout:
    """Paths of one store; blocking."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = root / ".parts"
        self.pins = root / "pinned.txt"

    def path(self, cid: CID) -> Path:
        """File of the bytes; raises BadRequest for anything but a content id."""
        digits = parse_cid(cid).removeprefix(PREFIX)
        return self.root / digits[:2] / f"{digits[2:]}.bin"

    def list_blobs(self, digits: str = "") -> Iterator[CID]:
        """Ids of all blobs that begin with these hexadecimal digits, in order."""
        for folder in sorted(self.root.glob(f"{digits[:2]}*" if digits else "??")):
            if len(folder.name) == 2 and folder.is_dir():
                for file in sorted(folder.glob(f"{digits[2:]}*.bin")):
                    yield CID(PREFIX + folder.name + file.stem)

    def size(self, cid: CID) -> int:
        """Bytes of the blob; raises NotFound."""
        path = self.path(cid)
        try:
            return path.stat().st_size
        except OSError as error:
            raise _missing(cid, error, path) from error

    def manifest(self, cid: CID) -> BlobManifest:
        """The chunk list of a blob, read or made again; raises NotFound, HashMismatch."""
        size = self.size(cid)
        if size <= CHUNK_SIZE_BYTES:
            if size == 0 and cid != cid_of(b""):
                raise damaged(cid)
            return make_blob_manifest((cid,) if size else (), size)
        try:
            stored = msgspec.json.decode(_manifest_path(self.path(cid)).read_bytes(), type=StoredManifest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return self._rebuild(cid)
        found = stored.manifest
        if stored.content == cid and found.size_bytes == size and make_blob_manifest(found.chunks, size) == found:
            return found
        return self._rebuild(cid)

    def remove(self, cid: CID) -> int:
        """Bytes freed; 0 when it was not here."""
        path = self.path(cid)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        _manifest_path(path).unlink(missing_ok=True)
        return size

    def _rebuild(self, cid: CID) -> BlobManifest:
        path, whole, chunks, size = self.path(cid), blake3(), [], 0
        try:
            with path.open("rb", buffering=0) as file:
                while chunk := file.read(CHUNK_SIZE_BYTES):
                    whole.update(chunk)
                    chunks.append(CID(PREFIX + blake3(chunk).hexdigest()))
                    size += len(chunk)
        except OSError as error:
            raise _missing(cid, error, path) from error
        if PREFIX + whole.hexdigest() != cid:
            raise damaged(cid)
        manifest = make_blob_manifest(tuple(chunks), size)
        write_manifest(path, self.parts, StoredManifest(cid, manifest))
        return manifest


class BlobFile:
    """An open blob; gives out checked chunks only. Blocking; `close` may come from another thread."""

    def __init__(self, layout: BlobLayout, cid: CID, now: float) -> None:
        self._handle = -1
        self._cid = cid
        self._next = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._chunks = layout.manifest(cid).chunks
        path = layout.path(cid)
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _missing(cid, error, path) from error
        if abs(now - os.fstat(self._handle).st_mtime) > _TOUCH_AFTER_S:
            os.utime(self._handle, (now, now))

    def __del__(self) -> None:
        self.close()  # a caller cancelled while the file was being opened never got it

    def read_block(self) -> list[bytes]:
        """The next chunks, empty at the end; raises HashMismatch instead of giving out wrong bytes."""
        with self._lock:
            if self._closing.is_set():
                return []
            end = min(self._next + _BLOCK_CHUNKS, len(self._chunks))
            block = [self._read(index) for index in range(self._next, end)]
            self._next = end
        if self._closing.is_set():
            self.close()
        return block

    def read_at(self, index: int) -> bytes:
        """One chunk; raises HashMismatch."""
        with self._lock:
            return self._read(index)

    def close(self) -> None:
        """Close now, or when the block being read is done; idempotent."""
        self._closing.set()
        if self._lock.acquire(blocking=False):
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
            self._lock.release()

    def _read(self, index: int) -> bytes:
        data = os.pread(self._handle, CHUNK_SIZE_BYTES, index * CHUNK_SIZE_BYTES)
        if PREFIX + blake3(data).hexdigest() != self._chunks[index]:
            raise damaged(self._cid)
        return data


def _manifest_path(blob: Path) -> Path:
    """The chunk list beside a blob's file."""
    return blob.with_suffix(".manifest.json")


def write_manifest(blob: Path, parts: Path, stored: StoredManifest) -> None:
    """Put the chunk list beside its blob; it can be made again, so it is not synced."""
    part = parts / f"{blob.stem}.{threading.get_ident()}.json"
    part.write_bytes(msgspec.json.encode(stored))
    part.replace(_manifest_path(blob))


def damaged(cid: CID) -> HashMismatch:
    """The error for bytes that do not hash to their name."""
    return HashMismatch(f"the stored bytes of {cid} are damaged", fix="delete the blob and fetch or add it again")


def _missing(cid: CID, error: OSError, path: Path) -> HearthNetError:
    return NotFound(f"{cid} is not here") if isinstance(error, FileNotFoundError) else translate_os(error, path)

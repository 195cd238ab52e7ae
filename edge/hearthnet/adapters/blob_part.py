"""A blob while it is written: hashed on the way in, invisible until it is whole and on the disk (M07)."""

from __future__ import annotations

import os
import threading
import uuid
from typing import TYPE_CHECKING

from blake3 import blake3

from hearthnet.adapters.blob_layout import PREFIX, StoredManifest, write_manifest
from hearthnet.adapters.disk import sync, translate_os
from hearthnet.base.constants import CHUNK_SIZE_BYTES
from hearthnet.base.errors import HashMismatch, InternalError
from hearthnet.base.types import CID
from hearthnet.wire.cid import make_blob_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hearthnet.adapters.blob_layout import BlobLayout

_IOV_MAX = 512


class BlobPart:
    """One file in the parts folder; blocking, calls from different threads take turns.

    `reserve` is asked before each write and raises DiskFull when the store may not grow.
    """

    def __init__(self, layout: BlobLayout, expected: CID | None, reserve: Callable[[int], None]) -> None:
        self._handle = -1
        self._layout = layout
        self._expected = expected
        self._reserve = reserve
        self._whole = blake3()
        self._chunk = blake3()
        self._chunk_bytes = 0
        self._chunks: list[CID] = []
        self._size = 0
        self._lock = threading.Lock()
        self._path: Path | None = layout.parts / uuid.uuid4().hex
        try:
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise translate_os(error, self._path) from error

    def __del__(self) -> None:
        self.close()  # a caller cancelled while the file was being made never got it

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write and hash; raises DiskFull."""
        with self._lock:
            self._reserve(sum(map(len, pieces)))
            try:
                for start in range(0, len(pieces), _IOV_MAX):
                    self._write(pieces[start : start + _IOV_MAX])
            except OSError as error:
                raise translate_os(error, self._layout.root) from error
            for piece in pieces:
                self._hash(piece)

    def commit(self, now: float) -> CID:
        """Sync, name and reveal the blob; raises HashMismatch when it is not the expected one."""
        with self._lock:
            if self._path is None:
                raise InternalError("a blob is committed once")
            if self._chunk_bytes:
                self._end_chunk()
            cid = CID(PREFIX + self._whole.hexdigest())
            if self._expected not in {None, cid}:
                raise HashMismatch(f"expected {self._expected}, the bytes are {cid}")
            target = self._layout.path(cid)
            try:
                os.utime(self._handle, (now, now))
                os.fsync(self._handle)
                if not target.parent.is_dir():
                    target.parent.mkdir(exist_ok=True)
                    sync(self._layout.root)
                if len(self._chunks) > 1:
                    manifest = make_blob_manifest(tuple(self._chunks), self._size)
                    write_manifest(target, self._layout.parts, StoredManifest(cid, manifest))
                self._path.rename(target)
                self._path = None
                sync(target.parent)
            except OSError as error:
                raise translate_os(error, self._layout.root) from error
            return cid

    def close(self) -> None:
        """Release the file; without a commit every trace goes."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._path = None

    def _write(self, pieces: Sequence[bytes]) -> None:
        views = [memoryview(piece) for piece in pieces if piece]
        while views:
            done = os.writev(self._handle, views)
            self._size += done
            while views and done >= len(views[0]):
                done -= len(views.pop(0))
            if done:
                views[0] = views[0][done:]

    def _hash(self, piece: bytes) -> None:
        self._whole.update(piece)
        view = memoryview(piece)
        while view:
            taken = view[: CHUNK_SIZE_BYTES - self._chunk_bytes]
            self._chunk.update(taken)
            self._chunk_bytes += len(taken)
            view = view[len(taken) :]
            if self._chunk_bytes == CHUNK_SIZE_BYTES:
                self._end_chunk()

    def _end_chunk(self) -> None:
        self._chunks.append(CID(PREFIX + self._chunk.hexdigest()))
        self._chunk = blake3()
        self._chunk_bytes = 0

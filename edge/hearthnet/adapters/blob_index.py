"""Finding a chunk or a manifest by its own id among whole blobs (M07).

Built from the stored chunk lists when the first neighbour asks, then kept up to date; lists are derived data, so
the index needs no file. A blob of one chunk is found by its name and is not listed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hearthnet.base.errors import HearthNetError

if TYPE_CHECKING:
    from hearthnet.adapters.blob_layout import BlobLayout
    from hearthnet.base.types import CID
    from hearthnet.wire.cid import BlobManifest


class BlobIndex:
    """Maps from chunk ids and manifest ids to blobs; blocking, safe from several threads."""

    def __init__(self, layout: BlobLayout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._built = False
        self._places: dict[bytes, tuple[tuple[CID, int], ...]] = {}  # chunk -> blobs that hold it, and where
        self._blobs: dict[bytes, CID] = {}  # manifest -> blob
        self._keys: dict[CID, tuple[bytes, ...]] = {}  # blob -> its manifest and chunks

    def find_chunk(self, cid: CID) -> tuple[tuple[CID, int], ...]:
        """The blobs that hold a chunk, and which of their chunks it is."""
        with self._lock:
            self._build()
            return self._places.get(_key(cid), ())

    def find_manifest(self, cid: CID) -> CID | None:
        """The blob that a manifest id stands for."""
        with self._lock:
            self._build()
            return self._blobs.get(_key(cid))

    def add(self, blob: CID) -> None:
        """A blob was stored."""
        with self._lock:
            if self._built:
                self._add(blob)

    def remove(self, blobs: set[CID]) -> None:
        """Blobs were removed."""
        with self._lock:
            for blob in blobs:
                manifest, *chunks = self._keys.pop(blob, (b"",))
                self._blobs.pop(manifest, None)
                for chunk in chunks:
                    left = tuple(place for place in self._places.pop(chunk, ()) if place[0] != blob)
                    if left:
                        self._places[chunk] = left

    def _build(self) -> None:
        if not self._built:
            self._built = True
            for blob in self._layout.list_blobs():
                self._add(blob)

    def _add(self, blob: CID) -> None:
        if blob in self._keys:
            return
        try:
            manifest: BlobManifest = self._layout.manifest(blob)
        except HearthNetError:
            return  # damaged or just removed: there is nothing to find in it
        chunks = [_key(chunk) for chunk in manifest.chunks] if len(manifest.chunks) > 1 else []
        self._keys[blob] = (_key(manifest.cid), *chunks)
        self._blobs[_key(manifest.cid)] = blob
        for index, chunk in enumerate(chunks):
            self._places[chunk] = (*self._places.get(chunk, ()), (blob, index))


def _key(cid: CID) -> bytes:
    return bytes.fromhex(cid[-64:])

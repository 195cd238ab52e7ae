"""Documents on their way into the library: received, read, found; what went wrong is kept until it is seen (M08).

Reading goes on when its page is left; the library itself takes up again what a restart interrupted.
"""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.constants import UPLOAD_MAX_BYTES
from hearthnet.base.errors import BadRequest, CallTimeout, HearthNetError, TooLarge
from hearthnet.base.log import sanitise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hearthnet.base.types import CID
    from hearthnet.mesh.capability import Caller
    from hearthnet.mesh.services import Services

_KEPT: Final = 20
_NAME_CHARS: Final = 120


class Upload(Struct):
    """One document on its way; `state` is reading or failed."""

    doc_cid: str
    corpus: str
    name: str
    size_bytes: int
    state: str = "reading"
    error: str = ""  # code
    detail: str = ""


class UploadDesk:
    """Takes files into blobs and hands them to the library."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._turn = asyncio.Lock()  # the library reads few documents at a time and turns others away

    def list(self) -> list[Upload]:
        """What is being read, and what failed, newest first."""
        return list(reversed(self._uploads.values()))

    def forget(self, corpus: str, doc_cid: str) -> None:
        """Drop what is known of an upload."""
        self._uploads.pop((corpus, doc_cid), None)

    async def receive(self, content: AsyncIterator[bytes]) -> tuple[CID, int]:
        """Store a file as a blob; raises BadRequest (empty), TooLarge, DiskFull. Nothing stays of a broken one."""
        size = 0
        async with self._services.blobs.writer() as writer:
            async for data in content:
                size += len(data)
                if size > UPLOAD_MAX_BYTES:
                    raise TooLarge(f"a file may have {UPLOAD_MAX_BYTES} bytes")
                await writer.write(data)
            if size == 0:
                raise BadRequest("the file is empty")
            return await writer.commit(), size

    def read(self, upload: Upload, media_type: str, caller: Caller) -> None:
        """Hand a stored file to the library, in the background."""
        key = (upload.corpus, upload.doc_cid)
        self._uploads.pop(key, None)
        while len(self._uploads) >= _KEPT:
            self._uploads.pop(next(iter(self._uploads)))
        self._uploads[key] = upload
        self._services.spawn("web.upload", self._ingest(upload, media_type, caller))

    async def _ingest(self, upload: Upload, media_type: str, caller: Caller) -> None:
        request = {
            "doc_cid": upload.doc_cid,
            "title": "",
            "metadata": {"filename": upload.name, "media_type": media_type},
        }
        try:
            async with self._turn:
                await self._services.bus.call("rag.ingest@1.0", {"corpus": upload.corpus}, request, caller=caller)
        except CallTimeout:
            self.forget(upload.corpus, upload.doc_cid)  # reading goes on; the list of documents shows how far it is
        except HearthNetError as error:
            upload.state, upload.error, upload.detail = "failed", error.code, sanitise(error.detail, 300)
        else:
            self.forget(upload.corpus, upload.doc_cid)


def clean_name(name: str) -> str:
    """A file name for display: its last part, printable, short."""
    last = PurePosixPath(name.replace("\\", "/")).name.strip(". ")
    return sanitise(last, _NAME_CHARS).strip() or "document"

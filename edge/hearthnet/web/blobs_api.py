"""Raw bytes in and out of the blob store for the CLI and programs (M07)."""

from __future__ import annotations

from typing import cast

from aiohttp import web
from msgspec import Struct

from hearthnet.base.constants import UPLOAD_MAX_BYTES
from hearthnet.base.errors import BadRequest, TooLarge
from hearthnet.base.types import CID, Role
from hearthnet.web.door import door_of
from hearthnet.web.payload import reply
from hearthnet.web.routing import Contract, RouteTable

routes = RouteTable()


class BlobReply(Struct, frozen=True):
    """What was stored."""

    cid: str
    size_bytes: int


_PUT = Contract(reply=BlobReply, body_media="application/octet-stream", status=201, faults=(429,))
_GET = Contract(media="application/octet-stream", faults=(404,))


@routes.add("POST", "/v1/blobs", role=Role.MEMBER, api=True, contract=_PUT)
async def put_blob(request: web.Request) -> web.Response:
    """Store the body; nothing is kept when it breaks off, is too large or the disk is full."""
    size = 0
    async with door_of(request).services.blobs.writer() as writer:
        async for data in request.content.iter_chunked(262_144):
            size += len(data)
            if size > UPLOAD_MAX_BYTES:
                raise TooLarge(f"a file may have {UPLOAD_MAX_BYTES} bytes")
            await writer.write(data)
        if size == 0:
            raise BadRequest("the file is empty")
        cid = await writer.commit()
    return reply(BlobReply(cid, size), 201)


@routes.add("GET", "/v1/blobs/{cid}", role=Role.MEMBER, api=True, contract=_GET)
async def get_blob(request: web.Request) -> web.StreamResponse:
    """The verified bytes, always as a download and never as a page."""
    blobs, cid = door_of(request).services.blobs, cast("CID", request.match_info["cid"])
    response = web.StreamResponse(
        headers={"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"}
    )
    response.content_length = await blobs.size(cid)
    await response.prepare(request)
    async for chunk in blobs.read(cid):
        await response.write(chunk)
    await response.write_eof()
    return response

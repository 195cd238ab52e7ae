"""Bodies of API requests, read strictly and within bounds, and JSON replies (X01)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from msgspec import Struct

from hearthnet.base.constants import REQUEST_MAX_BYTES, RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.errors import BadRequest, CallTimeout, SchemaMismatch, TooLarge
from hearthnet.wire import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = TypeVar("Kind")
Fields = TypeVar("Fields", bound=Struct)

BODY_TIMEOUT_S = RPC_DEFAULT_TIMEOUT_S  # for the whole body; a slower sender is refused
_CODING = "gzip, deflate and br bodies are read, this one is broken"


async def read_bytes(request: web.Request, limit: int = REQUEST_MAX_BYTES) -> bytes:
    """The whole body; raises TooLarge above `limit` (before reading on), CallTimeout when it trickles in."""
    if (request.content_length or 0) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")
    if request.content.is_eof() and request.content.exception() is None:
        whole = request.content.read_nowait()  # it came with the headers: no timer is needed
        if len(whole) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.content.iter_any():
                body += part
                if len(body) > limit:
                    raise TooLarge(f"the body is larger than {limit} bytes")
    except TimeoutError as fault:
        raise CallTimeout(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from fault
    except (BadHttpMessage, web.RequestPayloadError) as fault:
        raise BadRequest(f"the body broke off or is not encoded as its headers say; {_CODING}") from fault
    return bytes(body)


async def read_value(request: web.Request) -> Any:
    """The JSON body; raises BadRequest for what is not JSON or could be read in two ways (see wire/canonical).

    A float without a fraction (`2.0`) becomes the integer that it is, as JSON Schema and canonical JSON have it.
    """
    return _whole(canonical.decode(await read_bytes(request)))


async def read_body(request: web.Request, kind: type[Kind]) -> Kind:
    """The JSON body as `kind`; raises BadRequest, or SchemaMismatch naming the field that does not fit."""
    return canonical.fit(await read_value(request), kind)


def read_query(query: Mapping[str, str], kind: type[Fields]) -> Fields:
    """Query parameters as a Struct with text and number fields; raises SchemaMismatch, also for unknown ones."""
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as fault:
        raise SchemaMismatch(str(fault)) from fault


def reply(value: object, status: int = 200) -> web.Response:
    """A JSON reply."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def _whole(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= canonical.INT_MAX else value
    if kind is dict:
        return {key: _whole(item) for key, item in value.items()}
    if kind is list:
        return [_whole(item) for item in value]
    return value

"""Fields of a posted form, read within bounds (ux.md 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from hearthnet.base.errors import BadRequest
from hearthnet.web.payload import read_bytes

if TYPE_CHECKING:
    from aiohttp import web

_FORM_BYTES: Final = 262_144  # the longest question, every character percent-encoded
_FIELDS: Final = 50


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields, the last of each name; raises BadRequest when it is too large, no form, or not UTF-8."""
    if request.content_type != "application/x-www-form-urlencoded":
        if request.content_type == "application/octet-stream" and not request.body_exists:
            return {}
        raise BadRequest("a form comes as application/x-www-form-urlencoded")
    body = await read_bytes(request, _FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"))
    except ValueError as error:
        raise BadRequest(f"the form cannot be read: {error}") from error

"""Help that needs no Internet: asking, sources, pairing, and what every error code means (M08)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from hearthnet.base import errors
from hearthnet.base.types import Role
from hearthnet.web.addresses import base_url, is_local_only
from hearthnet.web.door import door_of
from hearthnet.web.pages import render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from collections.abc import Iterator

routes = RouteTable()


def list_codes() -> list[str]:
    """Every error code of this program, sorted."""
    return sorted({kind.code for kind in _kinds(errors.HearthNetError)})


def _kinds(kind: type[errors.HearthNetError]) -> Iterator[type[errors.HearthNetError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)


@routes.add("GET", "/help", role=Role.GUEST)
async def show_help(request: web.Request) -> web.StreamResponse:
    """How to use this box."""
    port = door_of(request).config.ui.port
    return render(request, "help/help.html", address=base_url(request), local_only=is_local_only(request), port=port)


@routes.add("GET", "/help/errors", role=Role.GUEST)
async def show_errors(request: web.Request) -> web.StreamResponse:
    """What happened and what to do, by code."""
    return render(request, "help/errors.html", codes=list_codes())

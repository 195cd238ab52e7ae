"""Settings: language and look; about this box, licences (M08)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from hearthnet.base.types import Role
from hearthnet.web.door import door_of
from hearthnet.web.forms import read_form
from hearthnet.web.guard import LANGUAGE_COOKIE
from hearthnet.web.i18n import LANGUAGES
from hearthnet.web.licences import list_licences
from hearthnet.web.pages import LOOK_COOKIE, LOOKS, redirect, render
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from collections.abc import Sequence

routes = RouteTable()
_YEAR_S: Final = 365 * 86_400


@routes.add("GET", "/settings", role=Role.GUEST)
async def show_settings(request: web.Request) -> web.StreamResponse:
    """Language and look of this browser."""
    return render(request, "settings/look.html", languages=LANGUAGES, looks=LOOKS)


async def _remember(request: web.Request, field: str, allowed: Sequence[str], cookie: str) -> web.Response:
    form = await read_form(request)
    back = form.get("back", "/settings")
    local = back.startswith("/") and not back.startswith(("//", "/\\"))
    response = redirect(back if local else "/settings")
    value = form.get(field, "")
    if value in allowed:
        response.set_cookie(cookie, value, max_age=_YEAR_S, samesite="Lax", httponly=True, secure=request.secure)
    return response


@routes.add("POST", "/settings/language", role=Role.GUEST)
async def set_language(request: web.Request) -> web.StreamResponse:
    """Show pages in this language from now on, in this browser."""
    return await _remember(request, "language", LANGUAGES, LANGUAGE_COOKIE)


@routes.add("POST", "/settings/look", role=Role.GUEST)
async def set_look(request: web.Request) -> web.StreamResponse:
    """Light, dark, or as the device wants."""
    return await _remember(request, "look", LOOKS, LOOK_COOKIE)


@routes.add("GET", "/settings/about", role=Role.GUEST)
async def show_about(request: web.Request) -> web.StreamResponse:
    """Version, identity, what this box offers."""
    door = door_of(request)
    uptime_s = door.services.clock.monotonic() - door.facts.started_at
    return render(request, "settings/about.html", capabilities=door.bus.descriptors(), uptime_s=uptime_s)


@routes.add("GET", "/settings/licences", role=Role.GUEST)
async def show_licences(request: web.Request) -> web.StreamResponse:
    """Whose work this box is made of."""
    return render(request, "settings/licences.html", works=await asyncio.to_thread(list_licences))

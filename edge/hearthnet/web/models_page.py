"""Settings: which models are here, which one answers, adding and removing (M08, M04)."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

from hearthnet.base.errors import BadRequest
from hearthnet.base.types import Role
from hearthnet.web.door import door_of
from hearthnet.web.forms import read_form
from hearthnet.web.model_desk import ModelDesk, ModelShelf
from hearthnet.web.pages import redirect, render
from hearthnet.web.routing import RouteTable

routes = RouteTable()


def _shelf(request: web.Request) -> ModelShelf:
    return cast("ModelShelf", door_of(request).extras["models"])


def _desk(request: web.Request) -> ModelDesk:
    door = door_of(request)
    desk = door.extras.get("web.model_desk")
    if desk is None:
        desk = door.extras["web.model_desk"] = ModelDesk(_shelf(request), door.services.spawn)
    return cast("ModelDesk", desk)


async def _field(request: web.Request, name: str, limit: int = 1000) -> str:
    value = (await read_form(request)).get(name, "").strip()
    if not value or len(value) > limit:
        raise BadRequest(f"the field {name!r} is empty or too long")
    return value


@routes.add("GET", "/settings/models", role=Role.MEMBER)
async def show_models(request: web.Request) -> web.StreamResponse:
    """Models here, models known, what is on its way; `?part=list` gives the list alone."""
    shelf, engines = _shelf(request), door_of(request).services.engines
    installed = await asyncio.to_thread(shelf.installed)
    known = await asyncio.to_thread(shelf.known)
    template = "settings/models_list.html" if request.query.get("part") == "list" else "settings/models.html"
    return render(
        request,
        template,
        installed=installed,
        known=known,
        adding=_desk(request).adding,
        answering=next((model.name for model in engines.models()), ""),
        engines=engines.status(),
    )


@routes.add("POST", "/settings/models/use", role=Role.ADMIN)
async def use_model(request: web.Request) -> web.StreamResponse:
    """Answer with this model from now on."""
    await asyncio.to_thread(_shelf(request).use, await _field(request, "name"))
    return redirect("/settings/models")


@routes.add("POST", "/settings/models/remove", role=Role.ADMIN)
async def remove_model(request: web.Request) -> web.StreamResponse:
    """Delete a model from this box."""
    await asyncio.to_thread(_shelf(request).remove, await _field(request, "name"))
    return redirect("/settings/models")


@routes.add("POST", "/settings/models/add", role=Role.ADMIN)
async def add_model(request: web.Request) -> web.StreamResponse:
    """Fetch a model in the background: catalogue name, address, file or folder of this machine."""
    _desk(request).add(await _field(request, "source"))
    return redirect("/settings/models")


@routes.add("POST", "/settings/models/dismiss", role=Role.ADMIN)
async def dismiss_failure(request: web.Request) -> web.StreamResponse:
    """Take a failure off the page."""
    _desk(request).dismiss()
    return redirect("/settings/models")

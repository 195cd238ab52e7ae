"""The web application: joins the route tables behind the guard (M08, X01 public part)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from hearthnet.base.constants import UPLOAD_MAX_BYTES
from hearthnet.base.types import Role
from hearthnet.web import guard
from hearthnet.web.door import DOOR
from hearthnet.web.headers import add_headers
from hearthnet.web.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.web.door import Door
    from hearthnet.web.routing import RouteTable


def build_app(door: Door, tables: Iterable[RouteTable]) -> web.Application:
    """One aiohttp application; a path declared twice stops the start."""
    app = web.Application(client_max_size=UPLOAD_MAX_BYTES)
    app[DOOR] = door
    seen: set[tuple[str, str]] = set()
    for table in tables:
        for route in table.routes:
            if (route.method, route.path) in seen:
                raise ValueError(f"route declared twice: {route.method} {route.path}")
            seen.add((route.method, route.path))
            app.router.add_route(route.method, route.path, guard.guarded(route))
    app.router.add_route("*", "/{rest:v1/.*}", guard.guarded(Route("*", "/v1", Role.GUEST, guard.not_found, api=True)))
    app.router.add_route("*", "/{rest:.*}", guard.guarded(Route("*", "/", Role.GUEST, guard.not_found)))
    app.on_response_prepare.append(add_headers)
    return app

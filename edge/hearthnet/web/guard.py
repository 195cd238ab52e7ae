"""The guard before every route: Host allow-list, origin check, role, headers, errors (decision 24, ux.md 4).

Order: Host -> who -> origin (unsafe methods) -> role -> handler -> security headers. Nothing behind it decides
about access again.
"""

from __future__ import annotations

import logging
import socket
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import json

from hearthnet.base.errors import BadRequest, HearthNetError, InternalError, NotFound, Unauthorized, WrongMethod
from hearthnet.base.log import sanitise
from hearthnet.base.types import Role
from hearthnet.web.admission import allowed_host, check_origin, identify
from hearthnet.web.door import TEXTS, VISITOR, door_of
from hearthnet.web.i18n import choose_language
from hearthnet.web.pages import render_error
from hearthnet.web.routing import ErrorForm, Route
from hearthnet.web.session import Visitor

log = logging.getLogger(__name__)

LANGUAGE_COOKIE: Final = "hearthnet_language"


def error_body(error: HearthNetError) -> bytes:
    """The specification's error object."""
    body: dict[str, object] = {"error": error.code, "message": sanitise(error.detail, 500)}
    if error.fix:
        body["fix"] = error.fix
    if error.retry_after_ms is not None:
        body["retry_after_ms"] = error.retry_after_ms
    return json.encode(body)


def error_response(
    request: web.Request, error: HearthNetError, *, api: bool, form: ErrorForm | None = None
) -> web.Response:
    """The error as JSON (the specification's form unless another is given) or as a page in the visitor's language."""
    if api:
        response = web.Response(body=(form or error_body)(error), status=error.status, content_type="application/json")
    else:
        response = render_error(request, error)
    if error.retry_after_ms is not None:
        response.headers["Retry-After"] = str(max(1, -(-error.retry_after_ms // 1000)))
    return response


def guarded(route: Route) -> Handler:
    """The handler of a route behind the guard."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            await _admit(request, route)
            return await route.handler(request)
        except HearthNetError as error:
            return error_response(request, error, api=route.api, form=route.error_form)
        except web.HTTPException:
            raise
        except Exception as fault:  # noqa: BLE001  the supervisor of all requests; logs and answers 500
            return _unexpected(request, fault, route)

    handle.hearthnet_route = route  # type: ignore[attr-defined]  # read by the test that walks all routes
    return handle


def _unexpected(request: web.Request, fault: Exception, route: Route) -> web.Response:
    log.error("unhandled error in %s %s", request.method, sanitise(request.path, 200), exc_info=fault)
    error = InternalError("the node made a mistake; it is in the log")
    return error_response(request, error, api=route.api, form=route.error_form)


async def _admit(request: web.Request, route: Route) -> None:
    door = door_of(request)
    language = choose_language(
        request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("Accept-Language", ""), door.config.node.language
    )
    request[TEXTS] = door.texts[language]
    request[VISITOR] = Visitor(Role.GUEST, "guest:", "guest")
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport else None
    if not (sock is not None and sock.family == socket.AF_UNIX) and not allowed_host(request.host, door):
        raise BadRequest("this node does not answer to that host name", fix="set ui.hosts in config.toml")
    visitor = await identify(request)
    request[VISITOR] = visitor
    check_origin(request, visitor)
    if visitor.role < route.role and not (visitor.role >= Role.MEMBER and visitor.via in route.also_via):
        raise Unauthorized(f"this needs the role {route.role.name.lower()}", fix="hearthnet pair")


async def not_found(request: web.Request) -> web.StreamResponse:
    """Fallback route: a page or JSON, never aiohttp's plain text; 405 where another method would work."""
    allowed: set[str] = set()
    api = False
    for resource in request.app.router.resources():
        methods = (await resource.resolve(request))[1] - {"*"}
        allowed |= methods
        api |= any(getattr(one.handler, "hearthnet_route").api for one in resource if one.method in methods)  # noqa: B009
    if not allowed:
        raise NotFound("there is no such page here")
    names = ", ".join(sorted(allowed))
    response = error_response(request, WrongMethod(f"{request.method} does not work here, {names} would"), api=api)
    response.headers["Allow"] = names
    return response

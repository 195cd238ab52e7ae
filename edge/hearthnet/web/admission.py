"""Who may come in: host names that are ours, the visitor behind a request, requests of other sites (decision 24)."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import Unauthorized
from hearthnet.base.types import Role
from hearthnet.web.door import door_of
from hearthnet.web.hosts import is_own_host
from hearthnet.web.session import Visitor

if TYPE_CHECKING:
    from aiohttp import web

    from hearthnet.web.door import Door

SESSION_COOKIE: Final = "hearthnet_session"
BROWSER_COOKIE: Final = "hearthnet_browser"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def allowed_host(host: str, door: Door) -> bool:
    """Whether a browser may use this name for us; foreign names mean DNS rebinding."""
    return is_own_host(host, door.facts.letters, door.config.ui.hosts)


def is_loopback(request: web.Request) -> bool:
    """Whether both the peer and the name it used are this machine."""
    try:
        peer = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return False
    host = request.host.rsplit(":", 1)[0].strip("[]").lower()
    return peer.is_loopback and host in {"localhost", "127.0.0.1", "::1"}


async def identify(request: web.Request) -> Visitor:
    """Control socket, bearer token, session cookie, loopback, guest: the first that fits."""
    door = door_of(request)
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport else None
    if sock is not None and sock.family == socket.AF_UNIX:
        return Visitor(Role.ADMIN, "control", "control")
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    loopback = is_loopback(request)
    if scheme.lower() == "bearer" and secret.startswith("hn-"):
        return await door.sessions.visitor_of_token(secret.strip())
    if scheme and not loopback:
        raise Unauthorized("only HearthNet tokens are accepted here", fix="hearthnet token create LABEL")
    if cookie := request.cookies.get(SESSION_COOKIE):
        visitor = await door.sessions.visitor_of_cookie(cookie)
        if visitor is not None:
            return visitor
    if loopback:
        browser = request.cookies.get(BROWSER_COOKIE, "")[:40]
        return Visitor(Role[door.config.ui.loopback_role.upper()], f"loopback:{browser}", "loopback")
    return Visitor(Role.GUEST, f"guest:{request.remote}", "guest")


def check_origin(request: web.Request, visitor: Visitor) -> None:
    """Refuse unsafe requests that another site made the browser send (CSRF)."""
    if request.method in _SAFE or visitor.via in ("token", "control"):
        return
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin.partition("://")[2] == request.host:
            return
    elif (site := request.headers.get("Sec-Fetch-Site")) is not None:
        if site in ("same-origin", "none"):
            return
    elif request.content_type not in (
        "application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "application/octet-stream",
    ):  # fmt: skip
        return  # no browser sends this across sites without an Origin header
    elif request.headers.get("Referer", "").partition("://")[2].partition("/")[0] == request.host:
        return
    raise Unauthorized("the request comes from another site")

"""Settings: who may use this box: pairing by link and QR, devices, tokens (M08, decision 24)."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from aiohttp import web
from markupsafe import Markup

from hearthnet.base.errors import BadRequest
from hearthnet.base.types import Role
from hearthnet.web.addresses import base_url, is_local_only
from hearthnet.web.admission import SESSION_COOKIE
from hearthnet.web.door import door_of, texts_of, visitor_of
from hearthnet.web.forms import read_form
from hearthnet.web.pages import redirect, render
from hearthnet.web.routing import RouteTable
from hearthnet.web.session import PAIRING_TTL_S, SESSION_TTL_S

routes = RouteTable()
_ROLES: Final = {"member": Role.MEMBER, "admin": Role.ADMIN}


def _role(form: dict[str, str]) -> Role:
    role = _ROLES.get(form.get("role", ""))
    if role is None:
        raise BadRequest("the role is member or admin")
    return role


def draw_qr(text: str) -> Markup:
    """A QR code as inline SVG, level Q, quiet zone of four modules."""
    code = import_module("segno").make(text, error="q", micro=False)
    return Markup(code.svg_inline(border=4, omitsize=True, svgclass=None, lineclass=None))  # noqa: S704  paths only


@routes.add("GET", "/settings/access", role=Role.GUEST)
async def show_access(request: web.Request) -> web.StreamResponse:
    """What this browser may do; for admins devices and tokens."""
    return await _access_page(request)


async def _access_page(request: web.Request, secret: str = "", label: str = "") -> web.Response:
    sessions, admin = door_of(request).sessions, visitor_of(request).role >= Role.ADMIN
    return render(
        request,
        "settings/access.html",
        tokens=await sessions.list_tokens() if admin else [],
        devices=await sessions.list_sessions() if admin else [],
        secret=secret,
        label=label,
    )


@routes.add("POST", "/settings/access/pair", role=Role.ADMIN)
async def open_pairing(request: web.Request) -> web.StreamResponse:
    """A link and QR that make one device member or admin."""
    role = _role(await read_form(request))
    code = await door_of(request).sessions.open_pairing(role)
    link = f"{base_url(request)}/pair/{code}"
    return render(
        request,
        "settings/pairing.html",
        link=link,
        qr=draw_qr(link),
        role=role.name.lower(),
        minutes=int(PAIRING_TTL_S // 60),
        local_only=is_local_only(request),
    )


@routes.add("GET", "/pair/{code}", role=Role.GUEST)
async def show_pairing(request: web.Request) -> web.StreamResponse:
    """Ask for the device's name; the code is used up only by the button, not by a preview of the link."""
    return render(request, "settings/pair.html", code=request.match_info["code"][:100])


@routes.add("POST", "/pair/{code}", role=Role.GUEST)
async def redeem_pairing(request: web.Request) -> web.StreamResponse:
    """Pair this browser."""
    name = (await read_form(request)).get("name", "").strip()[:60] or texts_of(request)("pair.unnamed")
    secret, _ = await door_of(request).sessions.redeem_pairing(request.match_info["code"][:100], name)
    response = redirect("/settings/access")
    response.set_cookie(
        SESSION_COOKIE, secret, max_age=int(SESSION_TTL_S), httponly=True, samesite="Lax", secure=request.secure
    )
    return response


@routes.add("POST", "/settings/access/leave", role=Role.GUEST)
async def leave(request: web.Request) -> web.StreamResponse:
    """Unpair this browser."""
    if secret := request.cookies.get(SESSION_COOKIE):
        await door_of(request).sessions.close_session(secret)
    response = redirect("/settings/access")
    response.del_cookie(SESSION_COOKIE)
    return response


@routes.add("POST", "/settings/access/devices/{id}/end", role=Role.ADMIN)
async def end_device(request: web.Request) -> web.StreamResponse:
    """Unpair another device."""
    await door_of(request).sessions.end_session(request.match_info["id"])
    return redirect("/settings/access")


@routes.add("POST", "/settings/access/tokens", role=Role.ADMIN)
async def create_token(request: web.Request) -> web.StreamResponse:
    """A token for a program; its secret is shown this once."""
    form = await read_form(request)
    label = form.get("label", "").strip()
    _, secret = await door_of(request).sessions.create_token(label, _role(form))
    return await _access_page(request, secret=secret, label=label)


@routes.add("POST", "/settings/access/tokens/{id}/revoke", role=Role.ADMIN)
async def revoke_token(request: web.Request) -> web.StreamResponse:
    """Refuse a token from now on."""
    await door_of(request).sessions.revoke_token(request.match_info["id"])
    return redirect("/settings/access")

"""Rendering of pages and of the pieces that are streamed into them (M08)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jinja2
from aiohttp import web
from msgspec import Struct

from hearthnet.base.log import sanitise
from hearthnet.base.types import Role
from hearthnet.web.door import door_of, texts_of, visitor_of
from hearthnet.web.formats import Formats
from hearthnet.web.icons import icon
from hearthnet.web.markdown import render_prose
from hearthnet.web.static_files import STATIC

if TYPE_CHECKING:
    from hearthnet.base.errors import HearthNetError

LOOK_COOKIE: Final = "hearthnet_look"
LOOKS: Final = ("auto", "light", "dark")


class NavItem(Struct, frozen=True):
    """One entry of the navigation; its words stand under `nav.<key>`."""

    key: str
    path: str
    icon: str


NAV: Final = (
    NavItem("ask", "/", "ask"),
    NavItem("library", "/library", "library"),
    NavItem("settings", "/settings", "settings"),
    NavItem("help", "/help", "info"),
)
_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("hearthnet.web", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,  # an upgrade under a running node must not mix two versions
)
_ENVIRONMENT.globals.update(static=STATIC.url, icon=icon, nav=NAV, Role=Role, prose=render_prose)


def current_nav(path: str) -> str:
    """The key of the navigation entry that a path belongs to."""
    first = path.strip("/").partition("/")[0]
    return next((item.key for item in NAV if item.path.strip("/") == first), "ask" if first == "ask" else "")


def render_html(request: web.Request, template: str, /, **values: Any) -> str:
    """A template in the visitor's language; it gets `t f lang look facts visitor path host here` and values."""
    texts, door = texts_of(request), door_of(request)
    look = request.cookies.get(LOOK_COOKIE, "auto")
    return _ENVIRONMENT.get_template(template).render(
        t=texts,
        f=Formats(texts, door.services.clock.now()),
        lang=texts.language,
        look=look if look in LOOKS else "auto",
        facts=door.facts,
        visitor=visitor_of(request),
        path=request.path,
        host=request.host,
        here=current_nav(request.path),
        **values,
    )


def render(request: web.Request, template: str, /, status: int = 200, **values: Any) -> web.Response:
    """A whole page."""
    body = render_html(request, template, **values)
    response = web.Response(text=body, status=status, content_type="text/html", charset="utf-8")
    response.headers["Content-Language"] = texts_of(request).language
    response.enable_compression()
    return response


def redirect(path: str) -> web.Response:
    """See other: the page to show after a form; cookies can be set on it."""
    return web.Response(status=303, headers={"Location": path})


def render_error(request: web.Request, error: HearthNetError) -> web.Response:
    """The error page: what, why, what next, and the code."""
    return render(
        request,
        "error.html",
        status=error.status,
        code=error.code,
        detail=sanitise(error.detail, 300),
        fix=error.fix,
        retry_after_ms=error.retry_after_ms,
    )

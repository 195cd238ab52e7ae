"""Security headers of every response, by the first application and the whole one alike (ux.md 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make browsers send `Origin: null` with our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: security headers on every response, streams too."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.secure:  # on plain HTTP browsers ignore it and complain
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.pop("Server", None)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"

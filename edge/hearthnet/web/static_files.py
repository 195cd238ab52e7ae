"""Static files under one content-hashed folder, so that browsers may keep them for ever (M08).

The hash covers all files together: relative addresses between them (fonts in the style sheet, imports between
modules) stay valid, and any change gives every file a new address.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from hearthnet.base.errors import NotFound
from hearthnet.base.types import Role
from hearthnet.web.routing import RouteTable

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "toml": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}
_SQUEEZED: Final = frozenset({"css", "mjs", "svg", "txt"})
_FOR_EVER: Final = "public, max-age=31536000, immutable"


class StaticFile(Struct, frozen=True):
    """One file as it is sent."""

    content_type: str
    body: bytes
    squeezed: bytes  # gzip, empty where it would not help


class StaticFiles:
    """All files below `web/static`, read once."""

    def __init__(self, folder: Traversable) -> None:
        self.files: dict[str, StaticFile] = {}
        self._load(folder, "")
        whole = hashlib.sha256()
        for name in sorted(self.files):
            whole.update(name.encode() + b"\0" + self.files[name].body)
        self.version = whole.hexdigest()[:12]

    def _load(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            kind = entry.name.rpartition(".")[2]
            if entry.is_dir():
                self._load(entry, f"{prefix}{entry.name}/")
            elif kind in _TYPES:
                body = entry.read_bytes()
                squeezed = gzip.compress(body, 9, mtime=0) if kind in _SQUEEZED else b""
                self.files[f"{prefix}{entry.name}"] = StaticFile(_TYPES[kind], body, squeezed)

    def url(self, name: str) -> str:
        """The address of a file; raises KeyError for one that does not exist."""
        self.files[name]
        return f"/static/{self.version}/{name}"


STATIC: Final = StaticFiles(files("hearthnet.web") / "static")
routes = RouteTable()


@routes.add("GET", "/static/{version}/{name:.+}", role=Role.GUEST)
async def send_static(request: web.Request) -> web.StreamResponse:
    """A file of this version; addresses of other versions are gone."""
    found = STATIC.files.get(request.match_info["name"])
    if found is None or request.match_info["version"] != STATIC.version:
        raise NotFound("there is no such file in this version")
    headers = {"Content-Type": found.content_type, "Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    if found.squeezed and "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=found.squeezed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=found.body, headers=headers)

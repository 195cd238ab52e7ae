"""The first application of a starting node: `/health` answers at once, every other request waits for the whole one.

It is light on purpose: neither the pages nor the services are imported here, so that the listeners stand
while both are still being loaded (M08, X03).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractResource
from msgspec import Struct, json

from hearthnet.base.constants import UPLOAD_MAX_BYTES
from hearthnet.web.headers import add_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp.web_urldispatcher import AbstractRoute, UrlMappingMatchInfo
    from yarl import URL


class HealthReply(Struct, frozen=True):
    """The process lives; `status` is `starting` until it serves, then `ok`."""

    status: str
    node_id: str
    name: str
    version: str
    uptime_seconds: int


class Threshold(AbstractResource):
    """All paths: requests wait here until `admit` names the application that answers them.

    `starting` gives the health reply meanwhile, `own_host` says whether a Host header is this node's.
    """

    def __init__(self, starting: Callable[[], HealthReply], own_host: Callable[[str], bool]) -> None:
        super().__init__()
        self._starting = starting
        self._own_host = own_host
        self._whole: web.Application | None = None
        self._admitted = asyncio.Event()
        self.app = web.Application(client_max_size=UPLOAD_MAX_BYTES)
        self.app.router.register_resource(self)
        self._early = web.Application()
        self._early.router.add_get("/health", self._health)
        self._early.on_response_prepare.append(add_headers)
        self._early.freeze()

    def admit(self, whole: web.Application) -> None:
        """Let all requests in, the waiting ones too; from now on `whole` answers `/health` as well. Call once."""
        whole.freeze()
        self._whole = whole
        self._admitted.set()

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo | None, set[str]]:
        """The route of `request` in the application that answers it."""
        if self._whole is None and request.method in ("GET", "HEAD") and request.path == "/health":
            chosen = self._early
        else:
            await self._admitted.wait()
            assert self._whole is not None  # noqa: S101  for mypy: `admit` sets it before the event
            chosen = self._whole
        found = await chosen.router.resolve(request)
        found.add_app(chosen)
        return found, set()

    async def _health(self, request: web.Request) -> web.Response:
        if not self._own_host(request.host):
            body = json.encode({"error": "bad_request", "message": "this node does not answer to that host name"})
            return web.Response(body=body, status=400, content_type="application/json")
        return web.Response(body=json.encode(self._starting()), content_type="application/json")

    @property
    def canonical(self) -> str:
        """The root: asked for every path."""
        return "/"

    def url_for(self, **_parts: str) -> URL:
        """Not a single address."""
        raise RuntimeError("the threshold stands for all addresses")

    def add_prefix(self, prefix: str) -> NoReturn:
        """Stands at the root only."""
        raise RuntimeError(f"the threshold cannot stand under {prefix}")

    def get_info(self) -> Any:
        """What aiohttp shows of a resource."""
        return {"path": "/"}

    def raw_match(self, path: str) -> bool:
        """No route is ever added to it."""
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[AbstractRoute]:
        return iter(())

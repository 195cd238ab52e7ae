"""Routes declare who may use them; a route without a role cannot be written (decision 24)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from msgspec import Struct

from hearthnet.base.errors import HearthNetError
from hearthnet.base.types import Role

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ErrorForm = Callable[[HearthNetError], bytes]
ROLE_KEY: Final = "hearthnet_role"


class Contract(Struct, frozen=True):
    """What travels on an API route, as types; decoding, `/openapi.json` and its tests read the same types."""

    reply: Any = None  # of the JSON reply; None = no body
    request: Any = None  # of the JSON body; None = none is read
    query: type[Struct] | None = None  # fields are the query parameters
    frames: Any = None  # of the `data:` objects when the reply can be an event stream
    end_mark: str = ""  # a last `data:` that is no frame
    media: str = "application/json"  # of the reply
    body_media: str = "application/json"  # of the body; anything else means raw bytes
    status: int = 200
    faults: tuple[int, ...] = ()  # error statuses that are its own, besides those every route can give
    error: Any = None  # of the error body; None = the specification's
    alternatives: tuple[int, ...] = ()  # further statuses that carry the same reply


class Route(Struct, frozen=True):
    """One method and path, the lowest role that may use it, and whether it answers JSON or a page."""

    method: str
    path: str
    role: Role
    handler: Handler
    api: bool = False  # errors as JSON instead of a page
    contract: Contract | None = None  # API routes that are documented
    error_form: ErrorForm | None = None  # another JSON form of errors than the specification's
    also_via: tuple[str, ...] = ()  # ways in (`Visitor.via`) by which a member may use an admin's route too


class RouteTable:
    """Collects the routes of one module; `app.py` joins the tables."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        role: Role,
        api: bool = False,
        contract: Contract | None = None,
        error_form: ErrorForm | None = None,
        also_via: tuple[str, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Declare a handler; `path` uses aiohttp's `{name}` patterns."""

        def register(handler: Handler) -> Handler:
            self.routes.append(Route(method, path, role, handler, api, contract, error_form, also_via))
            return handler

        return register

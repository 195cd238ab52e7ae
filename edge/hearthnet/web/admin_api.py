"""What the CLI and programs of an admin use besides capabilities: status, pairing, tokens, stop (M12)."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from hearthnet.base.types import Role
from hearthnet.mesh.doctor import count_faults
from hearthnet.ports import EngineStatus, ModelInfo
from hearthnet.web.addresses import device_url, is_local_only
from hearthnet.web.door import door_of
from hearthnet.web.payload import read_body, reply
from hearthnet.web.routing import Contract, RouteTable
from hearthnet.web.session import TokenRow

routes = RouteTable()


class StatusReply(Struct, frozen=True):
    """One look at the node."""

    node_id: str
    short_id: str
    name: str
    letters: str
    version: str
    uptime_seconds: int
    ui_port: int
    transport_port: int
    capabilities: int
    calls: int
    faults: tuple[int, int]  # failed by this node's fault, of so many recent calls
    notices: tuple[str, ...]
    models: list[ModelInfo]
    engines: list[EngineStatus]


class PairInput(Struct, frozen=True, forbid_unknown_fields=True):
    """For whom the code is."""

    role: Annotated[str, Meta(pattern="^(member|admin)$")] = "member"


class PairReply(Struct, frozen=True):
    """A link that works once."""

    code: str
    path: str
    expires_in_seconds: int
    url: str  # as another device opens it
    local_only: bool  # the pages listen to this machine alone; another device will not get through


class TokenInput(Struct, frozen=True, forbid_unknown_fields=True):
    """A new token."""

    label: Annotated[str, Meta(min_length=1, max_length=60)]
    role: Annotated[str, Meta(pattern="^(member|admin)$")] = "member"


class TokenReply(Struct, frozen=True):
    """The secret is shown this once."""

    id: str
    secret: str


class TokenList(Struct, frozen=True):
    """All tokens of this node."""

    tokens: list[TokenRow]


@routes.add("GET", "/v1/status", role=Role.MEMBER, api=True, contract=Contract(reply=StatusReply))
async def show_status(request: web.Request) -> web.Response:
    """State of the node in one object."""
    door = door_of(request)
    engines = door.services.engines
    return reply(
        StatusReply(
            node_id=door.facts.node_id,
            short_id=door.facts.short_id,
            name=door.facts.name,
            letters=door.facts.letters,
            version=door.facts.version,
            uptime_seconds=int(door.services.clock.monotonic() - door.facts.started_at),
            ui_port=door.extras.get("ui_port", door.config.ui.port),
            transport_port=door.extras.get("transport_port", door.config.transport.port),
            capabilities=len(door.bus.descriptors()),
            calls=len(door.traces),
            faults=count_faults(door.traces),
            notices=tuple(door.facts.notices),
            models=engines.models(),
            engines=engines.status(),
        )
    )


@routes.add(
    "POST", "/v1/pair", role=Role.ADMIN, api=True, contract=Contract(reply=PairReply, request=PairInput, status=201)
)
async def open_pairing(request: web.Request) -> web.Response:
    """A one-time pairing code."""
    wanted = await read_body(request, PairInput)
    code = await door_of(request).sessions.open_pairing(Role[wanted.role.upper()])
    path = f"/pair/{code}"
    return reply(PairReply(code, path, 900, device_url(request) + path, is_local_only(request)), 201)


@routes.add("GET", "/v1/tokens", role=Role.ADMIN, api=True, contract=Contract(reply=TokenList))
async def list_tokens(request: web.Request) -> web.Response:
    """Tokens without their secrets."""
    return reply(TokenList(await door_of(request).sessions.list_tokens()))


@routes.add("POST", "/v1/tokens", role=Role.ADMIN, api=True, contract=Contract(TokenReply, TokenInput, status=201))
async def create_token(request: web.Request) -> web.Response:
    """A new bearer token."""
    wanted = await read_body(request, TokenInput)
    return reply(
        TokenReply(*await door_of(request).sessions.create_token(wanted.label, Role[wanted.role.upper()])), 201
    )


@routes.add("DELETE", "/v1/tokens/{id}", role=Role.ADMIN, api=True, contract=Contract(status=204, faults=(404,)))
async def revoke_token(request: web.Request) -> web.Response:
    """Refuse a token from now on."""
    await door_of(request).sessions.revoke_token(request.match_info["id"])
    return web.Response(status=204)


@routes.add("POST", "/v1/stop", role=Role.ADMIN, api=True, contract=Contract(status=202))
async def stop_node(request: web.Request) -> web.Response:
    """End the node cleanly after this reply."""
    door_of(request).stop_node()
    return web.Response(status=202)

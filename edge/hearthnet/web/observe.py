"""How the node is: `/health`, `/ready`, `/metrics`, `/trace/recent` and the check-up (X03)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from hearthnet.base.errors import NotFound
from hearthnet.base.trace import CallTraceEvent
from hearthnet.base.types import Role
from hearthnet.mesh.doctor import Finding, NodeView, Scene, count_faults, examine
from hearthnet.web.door import Door, door_of
from hearthnet.web.payload import read_query, reply
from hearthnet.web.routing import Contract, RouteTable
from hearthnet.web.threshold import HealthReply

routes = RouteTable()
# decision 24: what shows the inside is for admins, for programs with a token and for people at this machine
_INSIDE: Final = ("loopback", "token")


class ReadyReply(Struct, frozen=True):
    """Whether calls would be served. A community of one needs no neighbours to be ready."""

    ready: bool
    capabilities: int
    peers: int


class TraceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which traces."""

    n: Annotated[int, Meta(ge=1, le=1000, description="How many, newest first")] = 20
    capability: Annotated[str, Meta(max_length=128, description="Only of this capability, e.g. rag.query")] = ""


class TraceReply(Struct, frozen=True):
    """The latest calls, newest first."""

    traces: list[CallTraceEvent]


class DoctorQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which check."""

    check: Annotated[str, Meta(max_length=64, description="Only this check; empty = all")] = ""


class DoctorReply(Struct, frozen=True):
    """The check-up; the sentence of a finding is the locale key `doctor.<check>.<reason>` filled with `values`."""

    findings: list[Finding]


@routes.add("GET", "/health", role=Role.GUEST, api=True, contract=Contract(reply=HealthReply))
async def health(request: web.Request) -> web.Response:
    """Answers as long as the node lives."""
    door = door_of(request)
    uptime = int(door.services.clock.monotonic() - door.facts.started_at)
    return reply(HealthReply("ok", door.facts.node_id, door.facts.name, door.facts.version, uptime))


@routes.add("GET", "/ready", role=Role.GUEST, api=True, contract=Contract(reply=ReadyReply, alternatives=(503,)))
async def ready(request: web.Request) -> web.Response:
    """503 until at least one capability is offered."""
    count = len(door_of(request).bus.descriptors())
    return reply(ReadyReply(count > 0, count, 0), 200 if count else 503)


@routes.add(
    "GET", "/metrics", role=Role.ADMIN, api=True, also_via=_INSIDE,
    contract=Contract(media="text/plain; version=0.0.4; charset=utf-8", reply=str),
)  # fmt: skip
async def metrics(request: web.Request) -> web.Response:
    """Counters in the text format of Prometheus."""
    door = door_of(request)
    if not door.config.observability.metrics_enabled:
        raise NotFound("metrics are switched off", fix="HEARTHNET_OBSERVABILITY_METRICS_ENABLED=true hearthnet run")
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=door.metrics_text().encode(), headers=headers)


@routes.add(
    "GET", "/trace/recent", role=Role.ADMIN, api=True, also_via=_INSIDE,
    contract=Contract(reply=TraceReply, query=TraceQuery),
)  # fmt: skip
async def recent_traces(request: web.Request) -> web.Response:
    """The latest calls with their spans."""
    asked = read_query(request.query, TraceQuery)
    return reply(TraceReply(door_of(request).traces.recent(asked.n, asked.capability.partition("@")[0])))


@routes.add(
    "GET", "/v1/doctor", role=Role.ADMIN, api=True, also_via=_INSIDE,
    contract=Contract(reply=DoctorReply, query=DoctorQuery),
)  # fmt: skip
async def check_up(request: web.Request) -> web.Response:
    """Everything the doctor sees, with the command that mends it."""
    asked = read_query(request.query, DoctorQuery)
    scene = scene_of(door_of(request))
    return reply(DoctorReply(await asyncio.to_thread(examine, scene, asked.check)))


def scene_of(door: Door) -> Scene:
    """What the doctor looks at, seen from the running node."""
    engines = door.services.engines
    view = NodeView(
        capabilities=len(door.bus.descriptors()),
        faults=count_faults(door.traces),
        engines=tuple(engines.status()),
        models=tuple(engines.models()),
    )
    return Scene(door.config, door.paths, door.services.clock.now(), node=view)

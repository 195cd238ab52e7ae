"""Any capability from outside: what there is, and one way to call it, as JSON or as an event stream (X01, M03).

The body is the specification's `{"params": ..., "input": ...}`, the reply `{"output": ..., "meta": ...}`. A stream is
sent as server-sent events to those who accept them, and gathered into one reply for everybody else.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from hearthnet.base.errors import BadRequest, HearthNetError, error_from_wire
from hearthnet.base.types import Role
from hearthnet.mesh.answers import ChatInput, CompleteInput, Done, Failed, Source, Token
from hearthnet.mesh.capability import parse_name
from hearthnet.mesh.schema import encode_json, schema_hash, schemas_of
from hearthnet.mesh.trace_ids import TraceIds
from hearthnet.web.answer_view import AnswerView
from hearthnet.web.door import caller_of, door_of
from hearthnet.web.payload import read_value, reply
from hearthnet.web.routing import Contract, RouteTable
from hearthnet.web.sse import send_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hearthnet.mesh.capability import Descriptor
    from hearthnet.web.door import Door

routes = RouteTable()
CALL_PATH: Final = "/v1/call/{name}"
GATHERED_MAX_BYTES: Final = 8 * 1_048_576


class CapabilityEntry(Struct, frozen=True):
    """A capability as declared; the schemas are JSON Schema 2020-12."""

    name: str
    version: str
    stability: str
    trust_required: str
    timeout_seconds: float
    max_concurrent: int
    idempotent: bool
    streams: bool
    schema_hash: str
    request_schema: dict[str, Any]
    response_schema: dict[str, Any] | None
    stream_schema: dict[str, Any] | None


class CapabilityList(Struct, frozen=True):
    """What this node offers."""

    capabilities: list[CapabilityEntry]


class CallMeta(Struct, frozen=True):
    """How a call was served; a capability may add fields of its own."""

    capability: str
    ms: float
    trace_id: str = ""
    node_id: str = ""


class Said(Struct, frozen=True):
    """A turn of the box; longer than what one may put to it."""

    role: str
    content: str


class ChatOutput(Struct, frozen=True):
    """A gathered answer of a conversation."""

    message: Said
    sources: tuple[Source, ...] = ()


class CompleteOutput(Struct, frozen=True):
    """A gathered continuation."""

    text: str


class FramesOutput(Struct, frozen=True):
    """A gathered stream of any other kind."""

    frames: list[Any]


_trace_ids: Final = TraceIds()


@routes.add("GET", "/v1/capabilities", role=Role.MEMBER, api=True, contract=Contract(reply=CapabilityList))
async def list_capabilities(request: web.Request) -> web.Response:
    """All capabilities of this node with their schemas."""
    return reply(CapabilityList([_entry(descriptor) for descriptor in door_of(request).bus.descriptors()]))


@lru_cache(maxsize=256)
def _entry(descriptor: Descriptor) -> CapabilityEntry:
    asked, answered, streamed = schemas_of(descriptor)
    major, minor = descriptor.name.version
    return CapabilityEntry(
        name=descriptor.name.name,
        version=f"{major}.{minor}",
        stability=descriptor.stability.value,
        trust_required=descriptor.trust.label,
        timeout_seconds=descriptor.timeout_s,
        max_concurrent=descriptor.max_concurrent,
        idempotent=descriptor.idempotent,
        streams=descriptor.streams,
        schema_hash=schema_hash(descriptor),
        request_schema=asked,
        response_schema=answered,
        stream_schema=streamed,
    )


@routes.add("POST", CALL_PATH, role=Role.MEMBER, api=True)
async def call(request: web.Request) -> web.StreamResponse:
    """Call a capability by its name and version."""
    body = encode_json(
        await read_value(request)
    )  # refuses what could be read in two ways; types are the bus's business
    door, name = door_of(request), request.match_info["name"]
    trace_id = _trace_ids.make(door.services.clock.now())
    descriptor = _find(door, name)
    if descriptor is None or not descriptor.streams:
        answer = await door.bus.handle_call(name, body, caller=caller_of(request), trace_id=trace_id)
        meta = CallMeta(str(descriptor.name if descriptor else name), answer.ms, answer.trace_id, answer.node_id)
        return _shaped(answer.output, answer.body, meta)
    frames = door.bus.handle_stream(name, body, caller=caller_of(request), trace_id=trace_id)
    if "text/event-stream" in request.headers.get("Accept", ""):
        return await send_events(request, frames, FrameEvents())
    started = door.services.clock.monotonic()
    output, last = await _gather(frames, descriptor)
    ms = (door.services.clock.monotonic() - started) * 1000.0
    meta = CallMeta(str(descriptor.name), ms, trace_id, door.facts.node_id)
    return reply({"output": output, "meta": _joined(meta, last)})


class FrameEvents:
    """Frames in the specification's form: `event:` is the tag, `data:` the frame."""

    def frame(self, frame: Any) -> bytes:
        """One event."""
        return b"event: %b\ndata: %b\n\n" % (frame.__struct_config__.tag.encode(), encode_json(frame))

    def fault(self, error: HearthNetError) -> bytes:
        """The terminal error frame."""
        return b"event: error\ndata: " + encode_json(Failed(error.code, error.detail, error.retry_after_ms)) + b"\n\n"

    def end(self) -> bytes:
        """Nothing: the last frame was terminal."""
        return b""


def _find(door: Door, name: str) -> Descriptor | None:
    wanted = parse_name(name)
    return next((item for item in reversed(door.bus.descriptors()) if item.name.satisfies(wanted)), None)


def _shaped(output: Any, body: bytes, meta: CallMeta) -> web.Response:
    """The reply body; an output's own `meta` moves up beside it."""
    if not hasattr(output, "meta"):
        text = b'{"output":%b,"meta":%b}' % (body, encode_json(meta))
        return web.Response(body=text, content_type="application/json")
    rest = msgspec.to_builtins(output)
    rest.pop("meta")
    return reply({"output": rest, "meta": _joined(meta, output.meta)})


def _joined(meta: CallMeta, own: Any) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(own) if own is not None else {}
    fields.pop("event", None)
    return {**fields, **msgspec.to_builtins(meta), "ms": meta.ms}


async def _gather(frames: AsyncGenerator[Any, None], descriptor: Descriptor) -> tuple[Any, Any]:
    """(output, last frame) of a whole stream; raises the error that a stream ended with."""
    kept: list[Any] = []
    size = 0
    async with aclosing(frames):
        async for frame in frames:
            if isinstance(frame, Failed):
                raise error_from_wire(frame.error, frame.message, frame.retry_after_ms)
            size += len(encode_json(frame))
            if size > GATHERED_MAX_BYTES:
                raise BadRequest("too long for one reply", fix="Accept: text/event-stream")
            kept.append(frame)
    last = kept[-1] if isinstance(kept[-1], Done) else None
    kind = gathered_output(descriptor)
    if kind is CompleteOutput:
        return CompleteOutput("".join(frame.text for frame in kept if isinstance(frame, Token))), last
    if kind is ChatOutput:
        view = AnswerView(kept)  # the last sources carry the quotes
        return ChatOutput(Said("assistant", view.text), view.sources), last
    return FramesOutput(kept), last


def gathered_output(descriptor: Descriptor) -> type[Struct]:
    """The type of `output` when a stream is gathered into one reply."""
    special: dict[type[Struct], type[Struct]] = {ChatInput: ChatOutput, CompleteInput: CompleteOutput}
    return special.get(descriptor.input_type, FramesOutput)

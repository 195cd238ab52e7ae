"""What a capability is: one decorated coroutine with typed request and reply (M03).

    class Library:
        @capability("rag.query@1.0", trust=TrustLevel.MEMBER, idempotent=True, timeout_s=10, max_concurrent=4)
        async def query(self, call: Call, params: QueryParams, request: QueryInput) -> QueryOutput: ...

        @capability("llm.chat@1.0", trust=TrustLevel.MEMBER, timeout_s=120, max_concurrent=8)
        def chat(self, call: Call, params: ChatParams, request: ChatInput) -> AsyncIterator[Token | Done]: ...

`params`, `request` and the reply are frozen `msgspec.Struct`s that forbid unknown fields; a stream yields members of
a tagged union (`tag` = the specification's event name) and ends with exactly one terminal frame. From this single
declaration come validation, schema and schema hash, OpenAPI, CLI help and the reference page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.base.types import NodeID, Stability, TraceID, TrustLevel

if TYPE_CHECKING:
    from hearthnet.base.trace import Span

_NAME = re.compile(r"^([a-z_]+(?:\.[a-z_]+)+)@(\d+)\.(\d+)$")


class NoParams(Struct, frozen=True, forbid_unknown_fields=True):
    """`params` of a capability that has none."""


class Caller(Struct, frozen=True):
    """Who calls, as established by a door (session, token, socket) or by a verified signature."""

    node_id: NodeID | None  # None = this node's own people
    trust: TrustLevel
    subject: str = ""  # key for fair queueing and rate limits: session id, token id or node id
    name: str = ""  # shown to people, never trusted


class Call(Struct, frozen=True):
    """Context of one call, handed to the handler."""

    caller: Caller
    trace_id: TraceID
    deadline: float  # monotonic seconds
    span: Span
    session: str = ""  # sticky session, empty = none


class CapabilityName(Struct, frozen=True, order=True):
    """`name@X.Y`; on the wire a string, in memory a name and a version pair."""

    name: str
    version: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.name}@{self.version[0]}.{self.version[1]}"

    def satisfies(self, wanted: CapabilityName) -> bool:
        """Whether this offer meets `wanted`: same name, same major, minor not lower."""
        return (
            self.name == wanted.name and self.version[0] == wanted.version[0] and self.version[1] >= wanted.version[1]
        )


def parse_name(text: str) -> CapabilityName:
    """Read `name@X.Y` (`name` alone means 1.0); raises BadRequest."""
    found = _NAME.match(text if "@" in text else f"{text}@1.0")
    if not found or len(text) > 128:
        raise BadRequest(f"not a capability name: {text[:64]!r}", fix="write it like rag.query@1.0")
    return CapabilityName(found[1], (int(found[2]), int(found[3])))


class Descriptor(Struct, frozen=True):
    """Everything declared about a capability; types are the single source of its schemas."""

    name: CapabilityName
    trust: TrustLevel
    stability: Stability
    timeout_s: float
    max_concurrent: int
    idempotent: bool
    params_type: type[Struct]
    input_type: type[Struct]
    output_type: Any  # a Struct, or for a stream the union of its frames
    streams: bool


class Offer(Struct, frozen=True):
    """What a node can serve now, where that differs between nodes (models of `llm.chat`, corpora)."""

    params: Callable[[], Mapping[str, Any]]  # as in the manifest, e.g. {"models": [...]}
    compatible: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]  # (offered, requested) -> can serve


class Capability(Struct, frozen=True):
    """A descriptor with the bound handler that serves it here; without an offer every request is compatible."""

    descriptor: Descriptor
    handler: Callable[..., Any]
    offer: Offer | None = None


def capability(
    name: str,
    *,
    trust: TrustLevel,
    timeout_s: float,
    max_concurrent: int,
    idempotent: bool = False,
    stability: Stability = Stability.BETA,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a method as a capability; its annotations give the schemas."""

    def mark(handler: Callable[..., Any]) -> Callable[..., Any]:
        handler.__capability__ = (  # type: ignore[attr-defined]  # functions carry attributes
            parse_name(name), trust, stability, timeout_s, max_concurrent, idempotent,
        )  # fmt: skip
        return handler

    return mark


def offered_by(service: object) -> list[Capability]:
    """The capabilities that a service object declares, by name.

    A service whose ability varies defines `offer_of(name: str) -> Offer | None`; it is asked for on instances that were
    not initialised too (to list declarations), so it may only bind methods.
    """
    offer_of = getattr(service, "offer_of", None)
    found = []
    for _, method in inspect.getmembers(service, inspect.ismethod):
        mark = getattr(method, "__capability__", None)
        if mark is not None:
            offer = offer_of(mark[0].name) if offer_of is not None else None
            found.append(Capability(_describe(method, mark), method, offer))
    return sorted(found, key=lambda item: item.descriptor.name)


def _describe(method: Callable[..., Any], mark: tuple[Any, ...]) -> Descriptor:
    name, trust, stability, timeout_s, max_concurrent, idempotent = mark
    hints = get_type_hints(method)
    returned = hints.pop("return")
    streams = get_origin(returned) is AsyncIterator
    arguments = [hints[key] for key in inspect.signature(method).parameters]
    if len(arguments) != 3 or arguments[0] is not Call:
        raise TypeError(f"{name}: a handler takes (call: Call, params, request)")
    return Descriptor(
        name=name,
        trust=trust,
        stability=stability,
        timeout_s=timeout_s,
        max_concurrent=max_concurrent,
        idempotent=idempotent,
        params_type=arguments[1],
        input_type=arguments[2],
        output_type=get_args(returned)[0] if streams else returned,
        streams=streams,
    )

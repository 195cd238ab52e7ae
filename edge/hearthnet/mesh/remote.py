"""What neighbours offer, as entries of this node's bus: a call to them takes the same path as one served here (M03).

Only what a verified manifest offers under a name, version and schema hash that this node knows is attached. A request
is checked here before it leaves, a reply after it came, by the same types; a neighbour whose replies do not fit is ill
and ends in quarantine like one that does not answer.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Struct

from hearthnet.base.errors import BadRequest, InternalError, error_from_wire
from hearthnet.mesh.capability import Capability, CapabilityName, Offer, parse_name
from hearthnet.mesh.schema import members_of, schema_hash

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from hearthnet.base.types import NodeID
    from hearthnet.mesh.capability import Call, Descriptor
    from hearthnet.mesh.registry import Entry
    from hearthnet.ports import Clock, Peer, Transport
    from hearthnet.wire.manifest import NodeManifest, OfferedCapability

log = logging.getLogger(__name__)

_LEAST_TIME_S: Final = 0.05


class Attachments(Protocol):
    """Where entries live: `CapabilityBus`."""

    def attach(self, capability: Capability, node_id: NodeID) -> Entry:
        """Offer what a neighbour offers."""

    def detach(self, entry: Entry) -> None:
        """Stop offering it."""


class _Attached(Struct, eq=False):
    """An entry with the offer that it came from; `params` changes without a new entry."""

    params: Mapping[str, Any]
    max_concurrent: int
    entry: Entry | None = None


class _Neighbour(Struct, eq=False):
    """One node: how it is reached now, and what it offers."""

    peer: Peer
    offers: dict[CapabilityName, _Attached]


class RemoteCapabilities:
    """Keeps the bus in step with the manifests of neighbours."""

    def __init__(self, bus: Attachments, transport: Transport, clock: Clock, declared: Iterable[Capability]) -> None:
        """`declared`: what this version knows to call, with the predicate of each offer, whether served here or not."""
        self._bus = bus
        self._transport = transport
        self._clock = clock
        self._declared = {item.descriptor.name: item for item in declared}
        self._hashes = {name: schema_hash(item.descriptor) for name, item in self._declared.items()}
        self._neighbours: dict[NodeID, _Neighbour] = {}

    def update(self, peer: Peer, manifest: NodeManifest) -> None:
        """Take a fresh, verified manifest: entries come, stay or go."""
        known = self._neighbours.setdefault(peer.node_id, _Neighbour(peer, {}))
        known.peer = peer
        offered = dict(self._readable(manifest.capabilities))
        for name in known.offers.keys() - offered.keys():
            self._detach(known.offers.pop(name))
        now = self._clock.monotonic()
        for name, offer in offered.items():
            found = known.offers.get(name)
            if found is not None and found.max_concurrent != offer.max_concurrent:
                self._detach(known.offers.pop(name))
                found = None
            if found is None:
                found = known.offers[name] = self._attach(known, name, offer)
            found.params = offer.params
            if found.entry is not None:
                found.entry.last_seen = now

    def drop(self, node_id: NodeID) -> None:
        """The node is gone: nothing is routed there any more."""
        known = self._neighbours.pop(node_id, None)
        for attached in known.offers.values() if known else ():
            self._detach(attached)

    def _detach(self, attached: _Attached) -> None:
        if attached.entry is not None:
            self._bus.detach(attached.entry)

    def _readable(self, offered: Iterable[OfferedCapability]) -> Iterable[tuple[CapabilityName, OfferedCapability]]:
        for offer in offered:
            try:
                name = parse_name(f"{offer.name}@{offer.version}")
            except BadRequest:
                continue
            if self._hashes.get(name) == offer.schema_hash:
                yield name, offer

    def _attach(self, known: _Neighbour, name: CapabilityName, offer: OfferedCapability) -> _Attached:
        declared = self._declared[name]
        places = max(1, offer.max_concurrent)
        descriptor = msgspec.structs.replace(declared.descriptor, max_concurrent=places)
        attached = _Attached(offer.params, offer.max_concurrent)
        rule = None
        if declared.offer is not None:
            rule = Offer(lambda: attached.params, declared.offer.compatible)
        handler = partial(self._stream if descriptor.streams else self._call, known, descriptor)
        attached.entry = self._bus.attach(Capability(descriptor, handler, rule), known.peer.node_id)
        return attached

    async def _call(self, known: _Neighbour, descriptor: Descriptor, call: Call, params: Any, request: Any) -> Any:
        name, version = _parts(descriptor)
        left_s = max(_LEAST_TIME_S, call.deadline - self._clock.monotonic())
        reply = await self._transport.call(known.peer, name, version, _body(params, request), left_s)
        return _output_of(descriptor, reply)

    async def _stream(
        self, known: _Neighbour, descriptor: Descriptor, call: Call, params: Any, request: Any
    ) -> AsyncGenerator[Any, None]:
        name, version = _parts(descriptor)
        tags = {
            kind.__struct_config__.tag: kind.__struct_config__.tag_field for kind in members_of(descriptor.output_type)
        }
        frames = self._transport.stream(known.peer, name, version, _body(params, request))
        async with aclosing(frames):
            async for frame in frames:
                if not isinstance(frame.data, dict):
                    raise InternalError(f"{descriptor.name}: a frame without an object")
                if frame.event == "error" and "error" not in tags:
                    raise error_from_wire(str(frame.data.get("error", "")), str(frame.data.get("message", "")))
                yield {**frame.data, str(tags.get(frame.event, "type")): frame.event}


def _parts(descriptor: Descriptor) -> tuple[str, str]:
    major, minor = descriptor.name.version
    return descriptor.name.name, f"{major}.{minor}"


def _body(params: Any, request: Any) -> dict[str, Any]:
    return {"params": msgspec.to_builtins(params), "input": msgspec.to_builtins(request)}


def _output_of(descriptor: Descriptor, reply: Mapping[str, Any]) -> Any:
    """The output of a reply; what it says about itself moves back from `meta` (see `replies.encode_reply`)."""
    output, meta = reply.get("output"), reply.get("meta")
    own = _meta_fields(descriptor)
    if own and isinstance(output, dict) and isinstance(meta, dict):
        return {**output, "meta": {key: value for key, value in meta.items() if key in own}}
    return output


def _meta_fields(descriptor: Descriptor) -> frozenset[str]:
    for field in msgspec.structs.fields(descriptor.output_type):
        if field.name == "meta":
            return frozenset(item.encode_name for item in msgspec.structs.fields(field.type))
    return frozenset()

"""Event v2: the signed, chained, canonical record that every node keeps (X02, decisions 6 and 8).

An event's identity is the BLAKE3 hash of what is signed. On the wire and in the store it is its canonical bytes with
the signature; any other spelling is refused, so one event has one form everywhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct, inspect, structs

from hearthnet.base.constants import EVENT_MAX_BYTES
from hearthnet.base.errors import BadRequest, EventRejected, NotCanonical, SchemaMismatch
from hearthnet.base.types import CID, CommunityID, NodeID, Signature
from hearthnet.wire import canonical, identity
from hearthnet.wire.chain import ChainEntry
from hearthnet.wire.cid import cid_of
from hearthnet.wire.event_types import EVENT_TYPES
from hearthnet.wire.field import CidField, CommunityField, CountField, NodeIdField, TimeField, UlidField
from hearthnet.wire.timestamp import Timestamp, format_time, refuse_no_day

_Positive = Annotated[int, Meta(ge=1, le=canonical.INT_MAX)]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The envelope, its fields in canonical order; a field at its default is absent from the bytes."""

    author: NodeIdField
    author_epoch: CountField = 0  # raised by a restore without neighbours (decision 29)
    author_seq: _Positive
    community_id: CommunityField
    data: Raw
    event_id: UlidField
    event_type: Annotated[str, Meta(max_length=64)]
    expires_at: TimeField | Literal[""] = ""
    lamport: _Positive
    prev: CidField | Literal[""] = ""  # absent in the author's first event
    schema_version: Literal[2]
    signature: Signature = Signature("")
    wall_clock: TimeField  # the author's claim, for people


class _Checked(Struct, gc=False):
    """An envelope that was checked before, read without looking at its fields again."""

    author: NodeID
    author_seq: int
    community_id: CommunityID
    data: Raw
    event_id: str
    event_type: str
    lamport: int
    schema_version: Literal[2]
    wall_clock: Timestamp
    author_epoch: int = 0
    expires_at: Timestamp | Literal[""] = ""
    prev: CID | Literal[""] = ""
    signature: Signature = Signature("")


class Draft(Struct, frozen=True, gc=False):
    """An own event before it is signed; `body` is what will be."""

    event: Event
    data: Struct
    hash: CID
    body: bytes

    @property
    def entry(self) -> ChainEntry:
        """Its place in the author's chain."""
        return ChainEntry(self.event.author_epoch, self.event.author_seq, self.hash, self.event.lamport)

    def seal(self, key: identity.KeyPair) -> Sealed:
        """Sign, the costly part; safe in any thread."""
        signature = key.sign(identity.Domain.EVENT, self.event.community_id, self.body)
        wire = b'%b,"signature":"%b"%b' % (self.body[:-_TIME_BYTES], signature.encode(), self.body[-_TIME_BYTES:])
        return Sealed(msgspec.structs.replace(self.event, signature=signature), self.data, self.hash, wire)


class Sealed(Struct, frozen=True, gc=False):
    """An event with its typed data, its identity and its bytes."""

    event: Event
    data: Struct
    hash: CID
    wire: bytes

    @property
    def entry(self) -> ChainEntry:
        """Its place in the author's chain."""
        return ChainEntry(self.event.author_epoch, self.event.author_seq, self.hash, self.event.lamport)

    @classmethod
    def of_checked(cls, wire: bytes, hash_: CID) -> Sealed:
        """Bytes that another process of this node opened and verified; nothing is checked again."""
        event = Event(**structs.asdict(_decode_checked(wire)))
        return cls(event, _check_data[event.event_type](event.data), hash_, wire)


_TIME_BYTES = len(',"wall_clock":"2026-01-31T08:15:00Z"}')  # what follows the signature
_SIGNATURE_BYTES = len(',"signature":"ed25519:"') + 86
_decode = msgspec.json.Decoder(Event).decode
_decode_checked = msgspec.json.Decoder(_Checked).decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_check_data = {name: msgspec.json.Decoder(kind).decode for name, kind in EVENT_TYPES.items()}
_name_of = {kind: name for name, kind in EVENT_TYPES.items()}


def seal_event(  # noqa: PLR0913  one parameter a field
    key: identity.KeyPair,
    data: Struct,
    *,
    community_id: CommunityID,
    event_id: str,
    lamport: int,
    now: float,
    after: ChainEntry | None,
    author_epoch: int = 0,
    expires_at: float | None = None,
) -> Sealed:
    """Sign the author's next event, `after` being its last; raises EventRejected for what others would refuse."""
    draft = draft_event(
        key.node_id, data, community_id=community_id, event_id=event_id, lamport=lamport, now=now, after=after,
        author_epoch=author_epoch, expires_at=expires_at,
    )  # fmt: skip
    return draft.seal(key)


def draft_event(  # noqa: PLR0913  one parameter a field
    author: NodeID,
    data: Struct,
    *,
    community_id: CommunityID,
    event_id: str,
    lamport: int,
    now: float,
    after: ChainEntry | None,
    author_epoch: int = 0,
    expires_at: float | None = None,
) -> Draft:
    """Everything of an event but its signature; its place in the chain is settled, so that the next can follow."""
    event = Event(
        author=author,
        author_epoch=author_epoch,
        author_seq=after.author_seq + 1 if after else 1,
        community_id=community_id,
        data=Raw(_encode_data(data)),
        event_id=event_id,
        event_type=_name_of[type(data)],
        expires_at="" if expires_at is None else format_time(expires_at),
        lamport=lamport,
        prev=after.hash if after else "",
        schema_version=2,
        wall_clock=format_time(now),
    )
    body = _encode(event)
    if len(body) + _SIGNATURE_BYTES > EVENT_MAX_BYTES:
        raise EventRejected(f"{len(body)} bytes and the signature, an event has at most {EVENT_MAX_BYTES}")
    _refuse_misfit(event)
    return Draft(event, data, _hash(event, body), body)


def open_event(wire: bytes) -> Sealed:
    """Read an event's bytes and check everything but the signature; raises BadRequest, EventRejected."""
    return _open(wire)[0]


def open_and_verify(wire: bytes) -> Sealed:
    """Read an event's bytes and check everything; raises BadRequest, EventRejected, InvalidSignature."""
    sealed, body = _open(wire)
    event = sealed.event
    identity.verify(event.author, identity.Domain.EVENT, event.community_id, body, event.signature)
    return sealed


def _open(wire: bytes) -> tuple[Sealed, bytes]:
    _refuse_oversize(wire)
    try:
        event = _decode(wire)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"not an event: {error}") from error
    if _encode(event) != wire:
        raise NotCanonical("the event is not in canonical form")
    if (event.author_seq == 1) != (event.prev == ""):
        raise EventRejected("the first event of an author, and only that, has no prev")
    refuse_no_day(event.wall_clock)
    if event.expires_at:
        refuse_no_day(event.expires_at)
    body = _unsigned(event, wire)
    return Sealed(event, _read_data(event), _hash(event, body), wire), body


def verify_event(sealed: Sealed) -> None:
    """Check the author's signature, the costly part; safe in any thread. Raises InvalidSignature."""
    event = sealed.event
    body = _unsigned(event, sealed.wire)
    identity.verify(event.author, identity.Domain.EVENT, event.community_id, body, event.signature)


def _read_data(event: Event) -> Struct:
    """The typed data; raises EventRejected for an unknown type, BadRequest for data that does not fit its own."""
    kind = EVENT_TYPES.get(event.event_type)
    if kind is None:
        raise EventRejected(f"unknown event type {event.event_type!r}")
    data = bytes(event.data)
    if kind in _PLAIN_KINDS:  # their sorted output is canonical by construction: no second look at the values
        try:
            typed = _check_data[event.event_type](data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # refused below, with the reason that all kinds get
            return canonical.fit(canonical.decode_canonical(data), kind)
        if _encode_sorted(typed) == data:
            return typed
    return canonical.fit(canonical.decode_canonical(data), kind)


def _encode_data(data: Struct) -> bytes:
    if type(data) in _PLAIN_KINDS:
        try:
            return _encode_sorted(data)
        except UnicodeEncodeError as error:
            raise NotCanonical("a string holds a lone surrogate") from error
    return canonical.encode(data)


def _is_plain(info: inspect.Type) -> bool:
    """Whether values of a type hold neither floats nor free keys nor wide integers."""
    match info:
        case inspect.StructType(fields=fields):
            return all(_is_plain(field.type) for field in fields)
        case inspect.VarTupleType(item_type=item):
            return _is_plain(item)
        case inspect.IntType(ge=low, le=high):
            return low is not None and high is not None and -canonical.INT_MAX <= low <= high <= canonical.INT_MAX
        case _:
            return isinstance(info, inspect.StrType | inspect.BoolType | inspect.LiteralType)


_PLAIN_KINDS = frozenset(kind for kind in EVENT_TYPES.values() if _is_plain(inspect.type_info(kind)))


def _unsigned(event: Event, wire: bytes) -> bytes:
    """What was signed: the event's canonical bytes with the signature cut out; only the time follows it."""
    before, _, after = wire.rpartition(b',"signature":"%b"' % event.signature.encode())
    return before + after


def _refuse_misfit(event: Event) -> None:
    """Own data against its own schema; the constructor of a Struct checks nothing."""
    try:
        _check_data[event.event_type](event.data)
    except msgspec.ValidationError as error:
        raise SchemaMismatch(f"{event.event_type}: {error}") from error


def _refuse_oversize(wire: bytes) -> None:
    if len(wire) > EVENT_MAX_BYTES:
        raise EventRejected(f"{len(wire)} bytes, an event has at most {EVENT_MAX_BYTES}")


def _hash(event: Event, body: bytes) -> CID:
    return cid_of(identity.signing_input(identity.Domain.EVENT, event.community_id, body))

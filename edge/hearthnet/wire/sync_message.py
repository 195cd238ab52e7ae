"""Bodies of the sync endpoints: events on their way, and which ones are wanted (X02, decision 7).

Events travel as the specification's `{community_id, events}`: each is canonical JSON already, so the whole is, and
none is encoded again. What is wanted is named as negentropy names it: ids within a range, because a range finds them
in an ordered set and an id alone does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from blake3 import blake3
from msgspec import Meta, Raw, Struct

from hearthnet.base.errors import BadRequest, EventRejected
from hearthnet.wire.canonical import INT_MAX
from hearthnet.wire.field import CommunityField, CountField
from hearthnet.wire.identity import Domain, signing_input
from hearthnet.wire.negentropy import ID_BYTES, ID_LIST, KEY_BYTES, SKIP, TIME_BYTES, MessageWriter, Range
from hearthnet.wire.reconcile import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearthnet.base.types import CommunityID

FORGOTTEN_MAX: Final = 4096
_LIST_EVENTS: Final = 10_000


class EventsBody(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Events, and the keys in hexadecimal of those that the sender knew but keeps no longer."""

    community_id: CommunityField
    events: Annotated[tuple[Raw, ...], Meta(max_length=_LIST_EVENTS)] = ()
    forgotten: Annotated[str, Meta(pattern="^([0-9a-f]{80})*$", max_length=2 * KEY_BYTES * FORGOTTEN_MAX)] = ""

    @property
    def wires(self) -> list[bytes]:
        """The bytes of each event."""
        return [bytes(raw) for raw in self.events]

    @property
    def forgotten_keys(self) -> list[bytes]:
        """The keys of those that are gone."""
        keys = bytes.fromhex(self.forgotten)
        return [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]


class RejectedReason(Struct, frozen=True):
    """Why one event was not stored."""

    event_id: str
    reason: str


class EventsReceipt(Struct, frozen=True):
    """What became of pushed events (specification X01)."""

    accepted: CountField
    rejected: CountField
    rejected_reasons: tuple[RejectedReason, ...]
    new_head: CountField


class _Place(Struct):
    community_id: CommunityField
    lamport: Annotated[int, Meta(ge=1, le=INT_MAX)]
    signature: str


_decode_body = msgspec.json.Decoder(EventsBody).decode
_decode_receipt = msgspec.json.Decoder(EventsReceipt).decode
_decode_place = msgspec.json.Decoder(_Place).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def encode_events(community: CommunityID, wires: Iterable[bytes], forgotten: Iterable[bytes] = ()) -> bytes:
    """The body that carries these events."""
    return _encode(EventsBody(community, tuple(map(Raw, wires)), b"".join(forgotten).hex()))


def decode_events(data: bytes) -> EventsBody:
    """Read a body; the events in it are not looked at. Raises BadRequest."""
    try:
        return _decode_body(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"no events: {error}") from error


def encode_receipt(receipt: EventsReceipt) -> bytes:
    """The answer to pushed events."""
    return _encode(receipt)


def decode_receipt(data: bytes) -> EventsReceipt:
    """Read such an answer; raises BadRequest."""
    try:
        return _decode_receipt(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"no receipt: {error}") from error


def key_of_wire(wire: bytes, community: CommunityID) -> bytes:
    """The key that an event's bytes have if they are one; nothing else is checked.

    Raises BadRequest, EventRejected for another community's event.
    """
    try:
        place = _decode_place(wire)
        before, _, after = wire.rpartition(b',"signature":"%b"' % place.signature.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"not an event: {error}") from error
    if place.community_id != community:
        raise EventRejected("the event belongs to another community")
    signed = signing_input(Domain.EVENT, place.community_id, before + after)
    return place.lamport.to_bytes(TIME_BYTES) + blake3(signed).digest()


def encode_wanted(wanted: Sequence[Wanted]) -> bytes:
    """Ask for events; the ranges are ascending and do not overlap."""
    writer, reached = MessageWriter(), bytes(TIME_BYTES)
    for item in wanted:
        if item.lower > reached:
            writer.add(Range(item.lower, SKIP))
        writer.add(Range(item.upper, ID_LIST, item.ids))
        reached = item.upper
    return bytes(writer.data)


def split_wanted(wanted: Iterable[Wanted], most: int) -> list[list[Wanted]]:
    """Parts of at most so many ids each, in the same order."""
    parts: list[list[Wanted]] = []
    room = 0
    for item in wanted:
        ids = item.ids
        while ids:
            if room == 0:
                parts.append([])
                room = most
            taken, ids = ids[: room * ID_BYTES], ids[room * ID_BYTES :]
            parts[-1].append(Wanted(item.lower, item.upper, taken))
            room -= len(taken) // ID_BYTES
    return parts

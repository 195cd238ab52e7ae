"""Messages of the overlay and of the broadcast over it, MessagePack in one body (X02; HyParView and PlumTree).

A body holds several messages for one neighbour; its answer is empty. An event travels as the bytes that its author
signed, under its hash.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.constants import EVENT_MAX_BYTES
from hearthnet.base.errors import FrameMalformed
from hearthnet.wire.field import NodeIdField

MESSAGES_MAX: Final = 64
CONTACTS_MAX: Final = 16
IDS_MAX: Final = 256

_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Hops = Annotated[int, Meta(ge=0, le=255)]


class Contact(Struct, frozen=True, array_like=True):
    """A node and where it may be reached; to be verified like any hint."""

    node_id: NodeIdField
    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)]


class Neighbor(Struct, frozen=True, array_like=True, tag="neighbor"):
    """Let us be active neighbours; `urgent` from a node that has none, which may not be refused."""

    urgent: bool


class NeighborReply(Struct, frozen=True, array_like=True, tag="neighbor_reply"):
    """The answer to it."""

    accepted: bool


class Disconnect(Struct, frozen=True, array_like=True, tag="disconnect"):
    """We are no longer active neighbours; I am still here."""


class Shuffle(Struct, frozen=True, array_like=True, tag="shuffle"):
    """Contacts of `origin`, handed on `hops` more times at random, to be answered with as many."""

    origin: Contact
    hops: _Hops
    contacts: Annotated[tuple[Contact, ...], Meta(max_length=CONTACTS_MAX)]


class ShuffleReply(Struct, frozen=True, array_like=True, tag="shuffle_reply"):
    """Contacts in return."""

    contacts: Annotated[tuple[Contact, ...], Meta(max_length=CONTACTS_MAX)]


class Gossip(Struct, frozen=True, array_like=True, tag="gossip"):
    """An event, pushed along the tree; `hops` from its author."""

    hash: _Hash
    hops: _Hops
    wire: Annotated[bytes, Meta(max_length=EVENT_MAX_BYTES)]


class IHave(Struct, frozen=True, array_like=True, tag="ihave"):
    """Events that I could send."""

    hashes: Annotated[tuple[_Hash, ...], Meta(max_length=IDS_MAX)]


class Graft(Struct, frozen=True, array_like=True, tag="graft"):
    """Send me these, and push from now on."""

    hashes: Annotated[tuple[_Hash, ...], Meta(max_length=IDS_MAX)]


class Prune(Struct, frozen=True, array_like=True, tag="prune"):
    """I get events sooner from others: only tell me what you have."""


OverlayMessage: TypeAlias = Neighbor | NeighborReply | Disconnect | Shuffle | ShuffleReply
TreeMessage: TypeAlias = Gossip | IHave | Graft | Prune
GossipMessage: TypeAlias = OverlayMessage | TreeMessage

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Annotated[tuple[GossipMessage, ...], Meta(max_length=MESSAGES_MAX)]).decode


class Send(Struct, frozen=True):
    """Effect: send this to a node; tell `fail` when it cannot be reached."""

    node_id: NodeIdField
    message: GossipMessage


def encode_messages(messages: tuple[GossipMessage, ...]) -> bytes:
    """The body for one neighbour."""
    return _encode(messages)


def decode_messages(data: bytes) -> tuple[GossipMessage, ...]:
    """The messages of a body; raises FrameMalformed."""
    try:
        messages: tuple[GossipMessage, ...] = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameMalformed(f"not gossip: {error}") from error
    return messages

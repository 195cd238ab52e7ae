"""What the asking side sends on a web socket: the call, acknowledgements, tool results, cancel (X01 "Streams")."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest, FrameMalformed
from hearthnet.wire import canonical
from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.field import CountField

SUBPROTOCOL: Final = "hearthnet-bus.v2"


class CallMessage(Struct, frozen=True, forbid_unknown_fields=True, tag="call"):
    """The first message: a signed call (see `rpc.open_envelope`)."""

    envelope: JsonObject
    signature: Annotated[str, Meta(max_length=94)]


class AckMessage(Struct, frozen=True, forbid_unknown_fields=True, tag="ack"):
    """All frames up to this one have been read."""

    upto: CountField


class ToolResultMessage(Struct, frozen=True, forbid_unknown_fields=True, tag="tool_result"):
    """The result of a tool that the reply asked for."""

    tool_call_id: Annotated[str, Meta(max_length=128)]
    body: JsonObject


class CancelMessage(Struct, frozen=True, forbid_unknown_fields=True, tag="cancel"):
    """Stop within 200 ms."""


StreamMessage: TypeAlias = CallMessage | AckMessage | ToolResultMessage | CancelMessage


def encode_message(message: StreamMessage) -> bytes:
    """A message as canonical JSON."""
    return canonical.encode(message)


def decode_message(data: bytes) -> StreamMessage:
    """A message from the wire; raises FrameMalformed."""
    try:
        return canonical.decode_as(data, StreamMessage)  # type: ignore[arg-type]  # mypy knows no type of a union
    except BadRequest as error:
        raise FrameMalformed(f"not a stream message: {error.detail}") from error

"""The framed pipe between the node and an engine's child process (M04, M11).

A frame is a 4 byte big-endian length, one kind byte and that many bytes of MessagePack. The node speaks first
(`Start`); the child answers `Ready` or `Failed(0)`; then calls run side by side, told apart by their number.
Results travel as raw MessagePack so that each operation decodes its own type.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from hearthnet.base.errors import FrameMalformed

FRAME_MAX_BYTES: Final = 64 * 1_048_576
_HEAD: Final = 5


class Start(Struct, frozen=True, tag="s"):
    """Node to child, once: what to load."""

    options: Raw


class Call(Struct, frozen=True, tag="c"):
    """Node to child: do `operation` with `body`."""

    number: int
    operation: str
    body: Raw


class Cancel(Struct, frozen=True, tag="x"):
    """Node to child: drop a call; nothing more is sent for it."""

    number: int


class Ready(Struct, frozen=True, tag="r"):
    """Child to node, once: loaded and self-tested; `detail` belongs to the engine."""

    detail: Raw


class Part(Struct, frozen=True, tag="p"):
    """Child to node: a piece of a streamed result."""

    number: int
    body: Raw


class Beat(Struct, frozen=True, tag="b"):
    """Child to node: still working on this call."""

    number: int


class Done(Struct, frozen=True, tag="d"):
    """Child to node: the result."""

    number: int
    body: Raw


class Failed(Struct, frozen=True, tag="f"):
    """Child to node: the call (0 = the start) failed for this reason."""

    number: int
    code: str
    detail: str


Message = Start | Call | Cancel | Ready | Part | Beat | Done | Failed
_decoder: Final = msgspec.msgpack.Decoder(Message)
_encoder: Final = msgspec.msgpack.Encoder()


def pack(value: object) -> Raw:
    """A value as raw MessagePack, to be put into a message."""
    return Raw(_encoder.encode(value))


def encode_frame(message: Message) -> bytes:
    """One message as bytes for the pipe."""
    payload = _encoder.encode(message)
    if len(payload) > FRAME_MAX_BYTES:
        raise FrameMalformed(f"a message of {len(payload)} bytes is too long for the pipe")
    kind = type(message).__struct_config__.tag
    return len(payload).to_bytes(4, "big") + str(kind).encode() + payload


class FrameReader:
    """Cuts bytes from a pipe into messages, however they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by `data`; raises FrameMalformed, after which the pipe is of no more use."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEAD:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > FRAME_MAX_BYTES:
                raise FrameMalformed(f"a frame of {length} bytes is announced")
            if len(self._buffer) < _HEAD + length:
                break
            kind, payload = self._buffer[4:_HEAD], bytes(self._buffer[_HEAD : _HEAD + length])
            del self._buffer[: _HEAD + length]
            messages.append(_decode(bytes(kind), payload))
        return messages


def _decode(kind: bytes, payload: bytes) -> Message:
    try:
        message: Message = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameMalformed(f"not a message: {error}") from None
    if str(type(message).__struct_config__.tag).encode() != kind:
        raise FrameMalformed("the kind byte and the message disagree")
    return message

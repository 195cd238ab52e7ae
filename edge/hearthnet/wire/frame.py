"""Frames of a streamed reply, as server-sent events and as web socket messages (X01 "Streams")."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from hearthnet.base.constants import REQUEST_MAX_BYTES
from hearthnet.base.errors import BadRequest, FrameMalformed
from hearthnet.wire import canonical

TERMINAL_EVENTS: Final = frozenset(("done", "error"))
_LINE_END = re.compile(rb"\r\n|\n|\r")


class StreamFrame(Struct, frozen=True, forbid_unknown_fields=True):
    """One frame; `seq` counts from 1 within its stream."""

    event: Annotated[str, Meta(pattern="^[a-z][a-z_]*$", max_length=32)]
    data: Any
    seq: Annotated[int, Meta(ge=1, le=canonical.INT_MAX)]

    @property
    def is_terminal(self) -> bool:
        """Whether the stream ends with this frame."""
        return self.event in TERMINAL_EVENTS


def encode_sse(frame: StreamFrame) -> bytes:
    """A frame as server-sent event; canonical JSON has no line breaks, so `data` is one line."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (frame.event.encode(), frame.seq, canonical.encode(frame.data))


class SseDecoder:
    """Reads frames from the bytes of an event stream, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> list[StreamFrame]:
        """The frames that `data` completes; raises FrameMalformed, after which the stream is to be closed."""
        self._rest += data
        if b"\n" not in data and b"\r" not in data:
            _refuse_oversize(self._rest)
            return []
        held = b"\r" if self._rest.endswith(b"\r") else b""  # perhaps half of \r\n
        *lines, rest = _LINE_END.split(self._rest.removesuffix(held))
        self._rest = rest + held
        _refuse_oversize(rest)
        frames = []
        for line in lines:
            if line:
                self._add(line)
            elif self._fields:
                frames.append(self._take())
        return frames

    def finish(self) -> None:
        """The bytes have ended; raises FrameMalformed when that was in the middle of an event."""
        if self._fields or self._rest.strip(b"\r"):
            raise FrameMalformed("the stream ended in the middle of an event")

    def _add(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data" and name in self._fields:
            value = self._fields[name] + b"\n" + value
        if name in (b"event", b"id", b"data"):  # comments and `retry` mean nothing here
            _refuse_oversize(value)
            self._fields[name] = value

    def _take(self) -> StreamFrame:
        fields, self._fields = self._fields, {}
        seq = fields.get(b"id", b"")
        if len(seq) > 16 or not seq.isdigit() or b"data" not in fields:
            raise FrameMalformed("an event without number or data")
        event = fields.get(b"event", b"").decode(errors="replace")
        return _fit({"event": event, "data": canonical.decode(fields[b"data"]), "seq": int(seq)})


def encode_ws(frame: StreamFrame) -> bytes:
    """A frame as web socket message."""
    return canonical.encode({"event": frame.event, "data": frame.data, "seq": frame.seq})


def decode_ws(message: bytes) -> StreamFrame:
    """A frame from a web socket message; raises BadRequest."""
    return _fit(canonical.decode(message))


def _fit(value: object) -> StreamFrame:
    try:
        return canonical.fit(value, StreamFrame)
    except BadRequest as error:
        raise FrameMalformed(f"not a frame: {error.detail}") from error


def _refuse_oversize(data: bytes) -> None:
    if len(data) > REQUEST_MAX_BYTES:
        raise FrameMalformed(f"an event of more than {REQUEST_MAX_BYTES} bytes")
